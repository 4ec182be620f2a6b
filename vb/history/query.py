"""From the parameters of `GET /api/calls` to a query, and back to the cursors of its pages.

Parsing is pure: names and values in, a query or one error that names the parameter out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final, Literal, TypeVar
from uuid import UUID

from vb.errors import InvalidField
from vb.history.base import DURATION_PATTERN
from vb.history.labels import agent_label, metadata_label, voice_label
from vb.history.schema import DAY_US
from vb.history.times import SECOND_US, to_us
from vb.history.words import split_words

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 500
MAX_AGENTS: Final = 100
MAX_METADATA: Final = 16
MAX_CHARS: Final = 1_024
"""Of any value."""
MAX_SEARCH_CHARS: Final = 256
MAX_SEARCH_WORDS: Final = 16
MAX_PARAMETERS: Final = 200

SortField = Literal["created", "joined", "ended", "duration"]
SORTS: Final[dict[str, SortField]] = {
    "created": "created",
    "joined": "joined",
    "ended": "ended",
    "duration": "duration",
    "billedDuration": "duration",
}
T = TypeVar("T")

_DURATION: Final = re.compile(DURATION_PATTERN)
_DATE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What is no text that anybody would write: control characters and halves of surrogate pairs."""
_ZONE: Final = r"(?P<zone>[Zz]|[+ -]\d\d:?\d\d)?"
_DATE_TIME: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<h>\d\d):(?P<m>\d\d)(?::(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?)?" + _ZONE,
    re.ASCII,
)
_TIME: Final = re.compile(
    r"(?P<h>\d\d):(?P<m>\d\d)(?::(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?)?" + _ZONE, re.ASCII
)
_UUID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_CURSOR: Final = struct.Struct(">Bqq8s")
_BACKWARDS: Final = 1


