"""Comfort noise: faint telephone-band noise, so that a silent line does not sound dead."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from vb.mixer.frames import RATES_HZ, Pcm, Slots, samples_per_tick

LEVEL_DBFS: Final = -65.0
"""RMS at the listener, G.711 included."""
_SECONDS: Final = 4
_LOW_HZ: Final = 200
_HIGH_HZ: Final = 3200
_SEED: Final = 20_003


@cache
def noise_loop(rate_hz: int) -> Pcm:
    """Return seconds of noise that may be repeated without a seam, the same sound at each rate."""
    count = _SECONDS * rate_hz
    generator = np.random.Generator(np.random.PCG64(_SEED))
    bins = _SECONDS * RATES_HZ[0] // 2 + 1
    spectrum = np.zeros(count // 2 + 1, np.complex128)
    spectrum[:bins] = generator.standard_normal(bins) + 1j * generator.standard_normal(bins)
    frequency = np.arange(spectrum.size) / _SECONDS
    spectrum[(frequency < _LOW_HZ) | (frequency > _HIGH_HZ)] = 0
    noise = np.fft.irfft(spectrum, count)
    noise *= 32768 * 10 ** (LEVEL_DBFS / 20) / np.sqrt(np.mean(noise**2))
    loop: Pcm = np.rint(noise).astype(np.int16)
    return loop


def comfort_noise(slots: Slots, tick: int, rate_hz: int) -> Pcm:
    """Return one frame for each leg, (n, samples): continuous from tick to tick, different between legs."""
    loop = noise_loop(rate_hz)
    width = samples_per_tick(rate_hz)
    frames = loop.size // width
    # 61 and the number of frames have no common factor, so neighbours start far apart.
    chosen = (slots * 61 + tick) % frames
    return loop.reshape(frames, width)[chosen]
