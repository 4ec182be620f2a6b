"""The picture of sound that Whisper reads: 80 bands on the mel scale, a column every 10 ms."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import Pcm

BANDS: Final = 80
_RATE_HZ: Final = 16_000
_WINDOW: Final = 400
_HOP: Final = 160
_LINEAR_HZ: Final = 1000.0
"""Below it a mel is a constant step, above it a constant ratio (Slaney's scale)."""
_HZ_PER_MEL: Final = 200.0 / 3
_LOG_STEP: Final = np.log(6.4) / 27
_FLOOR: Final = 1e-10
_RANGE: Final = 8.0
"""What lies further below the loudest is cut off: decades of power."""


@cache
def _filters() -> NDArray[np.float32]:
    """Return triangles of equal area on the mel scale, (bands, bins)."""
    bins = np.linspace(0, _RATE_HZ / 2, _WINDOW // 2 + 1)
    linear_mels = _LINEAR_HZ / _HZ_PER_MEL
    top = linear_mels + np.log(_RATE_HZ / 2 / _LINEAR_HZ) / _LOG_STEP
    mels = np.linspace(0, top, BANDS + 2)
    edges = np.where(
        mels < linear_mels,
        mels * _HZ_PER_MEL,
        _LINEAR_HZ * np.exp(_LOG_STEP * (mels - linear_mels)),
    )
    widths = np.diff(edges)
    distance = edges[:, None] - bins[None, :]
    rising = -distance[:-2] / widths[:-1, None]
    falling = distance[2:] / widths[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    areas = 2 / (edges[2:] - edges[:-2])
    filters: NDArray[np.float32] = (triangles * areas[:, None]).astype(np.float32)
    return filters


@cache
def _window() -> NDArray[np.float32]:
    window: NDArray[np.float32] = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    return window


def log_mel(pcm: Pcm) -> NDArray[np.float32]:
    """Return the columns of an utterance at 16 kHz, (80, samples // 160); 400 samples at least."""
    return picture(pcm.astype(np.float32) / np.float32(32768))


def picture(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the columns of samples from -1 to 1, as `log_mel` does."""
    if len(sound) < _WINDOW:
        sound = np.pad(sound, (0, _WINDOW - len(sound)))
    sound = np.pad(sound, _WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP] * _window()
    power = np.abs(np.fft.rfft(frames, axis=1)[:-1]) ** 2
    bands = np.log10(np.maximum(_filters() @ power.T.astype(np.float32), _FLOOR))
    bands = np.maximum(bands, bands.max() - _RANGE)
    columns: NDArray[np.float32] = ((bands + 4) / 4).astype(np.float32)
    return columns