@dataclass(frozen=True, slots=True)
class Filters:
    """Which calls are wanted.

    Attributes:
        created_from_us: first time of creation, None for no limit.
        created_to_us: last one.
        duration_min_us: least time from the answer to the end.
        duration_max_us: most.
        times_of_day_us: first and last microsecond of each span of the UTC day; none for the whole day.
        labels: of each group, the call has to have one.
        words: the call has to have all of them.
    """

    created_from_us: int | None = None
    created_to_us: int | None = None
    duration_min_us: int | None = None
    duration_max_us: int | None = None
    times_of_day_us: tuple[tuple[int, int], ...] = ()
    labels: tuple[tuple[int, ...], ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two calls.

    Attributes:
        value: of the field that is sorted by.
        key: of the call.
        backwards: whether the page before this place is wanted.
    """

    value: int
    key: int
    backwards: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What `GET /api/calls` asks for."""

    filters: Filters = field(default_factory=Filters)
    sort: SortField = "created"
    descending: bool = True
    page_size: int = DEFAULT_PAGE
    position: Position | None = None

    def _digest(self, value: int, key: int, flags: int) -> bytes:
        asked = json.dumps([astuple(self.filters), self.sort, self.descending, value, key, flags])
        return hashlib.blake2b(asked.encode(), digest_size=8, person=b"vb cursor").digest()

    def cursor(self, position: Position) -> str:
        """Return the cursor of a place; it is good for this query, with any page size."""
        flags = _BACKWARDS if position.backwards else 0
        digest = self._digest(position.value, position.key, flags)
        packed = _CURSOR.pack(flags, position.value, position.key, digest)
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    def place(self, cursor: str) -> Position:
        """Return the place of a cursor.

        Raises:
            InvalidField: it is none, or one of another query.
        """
        try:
            packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            flags, value, key, digest = _CURSOR.unpack(packed)
        except (binascii.Error, struct.error, ValueError):
            raise InvalidField("cursor", "is no cursor of this server") from None
        if digest != self._digest(value, key, flags):
            raise InvalidField("cursor", "belongs to another query")
        return Position(value, key, bool(flags & _BACKWARDS))


def parse_query(pairs: Iterable[tuple[str, str]]) -> Query:
    """Return the query of a request's parameters; unknown ones are ignored.

    Raises:
        InvalidField: a value is malformed, or given twice; the error names the parameter.
    """
    values = _Values(pairs)
    filters = Filters(
        created_from_us=values.one("fromDate", lambda text: _moment(text, end=False)),
        created_to_us=values.one("toDate", lambda text: _moment(text, end=True)),
        duration_min_us=values.one("durationMin", lambda text: _duration(text, ROUND_CEILING)),
        duration_max_us=values.one("durationMax", lambda text: _duration(text, ROUND_FLOOR)),
        times_of_day_us=_spans(
            values.one("timeOfDayStart", _time_of_day), values.one("timeOfDayEnd", _time_of_day)
        ),
        labels=tuple(_labels(values)),
        words=values.one("search", _words) or (),
    )
    sort, descending = values.one("sort", _sort) or ("created", True)
    query = Query(filters, sort, descending, values.one("pageSize", _page_size) or DEFAULT_PAGE)
    position = values.one("cursor", query.place)
    return Query(filters, sort, descending, query.page_size, position)


class _Values:
    """The parameters by name; each value is clean text of a sensible length."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for number, (name, value) in enumerate(pairs):
            if number >= MAX_PARAMETERS:
                raise InvalidField("query", f"has more than {MAX_PARAMETERS} parameters")
            self._values.setdefault(name, []).append(value)

    def many(self, name: str) -> list[str]:
        """Return all values of a parameter."""
        return [_clean(name, value) for value in self._values.get(name, ())]

    def one(self, name: str, read: Callable[[str], T]) -> T | None:
        """Return the value of a parameter, None when it is not there."""
        values = self.many(name)
        if not values:
            return None
        if len(values) > 1:
            raise InvalidField(name, "is given twice")
        try:
            return read(values[0])
        except InvalidField:
            raise
        except (ValueError, OverflowError) as exc:
            raise InvalidField(name, str(exc)) from None

    def starting(self, prefix: str) -> list[tuple[str, str]]:
        """Return names, without the prefix, and values of the parameters that begin with it."""
        return [
            (name[len(prefix) :], value)
            for name in self._values
            if name.startswith(prefix)
            for value in self.many(name)
        ]


def _clean(name: str, value: str) -> str:
    shown = "metadata" if name.startswith("metadata.") else name
    if len(value) > MAX_CHARS or len(name) > MAX_CHARS:
        raise InvalidField(shown, f"is longer than {MAX_CHARS} characters")
    if CONTROL.search(name) or CONTROL.search(value):
        raise InvalidField(shown, "has control characters or is no valid text")
    return value


def _uuid(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise ValueError("must be a UUID")
    return str(UUID(text))


def _labels(values: _Values) -> Iterable[tuple[int, ...]]:
    agents = [item for text in values.many("agentIds") for item in text.split(",")]
    if len(agents) > MAX_AGENTS:
        raise InvalidField("agentIds", f"has more than {MAX_AGENTS} items")
    try:
        found = sorted({agent_label(_uuid(item)) for item in agents})
    except ValueError as exc:
        raise InvalidField("agentIds", str(exc)) from None
    if found:
        yield tuple(found)
    voice = values.one("voiceId", lambda text: voice_label(_uuid(text)))
    if voice is not None:
        yield (voice,)
    if values.many("metadata"):
        raise InvalidField("metadata", "must be given as metadata.key=value")
    pieces = values.starting("metadata.")
    if len(pieces) > MAX_METADATA:
        raise InvalidField("metadata", f"has more than {MAX_METADATA} pairs")
    for key, value in sorted(set(pieces)):
        if not key:
            raise InvalidField("metadata", "needs a key, as in metadata.key=value")
        yield (metadata_label(key, value),)


def _words(text: str) -> tuple[str, ...]:
    if len(text) > MAX_SEARCH_CHARS:
        raise ValueError(f"is longer than {MAX_SEARCH_CHARS} characters")
    words = tuple(sorted(set(split_words(text))))
    if not words:
        raise ValueError("has no letter or digit to search for")
    if len(words) > MAX_SEARCH_WORDS:
        raise ValueError(f"has more than {MAX_SEARCH_WORDS} words")
    return words


def _sort(text: str) -> tuple[SortField, bool]:
    name = text.removeprefix("-")
    if name not in SORTS:
        raise ValueError(f"must be one of {', '.join(SORTS)}, with - before it for the largest first")
    return SORTS[name], text.startswith("-")


def _page_size(text: str) -> int:
    if not re.fullmatch(r"0*[0-9]{1,6}", text, re.ASCII) or not 1 <= int(text) <= MAX_PAGE:
        raise ValueError(f"must be a number from 1 to {MAX_PAGE}")
    return int(text)


def _duration(text: str, rounding: str) -> int:
    if not _DURATION.fullmatch(text):
        raise ValueError("must be a duration in seconds, such as 90s or 1.5s")
    return int((Decimal(text[:-1]) * SECOND_US).to_integral_value(rounding))


def _moment(text: str, *, end: bool) -> int:
    """Return a date or time in µs; a date alone is its first microsecond, or its last one."""
    day = _DATE.fullmatch(text)
    if day is not None:
        start_us = to_us(datetime(int(day[1]), int(day[2]), int(day[3]), tzinfo=UTC))
        return start_us + DAY_US - 1 if end else start_us
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError("must be a date such as 2026-01-31, or a time such as 2026-01-31T09:30:00Z")
    midnight = date.fromisoformat(match["date"])
    start_us = to_us(datetime(midnight.year, midnight.month, midnight.day, tzinfo=UTC))
    return start_us + _clock_us(match) - _offset_us(match)


def _time_of_day(text: str) -> tuple[int, int]:
    """Return µs since midnight, and the offset of the time zone in µs."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("must be a time of day such as 09:30:00")
    return _clock_us(match), _offset_us(match)


def _clock_us(match: re.Match[str]) -> int:
    hour, minute, second = int(match["h"]), int(match["m"]), int(match["s"] or 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("has no such time")
    return ((hour * 60 + minute) * 60 + second) * SECOND_US + int((match["f"] or "0").ljust(6, "0")[:6])


def _offset_us(match: re.Match[str]) -> int:
    zone = match["zone"]
    if not zone or zone in "Zz":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if hours > 23 or minutes > 59:
        raise ValueError("has no such time zone")
    # In a URL a bare plus means a space; nothing else can be meant here.
    return (-1 if zone[0] == "-" else 1) * (hours * 60 + minutes) * 60 * SECOND_US


def _spans(start: tuple[int, int] | None, end: tuple[int, int] | None) -> tuple[tuple[int, int], ...]:
    """Return the spans of the UTC day from a start to an end, both included, also across midnight."""
    if start is None and end is None:
        return ()
    first, offset = start or (0, end[1] if end else 0)
    last, last_offset = end or (DAY_US - 1, offset)
    first_us, last_us = (first - offset) % DAY_US, (last - last_offset) % DAY_US
    if (last_us + 1) % DAY_US == first_us:
        return ()
    if first_us <= last_us:
        return ((first_us, last_us),)
    return ((0, last_us), (first_us, DAY_US - 1))
