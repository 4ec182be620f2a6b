"""The life of one utterance: prepared or got while it is heard, and ended by exactly one event."""

from __future__ import annotations

from collections import deque

import trio

from vb.events.tts import TtsDiscarded, TtsError, TtsFinished, TtsStaged, TtsStarted
from vb.owner import Owner
from vb.playback.player import PacedPlayback
from vb.providers.failure import ProviderFailed
from vb.tts.base import Audio, Done, Spoken
from vb.tts.speech import Speech
from vb.tts.tasks.cache import SpeechCache
from vb.tts.tasks.line import at_once
from vb.tts.tasks.source import Receive, open_speech
from vb.tts.tasks.utterance import Speaker, collect, duration_ms


class Utterance:
    """Something that is said on a leg or in a room.

    Args:
        owner: the leg or room.
        tts_id: its id.
        speech: what is said.
        cache: kept speech; None for none.

    Attributes:
        playback: what the plane hears of it.
        turn: when it may be prepared and heard.
    """

    def __init__(self, owner: Owner, tts_id: str, speech: Speech, cache: SpeechCache | None) -> None:
        self.owner = owner
        self.id = tts_id
        self.speech = speech
        self.playback = PacedPlayback(speech.volume)
        self.turn = at_once()
        self._cache = cache

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by."""
        return self.owner.key, self.id

    async def say(self, ready: list[Audio] | None = None) -> None:
        """Say it when it is its turn, and tell how that ended.

        Args:
            ready: its audio; None to get it from the cache or the provider.

        Cancellation: not another frame is heard, and it counts as stopped.
        """
        failure: ProviderFailed | None = None
        playback = self.playback
        speaker = Speaker(playback, self.turn, self._on_started)
        with trio.CancelScope() as scope:

            def on_end() -> None:
                speaker.wake()
                if playback.end_reason == "stopped":
                    scope.cancel()

            playback.on_end = on_end
            if playback.finished:
                scope.cancel()
            try:
                await self.turn.next.wait()
                if ready is not None:
                    await speaker.run(_given(ready))
                else:
                    async with open_speech(self.speech, self._cache) as receive:
                        await speaker.run(receive)
            except ProviderFailed as failed:
                failure = failed
            except Exception:  # told to the client here; the slot boundary answers for it
                failure = ProviderFailed("unknown", "internal error")
                raise
            finally:
                self.owner.remove_source(playback)
                self.tell_end(failure)

    def _on_started(self) -> None:
        self.turn.begin()
        self.owner.tell(TtsStarted, tts_id=self.id)
        self.owner.add_source(self.playback)

    def tell_end(self, failure: ProviderFailed | None = None) -> None:
        """Tell how it ended, once it is over."""
        playback = self.playback
        playback.on_end = _do_nothing
        playback.stop()
        if failure is not None:
            self.owner.tell(TtsError, tts_id=self.id, error=str(failure), category=failure.category)
            return
        reason = playback.end_reason or "stopped"
        self.owner.tell(TtsFinished, tts_id=self.id, reason=reason, played_ms=playback.played_ms)

    async def prepare(self, max_bytes: int) -> list[Audio]:
        """Return all of its audio, and tell that it is ready.

        Raises:
            ProviderFailed: there is none, or too much.
        """
        async with open_speech(self.speech, self._cache) as receive:
            ready = await collect(receive, max_bytes)
        size = sum(piece.pcm.nbytes for piece in ready)
        self.owner.tell(TtsStaged, tts_id=self.id, bytes=size, duration_ms=duration_ms(ready))
        return ready


class Staged:
    """An utterance that is prepared ahead and waits to be committed.

    Args:
        utterance: what is prepared.
        ttl_s: how long it waits.
        max_bytes: longest, as bytes of audio.
    """

    def __init__(self, utterance: Utterance, ttl_s: float, max_bytes: int) -> None:
        self.utterance = utterance
        self._max_bytes = max_bytes
        self._scope = trio.CancelScope(deadline=trio.current_time() + ttl_s)
        self._committed = trio.Event()
        self._discarded = False

    @property
    def waiting(self) -> bool:
        """Whether it can still be committed."""
        return not (self._committed.is_set() or self._scope.cancel_called)

    def commit(self) -> None:
        """Have it said as soon as it is ready; a stop of its playback ends the wait for that."""
        self._scope.deadline = float("inf")
        self.utterance.playback.on_end = self._scope.cancel
        self._committed.set()

    def discard(self) -> None:
        """Drop it."""
        self._discarded = True
        self._scope.cancel()

    async def run(self) -> None:
        """Prepare it, wait for the commit and say it; or tell why it is not said."""
        failure: ProviderFailed | None = None
        ready: list[Audio] = []
        over = True
        try:
            with self._scope:
                ready = await self.utterance.prepare(self._max_bytes)
                await self._committed.wait()
            over = self._scope.cancelled_caught
        except ProviderFailed as failed:
            failure = failed
        finally:
            if over:
                self._tell_unsaid(failure)
        if not over:
            await self.utterance.say(ready)

    def _tell_unsaid(self, failure: ProviderFailed | None) -> None:
        if failure is not None or self._committed.is_set():
            self.utterance.tell_end(failure)
            return
        reason = "app" if self._discarded else "expired" if self._scope.cancelled_caught else "leg_gone"
        self.utterance.owner.tell(TtsDiscarded, tts_id=self.utterance.id, reason=reason)


def _given(ready: list[Audio]) -> Receive:
    """Return a `receive` that gives what is ready."""
    pieces: deque[Spoken] = deque((*ready, Done()))

    async def receive() -> Spoken:
        await trio.lowlevel.checkpoint()
        return pieces.popleft()

    return receive


def _do_nothing() -> None:
    """Stand in for a callback."""
