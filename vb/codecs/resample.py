"""Sample rate conversion between 8, 16, 24 and 48 kHz for whole batches of live streams.

One frame of every stream is cut into short blocks, each with the filter's history before it, and all
the blocks are multiplied by one small Toeplitz matrix: a linear-phase FIR low-pass at the lower rate.
What a stream needs between two frames is the last few input samples, a row of an array that its owner
keeps.

Each output frame has exactly the samples of its time span, there is no seam between frames, and the
group delay is 16 samples of the lower rate: 2 ms at 8 kHz, 1 ms at 16 kHz. The pass band reaches 0.42 of
the lower rate; what lies above half of it is at least 45 dB down. Run it with one BLAS thread: more only
slow such small products.
"""

import math
from functools import cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import Pcm

Rows: TypeAlias = NDArray[np.intp]
"""Indices of streams in an array of states."""
Samples: TypeAlias = NDArray[np.int16] | NDArray[np.float32]
"""Audio in the scale of int16, (streams, samples)."""

RATES_HZ: Final = (8000, 16000, 24000, 48000)
_TAPS = 32
"""Filter length in samples of the lower rate."""
_STOP_BAND_DB = 46.0
_CHUNK_STREAMS = 128
"""Streams handled at once, so that their work space stays in the cache."""
_INT16_MIN = np.float32(-32768)
_INT16_MAX = np.float32(32767)


def group_delay_s(from_hz: int, to_hz: int) -> float:
    """Return how much later audio comes out than it went in."""
    return 0.0 if from_hz == to_hz else _TAPS / 2 / min(from_hz, to_hz)


def to_pcm(samples: NDArray[np.float32]) -> Pcm:
    """Round to int16 and saturates. The input is used as work space."""
    np.rint(samples, out=samples)
    np.clip(samples, _INT16_MIN, _INT16_MAX, out=samples)
    return samples.astype(np.int16)


def _low_pass(steps_per_sample: int) -> NDArray[np.float64]:
    """Return a Kaiser-windowed low-pass for the lower rate, sampled `steps_per_sample` times as densely."""
    beta = 0.5842 * (_STOP_BAND_DB - 21) ** 0.4 + 0.07886 * (_STOP_BAND_DB - 21)
    transition = (_STOP_BAND_DB - 7.95) / (14.36 * _TAPS)
    cutoff = (0.5 - transition / 2) / steps_per_sample
    length = _TAPS * steps_per_sample + 1
    time = np.arange(length) - length // 2
    low_pass: NDArray[np.float64] = np.sinc(2 * cutoff * time) * np.kaiser(length, beta)
    return low_pass


