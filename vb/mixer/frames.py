"""What audio looks like on its way through the plane, and who may give or take it."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from vb.beat import BEAT_S
from vb.choices import MIXING_RATES_HZ

TICK_S: Final = BEAT_S
TICKS_PER_S: Final = 50
RATES_HZ: Final = MIXING_RATES_HZ
"""Rates of rooms and of legs."""

Pcm = NDArray[np.int16]
Mix = NDArray[np.float32]
Slots = NDArray[np.int64]


class FrameSource(Protocol):
    """Gives audio to a leg or a room. Both members are asked inside the tick and must not wait."""

    @property
    def finished(self) -> bool:
        """Whether nothing will come any more."""
        ...

    def take(self, rate_hz: int) -> Pcm | None:
        """Return the next 20 ms, (rate_hz / 50,) samples, or None when there is nothing to hear now."""
        ...


class FrameSink(Protocol):
    """Takes audio from a leg or a room."""

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Take 20 ms without waiting. The array is only lent: copy what is kept."""
        ...


def samples_per_tick(rate_hz: int) -> int:
    """Return the length of a 20 ms frame."""
    return rate_hz // TICKS_PER_S
