"""Speech told by its loudness above what is always there, where no model is installed."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import Pcm

_QUIET_RMS: Final = 60.0
"""No noise counts as fainter: on a silent line each crackle would be speech."""
_FALL: Final = 0.2
_RISE: Final = 0.005
"""Part of the way to a quieter or a louder frame that the noise goes: speech must not become noise."""
_MARGIN_DB: Final = 9.0
"""How far speech lies above the noise where both are equally likely."""
_SLOPE_DB: Final = 2.0


class Loudness:
    """Keeps the noise of each row."""

    def __init__(self, rows: int) -> None:
        self._noise = np.full(rows, _QUIET_RMS, np.float32)

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Forget the past of some rows."""
        self._noise[rows] = _QUIET_RMS

    def judge(self, rows: NDArray[np.intp], frames: Pcm) -> NDArray[np.float32]:
        """Return the probability of speech of one frame of each row."""
        loud = np.sqrt(np.mean(frames.astype(np.float32) ** 2, axis=1)) + 1
        noise = self._noise[rows]
        step = np.where(loud < noise, _FALL, _RISE)
        self._noise[rows] = np.maximum(_QUIET_RMS, noise + step * (loud - noise))
        above_db = 20 * np.log10(loud / np.maximum(noise, _QUIET_RMS))
        odds: NDArray[np.float32] = 1 / (1 + np.exp((_MARGIN_DB - above_db) / _SLOPE_DB))
        return odds.astype(np.float32)
