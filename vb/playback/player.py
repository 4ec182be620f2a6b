"""A playback as the media plane sees it: a frame source with a volume, a counter and an end.

The plane calls `Playback.take` once a tick; a task (`vb.playback.tasks.player`) fills it. Both run in
the event loop's thread, so there is nothing to lock, and neither ever waits for the other in `take`.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from vb.codecs.resample import StreamResampler
from vb.media.frames import FRAME_MS, Pcm, frame_samples
from vb.media.gain import Gain
from vb.mixer.frames import FrameSource

BUFFER_FRAMES: Final = 50
REFILL_FRAMES: Final = 25
"""The producer is woken when this many frames fit, so it runs about twice a second."""

FinishReason = Literal["completed", "stopped"]


@dataclass(frozen=True, slots=True)
class PlaybackRequest:
    """What to play: exactly one of ``url`` and ``tone``.

    ``repeat`` 0 and 1 play once, n plays n times, -1 until stopped; tones ignore it.

    Raises:
        ValueError: the combination makes no sense.
    """

    url: str | None = None
    tone: str | None = None
    mime_type: str | None = None
    repeat: int = 0
    volume: int = 0

    def __post_init__(self) -> None:
        if (self.url is None) == (self.tone is None):
            raise ValueError("exactly one of url and tone is required")
        if self.repeat < -1:
            raise ValueError("repeat must be -1 or more")

    @property
    def passes(self) -> int | None:
        """How often the audio is played; None means until stopped."""
        return None if self.repeat == -1 else max(1, self.repeat)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a playback ended without an error, and how much of it was really played.

    ``underruns`` counts the ticks that found no frame because the decoder was behind.
    """

    reason: FinishReason
    played_ms: int
    underruns: int = 0


def _do_nothing() -> None:
    """Stand in for a callback nobody has set."""


class FrameBuffer:
    """At most `BUFFER_FRAMES` of decoded audio between a producer task and the plane.

    The producer writes only while `has_room`, so nothing is ever dropped; the frames are converted
    to the listener's rate when they are taken, which may change at any frame.

    Args:
        rate_hz: rate of what is written, one the resampler knows.
        on_change: called when the producer can go on: there is room again, or the end was taken.
    """

    def __init__(self, rate_hz: int, *, on_change: Callable[[], None] = _do_nothing) -> None:
        self.rate_hz = rate_hz
        self._on_change = on_change
        self._frames: deque[Pcm] = deque()
        self._rest: Pcm = np.zeros(0, np.int16)
        self._ended = False
        self._resampler: StreamResampler | None = None
        self._resampler_hz = rate_hz
        self._last: Pcm | None = None

    @property
    def has_room(self) -> bool:
        """Whether the producer may write another piece of up to `REFILL_FRAMES`."""
        return len(self._frames) <= BUFFER_FRAMES - REFILL_FRAMES

    @property
    def has_frames(self) -> bool:
        """Whether there is a whole frame to take."""
        return bool(self._frames)

    @property
    def finished(self) -> bool:
        """Whether the last frame was taken after `end`."""
        return self._ended and not self._frames

    def write(self, pcm: Pcm) -> None:
        """Append audio of any length; what does not fill a frame waits for more."""
        if self._rest.size:
            pcm = np.concatenate((self._rest, pcm))
        samples = frame_samples(self.rate_hz)
        whole = pcm.size // samples * samples
        self._frames.extend(pcm[:whole].reshape(-1, samples))
        self._rest = pcm[whole:]

    def end(self) -> None:
        """Say that nothing more comes; an unfinished frame is filled up with silence."""
        if self._rest.size:
            padding = frame_samples(self.rate_hz) - self._rest.size
            self._frames.append(np.pad(self._rest, (0, padding)))
            self._rest = self._rest[:0]
        self._ended = True

    def take(self, rate_hz: int) -> Pcm | None:
        """Return the next frame at ``rate_hz``, or None when the producer is behind or done."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        if rate_hz != self._resampler_hz:
            self._change_rate(rate_hz)
        self._last = frame
        if len(self._frames) == BUFFER_FRAMES - REFILL_FRAMES or self.finished:
            self._on_change()
        return frame if self._resampler is None else self._resampler.process(frame)

    def _change_rate(self, rate_hz: int) -> None:
        """Convert from here on to another rate, with the last frame as the filter's history."""
        self._resampler_hz = rate_hz
        self._resampler = None
        if rate_hz != self.rate_hz:
            self._resampler = StreamResampler(self.rate_hz, rate_hz)
            if self._last is not None:
                self._resampler.process(self._last)


class PacedPlayback:
    """Something that is heard: the plane takes frames from it, commands change its volume and stop it.

    It is silent (``take`` gives None) until its task attaches the audio.

    Args:
        volume: volume step, -8 to 8.
    """

    def __init__(self, volume: int) -> None:
        self.on_end: Callable[[], None] = _do_nothing
        self._gain = Gain(volume)
        self._source: FrameSource | None = None
        self.underruns = 0
        self._frames_taken = 0
        self._end: FinishReason | None = None

    @property
    def volume(self) -> int:
        """Volume step, -8 to 8; setting it is heard from the next frame on.

        Raises:
            ValueError: the new value is out of range.
        """
        return self._gain.volume

    @volume.setter
    def volume(self, volume: int) -> None:
        self._gain.volume = volume

    @property
    def finished(self) -> bool:
        """Whether the plane may forget this source."""
        return self._end is not None

    @property
    def end_reason(self) -> FinishReason | None:
        """Why it ended; None while it goes on."""
        return self._end

    @property
    def played_ms(self) -> int:
        """How much audio the plane has taken."""
        return self._frames_taken * FRAME_MS

    def attach(self, source: FrameSource) -> None:
        """Start playing from ``source`` with the next tick, unless the playback was stopped."""
        self._source = source

    def stop(self) -> None:
        """End it now, wherever it is; not another frame is played. Later calls do nothing."""
        self._finish("stopped")

    def take(self, rate_hz: int) -> Pcm | None:
        """Return the next 20 ms at ``rate_hz``, or None when there is nothing to play."""
        if self._end is not None or self._source is None:
            return None
        frame = self._source.take(rate_hz)
        if frame is not None:
            self._frames_taken += 1
            frame = self._gain.apply(frame)
        if self._source.finished:
            self._finish("completed")
        elif frame is None:
            self.underruns += 1
        return frame

    def _finish(self, reason: FinishReason) -> None:
        if self._end is None:
            self._end = reason
            self._source = None
            self.on_end()


class Playback(PacedPlayback):
    """A file or tone that is played."""

    def __init__(self, request: PlaybackRequest) -> None:
        super().__init__(request.volume)
        self.request = request
