"""Objects: on the stream of a subgroup, or as a datagram each; and the head of what a FETCH would bring.

Spec: draft-ietf-moq-transport-11 sections 9.2 to 9.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vb.moq.codes import ObjectStatus, violation
from vb.moq.wire import Incomplete, Parameters, Reader, read_extensions, write_extensions
from vb.quic.varint import read_varint, varint

SUBGROUP_TYPES: Final = range(0x08, 0x0E)
FETCH_TYPE: Final = 0x05
ZERO: Final = 0x08
"""Type of a stream whose subgroup is 0. The lowest bit says that objects have extension headers."""
FIRST_OBJECT: Final = 0x0A
"""Its subgroup is the id of its first object."""
EXPLICIT: Final = 0x0C
"""Its subgroup stands in its head."""
EXTENDED: Final = 0x01

DATAGRAM_TYPES: Final = range(0x04)
STATUS: Final = 0x02
"""Bit of a datagram's type: it has a status in the place of a payload."""

MAX_EXTENSION_BYTES: Final = 4096
MAX_PAYLOAD_BYTES: Final = 16_384
"""Far more than an Opus packet or a piece of typed text; nothing longer is held."""


class TooLong(Exception):
    """An object is longer than anything that we take; its stream is of no use."""


@dataclass(frozen=True, slots=True)
class SubgroupHead:
    """The head of a stream of objects.

    Attributes:
        alias: of the track, as its subscriber chose it.
        group: of all objects on the stream.
        subgroup: None when the id of the first object is it.
        priority: of the publisher, 0 is highest.
        extended: whether objects have extension headers.
    """

    alias: int
    group: int
    subgroup: int | None = 0
    priority: int = 128
    extended: bool = False

    def encode(self) -> bytes:
        """Return it with the type of the stream."""
        if self.subgroup is None:
            kind, subgroup = FIRST_OBJECT, b""
        elif self.subgroup:
            kind, subgroup = EXPLICIT, varint(self.subgroup)
        else:
            kind, subgroup = ZERO, b""
        head = varint(kind | self.extended) + varint(self.alias) + varint(self.group)
        return head + subgroup + bytes((self.priority,))


@dataclass(frozen=True, slots=True)
class FetchHead:
    """The head of a stream that answers a FETCH."""

    request_id: int


@dataclass(frozen=True, slots=True)
class Object:
    """One object.

    Attributes:
        id: within its group.
        payload: empty if the status is not normal.
        status: what an empty one says.
        extensions: its extension headers.
    """

    id: int
    payload: bytes
    status: ObjectStatus = ObjectStatus.NORMAL
    extensions: Parameters = ()

    def encode(self, *, extended: bool = False) -> bytes:
        """Return it as it stands on a stream, with extension headers or without."""
        data = varint(self.id)
        if extended:
            extensions = write_extensions(self.extensions)
            data += varint(len(extensions)) + extensions
        if self.payload:
            return data + varint(len(self.payload)) + self.payload
        return data + b"\0" + varint(self.status)


class ObjectStream:
    """One data stream of the peer.

    Attributes:
        head: once it is known.
    """

    def __init__(self) -> None:
        self.head: SubgroupHead | FetchHead | None = None
        self._buffer = bytearray()
        self._last = -1

    def receive(self, data: bytes, *, fin: bool) -> list[Object]:
        """Return the objects that are complete with some more bytes.

        What follows the head of a FETCH is left alone.

        Raises:
            MoqError: they are not as they must be.
            TooLong: one is longer than anything that we take.
        """
        whole = self._read_whole(data)
        if whole is not None:
            return [whole]
        self._buffer += data
        found: list[Object] = []
        at = 0
        try:
            if self.head is None:
                reader = Reader(self._buffer)
                self.head = _read_head(reader)
                at = reader.at
            if isinstance(self.head, FetchHead):
                self._buffer.clear()
                return found
            while at < len(self._buffer):
                reader = Reader(self._buffer, at)
                found.append(self._read(reader, extended=self.head.extended))
                at = reader.at
        except Incomplete:
            if fin:
                raise violation("a stream ends within an object") from None
        del self._buffer[:at]
        return found

    def _read_whole(self, data: bytes) -> Object | None:
        """Return the object that some bytes are, as they mostly are; None when they are anything else."""
        if self._buffer or not isinstance(self.head, SubgroupHead) or self.head.extended:
            return None
        found = read_varint(data)
        size = None if found is None else read_varint(data, found[1])
        if found is None or size is None:
            return None
        number, (count, at) = found[0], size
        if number < self._last or not 0 < count <= MAX_PAYLOAD_BYTES or at + count != len(data):
            return None
        self._last = number
        return Object(number, data[at:])

    def _read(self, reader: Reader, *, extended: bool) -> Object:
        number = reader.varint()
        raw = b""
        if extended:
            count = reader.varint()
            if count > MAX_EXTENSION_BYTES:
                raise TooLong
            raw = reader.take(count)
        count = reader.varint()
        if count > MAX_PAYLOAD_BYTES:
            raise TooLong
        payload = reader.take(count)
        status = ObjectStatus.NORMAL if payload else _read_status(reader)
        found = _object(number, payload, status, raw)  # a whole one only: it may come byte by byte
        if number < self._last:
            raise violation(f"object {number} comes after {self._last}")
        self._last = number
        return found


def _read_head(reader: Reader) -> SubgroupHead | FetchHead:
    kind = reader.varint()
    if kind == FETCH_TYPE:
        return FetchHead(reader.varint())
    if kind not in SUBGROUP_TYPES:
        raise violation(f"a stream is of type {kind:#x}")
    alias, group = reader.varint(), reader.varint()
    form = kind & ~EXTENDED
    subgroup = reader.varint() if form == EXPLICIT else None if form == FIRST_OBJECT else 0
    return SubgroupHead(alias, group, subgroup, reader.byte(), extended=bool(kind & EXTENDED))


def read_datagram(data: bytes) -> tuple[int, int, Object]:
    """Return track alias, group and object of a datagram (section 9.3).

    Raises:
        MoqError: it is not as it must be.
    """
    reader = Reader(data)
    try:
        kind = reader.varint()
        if kind not in DATAGRAM_TYPES:
            raise violation(f"a datagram is of type {kind:#x}")
        alias, group, number = reader.varint(), reader.varint(), reader.varint()
        reader.byte()  # the publisher's priority
        raw = reader.take(reader.varint()) if kind & EXTENDED else b""
        if kind & EXTENDED and not raw:
            raise violation("a datagram with extension headers has none")
        payload = b"" if kind & STATUS else reader.take(reader.left)
        status = _read_status(reader) if kind & STATUS else ObjectStatus.NORMAL
    except Incomplete:
        raise violation("a datagram is cut off") from None
    if reader.left:
        raise violation("something follows the status of an object")
    return alias, group, _object(number, payload, status, raw)


def _object(number: int, payload: bytes, status: ObjectStatus, raw: bytes) -> Object:
    extensions = read_extensions(raw)
    if status is ObjectStatus.DOES_NOT_EXIST and extensions:
        raise violation("an object that does not exist has extension headers")
    return Object(number, payload, status, extensions)


def _read_status(reader: Reader) -> ObjectStatus:
    value = reader.varint()
    try:
        return ObjectStatus(value)
    except ValueError:
        raise violation(f"the status of an object is {value}") from None
