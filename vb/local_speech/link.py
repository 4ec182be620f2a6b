"""The server's end of the pipes: what was asked, what came of it, and whether the helper is well."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from vb.children.framing import HEAD_BYTES, Garbage
from vb.children.pulse import ChildFault, Pulse
from vb.local_speech.frames import Frame, FrameReader, Kind

BUSY_S: Final = 40.0
"""An engine that does one thing for so long hangs; loading one on a busy machine is part of it."""
OUTBOX_BYTES: Final = 4 * 1_048_576
"""What waits to be written to the helper at most; audio beyond it is dropped."""
SLOW_BYTES: Final = 1_048_576
"""From here on those who send audio are asked to wait."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a helper last said of itself.

    Attributes:
        rss_kb: its memory.
        busy_s: for how long its slowest engine has been at one thing.
        waiting: utterances and transcripts that it has.
    """

    rss_kb: int = 0
    busy_s: float = 0.0
    waiting: int = 0


class Link:
    """One helper's life; what is asked before it starts waits for it.

    Args:
        memory_mb: memory from which on it is replaced when nobody needs it, and at twice that at once.
    """

    def __init__(self, memory_mb: int) -> None:
        self._reader = FrameReader()
        self._memory_kb = memory_mb * 1024
        self._outbox: deque[Frame] = deque()
        self._outbox_bytes = 0
        self._pulse = Pulse()
        self.health = Health()
        self.dropped = 0

    @property
    def ready(self) -> bool:
        """Return whether the helper has started."""
        return self._pulse.ready

    @property
    def slow(self) -> bool:
        """Return whether those who send audio should wait."""
        return self._outbox_bytes > SLOW_BYTES

    @property
    def bloated(self) -> bool:
        """Return whether it should be replaced as soon as nobody needs it."""
        return self.health.rss_kb > self._memory_kb

    def begin(self, now: float) -> None:
        """Note that the helper was started."""
        self._pulse.begin(now)

    def send(self, frame: Frame) -> None:
        """Put a frame in line; audio that finds no room is dropped."""
        size = len(frame.body) + HEAD_BYTES
        if frame.kind in (Kind.AUDIO, Kind.FRAMES, Kind.TURN) and self._outbox_bytes + size > OUTBOX_BYTES:
            self.dropped += 1
            return
        self._outbox.append(frame)
        self._outbox_bytes += size

    def outgoing(self, limit: int) -> bytes:
        """Return what is to be written next, about `limit` bytes; nothing before the helper is ready."""
        if not self.ready:
            return b""
        parts: list[bytes] = []
        size = 0
        while self._outbox and size < limit:
            raw = self._outbox.popleft().encode()
            parts.append(raw)
            size += len(raw)
        self._outbox_bytes -= size
        return b"".join(parts)

    def receive(self, data: bytes, now: float) -> list[Frame]:
        """Return the frames that are about requests.

        Raises:
            ChildFault: it is garbage.
        """
        self._pulse.heard(now)
        try:
            frames = self._reader.feed(data)
            return [frame for frame in frames if not self._own(frame, now)]
        except Garbage as exc:
            raise ChildFault(f"garbage: {exc}") from None

    def _own(self, frame: Frame, now: float) -> bool:
        if frame.kind is Kind.READY:
            self._pulse.became_ready(now)
            return True
        if frame.kind is Kind.PONG:
            said = frame.fields
            try:
                self.health = Health(int(said["rss_kb"]), float(said["busy_s"]), int(said["waiting"]))
            except (KeyError, TypeError, ValueError):
                raise Garbage("PONG lacks something") from None
            return True
        if not self.ready or frame.kind < Kind.READY:
            raise Garbage(f"{frame.kind.name} is nothing a helper says")
        return False

    def deadline(self) -> float:
        """Return when `tick` is due at the latest."""
        return self._pulse.deadline()

    def tick(self, now: float) -> None:
        """Ask how it is, when that is due.

        Raises:
            ChildFault: it hangs, or has too much memory.
        """
        due = self._pulse.tick(now)
        if self.health.busy_s > BUSY_S:
            raise ChildFault("an engine hangs")
        if self.health.rss_kb > 2 * self._memory_kb:
            raise ChildFault("it has too much memory")
        if due:
            self.send(Frame(Kind.PING, 0))
