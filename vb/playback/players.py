"""Playbacks on a leg or a room: each is a task in its owner's slots."""

from __future__ import annotations

from dataclasses import dataclass, field

from vb.blocking import Blocking
from vb.errors import BadRequest, Conflict, NotFound
from vb.events.media import PlaybackError, PlaybackFinished, PlaybackStarted
from vb.ids import IdSource
from vb.media import errors as media_errors
from vb.media.gain import VOLUME_MAX, VOLUME_MIN
from vb.owner import Owner
from vb.playback.player import PacedPlayback, Playback, PlaybackRequest
from vb.playback.tasks.fetch import Fetcher
from vb.playback.tasks.player import run_playback
from vb.slots import SlotsClosed

MAX_PLAYBACKS = 16
"""How many playbacks one leg or room carries at a time."""


def check_volume(volume: int) -> int:
    """Return a volume step.

    Raises:
        BadRequest: it is out of range.
    """
    if not VOLUME_MIN <= volume <= VOLUME_MAX:
        raise BadRequest(f"volume must be between {VOLUME_MIN} and {VOLUME_MAX}")
    return volume


@dataclass
class Players:
    """All playbacks of a server, by id, and what their tasks need."""

    ids: IdSource
    fetcher: Fetcher
    blocking: Blocking
    _running: dict[tuple[str, str], PacedPlayback] = field(default_factory=dict)

    def start(self, owner: Owner, request: PlaybackRequest) -> str:
        """Start a playback and return its id.

        Raises:
            Conflict: the owner is ending, or carries as many as it may.
        """
        running = sum(
            holder == owner.key and isinstance(playback, Playback)
            for (holder, _), playback in self._running.items()
        )
        if running >= MAX_PLAYBACKS:
            raise Conflict(f"{MAX_PLAYBACKS} playbacks are running already")
        playback_id = f"pb-{self.ids.token(4)}"
        playback = Playback(request)
        key = (owner.key, playback_id)

        async def play() -> None:
            try:
                await self._play(owner, playback_id, playback)
            finally:
                del self._running[key]

        try:
            owner.slots.start(playback_id, play)
        except SlotsClosed:
            raise Conflict("it is ending") from None
        self._running[key] = playback
        return playback_id

    async def _play(self, owner: Owner, playback_id: str, playback: Playback) -> None:
        def on_started() -> None:
            owner.tell(PlaybackStarted, playback_id=playback_id)

        error: str | None = None
        owner.add_source(playback)
        try:
            await run_playback(playback, fetcher=self.fetcher, blocking=self.blocking, on_started=on_started)
        except media_errors.PlaybackError as exc:
            error = str(exc)
        except Exception:  # told to the client here; the slot boundary answers for it
            error = "internal error"
            raise
        finally:
            owner.remove_source(playback)
            playback.stop()
            if error is not None:
                owner.tell(PlaybackError, playback_id=playback_id, error=error)
            else:
                reason = playback.end_reason or "stopped"
                played_ms = playback.played_ms
                owner.tell(PlaybackFinished, playback_id=playback_id, reason=reason, played_ms=played_ms)

    def adopt(self, owner: Owner, playback_id: str, playback: PacedPlayback) -> None:
        """Let something else that is heard be stopped and made louder by its id, as playbacks are."""
        self._running[owner.key, playback_id] = playback

    def release(self, owner: Owner, playback_id: str) -> None:
        """Forget what was adopted; harmless when it is not there."""
        self._running.pop((owner.key, playback_id), None)

    def _find(self, owner: Owner, playback_id: str) -> PacedPlayback:
        playback = self._running.get((owner.key, playback_id))
        if playback is None or playback.finished:
            raise NotFound("playback not found")
        return playback

    def stop(self, owner: Owner, playback_id: str) -> None:
        """Stop a playback; playback.finished follows.

        Raises:
            NotFound: no such playback is running.
        """
        self._find(owner, playback_id).stop()

    def set_volume(self, owner: Owner, playback_id: str, volume: int) -> None:
        """Change the volume of a running playback.

        Raises:
            BadRequest: the volume is out of range.
            NotFound: no such playback is running.
        """
        check_volume(volume)
        self._find(owner, playback_id).volume = volume
