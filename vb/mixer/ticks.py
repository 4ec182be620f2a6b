"""The 20 ms grid: when ticks are due, what happens when they are late, and how late they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from vb.mixer.frames import TICK_S

MAX_MADE_UP: Final = 5
"""Fewer late ticks than this are made up back to back; as many or more are skipped."""
_WINDOW: Final = 3000
"""Ticks whose lateness is remembered: a minute."""
_LATE_S: Final = TICK_S / 4


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late ticks of the last minute began, in milliseconds."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class TickGrid:
    """An absolute grid of ticks, so that lateness never adds up.

    Args:
        start: monotonic time of the first tick.
    """

    def __init__(self, start: float) -> None:
        self.due = start
        self.late = 0
        self.skipped = 0
        self._lateness = np.zeros(_WINDOW, np.float64)
        self._count = 0

    def begin(self, now: float) -> int:
        """Begin the tick that is due and return how many ticks to skip before it."""
        behind = now - self.due
        skipped = 0
        if behind >= MAX_MADE_UP * TICK_S:
            skipped = int(behind / TICK_S)
            self.skipped += skipped
            self.due += skipped * TICK_S
        if behind > _LATE_S:
            self.late += 1
        self._lateness[self._count % _WINDOW] = max(0.0, behind)
        self._count += 1
        return skipped

    def finish(self) -> float:
        """Return when the next tick is due."""
        self.due += TICK_S
        return self.due

    def lateness(self) -> Lateness:
        """Return how late the ticks of the last minute were."""
        if not self._count:
            return Lateness(0.0, 0.0, 0.0)
        window = np.sort(self._lateness[: min(self._count, _WINDOW)]) * 1000
        p50, p99 = (float(window[round(share * (window.size - 1))]) for share in (0.5, 0.99))
        return Lateness(p50, p99, float(window[-1]))
