"""The 20 ms grid: when ticks are due, what happens when they are late, and how late they are.

While nobody needs any, none is due: the grid rests, and goes on at its next point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from vb.mixer.frames import TICK_S

MAX_MADE_UP: Final = 5
"""Fewer late ticks than this are made up back to back; as many or more are skipped."""
_MINUTE_S: Final = 60.0
_WINDOW: Final = round(_MINUTE_S / TICK_S)
"""Ticks whose lateness is remembered."""
_LATE_S: Final = TICK_S / 4
_ROUNDING: Final = 1e-6
"""Of a tick: who comes so little behind a point of the grid has come in time for it."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late ticks of the last minute began, in milliseconds."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class TickGrid:
    """An absolute grid of ticks, so that lateness never adds up.

    Attributes:
        due: when the next tick is due; never while it rests.
        late: ticks that began late.
        skipped: ticks that were given up.

    Args:
        start: monotonic time of the first tick.
    """

    def __init__(self, start: float) -> None:
        self.due = start
        self._start = start
        self._number = 0
        self.late = 0
        self.skipped = 0
        self._begun = np.full(_WINDOW, -math.inf)
        self._lateness = np.zeros(_WINDOW, np.float64)
        self._count = 0

    def begin(self, now: float) -> int:
        """Begin the tick that is due and return how many ticks to skip before it."""
        behind = now - self.due
        skipped = 0
        if behind >= MAX_MADE_UP * TICK_S:
            skipped = int(behind / TICK_S)
            self.skipped += skipped
            self._go_to(self._number + skipped)
        if behind > _LATE_S:
            self.late += 1
        place = self._count % _WINDOW
        self._begun[place], self._lateness[place] = now, max(0.0, behind)
        self._count += 1
        return skipped

    def finish(self) -> float:
        """Return when the next tick is due."""
        self._go_to(self._number + 1)
        return self.due

    def _go_to(self, number: int) -> None:
        self._number = number
        self.due = self._start + number * TICK_S  # a sum of steps would drift from the beat in a day

    @property
    def rests(self) -> bool:
        """Whether no tick is due until it goes on."""
        return self.due == math.inf

    def rest(self) -> None:
        """Let no tick be due until it goes on."""
        self.due = math.inf

    def go_on(self, now: float) -> int:
        """End a rest and return how many ticks it took the place of; the next one is due on the same grid."""
        passed = (now - self._start) / TICK_S
        rested = max(0, math.ceil(passed - _ROUNDING) - self._number)
        self._go_to(self._number + rested)
        return rested

    def lateness(self, now: float) -> Lateness:
        """Return how late the ticks of the last minute were."""
        window = np.sort(self._lateness[self._begun > now - _MINUTE_S]) * 1000
        if not window.size:
            return Lateness(0.0, 0.0, 0.0)
        p50, p99 = (float(window[round(share * (window.size - 1))]) for share in (0.5, 0.99))
        return Lateness(p50, p99, float(window[-1]))