class Kernel:
    """The conversion from one rate to another, without any state; get it from `kernel`.

    Args:
        from_hz: one of `RATES_HZ`.
        to_hz: one of `RATES_HZ`; an equal rate passes audio through.

    Raises:
        ValueError: another rate was asked for.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        if from_hz not in RATES_HZ or to_hz not in RATES_HZ:
            raise ValueError(f"no live conversion from {from_hz} to {to_hz} Hz")
        self.from_hz = from_hz
        self.to_hz = to_hz
        common = math.gcd(from_hz, to_hz)
        self._up = to_hz // common
        self._down = from_hz // common
        lower = min(from_hz, to_hz)
        self._filter = _low_pass(from_hz * self._up // lower)
        self.history_samples = 0 if from_hz == to_hz else -(-(self._filter.size - 1) // self._up)
        self._matrices: dict[int, NDArray[np.float32]] = {}

    def output_samples(self, samples: int) -> int:
        """Return the length that `samples` of input become.

        Raises:
            ValueError: they do not become a whole number of samples.
        """
        if samples % self._down:
            raise ValueError(f"{samples} samples at {self.from_hz} Hz end between two at {self.to_hz} Hz")
        return samples // self._down * self._up

    def new_history(self, streams: int) -> NDArray[np.float32]:
        """Return the state of `streams` that have been silent so far, (streams, history_samples)."""
        return np.zeros((streams, self.history_samples), np.float32)

    def process(self, frames: Samples, history: NDArray[np.float32]) -> tuple[Pcm, NDArray[np.float32]]:
        """Convert one frame of each stream to saturated int16.

        Args:
            frames: (streams, samples).
            history: the streams' states, (streams, history_samples); it is not changed.

        Returns:
            The converted frames and the states to pass with the next ones.

        Raises:
            ValueError: the frames do not become a whole number of samples.
        """
        if self.from_hz == self.to_hz:
            pcm = frames if frames.dtype == np.int16 else to_pcm(frames.astype(np.float32))
            return pcm.astype(np.int16, copy=False), history
        streams, samples = frames.shape
        converted = np.empty((streams, self.output_samples(samples)), np.int16)
        state = np.empty((streams, self.history_samples), np.float32)
        work = np.empty((min(streams, _CHUNK_STREAMS), converted.shape[1]), np.float32)
        for start in range(0, streams, _CHUNK_STREAMS):
            chunk = slice(start, start + _CHUNK_STREAMS)
            exact = work[: streams - start]
            self._convert(frames[chunk], history[chunk], state[chunk], exact)
            converted[chunk] = to_pcm(exact)
        return converted, state

    def process_float(
        self, frames: Samples, history: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Convert like `process`, to float32 that is neither rounded nor saturated: for mixing in float."""
        if self.from_hz == self.to_hz:
            return frames.astype(np.float32, copy=False), history
        streams, samples = frames.shape
        converted = np.empty((streams, self.output_samples(samples)), np.float32)
        state = np.empty((streams, self.history_samples), np.float32)
        for start in range(0, streams, _CHUNK_STREAMS):
            chunk = slice(start, start + _CHUNK_STREAMS)
            self._convert(frames[chunk], history[chunk], state[chunk], converted[chunk])
        return converted, state

    def _convert(
        self,
        frames: Samples,
        history: NDArray[np.float32],
        state: NDArray[np.float32],
        converted: NDArray[np.float32],
    ) -> None:
        """Convert one chunk; its audio goes to `converted`, C-contiguous, and its new state to `state`."""
        streams, samples = frames.shape
        past = self.history_samples
        joined = np.empty((streams, past + samples), np.float32)
        joined[:, :past] = history
        joined[:, past:] = frames
        state[...] = joined[:, samples:]
        if not converted.size:
            return
        # As long as the history: longer blocks multiply more zeros, shorter ones copy more history.
        block = math.gcd(samples, past)
        blocks = samples // block
        overlapping = np.ndarray(
            (streams, blocks, past + block),
            np.float32,
            joined,
            strides=(joined.strides[0], block * joined.itemsize, joined.itemsize),
        )
        rows = streams * blocks
        np.matmul(
            overlapping.reshape(rows, past + block), self._matrix(block), out=converted.reshape(rows, -1)
        )

    def _matrix(self, block: int) -> NDArray[np.float32]:
        """Return the Toeplitz matrix of a block length, (history + block, output of the block)."""
        matrix = self._matrices.get(block)
        if matrix is None:
            taken = np.arange(-self.history_samples, block)[:, None] * self._up
            given = np.arange(block // self._down * self._up)[None, :] * self._down
            tap = given - taken
            inside = (tap >= 0) & (tap < self._filter.size)
            weights = np.where(inside, self._filter[np.clip(tap, 0, self._filter.size - 1)], 0.0)
            # Every phase of the filter passes a constant signal unchanged.
            matrix = self._matrices[block] = (weights / weights.sum(axis=0)).astype(np.float32)
        return matrix


@cache
def kernel(from_hz: int, to_hz: int) -> Kernel:
    """Return the shared kernel of a pair of rates.

    Raises:
        ValueError: a rate is not one of `RATES_HZ`.
    """
    return Kernel(from_hz, to_hz)


class Resampler:
    """Converts a changing set of streams that live in fixed slots.

    Attributes:
        used: whether it ever converted anything; until then nobody's history needs a look.

    Args:
        from_hz: rate of the input.
        to_hz: rate of the output.
        capacity: number of slots.

    Raises:
        ValueError: a rate is not one of `RATES_HZ`.
    """

    def __init__(self, from_hz: int, to_hz: int, capacity: int) -> None:
        self.kernel = kernel(from_hz, to_hz)
        self.history = self.kernel.new_history(capacity)
        self.used = False

    def process(self, frames: Samples, rows: Rows | slice) -> Pcm:
        """Convert one frame of each of the streams in `rows`, (len(rows), samples); no row twice.

        Raises:
            ValueError: the frames do not become a whole number of samples.
        """
        self.used = True
        converted, self.history[rows] = self.kernel.process(frames, self.history[rows])
        return converted

    def process_float(self, frames: Samples, rows: Rows | slice) -> NDArray[np.float32]:
        """Do the same without rounding."""
        self.used = True
        converted, self.history[rows] = self.kernel.process_float(frames, self.history[rows])
        return converted

    def reset(self, rows: Rows | slice) -> None:
        """Make `rows` ready for new streams."""
        self.history[rows] = 0.0


class StreamResampler:
    """Converts one stream, frame by frame.

    Args:
        from_hz: rate of the input.
        to_hz: rate of the output.

    Raises:
        ValueError: a rate is not one of `RATES_HZ`.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.kernel = kernel(from_hz, to_hz)
        self._history = self.kernel.new_history(1)

    def process(self, pcm: Pcm) -> Pcm:
        """Return the next audio at the output rate.

        Raises:
            ValueError: `pcm` does not become a whole number of samples.
        """
        converted, self._history = self.kernel.process(pcm[None, :], self._history)
        return converted.ravel()

    def reset(self) -> None:
        """Forget the audio so far."""
        self._history = self.kernel.new_history(1)
