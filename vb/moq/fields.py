"""Fields of control messages: what they are, and how each stands on the wire.

Spec: draft-ietf-moq-transport-11 section 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from vb.moq.codes import violation
from vb.moq.wire import (
    BYTE,
    FLAG,
    LOCATION,
    NAME,
    NAMESPACE,
    PARAMETERS,
    REASON,
    SETUP_PARAMETERS,
    URI,
    VARINT,
    Coding,
    Incomplete,
    Location,
    Namespace,
    Parameters,
    Reader,
    limited,
)
from vb.quic.varint import varint

LATEST_OBJECT: Final = 0x2
NEXT_GROUP: Final = 0x1
ABSOLUTE_START: Final = 0x3
ABSOLUTE_RANGE: Final = 0x4
ASCENDING: Final = 0x1
PUBLISHERS_ORDER: Final = 0x0
USUAL_PRIORITY: Final = 128

STANDALONE: Final = 0x1
RELATIVE_JOINING: Final = 0x2
ABSOLUTE_JOINING: Final = 0x3


@dataclass(frozen=True, slots=True)
class Filter:
    """Which objects a subscriber wants (section 8.7).

    Attributes:
        kind: latest object, next group, absolute start or absolute range.
        start: of the absolute ones.
        end_group: last group of a range.
    """

    kind: int = LATEST_OBJECT
    start: Location | None = None
    end_group: int | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """What a standalone FETCH asks for."""

    namespace: Namespace
    name: bytes
    start: Location
    end: Location


@dataclass(frozen=True, slots=True)
class Joining:
    """What a FETCH asks for that joins a subscription."""

    kind: int
    request_id: int
    start: int


def _read_filter(reader: Reader) -> Filter:
    kind = reader.varint()
    if not NEXT_GROUP <= kind <= ABSOLUTE_RANGE:
        raise violation(f"a filter is of type {kind}")
    start = LOCATION.read(reader) if kind >= ABSOLUTE_START else None
    return Filter(kind, start, reader.varint() if kind == ABSOLUTE_RANGE else None)


def _write_filter(value: Filter) -> bytes:
    data = varint(value.kind)
    if value.start is not None:
        data += LOCATION.write(value.start)
    return data if value.end_group is None else data + varint(value.end_group)


def _read_largest(reader: Reader) -> Location | None:
    return LOCATION.read(reader) if FLAG.read(reader) else None


def _write_largest(value: Location | None) -> bytes:
    return b"\0" if value is None else b"\1" + LOCATION.write(value)


def _read_fetched(reader: Reader) -> Range | Joining:
    kind = reader.varint()
    if kind == STANDALONE:
        namespace, name = NAMESPACE.read(reader), NAME.read(reader)
        return Range(namespace, name, LOCATION.read(reader), LOCATION.read(reader))
    if kind in (RELATIVE_JOINING, ABSOLUTE_JOINING):
        return Joining(kind, reader.varint(), reader.varint())
    raise violation(f"a fetch is of type {kind}")


def _write_fetched(value: Range | Joining) -> bytes:
    if isinstance(value, Joining):
        return varint(value.kind) + varint(value.request_id) + varint(value.start)
    name = NAMESPACE.write(value.namespace) + NAME.write(value.name)
    return varint(STANDALONE) + name + LOCATION.write(value.start) + LOCATION.write(value.end)


def _read_versions(reader: Reader) -> tuple[int, ...]:
    count = reader.varint()
    if not count:
        raise violation("no version is offered")
    if count > reader.left:
        raise Incomplete
    return tuple(reader.varint() for _ in range(count))


def _write_versions(versions: tuple[int, ...]) -> bytes:
    return varint(len(versions)) + b"".join(map(varint, versions))


LATEST: Final = Filter()

Number = Annotated[int, VARINT]
Byte = Annotated[int, BYTE]
Flag = Annotated[bool, FLAG]
Name = Annotated[bytes, NAME]
Uri = Annotated[bytes, URI]
Reason = Annotated[str, REASON]
Named = Annotated[Namespace, NAMESPACE]
Place = Annotated[Location, LOCATION]
SetupParameters = Annotated[Parameters, SETUP_PARAMETERS]
RequestParameters = Annotated[Parameters, PARAMETERS]
Wanted = Annotated[Filter, Coding(_read_filter, _write_filter)]
Largest = Annotated[Location | None, Coding(_read_largest, _write_largest)]
Fetched = Annotated[Range | Joining, Coding(_read_fetched, _write_fetched)]
Versions = Annotated[tuple[int, ...], Coding(_read_versions, _write_versions)]
Order = Annotated[int, limited(BYTE, range(3), "a group order")]
ChosenOrder = Annotated[int, limited(BYTE, range(1, 3), "a group order")]
