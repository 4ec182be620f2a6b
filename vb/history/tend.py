"""Which words are common: looked for in a sample of calls now and then, and counted when they are found."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from sqlalchemy import Connection, Engine, Integer, delete, func, insert, literal, select, update

from vb.history.common import PERIOD_BITS, Counts, move_counts, read_words, wait_alone
from vb.history.database import reading, writing
from vb.history.match import match_words
from vb.history.schema import CALLS, COMMON_WORDS, WORD_COUNTS, words_table
from vb.history.totals import Totals

COMMON_MIN: Final = 10_000
"""A word of so many calls is common."""
FORGET_BELOW: Final = COMMON_MIN // 4
MAX_COMMON: Final = 1_000
MAX_AT_ONCE: Final = 50
PROBES: Final = 100
PROBE_CALLS: Final = 40
"""The sample: so many calls in a row from each of so many places."""
MIN_HITS: Final = 5
"""A word that fewer of its calls have was met by chance."""
MAX_MARK: Final = (1 << 31) - 1
LIMIT_MS: Final = 60_000
"""Nobody waits for these statements, and nobody is held up by them."""


def tend_words(
    engine: Engine, *, common_min: int = COMMON_MIN, stop: Callable[[], bool] = lambda: False
) -> bool:
    """Find common words, and count some of them; any number of processes may do so at once.

    Args:
        engine: of the database.
        common_min: a word of so many calls is common.
        stop: whether no further word is to be begun.

    Returns:
        Whether nothing is left to be done for now.

    Raises:
        SQLAlchemyError: the database is away; what has been done stays.
    """
    with reading(engine, limit_ms=LIMIT_MS) as connection:
        rows = connection.execute(select(COMMON_WORDS.c.word, COMMON_WORDS.c.pending))
        known: dict[str, int] = {row.word: row.pending for row in rows}
        found = _sample(connection, common_min)
    waiting = {word: pending for word, pending in known.items() if pending}
    new = [word for word in found if word not in known][: min(MAX_AT_ONCE, MAX_COMMON - len(known))]
    if new:
        waiting |= _add(engine, new)
    for word, pending in waiting.items():
        if stop():
            return False
        _settle(engine, word, pending)
    if len(known) + len(new) >= MAX_COMMON:
        _forget(engine)
        return True
    return not new


def _sample(connection: Connection, common_min: int) -> list[str]:
    """Return the words that seem to be common, the most frequent first."""
    total = Totals(connection).all()
    if total < common_min:
        return []
    table = words_table(connection.dialect.name)
    first, last = connection.execute(select(func.min(CALLS.c.call_key), func.max(CALLS.c.call_key))).one()
    hits: Counter[str] = Counter()
    calls = 0
    for _ in range(PROBES):
        query = select(table.c.words).where(table.c.rowid >= random.randint(first, last))
        for words in connection.scalars(query.order_by(table.c.rowid).limit(PROBE_CALLS)):
            hits.update(read_words(words))
            calls += 1
    least = max(MIN_HITS, common_min * calls / total)
    return [word for word, count in hits.most_common() if count >= least]


def _add(engine: Engine, words: Iterable[str]) -> dict[str, int]:
    """Let everybody count words from now on; returns the new ones, each with the mark of this attempt."""
    with writing(engine) as connection:
        wait_alone(connection)
        known = frozenset(connection.scalars(select(COMMON_WORDS.c.word)))
        added = {word: random.randint(1, MAX_MARK) for word in words if word not in known}
        if added:
            rows = [{"word": word, "pending": pending} for word, pending in added.items()]
            connection.execute(insert(COMMON_WORDS), rows)
    return added


def _settle(engine: Engine, word: str, pending: int) -> None:
    """Add to a word's counters what was there before they began to count."""
    counters = select(WORD_COUNTS.c.period, WORD_COUNTS.c.calls).where(WORD_COUNTS.c.word == word)
    with reading(engine, limit_ms=LIMIT_MS) as connection:
        table = words_table(connection.dialect.name)
        period = table.c.rowid.op(">>")(literal(PERIOD_BITS, Integer)).label("period")
        truth = select(period, func.count()).where(match_words(table, (word,), connection.dialect.name))
        missing: Counts = Counter()
        for number, calls in connection.execute(truth.group_by(period)):
            missing[word, number] += calls
        for number, calls in connection.execute(counters):
            missing[word, number] -= calls
    with writing(engine) as connection:
        settled = connection.execute(
            update(COMMON_WORDS)
            .where(COMMON_WORDS.c.word == word, COMMON_WORDS.c.pending == pending)
            .values(pending=0)
        )
        if settled.rowcount:  # else another process was first
            move_counts(connection, missing)


def _forget(engine: Engine) -> None:
    """Make room: stop to count words that have become rare."""
    with writing(engine) as connection:
        wait_alone(connection)
        total = func.sum(WORD_COUNTS.c.calls)
        rare = connection.scalars(
            select(COMMON_WORDS.c.word)
            .join(WORD_COUNTS, WORD_COUNTS.c.word == COMMON_WORDS.c.word, isouter=True)
            .where(COMMON_WORDS.c.pending == 0)
            .group_by(COMMON_WORDS.c.word)
            .having(func.coalesce(total, 0) < FORGET_BELOW)
        ).all()
        for table in (COMMON_WORDS, WORD_COUNTS):
            connection.execute(delete(table).where(table.c.word.in_(rare)))
