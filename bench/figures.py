"""Percentiles as every figure of the bench uses them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that `share` percent of all values do not exceed; NaN when there are none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution in milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, values_ms: Iterable[float]) -> Spread:
        values = list(values_ms)
        return cls(
            percentile(values, 50), percentile(values, 95), percentile(values, 99), percentile(values, 100)
        )

    @classmethod
    def worst(cls, spreads: Iterable[Spread]) -> Spread:
        """Return the largest of every figure."""
        columns = list(zip(*((s.p50_ms, s.p95_ms, s.p99_ms, s.max_ms) for s in spreads), strict=True))
        return cls(*(max(column) for column in columns)) if columns else cls.of(())


@dataclass(frozen=True, slots=True)
class FaultyAgentFigures:
    """What is left of agents whose partners fail.

    Attributes:
        sessions: that came.
        ended: of them, those whose end was told.
        left: tasks, files and processes that are there after the last and were not before the first.
        took_s: until nothing was left, after the last was ended.
    """

    sessions: int
    ended: int
    left: int
    took_s: float
