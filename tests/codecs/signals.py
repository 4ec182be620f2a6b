"""Test signals and the measures taken of them."""

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import Pcm


def tone(frequency_hz: float, rate_hz: int, seconds: float = 1.0, amplitude: float = 8000.0) -> Pcm:
    """A sine as int16."""
    time = np.arange(round(rate_hz * seconds)) / rate_hz
    return np.rint(amplitude * np.sin(2 * np.pi * frequency_hz * time)).astype(np.int16)


def spectrum_db(
    pcm: NDArray[np.int16] | NDArray[np.float64], amplitude: float = 8000.0
) -> NDArray[np.float64]:
    """Level of each frequency relative to a sine of that amplitude; bins are rate / samples apart."""
    window = np.hanning(pcm.size)
    spectrum = np.abs(np.fft.rfft(pcm * window)) / (window.sum() / 2) / amplitude
    level: NDArray[np.float64] = 20 * np.log10(np.maximum(spectrum, 1e-9))
    return level


def tone_to_rest_db(pcm: NDArray[np.int16] | NDArray[np.float64], frequency_hz: float, rate_hz: int) -> float:
    """How far the power at one frequency lies above all the rest."""
    power = 10 ** (spectrum_db(pcm) / 10)
    near = np.abs(np.arange(power.size) * rate_hz / pcm.size - frequency_hz) <= 4 * rate_hz / pcm.size
    return float(10 * np.log10(power[near].sum() / power[~near].sum()))
