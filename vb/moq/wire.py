"""Building blocks of MoQ messages: key-value pairs, names, and how a field is read and written.

Spec: draft-ietf-moq-transport-11 sections 1.4 and 2.4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from vb.moq.codes import MoqError, SessionCode, violation
from vb.quic.varint import read_varint, varint

T = TypeVar("T")

MAX_NAMESPACE_PARTS: Final = 32
MAX_NAME_BYTES: Final = 4096
"""Of a namespace and a track's name together."""
MAX_REASON_BYTES: Final = 1024
MAX_URI_BYTES: Final = 8192
MAX_VALUE_BYTES: Final = 65_535

AUTHORIZATION_TOKEN: Final = 0x01
"""Parameter of requests."""
_REPEATABLE: Final = frozenset({AUTHORIZATION_TOKEN})
_KNOWN: Final = frozenset({0x01, 0x02, 0x04})
"""Types that mean something: in setup messages PATH, MAX_REQUEST_ID and MAX_AUTH_TOKEN_CACHE_SIZE, in others
AUTHORIZATION TOKEN, DELIVERY TIMEOUT and MAX CACHE DURATION."""

Namespace = tuple[bytes, ...]
Parameters = tuple[tuple[int, int | bytes], ...]
"""Type and value: even types have integers, odd ones bytes."""


class Incomplete(Exception):
    """The bytes end before what is read does."""


class Location(NamedTuple):
    """Where an object is in its track."""

    group: int
    object: int


class Reader:
    """Takes fields from bytes, one after the other.

    Args:
        data: the bytes.
        at: where the first field begins.
    """

    def __init__(self, data: bytes | bytearray, at: int = 0) -> None:
        self._data = data
        self.at = at

    @property
    def left(self) -> int:
        """Return how many bytes there still are."""
        return len(self._data) - self.at

    def byte(self) -> int:
        """Take one byte.

        Raises:
            Incomplete: there is none.
        """
        if self.at >= len(self._data):
            raise Incomplete
        value = self._data[self.at]
        self.at += 1
        return value

    def take(self, count: int) -> bytes:
        """Take so many bytes.

        Raises:
            Incomplete: there are fewer.
        """
        end = self.at + count
        if end > len(self._data):
            raise Incomplete
        value = bytes(self._data[self.at : end])
        self.at = end
        return value

    def varint(self) -> int:
        """Take an integer of 1, 2, 4 or 8 bytes.

        Raises:
            Incomplete: it is cut off.
        """
        found = read_varint(self._data, self.at)
        if found is None:
            raise Incomplete
        value, self.at = found
        return value

    def block(self, limit: int, what: str) -> bytes:
        """Take bytes that follow their length.

        Raises:
            Incomplete: they are cut off.
            MoqError: there are more than `limit`.
        """
        count = self.varint()
        if count > limit:
            raise violation(f"{what} has {count} bytes")
        return self.take(count)


@dataclass(frozen=True, slots=True)
class Coding(Generic[T]):
    """How a field is read and written."""

    read: Callable[[Reader], T]
    write: Callable[[T], bytes]


def _read_flag(reader: Reader) -> bool:
    value = reader.byte()
    if value > 1:
        raise violation(f"a flag is {value}")
    return bool(value)


def _write_block(data: bytes) -> bytes:
    return varint(len(data)) + data


def _read_namespace(reader: Reader) -> Namespace:
    count = reader.varint()
    if not 1 <= count <= MAX_NAMESPACE_PARTS:
        raise violation(f"a namespace has {count} parts")
    parts = tuple(reader.block(MAX_NAME_BYTES, "part of a namespace") for _ in range(count))
    if sum(map(len, parts)) > MAX_NAME_BYTES:
        raise violation("a namespace is too long")
    return parts


def _write_namespace(namespace: Namespace) -> bytes:
    return varint(len(namespace)) + b"".join(map(_write_block, namespace))


def _read_location(reader: Reader) -> Location:
    return Location(reader.varint(), reader.varint())


def _write_location(location: Location) -> bytes:
    return varint(location.group) + varint(location.object)


def _read_pair(reader: Reader) -> tuple[int, int | bytes]:
    kind = reader.varint()
    if kind % 2 == 0:
        return kind, reader.varint()
    count = reader.varint()
    if count > MAX_VALUE_BYTES:
        raise violation(f"a value has {count} bytes")
    return kind, reader.take(count)


def _write_pair(kind: int, value: int | bytes) -> bytes:
    if isinstance(value, int) == bool(kind % 2):
        raise ValueError(f"type {kind} has another kind of value")
    return varint(kind) + (varint(value) if isinstance(value, int) else _write_block(value))


def _read_parameters(reader: Reader, repeatable: frozenset[int]) -> Parameters:
    count = reader.varint()
    if count > reader.left // 2:  # each has two bytes at least
        raise Incomplete
    pairs = tuple(_read_pair(reader) for _ in range(count))
    once = [kind for kind, _ in pairs if kind in _KNOWN and kind not in repeatable]
    if len(set(once)) != len(once):
        raise violation("a parameter is repeated")
    return pairs


def _write_parameters(parameters: Parameters) -> bytes:
    return varint(len(parameters)) + b"".join(_write_pair(kind, value) for kind, value in parameters)


def read_extensions(data: bytes) -> Parameters:
    """Return the extension headers of an object.

    Raises:
        MoqError: they cannot be read.

    Spec: section 9.2.1.2.
    """
    reader, pairs = Reader(data), []
    try:
        while reader.left:
            pairs.append(_read_pair(reader))
    except Incomplete:
        raise MoqError(
            SessionCode.KEY_VALUE_FORMATTING_ERROR, "an object's extension headers are cut off"
        ) from None
    return tuple(pairs)


def write_extensions(extensions: Parameters) -> bytes:
    """Return extension headers as they follow their length."""
    return b"".join(_write_pair(kind, value) for kind, value in extensions)


def limited(coding: Coding[int], allowed: range, what: str) -> Coding[int]:
    """Return a coding of integers that refuses those out of a range."""

    def read(reader: Reader) -> int:
        value = coding.read(reader)
        if value not in allowed:
            raise violation(f"{what} is {value}")
        return value

    return Coding(read, coding.write)


VARINT: Final = Coding(Reader.varint, varint)
BYTE: Final = Coding(Reader.byte, lambda value: bytes((value,)))
FLAG: Final = Coding(_read_flag, lambda value: bytes((value,)))
NAME: Final = Coding(lambda reader: reader.block(MAX_NAME_BYTES, "a track's name"), _write_block)
URI: Final = Coding(lambda reader: reader.block(MAX_URI_BYTES, "a URI"), _write_block)
REASON: Final = Coding(
    lambda reader: reader.block(MAX_REASON_BYTES, "a reason").decode(errors="replace"),
    lambda reason: _write_block(reason.encode()[:MAX_REASON_BYTES]),
)
NAMESPACE: Final = Coding(_read_namespace, _write_namespace)
LOCATION: Final = Coding(_read_location, _write_location)
SETUP_PARAMETERS: Final = Coding(lambda reader: _read_parameters(reader, frozenset()), _write_parameters)
PARAMETERS: Final = Coding(lambda reader: _read_parameters(reader, _REPEATABLE), _write_parameters)
