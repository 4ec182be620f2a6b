"""A recording as the media plane sees it: one frame sink per channel on a common 20 ms grid.

The plane pushes at most one frame per channel and tick. Frames that are pushed within most of a tick of
each other share a slot of the grid; a channel that pushed nothing is silent there. When nobody pushes
for longer (a held leg, a leg between two rooms) the clock tells how many slots to leave silent, so the
channels never drift from each other and the file is as long as the recording took.

Finished slots wait in a bounded queue for the task that writes them (`vb.recording.tasks.recorder`).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from vb.media.frames import FRAME_MS, FRAME_S, Pcm

MAX_QUEUED_SLOTS: Final = 250
"""Five seconds; a disk that is further behind ends the recording."""
BATCH_SLOTS: Final = 25
"""The writer is woken every half second."""
MAX_AHEAD_SLOTS: Final = 16
"""How far frames may run ahead of the clock before some are dropped."""
_GAP_SLOTS: Final = 5
"""Silence is filled in from this distance on; a tick that is less late is still made up for."""

_SAME_TICK_S: Final = 0.75 * FRAME_S
"""A loaded plane needs part of the tick between the first channel and the last."""

Chunk: TypeAlias = tuple[Pcm, int]
"""A frame and its rate in Hz."""
Slot: TypeAlias = tuple[Chunk | None, ...] | int
"""One 20 ms step with a chunk or silence per channel, or a number of steps of silence."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The outcome of a recording.

    ``file`` is the absolute path, "" when nothing was kept. ``error`` says why it ended early or
    was lost; a file and an error together mean that the file holds what came before the error.
    """

    file: str
    duration_ms: int = 0
    error: str | None = None


class ChannelSink:
    """The frame sink of one channel of a recording."""

    __slots__ = ("_channel", "_recorder")

    def __init__(self, recorder: "Recorder", channel: int) -> None:
        self._recorder = recorder
        self._channel = channel

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Record one frame; it is copied. Never blocks, and does nothing once the recording ended."""
        self._recorder.push(self._channel, frame, rate_hz)


def _do_nothing() -> None:
    """Stand in for a callback nobody has set."""


class Recorder:
    """Collects the frames of one recording. It begins with the first frame that is pushed.

    Args:
        channels: how many there are at first: 1, or 2 for left and right.
        clock: monotonic seconds.
        rate_hz: rate of the file; None takes the first frame's.
        max_queued_slots: how far the writer may fall behind, in slots of 20 ms.

    Attributes:
        sinks: one for each channel; of left and right the first takes what the leg says, the second what it
            hears.
    """

    def __init__(
        self,
        *,
        channels: int,
        clock: Callable[[], float],
        rate_hz: int | None = None,
        max_queued_slots: int = MAX_QUEUED_SLOTS,
    ) -> None:
        self.channels = channels
        self.rate_hz = rate_hz
        self.queue: deque[Slot] = deque()
        self.sinks = tuple(ChannelSink(self, channel) for channel in range(channels))
        self.on_ready: Callable[[], None] = _do_nothing
        self.result: Recorded | None = None
        self.error: str | None = None
        self.dropped_frames = 0
        self._clock = clock
        self._max_queued_slots = max_queued_slots
        self._paused = False
        self._ended = False
        self._begun_at: float | None = None
        self._slots = 0
        self._open: list[Chunk | None] = [None] * channels
        self._pushed = 0
        self._opened_at = 0.0

    def add_channel(self) -> ChannelSink:
        """Return the sink of one more channel, which is silent up to now. Call it on the pushing thread."""
        sink = ChannelSink(self, self.channels)
        self.channels += 1
        self.sinks = (*self.sinks, sink)
        self._open.append(None)
        return sink

    @property
    def position_ms(self) -> int:
        """Where in the file a frame that comes now would go, give or take half a frame."""
        if self._begun_at is None:
            return 0
        begun_slots = self._slots + (1 if self._pushed else 0)
        elapsed_slots = round((self._clock() - self._begun_at) / FRAME_S)
        return max(begun_slots, elapsed_slots) * FRAME_MS

    @property
    def ended(self) -> bool:
        """Whether no frame is taken any more."""
        return self._ended

    @property
    def paused(self) -> bool:
        """Whether silence is recorded instead of audio."""
        return self._paused

    @property
    def duration_ms(self) -> int:
        """Length of what was recorded so far."""
        return self._slots * FRAME_MS

    def pause(self) -> bool:
        """Record silence from the next frame on; returns False when it was paused already."""
        changed, self._paused = not self._paused, True
        return changed

    def resume(self) -> bool:
        """Record audio again; returns False when it was not paused."""
        changed, self._paused = self._paused, False
        return changed

    def stop(self) -> None:
        """End the recording now; what was pushed is still written. Later calls do nothing."""
        if self._ended:
            return
        if self._begun_at is not None:
            now = self._clock()
            self._close_slot()
            self._fill_gap(now)
        self._ended = True
        self.on_ready()

    def fail(self, error: str) -> None:
        """End the recording with an error; the first one is kept."""
        if not self._ended:
            self.error = error
            self.stop()

    def push(self, channel: int, frame: Pcm, rate_hz: int) -> None:
        """Put one frame of one channel on the grid. Use the sinks instead where one channel is meant."""
        if self._ended:
            return
        now = self._clock()
        bit = 1 << channel
        next_tick = not self._pushed or self._pushed & bit or now - self._opened_at > _SAME_TICK_S
        if next_tick and not self._open_slot(now, rate_hz):
            self.dropped_frames += 1
            return
        self._pushed |= bit
        if not self._paused:
            self._open[channel] = (frame.copy(), rate_hz)

    def _open_slot(self, now: float, rate_hz: int) -> bool:
        """Close the current slot and open the next; returns False when the frames are too early."""
        if self._begun_at is None:
            self._begun_at = now
            if self.rate_hz is None:
                self.rate_hz = rate_hz
        self._close_slot()
        if self._ended:
            return False
        self._fill_gap(now)
        if self._behind(now) < -MAX_AHEAD_SLOTS:
            return False
        self._opened_at = now
        return True

    def _behind(self, now: float) -> float:
        """Return how many slots the grid is behind the clock; negative when ahead."""
        begun_at = self._begun_at if self._begun_at is not None else now
        return (now - begun_at) / FRAME_S - self._slots

    def _fill_gap(self, now: float) -> None:
        missing = round(self._behind(now))
        if missing >= _GAP_SLOTS:
            self._slots += missing
            self.queue.append(missing)

    def _close_slot(self) -> None:
        """Queue the open slot for the writer, if there is one."""
        if not self._pushed:
            return
        self.queue.append(tuple(self._open))
        self._open = [None] * self.channels
        self._pushed = 0
        self._slots += 1
        if len(self.queue) >= self._max_queued_slots:
            self.fail("the disk cannot keep up with the recording")
        elif len(self.queue) >= BATCH_SLOTS:
            self.on_ready()
