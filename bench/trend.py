"""Whether a figure stays where it is: samples of a long run, its last third against its first."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much more the last third may show than the first: a share of the first and a fixed amount."""

    share: float
    amount: float


@dataclass(frozen=True, slots=True)
class Trend:
    """Where a figure went.

    Attributes:
        first: median of the first third.
        last: median of the last third.
        per_hour: slope of the straight line through all samples.
        limit: most that `last` may be.
    """

    first: float
    last: float
    per_hour: float
    limit: float

    @property
    def is_steady(self) -> bool:
        return self.last <= self.limit


def trend_of(times_s: Sequence[float], values: Sequence[float], tolerance: Tolerance) -> Trend:
    """Return the trend of at least three samples.

    Medians keep a single disturbance by others on the machine out of the verdict.

    Raises:
        ValueError: fewer than three samples.
    """
    if len(values) < 3:
        raise ValueError("a trend takes three samples")
    third = max(1, len(values) // 3)
    first, last = statistics.median(values[:third]), statistics.median(values[-third:])
    slope = statistics.linear_regression(times_s, values).slope
    return Trend(first, last, slope * 3600, first * (1 + tolerance.share) + tolerance.amount)
