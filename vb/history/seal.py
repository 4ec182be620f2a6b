"""Making segments: new ones where enough calls have ended, and anew where many have changed since.

A segment is made in two steps, with no pause for those who write: first it is announced while nobody writes,
so that everybody names what changes in its stretch from then on; then it is laid out from one snapshot.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
from sqlalchemy import ColumnElement, Connection, Engine, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from vb.history.common import read_words, wait_alone
from vb.history.database import reading, writing
from vb.history.labels import unpack_labels, word_term
from vb.history.schema import CALLS, COMMON_WORDS, LATE_CALLS, SEGMENT_SETS, SEGMENTS, words_table
from vb.history.segments import (
    ANNOUNCED,
    DURATION,
    ENDED,
    JOINED,
    KEYS,
    SEGMENT_CALLS,
    Segment,
    load_segments,
    pack_column,
    pack_set,
    unpack_column,
)

OPEN_SHARE: Final = 10
"""A new segment waits while one call in so many goes on: each would be late when it ends."""
LATE_MAX: Final = 1_000
"""So many calls may be late in all segments together; more are settled by making the worst ones anew."""
LABEL_SHARE: Final = 128
"""A label that fewer than one call in so many has, gets no set: its index tells them fast."""
AT_ONCE: Final = 4
"""Segments of one round: each takes a third of a second of the interpreter, which calls need as well."""
MAX_MARK: Final = (1 << 62) - 1
LIMIT_MS: Final = 60_000

Stretch = tuple[int, int]
"""First and last key."""
Sets = dict[int, bytes]
"""Term → row."""


def tend_segments(
    engine: Engine, *, calls: int = SEGMENT_CALLS, stop: Callable[[], bool] = lambda: False
) -> bool:
    """Make some segments; any number of processes may do so at once.

    Args:
        engine: of the database.
        calls: how many a segment has.
        stop: whether no further one is to be begun.

    Returns:
        Whether nothing is left to be done for now.

    Raises:
        SQLAlchemyError: the database is away; what has been done stays.
    """
    with reading(engine, limit_ms=LIMIT_MS) as connection:
        segments = load_segments(connection)
        replaced, stretches = _worst(connection, segments, calls)
        stretches += _new(connection, segments, calls)
    if stretches:
        _announce(engine, segments, replaced, stretches)
    with reading(engine, limit_ms=LIMIT_MS) as connection:
        words = _common_words(connection)
        todo = [item for item in load_segments(connection) if item.words != _digest(words)]
    for segment in todo[:AT_ONCE]:
        if stop():
            return False
        if segment.is_built:
            _complete(engine, segment)
        else:
            _build(engine, segment)
    return not stretches and not todo


# -- what to do --------------------------------------------------------------------------------------------


def _within(key: ColumnElement[int], stretch: Stretch) -> ColumnElement[bool]:
    return key.between(*stretch)


def _new(connection: Connection, segments: Sequence[Segment], calls: int) -> list[Stretch]:
    """Return stretches after the last segment whose calls have ended, but for a few."""
    found: list[Stretch] = []
    first = segments[-1].last_key + 1 if segments else 0
    while len(found) < AT_ONCE:
        last = _nth_key(connection, first, calls)
        if last is None:
            break
        going_on = select(func.count()).where(_within(CALLS.c.call_key, (first, last)), CALLS.c.ended_us == 0)
        if (connection.scalar(going_on) or 0) * OPEN_SHARE > calls:
            break
        found.append((first, last))
        first = last + 1
    return found


def _nth_key(connection: Connection, first: int, number: int) -> int | None:
    query = select(CALLS.c.call_key).where(CALLS.c.call_key >= first).order_by(CALLS.c.call_key)
    return connection.scalar(query.offset(number - 1).limit(1))


def _worst(
    connection: Connection, segments: Sequence[Segment], calls: int
) -> tuple[list[Segment], list[Stretch]]:
    """Return the segments with the most late calls, and the stretches that take their place."""
    late = np.fromiter(connection.scalars(select(LATE_CALLS.c.call_key)), np.int64)
    if len(late) <= LATE_MAX or not segments:
        return [], []
    firsts = np.array([segment.first_key for segment in segments])
    counts = np.bincount(np.searchsorted(firsts, late, "right") - 1, minlength=len(segments))
    left, replaced, stretches = len(late), dict[int, Segment](), list[Stretch]()
    for index in np.argsort(-counts)[:AT_ONCE].tolist():
        if left <= LATE_MAX:
            break
        if index in replaced:
            continue
        left -= int(counts[index])
        last = index
        there = _count(connection, (segments[index].first_key, segments[index].last_key))
        while last + 1 < len(segments) and last + 1 not in replaced:
            following = segments[last + 1]
            if not following.is_built or there + following.calls > calls:
                break
            there, last = there + following.calls, last + 1
        replaced |= {number: segments[number] for number in range(index, last + 1)}
        whole = (segments[index].first_key, segments[last].last_key)
        stretches += _parts(connection, whole, there, calls)
    return list(replaced.values()), stretches


def _count(connection: Connection, stretch: Stretch) -> int:
    query = select(func.count()).select_from(CALLS).where(_within(CALLS.c.call_key, stretch))
    return connection.scalar(query) or 0


def _parts(connection: Connection, whole: Stretch, there: int, calls: int) -> list[Stretch]:
    """Cut a stretch that has become too full."""
    found: list[Stretch] = []
    first, last = whole
    while there >= 2 * calls:
        middle = _nth_key(connection, first, calls)
        if middle is None or middle >= last:
            break
        found.append((first, middle))
        first, there = middle + 1, there - calls
    return [*found, (first, last)]


def _announce(
    engine: Engine, segments: Sequence[Segment], replaced: Sequence[Segment], stretches: Sequence[Stretch]
) -> None:
    """Let everybody name what changes in these stretches from now on."""
    marks = {segment.first_key: segment.mark for segment in segments}
    with writing(engine) as connection:
        wait_alone(connection)
        if {segment.first_key: segment.mark for segment in load_segments(connection)} != marks:
            return  # another process was first
        firsts = [segment.first_key for segment in replaced]
        for table in (SEGMENTS, SEGMENT_SETS):
            connection.execute(delete(table).where(table.c.first_key.in_(firsts)))
        spans = [_within(LATE_CALLS.c.call_key, stretch) for stretch in stretches]
        connection.execute(delete(LATE_CALLS).where(or_(*spans)))
        connection.execute(
            insert(SEGMENTS),
            [
                {
                    "first_key": first,
                    "last_key": last,
                    "mark": random.randint(1, MAX_MARK),
                    "calls": ANNOUNCED,
                    "words": 0,
                }
                for first, last in stretches
            ],
        )


# -- doing it ----------------------------------------------------------------------------------------------


def _common_words(connection: Connection) -> frozenset[str]:
    return frozenset(connection.scalars(select(COMMON_WORDS.c.word)))


def _digest(words: Iterable[str]) -> int:
    """Return a number for a set of words, never 0."""
    text = " ".join(sorted(words)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 2 | 1


def _build(engine: Engine, segment: Segment) -> None:
    """Lay out a segment that has been announced."""
    stretch = (segment.first_key, segment.last_key)
    with reading(engine, limit_ms=LIMIT_MS) as connection:
        table = CALLS.c
        query = select(table.call_key, table.joined_us, table.ended_us, table.duration_us, table.labels)
        rows = connection.execute(
            query.where(_within(table.call_key, stretch)).order_by(table.call_key)
        ).all()
        words = _common_words(connection)
        sets = _word_sets(connection, stretch, [row.call_key for row in rows], words)
    for term, column in ((KEYS, 0), (JOINED, 1), (ENDED, 2), (DURATION, 3)):
        sets[term] = pack_column(row[column] for row in rows)
    having: dict[int, list[int]] = {}
    for position, row in enumerate(rows):
        for label in unpack_labels(row.labels):
            having.setdefault(label, []).append(position)
    sets |= {
        label: pack_set(positions, len(rows))
        for label, positions in having.items()
        if len(positions) * LABEL_SHARE >= len(rows)
    }
    settled = update(SEGMENTS).where(
        SEGMENTS.c.first_key == segment.first_key,
        SEGMENTS.c.mark == segment.mark,
        SEGMENTS.c.calls == ANNOUNCED,
    )
    with writing(engine) as connection:
        if connection.execute(settled.values(calls=len(rows), words=_digest(words))).rowcount:
            _insert(connection, segment, sets)


def _complete(engine: Engine, segment: Segment) -> None:
    """Add the words that have become common since a segment was laid out."""
    stretch = (segment.first_key, segment.last_key)
    with reading(engine, limit_ms=LIMIT_MS) as connection:
        words = _common_words(connection)
        terms = {word_term(word): word for word in words}
        there = select(SEGMENT_SETS.c.term).where(SEGMENT_SETS.c.first_key == segment.first_key)
        missing = terms.keys() - set(connection.scalars(there))
        data = connection.scalar(
            select(SEGMENT_SETS.c.data).where(
                SEGMENT_SETS.c.first_key == segment.first_key, SEGMENT_SETS.c.term == KEYS
            )
        )
        keys = [] if data is None else unpack_column(data, segment.calls).tolist()
        chosen = frozenset(terms[term] for term in missing)
        sets = _word_sets(connection, stretch, keys, chosen) if chosen else {}
    settled = update(SEGMENTS).where(
        SEGMENTS.c.first_key == segment.first_key, SEGMENTS.c.mark == segment.mark
    )
    with writing(engine) as connection:
        if connection.execute(settled.values(words=_digest(words))).rowcount:
            _insert(connection, segment, sets)


def _word_sets(connection: Connection, stretch: Stretch, keys: Sequence[int], words: frozenset[str]) -> Sets:
    """Return a set for each word, an empty one too: what has none is not known."""
    having: dict[str, list[int]] = {word: [] for word in words}
    places = {key: position for position, key in enumerate(keys)}
    table = words_table(connection.dialect.name)
    query = select(table.c.rowid, table.c.words).where(_within(table.c.rowid, stretch))
    for key, text in connection.execute(query.order_by(table.c.rowid)):
        position = places.get(key)
        if position is not None:
            for word in words.intersection(read_words(text)):
                having[word].append(position)
    return {word_term(word): pack_set(positions, len(keys)) for word, positions in having.items()}


def _insert(connection: Connection, segment: Segment, sets: Sets) -> None:
    if sets:
        kind = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(
            kind.insert(SEGMENT_SETS).on_conflict_do_nothing(),
            [
                {"term": term, "first_key": segment.first_key, "data": data}
                for term, data in sorted(sets.items())
            ],
        )
