"""The few protobuf types that Pipecat's frames are made of: varints, and fields with a length.

Spec: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5
_MAX_VARINT_BYTES: Final = 10


def write_varint(value: int) -> bytes:
    """Return a number that is not negative, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_number(number: int, value: int) -> bytes:
    """Return a field that holds a number."""
    return write_varint(number << 3 | _VARINT) + write_varint(value)


def write_bytes(number: int, value: bytes) -> bytes:
    """Return a field that holds bytes, text or a message."""
    return write_varint(number << 3 | _LENGTH) + write_varint(len(value)) + value


def read_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Return the fields of a message in their order, as number and value.

    Raises:
        ValueError: the bytes are no message.
    """
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, kind = key >> 3, key & 7
        if not number:
            raise ValueError("field 0")
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            yield number, value
            continue
        if kind == _LENGTH:
            size, at = _read_varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if size > len(data) - at:
            raise ValueError("cut short")
        yield number, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for _ in range(_MAX_VARINT_BYTES):
        if at >= len(data):
            raise ValueError("cut short")
        octet = data[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
        shift += 7
    raise ValueError("number too long")
