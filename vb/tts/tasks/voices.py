"""Everything that is being said on a server: each utterance is a task in the slots of its leg or room."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from vb.errors import Conflict, NotFound
from vb.ids import IdSource
from vb.owner import Owner
from vb.playback.players import Players
from vb.slots import SlotsClosed
from vb.tts.base import Provider
from vb.tts.speech import Speech
from vb.tts.tasks.cache import SpeechCache
from vb.tts.tasks.line import Line
from vb.tts.tasks.saying import Staged, Utterance

MAX_UTTERANCES: Final = 32
"""How many utterances one leg or room has at a time, those that wait included."""
_REMEMBERED: Final = 1_000
"""How many committed utterances are remembered, to tell a second commit from one that came too late."""


@dataclass(frozen=True, slots=True)
class StagingLimits:
    """What may be prepared ahead.

    Attributes:
        ttl_s: how long an utterance waits to be committed.
        per_leg: how many wait on one leg.
        max_bytes: longest, as bytes of audio.
    """

    ttl_s: float = 30.0
    per_leg: int = 3
    max_bytes: int = 4 * 1024 * 1024


class Voices:
    """Speaks on legs and in rooms.

    Args:
        providers: by name.
        ids: names utterances.
        players: where utterances are stopped and made louder.
        cache: kept speech; None to keep none.
        limits: of what is prepared ahead.

    Attributes:
        providers: by name.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        *,
        ids: IdSource,
        players: Players,
        cache: SpeechCache | None = None,
        limits: StagingLimits | None = None,
    ) -> None:
        self.providers = providers
        self._ids = ids
        self._players = players
        self._cache = cache
        self._limits = limits or StagingLimits()
        self._lines: dict[str, Line] = {}
        self._counts: dict[str, int] = {}
        self._staged: dict[tuple[str, str], Staged] = {}
        self._committed: deque[tuple[str, str]] = deque(maxlen=_REMEMBERED)

    def speak(self, owner: Owner, speech: Speech) -> str:
        """Have something said, after what is being said already; returns its id.

        Raises:
            Conflict: the owner is ending, or has too much to say.
        """
        utterance = self._new(owner, speech)
        self._start(utterance, utterance.say)
        self._queue(utterance)
        return utterance.id

    def stage(self, owner: Owner, speech: Speech) -> str:
        """Prepare something to be said once it is committed; returns its id.

        Raises:
            Conflict: the owner is ending, or as much as may be is prepared already.
        """
        limits = self._limits
        if sum(holder == owner.key for holder, _ in self._staged) >= limits.per_leg:
            raise Conflict(f"{limits.per_leg} utterances are staged already")
        utterance = self._new(owner, speech)
        staged = Staged(utterance, limits.ttl_s, limits.max_bytes)
        self._start(utterance, staged.run)
        self._staged[utterance.key] = staged
        return utterance.id

    def commit(self, owner: Owner, tts_id: str) -> None:
        """Say what was prepared, as soon as it is ready and its turn.

        Raises:
            NotFound: nothing of that id is prepared any more.
            Conflict: it was committed before.
        """
        staged = self._take_staged(owner, tts_id)
        self._committed.append(staged.utterance.key)
        self._queue(staged.utterance)
        staged.commit()

    def discard(self, owner: Owner, tts_id: str) -> None:
        """Drop what was prepared.

        Raises:
            NotFound: nothing of that id is prepared any more.
            Conflict: it was committed.
        """
        self._take_staged(owner, tts_id).discard()

    def _take_staged(self, owner: Owner, tts_id: str) -> Staged:
        key = (owner.key, tts_id)
        if key in self._committed:
            raise Conflict("it is committed already")
        staged = self._staged.pop(key, None)
        if staged is None or not staged.waiting:
            raise NotFound("staged utterance not found")
        return staged

    def _new(self, owner: Owner, speech: Speech) -> Utterance:
        if self._counts.get(owner.key, 0) >= MAX_UTTERANCES:
            raise Conflict(f"{MAX_UTTERANCES} utterances are waiting already")
        return Utterance(owner, f"tts-{self._ids.token(4)}", speech, self._cache)

    def _start(self, utterance: Utterance, run: Callable[[], Awaitable[None]]) -> None:
        """Run an utterance in its owner; all that knows of it forgets it at its end."""
        owner = utterance.owner

        async def until_end() -> None:
            try:
                await run()
            finally:
                self._forget(utterance)

        try:
            owner.slots.start(utterance.id, until_end)
        except SlotsClosed:
            raise Conflict("it is ending") from None
        self._counts[owner.key] = self._counts.get(owner.key, 0) + 1

    def _queue(self, utterance: Utterance) -> None:
        """Give an utterance its place among those of its owner; from now on it can be stopped by its id."""
        owner = utterance.owner
        self._players.adopt(owner, utterance.id, utterance.playback)
        if not utterance.speech.overlap:
            line = self._lines.setdefault(owner.key, Line())
            utterance.turn = line.join()

    def _forget(self, utterance: Utterance) -> None:
        owner = utterance.owner
        self._players.release(owner, utterance.id)
        self._staged.pop(utterance.key, None)
        left = self._counts.pop(owner.key) - 1
        if left:
            self._counts[owner.key] = left
        line = self._lines.get(owner.key)
        if line is not None:
            line.leave(utterance.turn)
            if not line:
                del self._lines[owner.key]
