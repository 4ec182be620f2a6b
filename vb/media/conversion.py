"""Decoded audio to mono at another rate, for whole recordings rather than for live frames."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from vb.codecs.pcm import Pcm

STORAGE_RATES_HZ: Final = (8_000, 16_000, 48_000)


def storage_rate_hz(source_hz: int) -> int:
    """Return the rate audio is kept at: the next storage rate above its own, else the highest."""
    return next((rate for rate in STORAGE_RATES_HZ if rate >= source_hz), STORAGE_RATES_HZ[-1])


def samples_of(frames: list[AudioFrame]) -> Iterator[Pcm]:
    """Return the samples of packed mono 16-bit frames."""
    for frame in frames:
        if frame.samples:
            yield np.asarray(frame.to_ndarray(), dtype=np.int16).reshape(-1)


def mono_resampler(rate_hz: int) -> AudioResampler:
    """Make a converter of anything to mono 16-bit samples at ``rate_hz``."""
    return AudioResampler(format="s16", layout="mono", rate=rate_hz)


class RateConverter:
    """Changes the rate of mono audio; the length comes out exact to the sample."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._from_hz = from_hz
        self._to_hz = to_hz
        self._resampler = mono_resampler(to_hz)
        self._taken = self._given = 0

    def feed(self, pcm: Pcm) -> list[Pcm]:
        """Take the next audio; returns what can be given of it."""
        if not pcm.size:
            return []
        self._taken += pcm.size
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(pcm)[None, :], format="s16", layout="mono")
        frame.sample_rate = self._from_hz
        given = list(samples_of(self._resampler.resample(frame)))
        self._given += sum(piece.size for piece in given)
        return given

    def finish(self) -> list[Pcm]:
        """Return what is left inside, cut or filled up to the exact length."""
        missing = max(0, round(self._taken * self._to_hz / self._from_hz) - self._given)
        rest = np.concatenate([*samples_of(self._resampler.resample(None)), np.zeros(missing, np.int16)])
        return [rest[:missing]]
