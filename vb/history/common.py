"""Common words: those that many calls have are counted, so that a search for one need not walk its calls.

The counters move in the transaction that moves the call. A word becomes a common one in two steps, with no
pause for those who write: first everybody counts it from now on, then what was there before is added, as the
difference of truth and counter in one snapshot, which does not change any more (see `vb.history.tend`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from vb.history.schema import COMMON_WORDS, WORD_COUNTS, words_table

PERIOD_BITS: Final = 48
"""Of a key: a period is 2^40 microseconds, nearly thirteen days."""
LOCK: Final = 0x7662_0002
"""Of PostgreSQL's advisory locks: shared by all who write, held alone while the list of words changes."""

Counts = Counter[tuple[str, int]]
"""Word and period → by how much its counter moves."""


def period_of(key: int) -> int:
    """Return the period of a call."""
    return key >> PERIOD_BITS


def read_words(stored: str) -> list[str]:
    """Return the words of a call as a database gives them: with spaces, PostgreSQL's also in quotes."""
    return stored.replace("'", "").split()


def wait_alone(connection: Connection) -> None:
    """Wait until nobody writes calls, and let nobody begin to; SQLite has one writer at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(LOCK)))


@dataclass(slots=True)
class WordTally:
    """What one transaction does to the counters of common words."""

    connection: Connection
    common: frozenset[str]
    deltas: Counts = field(default_factory=Counter)

    @classmethod
    def begin(cls, connection: Connection) -> WordTally:
        """Read which words are counted; until the transaction ends no other one becomes so."""
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock_shared(LOCK)))
        return cls(connection, frozenset(connection.scalars(select(COMMON_WORDS.c.word))))

    def count(self, key: int, words: Iterable[str], by: int) -> None:
        """Count a call's words."""
        period = period_of(key)
        for word in self.common.intersection(words):
            self.deltas[word, period] += by

    def count_stored(self, keys: Sequence[int], by: int) -> None:
        """Count the words that calls have in the database now."""
        if self.common and keys:
            table = words_table(self.connection.dialect.name)
            stored = self.connection.execute(
                select(table.c.rowid, table.c.words).where(table.c.rowid.in_(keys))
            )
            for key, words in stored:
                self.count(key, read_words(words), by)

    def apply(self) -> None:
        """Move the counters."""
        move_counts(self.connection, self.deltas)


def move_counts(connection: Connection, deltas: Counts) -> None:
    """Move counters of words; in a fixed order, so that two servers never wait for each other."""
    rows = [
        {"word": word, "period": period, "calls": by} for (word, period), by in sorted(deltas.items()) if by
    ]
    if not rows:
        return
    kind = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = kind.insert(WORD_COUNTS)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=[WORD_COUNTS.c.word, WORD_COUNTS.c.period],
            set_={"calls": WORD_COUNTS.c.calls + insert.excluded.calls},
        ),
        rows,
    )
