"""How many calls a filter leaves: by the counters, and by an index for what lies in a part of a bucket."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, distinct, func, select

from vb.history.counts import (
    DURATION,
    HOUR,
    HOUR_US,
    LABEL,
    MINUTE_US,
    TIME_OF_DAY,
)
from vb.history.labels import SEVERAL_AGENTS
from vb.history.query import Filters
from vb.history.schema import (
    CALLS,
    COMMON_WORDS,
    COUNTS,
    KEY_BITS,
    LABELS,
    MAX_CREATED_US,
    WORD_COUNTS,
)
from vb.history.times import SECOND_US

KEY_MASK = (1 << KEY_BITS) - 1
MAX_US = (1 << 63) - 1
OVERLAP_MAX = 5_000
"""Up to so many calls with several agents are looked at one by one."""


def key_range(filters: Filters) -> tuple[int, int]:
    """Return the least and the largest key of the wanted times of creation."""
    first_us = 0 if filters.created_from_us is None else filters.created_from_us
    last_us = MAX_CREATED_US if filters.created_to_us is None else filters.created_to_us
    first_us = min(max(first_us, 0), MAX_CREATED_US)
    last_us = min(last_us, MAX_CREATED_US)
    return first_us << KEY_BITS, -1 if last_us < 0 else last_us << KEY_BITS | KEY_MASK


def duration_range(filters: Filters) -> tuple[int, int]:
    """Return the least and the largest wanted duration; calls that go on have none."""
    least_us = 0 if filters.duration_min_us is None else filters.duration_min_us
    most_us = MAX_US if filters.duration_max_us is None else filters.duration_max_us
    return min(max(least_us, 0), MAX_US), min(most_us, MAX_US)


def has_dates(filters: Filters) -> bool:
    """Whether the time of creation is limited."""
    return filters.created_from_us is not None or filters.created_to_us is not None


def has_durations(filters: Filters) -> bool:
    """Whether the duration is limited."""
    return filters.duration_min_us is not None or filters.duration_max_us is not None


class Totals:
    """Counts of calls over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _sum(self, dimension: int, *conditions: ColumnElement[bool]) -> int:
        query = select(func.coalesce(func.sum(COUNTS.c.calls), 0)).where(
            COUNTS.c.dimension == dimension, *conditions
        )
        return int(self._connection.scalar(query) or 0)

    def _count(self, *conditions: ColumnElement[bool]) -> int:
        return int(self._connection.scalar(select(func.count()).select_from(CALLS).where(*conditions)) or 0)

    def all(self) -> int:
        """Count all calls."""
        return self._sum(HOUR)

    def of_dates(self, filters: Filters) -> int:
        """Count by the time of creation."""
        low, high = key_range(filters)
        return self._between(HOUR, low, high, HOUR_US << KEY_BITS, CALLS.c.call_key)

    def of_durations(self, filters: Filters) -> int:
        """Count by the duration."""
        low, high = duration_range(filters)
        return self._between(DURATION, low, high, SECOND_US, CALLS.c.duration_us)

    def of_times(self, filters: Filters) -> int:
        """Count by the time of day."""
        return sum(
            self._between(TIME_OF_DAY, low, high, MINUTE_US, CALLS.c.time_of_day_us)
            for low, high in filters.times_of_day_us
        )

    def _between(self, dimension: int, low: int, high: int, width: int, column: ColumnElement[int]) -> int:
        """Count by whole buckets, and what lies in a part of a bucket by an index."""
        if high < low:
            return 0
        first, last = -(-low // width), (high + 1) // width  # whole buckets: first up to before last
        if first > last:
            return self._count(column >= low, column <= high)
        total = self._sum(dimension, COUNTS.c.bucket >= first, COUNTS.c.bucket < last)
        if low < first * width:
            total += self._count(column >= low, column < first * width)
        if last * width <= high:
            total += self._count(column >= last * width, column <= high)
        return total

    def of_words(self, words: Sequence[str]) -> dict[str, dict[int, int]]:
        """Return how many calls of each period have a word, for those of the words that are common."""
        query = (
            select(COMMON_WORDS.c.word, WORD_COUNTS.c.period, WORD_COUNTS.c.calls)
            .join(WORD_COUNTS, WORD_COUNTS.c.word == COMMON_WORDS.c.word)
            .where(COMMON_WORDS.c.word.in_(words), COMMON_WORDS.c.pending == 0, WORD_COUNTS.c.calls > 0)
        )
        found: dict[str, dict[int, int]] = {}
        for word, period, calls in self._connection.execute(query):
            found.setdefault(word, {})[period] = calls
        return found

    def of_labels(self, group: tuple[int, ...]) -> tuple[int, bool]:
        """Count calls that have one of a group's labels; also returns whether no fewer do."""
        total = self._sum(LABEL, COUNTS.c.bucket.in_(group))
        overlapping = 0 if len(group) == 1 else self._sum(LABEL, COUNTS.c.bucket == SEVERAL_AGENTS)
        if not overlapping or overlapping > OVERLAP_MAX:
            return total, not overlapping
        several = select(LABELS.c.call_key).where(LABELS.c.label == SEVERAL_AGENTS)
        query = select(func.count() - func.count(distinct(LABELS.c.call_key))).where(
            LABELS.c.label.in_(group), LABELS.c.call_key.in_(several)
        )
        return total - int(self._connection.scalar(query) or 0), True
