"""The beep after a voicemail's greeting: a steady tone between 800 and 1200 Hz."""

from __future__ import annotations

from typing import Final

import numpy as np

from vb.speech.frames import FRAME_MS, FRAME_SAMPLES, RATE_HZ, Frame

FREQUENCIES_HZ: Final = tuple(range(800, 1201, 50))
TONAL_SHARE: Final = 0.2
"""Share of a frame's energy at one frequency from which on it is a tone; a pure one reaches 0.5."""
TONAL_FRAMES: Final = 4

_BINS: Final = np.rint(FRAME_SAMPLES * np.array(FREQUENCIES_HZ) / RATE_HZ)
_STEPS: Final = np.arange(FRAME_SAMPLES)[:, None] * (2 * np.pi * _BINS / FRAME_SAMPLES)
# Goertzel's power of a bin is that of the bin's Fourier coefficient; all bins are one product.
_COSINES: Final = np.cos(_STEPS)
_SINES: Final = np.sin(_STEPS)


def tonal_share(frame: Frame) -> float:
    """Return the largest Goertzel power of the watched frequencies, over frame length and energy.

    0 for silence.
    """
    energy = float(frame @ frame)
    if energy == 0.0:
        return 0.0
    power = (frame @ _COSINES) ** 2 + (frame @ _SINES) ** 2
    return float(power.max()) / FRAME_SAMPLES / energy


class BeepDetector:
    """Waits for a tone that lasts."""

    def __init__(self) -> None:
        self._tonal = 0
        self.elapsed_ms = 0

    def push(self, frame: Frame) -> bool:
        """Take the next frame; returns whether it completes a beep."""
        self.elapsed_ms += FRAME_MS
        self._tonal = self._tonal + 1 if tonal_share(frame) >= TONAL_SHARE else 0
        return self._tonal == TONAL_FRAMES
