"""Sifting all calls at once: what a query leaves of the segments, and of the calls that lie in none.

Every filter becomes a bit for each call of the segments, and the bits are combined, so how many filters there
are and how many calls each leaves makes little difference. Calls that lie in no segment yet, or have changed
since theirs was made, are loose: they are looked up in the tables, and sifted apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, or_, select

from vb.history.database import AS_BYTES
from vb.history.labels import word_term
from vb.history.match import have_words, match_words, probe_words
from vb.history.query import Filters, Position, SortField
from vb.history.schema import CALLS, DAY_US, KEY_BITS, LABELS, LATE_CALLS, SEGMENT_SETS, words_table
from vb.history.segments import (
    DURATION,
    ENDED,
    JOINED,
    KEYS,
    Bits,
    Flags,
    Numbers,
    Segment,
    add_set,
    load_segments,
    unpack_column,
    unpack_set,
)
from vb.history.totals import duration_range, has_durations, key_range

LOOSE_MAX: Final = 60_000
"""With more loose calls there is no sifting."""
SPANS_AT_ONCE: Final = 20
_SORTED: Final[dict[SortField, int]] = {
    "created": KEYS,
    "joined": JOINED,
    "ended": ENDED,
    "duration": DURATION,
}

T = TypeVar("T")
Spans = list[tuple[int, int]]
"""First and last keys."""


class Sieve:
    """The calls that a query leaves, over one connection. To be made by `sift`.

    Args:
        connection: which sees all of the database as it is at one moment.
        filters: of the query; words that all calls have are left out.
        rare: those of its words that are not counted.
    """

    def __init__(self, connection: Connection, filters: Filters, rare: Sequence[str]) -> None:
        self._connection = connection
        self._filters = filters
        self._rare = tuple(rare)
        self._words = words_table(connection.dialect.name)
        self._low, self._high = key_range(filters)
        wanted = [word for word in filters.words if word not in rare]
        self._segments, self._sets = self._usable([word_term(word) for word in wanted])
        self._lengths = np.array([len(_padded(segment)) for segment in self._segments], np.int64)
        self._starts = np.concatenate(([0], np.cumsum(self._lengths)))
        self._firsts = np.array([segment.first_key for segment in self._segments], np.int64)
        self._columns: dict[int, tuple[Numbers, set[int]]] = {}
        self._gaps = self._uncovered()
        self._late = self._late_keys()
        self._loose: dict[int, Numbers] = {}
        self._hits: NDArray[np.int64] = np.empty(0, np.int64)

    # -- which segments ------------------------------------------------------------------------------------

    def _usable(self, words: list[int]) -> tuple[list[Segment], list[dict[int, bytes]]]:
        """Return the segments of the wanted time that know all words, and for each word their sets."""
        segments = load_segments(self._connection)
        self._worthwhile = bool(segments)
        there = [
            segment
            for segment in segments
            if segment.is_built and segment.last_key >= self._low and segment.first_key <= self._high
        ]
        sets: dict[int, dict[int, bytes]] = {}
        if words and there:
            query = select(SEGMENT_SETS.c.term, SEGMENT_SETS.c.first_key, SEGMENT_SETS.c.data).where(
                SEGMENT_SETS.c.term.in_(words),
                SEGMENT_SETS.c.first_key.between(there[0].first_key, there[-1].first_key),
            )
            for term, first_key, data in self._connection.execute(query, execution_options=AS_BYTES).all():
                sets.setdefault(term, {})[first_key] = data
        found = [sets.get(word, {}) for word in words]
        return [segment for segment in there if all(segment.first_key in of for of in found)], found

    def _uncovered(self) -> Spans:
        """Return the stretches of the wanted time that no segment covers."""
        gaps, start = Spans(), self._low
        for segment in self._segments:
            if segment.first_key > start:
                gaps.append((start, segment.first_key - 1))
            start = segment.last_key + 1
        return [*gaps, (start, self._high)] if start <= self._high else gaps

    def _late_keys(self) -> Numbers:
        query = select(LATE_CALLS.c.call_key).where(LATE_CALLS.c.call_key.between(self._low, self._high))
        return np.fromiter(self._connection.scalars(query.order_by(LATE_CALLS.c.call_key)), np.int64)

    # -- sifting -------------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Sift; returns whether it was possible: not without segments, nor when too many calls are loose."""
        if not self._worthwhile or not self._gather_loose():
            return False
        bits = self._everything()
        self._sift_dates_and_late(bits)
        for sets in self._sets:
            bits &= self._pack_rows(sets)
        for group in self._filters.labels:
            bits &= self._labelled(group)
        if self._rare:
            keys = self._keys_with(self._rare)
            if len(keys) > LOOSE_MAX:  # it is about to be counted
                return False
            bits &= self._at(keys)
        flags = np.unpackbits(bits).astype(bool)
        if has_durations(self._filters):
            low, high = duration_range(self._filters)
            column = self._column(DURATION)
            flags &= (column >= low) & (column <= high)
        if self._filters.times_of_day_us:
            flags &= _in_day(self._column(KEYS), self._filters)
        self._hits = np.flatnonzero(flags)
        self._sift_loose()
        return True

    @property
    def total(self) -> int:
        """How many calls are left."""
        return len(self._hits) + len(self._loose[KEYS])

    def _everything(self) -> Bits:
        bits = np.full(int(self._starts[-1]) // 8, 0xFF, np.uint8)
        for segment, end in zip(self._segments, self._starts[1:].tolist(), strict=True):
            if segment.calls % 8:
                bits[end // 8 - 1] = 0xFF << (8 - segment.calls % 8) & 0xFF
        return bits

    def _sift_dates_and_late(self, bits: Bits) -> None:
        edges = [
            index
            for index, segment in enumerate(self._segments)
            if segment.first_key < self._low or segment.last_key > self._high
        ]
        if edges:
            keys = self._column(KEYS, edges)
            for index in edges:
                part = slice(*self._starts[index : index + 2].tolist())
                inside = (keys[part] >= self._low) & (keys[part] <= self._high)
                bits[part.start // 8 : part.stop // 8] &= np.packbits(inside)
        if len(self._late):
            bits &= ~self._at(self._late)

    def _pack_rows(self, rows: dict[int, bytes]) -> Bits:
        """Return the bits of all segments, from the row of each; without a row nothing is set."""
        parts = [unpack_set(rows.get(segment.first_key, b""), segment.calls) for segment in self._segments]
        return np.concatenate(parts) if parts else np.empty(0, np.uint8)

    def _labelled(self, group: tuple[int, ...]) -> Bits:
        """Return the bits of calls that have one of a group's labels."""
        flags = np.zeros(int(self._starts[-1]), bool)
        known: dict[int, set[int]] = {label: set() for label in group}
        query = select(SEGMENT_SETS.c.term, SEGMENT_SETS.c.first_key, SEGMENT_SETS.c.data).where(
            SEGMENT_SETS.c.term.in_(group)
        )
        if self._segments:
            query = query.where(SEGMENT_SETS.c.first_key.between(int(self._firsts[0]), int(self._firsts[-1])))
        places = {
            segment.first_key: slice(begin, begin + segment.calls)
            for segment, begin in zip(self._segments, self._starts.tolist(), strict=False)
        }
        for label, first_key, data in self._connection.execute(query, execution_options=AS_BYTES).all():
            if first_key in places:
                known[label].add(first_key)
                add_set(flags[places[first_key]], data)
        bits = np.packbits(flags)
        keys = [
            self._fetch(LABELS.c.call_key, [LABELS.c.label == label], spans)
            for label, there in known.items()
            for spans in _batches(
                _joined([segment for segment in self._segments if segment.first_key not in there]),
                SPANS_AT_ONCE,
            )
        ]
        return bits | self._at(np.concatenate(keys)) if keys else bits

    def _keys_with(self, words: Sequence[str]) -> Numbers:
        """Return the keys of all calls with rare words."""
        matched = match_words(self._words, words, self._connection.dialect.name)
        return self._fetch(self._words.c.rowid, [matched], [(self._low, self._high)], limited=True)

    def _fetch(
        self,
        key: ColumnElement[int],
        conditions: list[ColumnElement[bool]],
        spans: Sequence[tuple[int, int]],
        *,
        limited: bool = False,
    ) -> Numbers:
        query = select(key).where(*conditions, or_(*(key.between(*span) for span in spans)))
        query = query.limit(LOOSE_MAX + 1) if limited else query
        return np.fromiter(self._connection.scalars(query), np.int64)

    def _at(self, keys: Numbers) -> Bits:
        """Return the bits of the calls with these keys, as far as segments have them."""
        flags = np.zeros(int(self._starts[-1]), bool)
        if len(self._segments) and len(keys):
            segments = np.searchsorted(self._firsts, keys, "right") - 1
            touched = np.unique(segments[segments >= 0]).tolist()
            column = self._column(KEYS, touched)
            for index in touched:
                begin, end = self._starts[index : index + 2].tolist()
                end = begin + self._segments[index].calls
                own = keys[segments == index]
                places = np.searchsorted(column[begin:end], own)
                inside = places < end - begin
                places, own = places[inside], own[inside]
                flags[begin + places[column[begin + places] == own]] = True
        return np.packbits(flags)

    # -- columns -------------------------------------------------------------------------------------------

    def _column(self, term: int, wanted: Sequence[int] | None = None) -> Numbers:
        """Return a column of all segments, one after the other; only the wanted ones are filled in."""
        chosen = range(len(self._segments)) if wanted is None else wanted
        if term not in self._columns:
            self._columns[term] = np.zeros(int(self._starts[-1]), np.int64), set()
        column, there = self._columns[term]
        missing = {self._segments[index].first_key: index for index in chosen if index not in there}
        for some in _batches(sorted(missing), 200):
            query = select(SEGMENT_SETS.c.first_key, SEGMENT_SETS.c.data).where(SEGMENT_SETS.c.term == term)
            if len(some) < 200:
                query = query.where(SEGMENT_SETS.c.first_key.in_(some))
            else:
                query = query.where(SEGMENT_SETS.c.first_key.between(some[0], some[-1]))
            for first_key, data in self._connection.execute(query, execution_options=AS_BYTES).all():
                index = missing.get(first_key)
                if index is not None:
                    begin = int(self._starts[index])
                    calls = self._segments[index].calls
                    column[begin : begin + calls] = unpack_column(data, calls)
        there.update(missing.values())
        return column

    # -- loose calls ---------------------------------------------------------------------------------------

    def _gather_loose(self) -> bool:
        table = CALLS.c
        query = select(table.call_key, table.joined_us, table.ended_us, table.duration_us)
        rows = [
            tuple(row)
            for where in (*self._in_gaps(table.call_key), *self._is_late(table.call_key))
            for row in self._connection.execute(query.where(where).limit(LOOSE_MAX + 1))
        ]
        if len(rows) > LOOSE_MAX:
            return False
        found = np.array(rows, np.int64).reshape(-1, 4)
        _, first = np.unique(found[:, 0], return_index=True)
        found = found[first]
        self._loose = {KEYS: found[:, 0], JOINED: found[:, 1], ENDED: found[:, 2], DURATION: found[:, 3]}
        return True

    def _in_gaps(self, key: ColumnElement[int]) -> list[ColumnElement[bool]]:
        return [key.between(*span) for span in self._gaps]

    def _is_late(self, key: ColumnElement[int]) -> list[ColumnElement[bool]]:
        late = select(LATE_CALLS.c.call_key).where(LATE_CALLS.c.call_key.between(self._low, self._high))
        return [key.in_(late)] if len(self._late) else []

    def _sift_loose(self) -> None:
        keys = self._loose[KEYS]
        flags = np.ones(len(keys), bool)
        if self._filters.words:
            asked = self._words, self._filters.words, self._connection.dialect.name
            flags &= self._loose_with(self._words.c.rowid, have_words(*asked), probe_words(*asked))
        for group in self._filters.labels:
            labelled = LABELS.c.label.in_(group)
            flags &= self._loose_with(LABELS.c.call_key, labelled, labelled)
        if has_durations(self._filters):
            low, high = duration_range(self._filters)
            flags &= (self._loose[DURATION] >= low) & (self._loose[DURATION] <= high)
        if self._filters.times_of_day_us:
            flags &= _in_day(keys, self._filters)
        self._loose = {term: column[flags] for term, column in self._loose.items()}

    def _loose_with(
        self, key: ColumnElement[int], walked: ColumnElement[bool], probed: ColumnElement[bool]
    ) -> Flags:
        """Return which loose calls a condition holds for, in its form for stretches and for single calls."""
        found: list[int] = []
        if len(self._loose[KEYS]):
            for where in self._in_gaps(key):
                found += self._connection.scalars(select(key).where(walked, where))
            for where in self._is_late(key):
                found += self._connection.scalars(select(key).where(probed, where))
        return np.isin(self._loose[KEYS], np.array(found, np.int64))

    # -- pages ---------------------------------------------------------------------------------------------

    def rows(
        self, sort: SortField, place: Position | None, limit: int, *, down: bool
    ) -> list[tuple[int, int]]:
        """Return value and key of the next calls, in the order in which they are walked."""
        term = _SORTED[sort]
        hits = self._near(place, limit, down=down) if term == KEYS else self._hits
        touched = np.unique(np.searchsorted(self._starts, hits, "right") - 1).tolist()
        keys = np.concatenate((self._column(KEYS, touched)[hits], self._loose[KEYS]))
        values = np.concatenate((self._column(term, touched)[hits], self._loose[term]))
        if place is not None:
            value = place.key if term == KEYS else place.value
            if down:
                beyond = (values < value) | ((values == value) & (keys < place.key))
            else:
                beyond = (values > value) | ((values == value) & (keys > place.key))
            keys, values = keys[beyond], values[beyond]
        if len(values) > limit:  # what cannot be on the page need not be put in order
            edge = len(values) - limit if down else limit - 1
            border = np.partition(values, edge)[edge]
            kept = values >= border if down else values <= border
            keys, values = keys[kept], values[kept]
        order = np.lexsort((keys, values))
        chosen = (order[::-1] if down else order)[:limit]
        return [(int(values[index]), int(keys[index])) for index in chosen]

    def _near(self, place: Position | None, limit: int, *, down: bool) -> NDArray[np.int64]:
        """Return those calls that can be on a page by key: in the segment of its place, and behind it."""
        hits = self._hits
        if place is None or not len(self._segments):
            return hits[-limit:] if down else hits[:limit]
        index = int(np.searchsorted(self._firsts, place.key, "right")) - 1
        low = int(self._starts[index]) if index >= 0 else 0
        high = int(self._starts[index + 1]) if index >= 0 else 0
        first, last = np.searchsorted(hits, (low, high)).tolist()
        return hits[max(0, first - limit) : last] if down else hits[first : last + limit]


def sift(connection: Connection, filters: Filters, rare: Sequence[str]) -> Sieve | None:
    """Return what a query leaves; None when too many calls lie in no segment."""
    sieve = Sieve(connection, filters, rare)
    return sieve if sieve.run() else None


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _padded(segment: Segment) -> range:
    """Each segment begins with a whole byte of bits."""
    return range(-(-segment.calls // 8) * 8)


def _joined(segments: Sequence[Segment]) -> Spans:
    """Return the stretches of segments, those that follow each other as one."""
    spans = Spans()
    for segment in segments:
        if spans and spans[-1][1] + 1 == segment.first_key:
            spans[-1] = (spans[-1][0], segment.last_key)
        else:
            spans.append((segment.first_key, segment.last_key))
    return spans


def _in_day(keys: Numbers, filters: Filters) -> Flags:
    times_us = (keys >> KEY_BITS) % DAY_US
    flags = np.zeros(len(keys), bool)
    for low, high in filters.times_of_day_us:
        flags |= (times_us >= low) & (times_us <= high)
    return flags
