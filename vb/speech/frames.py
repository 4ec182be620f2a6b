"""The frames that detectors look at: 20 ms at 16 kHz, whatever chunks the audio comes in."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import VOICED_RMS, Pcm

RATE_HZ: Final = 16000
FRAME_MS: Final = 20
FRAME_SAMPLES: Final = RATE_HZ * FRAME_MS // 1000

Frame = NDArray[np.float64]


class Framer:
    """Cuts audio into whole frames; what is left over waits for the next chunk."""

    def __init__(self) -> None:
        self._rest: Pcm = np.zeros(0, np.int16)

    def push(self, pcm: Pcm) -> Frame:
        """Return the frames that are complete now, (n, FRAME_SAMPLES)."""
        joined = np.concatenate((self._rest, pcm)) if self._rest.size else pcm
        whole = joined.size // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = joined[whole:].copy()
        return joined[:whole].reshape(-1, FRAME_SAMPLES).astype(np.float64)


def is_voiced(frame: Frame) -> bool:
    """Whether a frame is loud enough to be somebody's voice."""
    return float(frame @ frame) >= VOICED_RMS**2 * frame.size
