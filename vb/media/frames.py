"""The shape of audio inside this package: 20 ms frames of mono 16-bit PCM."""

from typing import Final

import numpy as np

from vb.codecs.pcm import Pcm

__all__ = ["FRAMES_PER_S", "FRAME_MS", "FRAME_S", "Pcm", "frame_samples", "silence"]

FRAME_MS: Final = 20
FRAME_S: Final = 0.020
FRAMES_PER_S: Final = 50


def frame_samples(rate_hz: int) -> int:
    """Return how many samples one 20 ms frame has at ``rate_hz``."""
    return rate_hz // FRAMES_PER_S


def silence(rate_hz: int) -> Pcm:
    """Return one silent 20 ms frame."""
    return np.zeros(frame_samples(rate_hz), dtype=np.int16)
