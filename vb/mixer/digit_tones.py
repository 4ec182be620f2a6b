"""Digits as tones in the audio, for far ends that take no telephone-events.

Spec: ITU-T Q.23, Q.24; levels and times as ETSI ES 201 235-2 has them for a transmitter.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Final

import numpy as np

from vb.mixer.frames import Pcm, samples_per_tick

ROWS_HZ: Final = (697, 770, 852, 941)
COLUMNS_HZ: Final = (1209, 1336, 1477, 1633)
KEYS: Final = ("123A", "456B", "789C", "*0#D")
MAX_PENDING_DIGITS: Final = 256

_TONE_TICKS: Final = 5
_PAUSE_TICKS: Final = 5
"""100 ms each: Q.24 wants 40 ms of either at the receiver."""
_LOW_DBM0: Final = -9.0
_HIGH_DBM0: Final = -7.0
"""The upper group is sent 2 dB louder, as lines damp it more."""
_FULL_SCALE_DBM0: Final = 3.14
_FADE_MS: Final = 2
_PLACES: Final = {key: (row, keys.index(key)) for row, keys in enumerate(KEYS) for key in keys}


class DigitTones:
    """Plays queued digits one after another, each with a pause behind it, at whatever rate is asked for."""

    __slots__ = ("_digit", "_pending", "_tick")

    def __init__(self) -> None:
        self._pending: deque[str] = deque()
        self._digit: str | None = None
        self._tick = 0

    @property
    def active(self) -> bool:
        """Whether digits are going out or waiting: they take the place of other audio meanwhile."""
        return self._digit is not None or bool(self._pending)

    def queue(self, digits: str) -> bool:
        """Append digits, letters in any case; characters that are no digit are skipped.

        Returns:
            False when the queue has no room for all of them; then none is taken.
        """
        wanted = [digit for digit in digits.upper() if digit in _PLACES]
        if len(self._pending) + len(wanted) > MAX_PENDING_DIGITS:
            return False
        self._pending.extend(wanted)
        return True

    def clear(self) -> None:
        """Forget what has not gone out."""
        self._pending.clear()
        self._digit = None

    def take(self, rate_hz: int) -> Pcm:
        """Return the next 20 ms, silence in a pause."""
        if self._digit is None and self._pending:
            self._digit, self._tick = self._pending.popleft(), 0
        if self._digit is None:
            return np.zeros(samples_per_tick(rate_hz), np.int16)
        digit, tick = self._digit, self._tick
        self._tick += 1
        if self._tick == _TONE_TICKS + _PAUSE_TICKS:
            self._digit = None
        if tick >= _TONE_TICKS:
            return np.zeros(samples_per_tick(rate_hz), np.int16)
        width = samples_per_tick(rate_hz)
        return _tone(digit, rate_hz)[tick * width : (tick + 1) * width]


@lru_cache(maxsize=64)
def _tone(digit: str, rate_hz: int) -> Pcm:
    """Return the whole tone of a digit, with soft edges."""
    row, column = _PLACES[digit]
    samples = samples_per_tick(rate_hz) * _TONE_TICKS
    turns = np.arange(samples) * (2 * np.pi / rate_hz)
    wave = _peak(_LOW_DBM0) * np.sin(ROWS_HZ[row] * turns)
    wave += _peak(_HIGH_DBM0) * np.sin(COLUMNS_HZ[column] * turns)
    fade = rate_hz * _FADE_MS // 1000
    ramp = (np.arange(fade) + 0.5) / fade
    wave[:fade] *= ramp
    wave[-fade:] *= ramp[::-1]
    pcm: Pcm = np.rint(wave).astype(np.int16)
    pcm.setflags(write=False)
    return pcm


def _peak(level_dbm0: float) -> float:
    """Return the amplitude of a sine of this level."""
    return 32767.0 * float(10 ** ((level_dbm0 - _FULL_SCALE_DBM0) / 20))
