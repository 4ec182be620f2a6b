"""Digits heard as tones in the audio, for calls without telephone-events.

Each 20 ms frame is fitted by least squares with the eight tones of the keypad, which keeps neighbouring tones
apart although the frame is short. A digit is one row tone and one column tone that explain nearly all of the
frame; two frames in a row make it count, two without it let it count again.

Spec: ITU-T Q.23, Q.24.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.mixer.digit_tones import COLUMNS_HZ, KEYS, ROWS_HZ

RATE_HZ: Final = 8000
FRAME_SAMPLES: Final = 160

MIN_POWER: Final = 300.0**2
"""Mean square of the faintest digit, about −38 dBov."""
MIN_SHARE: Final = 0.58
"""Part of a frame's power that the keypad's tones must explain, 1.5 % off included."""
MIN_LEAD: Final = 6.0
"""How far the strongest tone of a group is ahead of the next; a tone a little off spills over."""
MAX_TWIST: Final = 8.0
"""Greatest ratio of the two tones' powers, 9 dB."""
FRAMES_ON: Final = 2
FRAMES_OFF: Final = 2
"""Frames of 20 ms in a row that begin and end a digit."""


def _basis() -> NDArray[np.float64]:
    time = np.arange(FRAME_SAMPLES) / RATE_HZ
    phases = [2 * np.pi * tone * time for tone in ROWS_HZ + COLUMNS_HZ]
    return np.stack([wave for phase in phases for wave in (np.cos(phase), np.sin(phase))], axis=1)


_BASIS: Final = _basis()
_FIT: Final = np.linalg.pinv(_BASIS)


def frame_digit(frame: NDArray[np.int16]) -> str | None:
    """Return the digit that a frame of 160 samples at 8 kHz holds, or None."""
    samples = frame.astype(np.float64)
    power = float(np.mean(samples**2))
    if power < MIN_POWER:
        return None
    amplitudes = _FIT @ samples
    if float(np.mean((_BASIS @ amplitudes) ** 2)) < MIN_SHARE * power:
        return None
    powers = (amplitudes.reshape(8, 2) ** 2).sum(axis=1)
    row, low = _leader(powers[:4])
    column, high = _leader(powers[4:])
    if row is None or column is None or max(low, high) > MAX_TWIST * min(low, high):
        return None
    return KEYS[row][column]


def _leader(powers: NDArray[np.float64]) -> tuple[int | None, float]:
    """Return the strongest tone of a group and its power; None when another one comes close."""
    order = np.argsort(powers)
    best, second = int(order[-1]), float(powers[order[-2]])
    return (best if powers[best] >= MIN_LEAD * second else None), float(powers[best])


class InbandDtmfDetector:
    """Follows one leg's audio frame by frame."""

    def __init__(self) -> None:
        self._candidate: str | None = None
        self._run = 0
        self._current: str | None = None
        self._misses = 0

    def feed(self, frame: NDArray[np.int16]) -> str | None:
        """Take 20 ms at 8 kHz and return a digit that has just begun to count."""
        digit = frame_digit(frame)
        if self._current is not None:
            self._misses = 0 if digit == self._current else self._misses + 1
            if self._misses >= FRAMES_OFF:
                self._current = None
        self._run = self._run + 1 if digit is not None and digit == self._candidate else 1
        self._candidate = digit
        if digit is None or digit == self._current or self._run < FRAMES_ON:
            return None
        self._current, self._misses = digit, 0
        return digit
