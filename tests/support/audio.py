"""WAV files as tests look at them: per channel, which tones and how loud."""

from __future__ import annotations

import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Wav:
    """A file that was read."""

    rate_hz: int
    pcm: NDArray[np.int16]
    """Shape (samples, channels)."""

    @property
    def channels(self) -> int:
        return int(self.pcm.shape[1])

    @property
    def duration_ms(self) -> float:
        return int(self.pcm.shape[0]) * 1000 / self.rate_hz

    def part(self, channel: int, start_ms: float, end_ms: float) -> NDArray[np.float64]:
        start, end = (int(moment * self.rate_hz / 1000) for moment in (start_ms, end_ms))
        return self.pcm[start:end, channel].astype(np.float64)

    def level(self, channel: int, start_ms: float, end_ms: float) -> float:
        """Root mean square of a stretch."""
        part = self.part(channel, start_ms, end_ms)
        return float(np.sqrt((part**2).mean())) if part.size else 0.0

    def tones(self, channel: int, start_ms: float = 0, end_ms: float = 1e9) -> set[int]:
        """Frequencies, on a 50 Hz grid, that stand out in a stretch."""
        part = self.part(channel, start_ms, min(end_ms, self.duration_ms))
        spectrum = np.abs(np.fft.rfft(part * np.hanning(part.size)))
        peaks = np.flatnonzero(spectrum > max(spectrum.max() * 0.2, 1e5))
        return {int(50 * round(peak * self.rate_hz / part.size / 50)) for peak in peaks}


def load_wav(path: str) -> Wav:
    """Read a 16-bit WAV file."""
    with wave.open(path) as file:
        assert file.getsampwidth() == 2
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return Wav(file.getframerate(), data.reshape(-1, file.getnchannels()))
