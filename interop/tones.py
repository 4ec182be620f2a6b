"""Which tones are in audio, by an FFT."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

BIN_HZ = 25
SAME_TONE_HZ = 50
# Comfort noise and what codecs leave of silence stay below it, tones far above.
LEAST_DB = -50.0

Pcm = NDArray[np.int16]


def loud_bins(pcm: Pcm, rate_hz: int) -> dict[int, float]:
    """Level in dB below full scale of every 25 Hz bin within 40 dB of the loudest, by a windowed FFT."""
    length = rate_hz // BIN_HZ
    windows = len(pcm) // length
    if windows == 0:
        return {}
    frames = pcm[: windows * length].reshape(windows, length) * np.hanning(length)
    amplitude = np.abs(np.fft.rfft(frames, axis=1)).mean(axis=0) * 4 / length / 32768
    level_db = 20 * np.log10(np.maximum(amplitude, 1e-6))
    least_db = max(level_db[4:].max() - 40, LEAST_DB)
    loud = [number for number in range(4, len(level_db)) if level_db[number] > least_db]
    return {number * BIN_HZ: round(float(level_db[number]), 1) for number in loud}


def fits(bins: Mapping[int, float], wanted: Collection[int], unwanted: Collection[int]) -> bool:
    """Whether all of the wanted tones and none of the unwanted ones are among the loud bins."""

    def has(hz: int) -> bool:
        return any(abs(found - hz) <= SAME_TONE_HZ for found in bins)

    return all(map(has, wanted)) and not any(map(has, unwanted))
