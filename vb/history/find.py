"""Finding calls: how a query is carried out so that none of its filters makes it slow.

The counters tell how many calls each filter leaves. When the rarest one leaves few, its calls are gathered,
looked at and sorted. When several filters leave many each, all calls are sifted (see `vb.history.sieve`).
Else calls are walked in the wanted order, by an index that has this order, until the page is full. Adding 0
to a column keeps a database from taking an index on it instead.

A word that all calls have is no filter. The calls of another common word are walked by their keys, through
the periods that have some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from vb.history.common import PERIOD_BITS
from vb.history.match import have_words, match_words, probe_words
from vb.history.packing import unpack_json
from vb.history.query import Filters, Position, Query
from vb.history.schema import CALLS, LABELS, PARTS, words_table
from vb.history.sieve import Sieve, sift
from vb.history.totals import Totals, duration_range, has_dates, has_durations, key_range
from vb.history.writer import DOCUMENT_PART

GATHER_MAX: Final = 20_000
"""Up to so many calls are gathered and sorted."""
WALK_MAX: Final = 5_000
"""So many calls are walked in an order other than that of their creation before all are sifted."""
SIFT_MIN: Final = 200
"""Fewer calls are looked at one by one."""
PROBE_MAX: Final = 2_000
"""Up to so many calls are looked at for words one by one; for more, all that match are gathered once."""
PROBE_SHARE: Final = 10
"""Unless these are so many times as many."""

_MOST: Final = (1 << 63) - 1

_COLUMNS: Final = {
    "created": CALLS.c.call_key,
    "joined": CALLS.c.joined_us,
    "ended": CALLS.c.ended_us,
    "duration": CALLS.c.duration_us,
}


@dataclass(frozen=True, slots=True)
class Found:
    """A call as it is stored."""

    call_id: UUID
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of calls.

    Attributes:
        total: how many match on all pages.
        next: place after the last one, None at the end.
        previous: place before the first one, None at the beginning.
    """

    calls: tuple[Found, ...]
    total: int
    next: Position | None
    previous: Position | None


@dataclass(frozen=True, slots=True)
class _Driver:
    """A filter as the one that calls are taken from.

    Attributes:
        name: of the filter; None for all calls.
        size: how many calls it leaves.
        keys: selects their keys, each once.
        exact: whether it leaves just so many; else it leaves no more.
    """

    name: str | tuple[int, ...] | None
    size: int
    keys: Callable[[], Select[int]]
    exact: bool = True


