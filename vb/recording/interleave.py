"""From a recorder's slots to interleaved samples at the rate of one file."""

import numpy as np
from numpy.typing import NDArray

from vb.codecs.resample import StreamResampler
from vb.media.frames import frame_samples
from vb.recording.recorder import Chunk


class Interleaver:
    """Lays out the channels ``first`` and following of consecutive slots.

    A frame of another rate is resampled; each channel keeps its filter from one call to the next.

    Args:
        first: number of the first channel that is taken from each slot.
    """

    def __init__(self, first: int = 0) -> None:
        self._first = first
        self._resamplers: dict[int, tuple[int, StreamResampler]] = {}

    def render(self, slots: list[tuple[Chunk | None, ...]], channels: int, rate_hz: int) -> NDArray[np.int16]:
        """Return the samples, shape ``(samples, channels)``; what is missing is silent."""
        step = frame_samples(rate_hz)
        samples = np.zeros((len(slots) * step, channels), np.int16)
        for position, slot in enumerate(slots):
            for channel, chunk in enumerate(slot[self._first : self._first + channels]):
                if chunk is not None:
                    place = samples[position * step : (position + 1) * step, channel]
                    self._put(place, channel, chunk, rate_hz)
        return samples

    def _put(self, place: NDArray[np.int16], channel: int, chunk: Chunk, file_hz: int) -> None:
        frame, rate_hz = chunk
        if rate_hz != file_hz:
            known = self._resamplers.get(channel)
            if known is None or known[0] != rate_hz:
                known = self._resamplers[channel] = (rate_hz, StreamResampler(rate_hz, file_hz))
            frame = known[1].process(frame)
        samples = min(frame.size, place.size)
        place[:samples] = frame[:samples]
