"""When a process that has ended is started again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vb.providers.backoff import Backoff

_RESTS: Final = Backoff(first_s=0.1, factor=4.0, cap_s=30.0, tries=1_000_000, budget_s=1e12)
SOUND_S: Final = 60.0
"""A process that lived for so long was well, whatever ended it."""


class Restarts:
    """How long to rest before the next start: longer each time, unless one lived for a while.

    Args:
        draw: gives numbers from 0 to 1 at random.

    Attributes:
        failures: processes in a row that did not live.
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self.failures = 0
        self._draw = draw

    def rest_s(self, lived_s: float) -> float:
        """Return how long to rest now that one has ended without being asked to."""
        self.failures = 1 if lived_s >= SOUND_S else self.failures + 1
        return _RESTS.delay_s(self.failures, 0.0, self._draw) or 0.0