class Finder:
    """Carries out one query over one connection."""

    def __init__(self, connection: Connection, query: Query) -> None:
        self._connection = connection
        self._query = query
        self._totals = Totals(connection)
        self._filters, self._common = self._without_idle_words(query.filters)
        self._dialect = connection.dialect.name
        self._words = words_table(self._dialect)
        self._keys = key_range(query.filters)
        self._drivers = self._sizes()
        self._rarest = min(self._drivers, key=lambda driver: driver.size)
        self._sieve = self._sifted()

    # -- filters -------------------------------------------------------------------------------------------

    def _without_idle_words(self, filters: Filters) -> tuple[Filters, dict[str, dict[int, int]]]:
        """Leave out words that all calls have; also returns how many calls the common ones have."""
        if not filters.words:
            return filters, {}
        common = self._totals.of_words(filters.words)
        everything = self._totals.all() if common else 0
        idle = {word for word, periods in common.items() if sum(periods.values()) == everything}
        left = tuple(word for word in filters.words if word not in idle)
        return replace(filters, words=left), {word: common[word] for word in left if word in common}

    def _words_size(self) -> tuple[int, bool]:
        """Return how many calls have all words, and whether no fewer do."""
        words = self._filters.words
        if all(word in self._common for word in words):
            return min(sum(self._common[word].values()) for word in words), len(words) == 1
        count = select(func.count()).select_from(self._words).where(self._matches())
        return int(self._connection.scalar(count) or 0), True

    def _sifted(self) -> Sieve | None:
        """Sift all calls where walking or gathering would take long."""
        rarest, sort = self._rarest, self._query.sort
        if rarest.name is None or rarest.size <= SIFT_MIN:
            return None
        if len(self._drivers) == 1 and rarest.exact and (sort in ("created", rarest.name) or self._walks):
            return None
        return self._sift()

    @property
    def _walks(self) -> bool:
        """Whether so many calls match that a page is most likely found among the first ones."""
        return self._rarest.size > GATHER_MAX

    def _sift(self) -> Sieve | None:
        filters = self._filters
        return sift(self._connection, filters, [word for word in filters.words if word not in self._common])

    def _sizes(self) -> list[_Driver]:
        filters, totals = self._filters, self._totals
        found: list[_Driver] = []
        if filters.words:
            size, exact = self._words_size()
            found.append(_Driver("words", size, self._by_words, exact))
        for group in filters.labels:
            size, exact = totals.of_labels(group)
            found.append(_Driver(group, size, partial(self._by_labels, group), exact))
        if has_durations(filters):
            found.append(_Driver("duration", totals.of_durations(filters), self._by_duration))
        if filters.times_of_day_us:
            found.append(_Driver("times", totals.of_times(filters), self._by_times))
        if has_dates(filters):
            found.append(_Driver("dates", totals.of_dates(filters), self._by_dates))
        return found or [_Driver(None, totals.all(), self._by_dates)]

    def _matches(self) -> ColumnElement[bool]:
        return match_words(self._words, self._filters.words, self._dialect)

    def _has_words(self) -> ColumnElement[bool]:
        return have_words(self._words, self._filters.words, self._dialect)

    def _by_words(self) -> Select[int]:
        return select(self._words.c.rowid.label("call_key")).where(
            self._matches(), *self._dated(self._words.c.rowid)
        )

    def _dated(self, key: ColumnElement[int]) -> list[ColumnElement[bool]]:
        """Return the limits of the time of creation, as every index by key takes them."""
        return [key.between(*self._keys)] if has_dates(self._filters) else []

    def _by_labels(self, group: tuple[int, ...]) -> Select[int]:
        keys = select(LABELS.c.call_key).where(LABELS.c.label.in_(group), *self._dated(LABELS.c.call_key))
        return keys.distinct() if len(group) > 1 else keys

    def _by_duration(self) -> Select[int]:
        return select(CALLS.c.call_key).where(self._duration(CALLS.c.duration_us))

    def _by_times(self) -> Select[int]:
        return select(CALLS.c.call_key).where(self._times(CALLS.c.time_of_day_us))

    def _by_dates(self) -> Select[int]:
        low, high = self._keys
        return select(CALLS.c.call_key).where(CALLS.c.call_key.between(low, high))

    def _duration(self, column: ColumnElement[int]) -> ColumnElement[bool]:
        low, high = duration_range(self._filters)
        return and_(column >= low, column <= high)

    def _times(self, column: ColumnElement[int]) -> ColumnElement[bool]:
        spans = self._filters.times_of_day_us
        return or_(*(and_(column >= low, column <= high) for low, high in spans))

    def _others(
        self, key: ColumnElement[int], driver: str | tuple[int, ...] | None, *, probed: int, sort: str = ""
    ) -> tuple[list[ColumnElement[bool]], bool]:
        """Return the conditions of all filters but one, and whether they need the row of the call."""
        filters = self._filters
        conditions: list[ColumnElement[bool]] = []
        needs_row = False
        if has_dates(filters) and driver != "dates":
            conditions.append(key.between(*self._keys))
        if has_durations(filters) and driver != "duration":
            column = CALLS.c.duration_us
            conditions.append(self._duration(column if sort == "duration" else column + 0))
            needs_row = True
        if filters.times_of_day_us and driver != "times":
            conditions.append(self._times(CALLS.c.time_of_day_us + 0))
            needs_row = True
        for group in filters.labels:
            if group != driver:
                own = LABELS.alias()  # the key may be that of another label's row
                conditions.append(exists().where(own.c.label.in_(group), own.c.call_key == key))
        if filters.words and driver != "words":
            if probed > max(PROBE_MAX, self._size_of("words") // PROBE_SHARE):
                matched = self._by_words().cte("matched").prefix_with("MATERIALIZED")
                conditions.append(key.in_(select(matched.c.call_key)))
            else:
                having = probe_words(self._words, filters.words, self._dialect)
                conditions.append(exists().where(having, self._words.c.rowid == key))
        return conditions, needs_row

    def _size_of(self, name: str) -> int:
        return next(driver.size for driver in self._drivers if driver.name == name)

    # -- total ---------------------------------------------------------------------------------------------

    def total(self) -> int:
        """Count the calls that match."""
        if self._sieve is not None:
            return self._sieve.total
        rarest = self._rarest
        if (len(self._drivers) == 1 and rarest.exact) or not rarest.size:
            return rarest.size
        gathered = rarest.keys().cte("gathered").prefix_with("MATERIALIZED")
        key = gathered.c.call_key
        conditions, needs_row = self._others(key, rarest.name, probed=rarest.size)
        source = gathered.join(CALLS, CALLS.c.call_key == key) if needs_row else gathered
        query = select(func.count()).select_from(source).where(*conditions)
        return int(self._connection.scalar(query) or 0)

    # -- page ----------------------------------------------------------------------------------------------

    def page(self) -> Page:
        """Return the page that the query asks for."""
        query, place = self._query, self._query.position
        backwards = place is not None and place.backwards
        rows = self._rows(query.page_size + 1)
        more = len(rows) > query.page_size
        rows = rows[: query.page_size]
        if backwards:
            rows.reverse()
        found = self._documents([key for _, key in rows])
        calls = tuple(found[key] for _, key in rows if key in found)
        following = previous = None
        if rows and (more or backwards):
            following = Position(*rows[-1])
        if rows and place is not None and (more or not backwards):
            previous = Position(*rows[0], backwards=True)
        total = self.total()
        if not rows and place is not None and total:  # what was behind this place is gone: lead back
            key = place.key + (-1 if self._down else 1)
            # Anybody can compute a cursor, also of a place beyond which there is no number.
            turned = Position(place.value, max(-_MOST, min(key, _MOST)), not backwards)
            following, previous = (turned, None) if backwards else (None, turned)
        return Page(calls, total, following, previous)

    def _rows(self, limit: int) -> list[tuple[int, int]]:
        """Return value and key of the next calls, in the order in which they are walked."""
        if not self._rarest.size:
            return []
        if self._sieve is not None:
            query = self._query
            return self._sieve.rows(query.sort, query.position, limit, down=self._down)
        if self._rarest.size <= GATHER_MAX and self._rarest.name is not None:
            statement = self._gather(limit)
        elif self._query.sort not in ("created", self._rarest.name) and self._rarest.name is not None:
            return self._walk_first(limit)
        elif self._query.sort == "created" and self._rarest.name == "words" and self._common:
            return self._walk_words(limit)
        elif self._query.sort == "created" and (self._filters.labels or self._filters.words):
            statement = self._stream(limit)
        else:
            statement = self._walk(limit)
        return [(value, key) for value, key in self._connection.execute(statement)]

    @property
    def _down(self) -> bool:
        place = self._query.position
        return self._query.descending != (place is not None and place.backwards)

    def _after(self, value: ColumnElement[int], key: ColumnElement[int]) -> list[ColumnElement[bool]]:
        place = self._query.position
        if place is None:
            return []
        if self._query.sort == "created":
            return [key < place.key if self._down else key > place.key]
        here = tuple_(literal(place.value), literal(place.key))
        return [tuple_(value, key) < here if self._down else tuple_(value, key) > here]

    def _ordered(self, statement: Any, *columns: ColumnElement[int]) -> Select[Any]:
        ordered: Select[Any] = statement.order_by(
            *(column.desc() if self._down else column.asc() for column in columns)
        )
        return ordered

    def _gather(self, limit: int) -> Select[Any]:
        """Take all calls of the rarest filter, and sort what the others leave of them."""
        gathered = self._rarest.keys().cte("gathered").prefix_with("MATERIALIZED")
        key = gathered.c.call_key
        conditions, needs_row = self._others(key, self._rarest.name, probed=self._rarest.size)
        by_key = self._query.sort == "created"
        value = key if by_key else _COLUMNS[self._query.sort]
        source = gathered.join(CALLS, CALLS.c.call_key == key) if needs_row or not by_key else gathered
        statement = select(value.label("value"), key.label("key")).select_from(source)
        statement = statement.where(*conditions, *self._after(value, key))
        columns = (key,) if by_key else (value, key)
        return self._ordered(statement, *columns).limit(limit)

    def _walk(self, limit: int) -> Select[Any]:
        """Walk all calls in the wanted order."""
        key, value = CALLS.c.call_key, _COLUMNS[self._query.sort]
        conditions, _ = self._others(key, None, probed=0, sort=self._query.sort)
        statement = select(value.label("value"), key.label("key")).where(
            *conditions, *self._after(value, key)
        )
        columns = (key,) if self._query.sort == "created" else (value, key)
        return self._ordered(statement, *columns).limit(limit)

    def _walk_first(self, limit: int) -> list[tuple[int, int]]:
        """Look for a page among the first calls in the wanted order; sift all when it is not there."""
        key, value = CALLS.c.call_key, _COLUMNS[self._query.sort]
        near = self._ordered(
            select(value.label("value"), key.label("key")).where(*self._after(value, key)), value, key
        )
        first = near.limit(WALK_MAX).cte("first").prefix_with("MATERIALIZED")
        conditions, needs_row = self._others(first.c.key, None, probed=0)
        source = first.join(CALLS, CALLS.c.call_key == first.c.key) if needs_row else first
        statement = select(first.c.value, first.c.key).select_from(source).where(*conditions)
        found = self._connection.execute(
            self._ordered(statement, first.c.value, first.c.key).limit(limit)
        ).all()
        if len(found) < limit:
            sieve = self._sift()
            if sieve is not None:
                return sieve.rows(self._query.sort, self._query.position, limit, down=self._down)
            found = self._connection.execute(self._walk(limit)).all()
        return [(value, key) for value, key in found]

    def _stream(self, limit: int) -> Select[Any]:
        """Walk the calls of each label of the rarest group, or of the words: they lie in order."""
        groups = [driver for driver in self._drivers if isinstance(driver.name, tuple)]
        if not groups:
            return self._strand(self._words.c.rowid, [self._has_words()], "words", limit)
        group = min(groups, key=lambda driver: driver.size).name
        assert isinstance(group, tuple)
        if len(group) == 1:
            return self._strand(LABELS.c.call_key, [LABELS.c.label == group[0]], group, limit)
        strands = [
            select(self._strand(LABELS.c.call_key, [LABELS.c.label == label], group, limit).subquery())
            for label in group
        ]
        merged = union_all(*strands).subquery()
        statement = select(merged.c.value, merged.c.key).distinct()
        return self._ordered(statement, merged.c.key).limit(limit)

    def _walk_words(self, limit: int) -> list[tuple[int, int]]:
        """Walk the calls of common words by their keys, one stretch of periods after the other."""
        rows: list[tuple[int, int]] = []
        key = self._words.c.rowid
        place = self._query.position
        for first, last in self._stretches():
            if place is not None and (first > place.key if self._down else last < place.key):
                continue
            own = [self._has_words(), key.between(first, last)]
            statement = self._strand(key, own, "words", limit - len(rows))
            rows += [(value, number) for value, number in self._connection.execute(statement)]
            if len(rows) >= limit:
                break
        return rows

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """Give the first and the last key of periods that have all common words, in the order of walking."""
        shared = set.intersection(*(set(periods) for periods in self._common.values()))
        periods = sorted(shared, reverse=self._down)
        step = -1 if self._down else 1
        for start, number in _runs(periods, step):
            end = start + step * (number - 1)
            yield min(start, end) << PERIOD_BITS, (max(start, end) + 1 << PERIOD_BITS) - 1

    def _strand(
        self,
        key: ColumnElement[int],
        own: list[ColumnElement[bool]],
        driver: str | tuple[int, ...],
        limit: int,
    ) -> Select[Any]:
        conditions, needs_row = self._others(key, driver, probed=0)
        statement = select(key.label("value"), key.label("key")).where(
            *own, *conditions, *self._after(key, key)
        )
        if needs_row:
            statement = statement.where(CALLS.c.call_key == key)
        return self._ordered(statement, key).limit(limit)

    def _documents(self, keys: list[int]) -> dict[int, Found]:
        if not keys:
            return {}
        statement = (
            select(CALLS.c.call_key, CALLS.c.call_id, PARTS.c.data)
            .join(PARTS, and_(PARTS.c.call_key == CALLS.c.call_key, PARTS.c.part == DOCUMENT_PART))
            .where(CALLS.c.call_key.in_(keys))
        )
        return {
            key: Found(call_id, unpack_json(data))
            for key, call_id, data in self._connection.execute(statement)
        }


def _runs(numbers: Sequence[int], step: int) -> Iterator[tuple[int, int]]:
    """Give the start and the length of each run of numbers that are a step apart."""
    length = 0
    for index, number in enumerate(numbers):
        length += 1
        if index + 1 == len(numbers) or numbers[index + 1] != number + step:
            yield number - step * (length - 1), length
            length = 0
