"""Counters of calls: how many there are is told without walking them.

Each call counts once in its hour, in its length and its time of day, and once for each label. The counters
move in the transaction that moves the call, so they are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from vb.history.schema import COUNTS, KEY_BITS, OPEN
from vb.history.times import SECOND_US

HOUR: Final = 1
DURATION: Final = 2
TIME_OF_DAY: Final = 3
LABEL: Final = 4

HOUR_US: Final = 3600 * SECOND_US
MINUTE_US: Final = 60 * SECOND_US

Deltas = Counter[tuple[int, int]]
"""Dimension and bucket → by how much its counter moves."""


def duration_bucket(duration_us: int) -> int:
    """Return whole seconds; -1 for a call that goes on."""
    return OPEN if duration_us == OPEN else duration_us // SECOND_US


def count_call(deltas: Deltas, key: int, time_of_day_us: int, by: int) -> None:
    """Count what never changes about a call."""
    deltas[HOUR, (key >> KEY_BITS) // HOUR_US] += by
    deltas[TIME_OF_DAY, time_of_day_us // MINUTE_US] += by


def count_duration(deltas: Deltas, duration_us: int, by: int) -> None:
    """Count a call's length."""
    deltas[DURATION, duration_bucket(duration_us)] += by


def count_labels(deltas: Deltas, labels: Iterable[int], by: int) -> None:
    """Count a call's labels."""
    for label in labels:
        deltas[LABEL, label] += by


def apply_counts(connection: Connection, deltas: Deltas) -> None:
    """Move the counters; in a fixed order, so that two servers never wait for each other."""
    rows = [
        {"dimension": dimension, "bucket": bucket, "calls": by}
        for (dimension, bucket), by in sorted(deltas.items())
        if by
    ]
    if not rows:
        return
    kind = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = kind.insert(COUNTS)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=[COUNTS.c.dimension, COUNTS.c.bucket],
            set_={"calls": COUNTS.c.calls + insert.excluded.calls},
        ),
        rows,
    )
