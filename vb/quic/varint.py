"""Integers of variable length: the first two bits tell whether there are 1, 2, 4 or 8 bytes.

Spec: RFC 9000 §16.
"""

from __future__ import annotations

from typing import Final

MAX_VARINT: Final = (1 << 62) - 1


def varint(value: int) -> bytes:
    """Return an integer in as few bytes as it needs.

    Raises:
        ValueError: it has more than 62 bits.
    """
    if 0 <= value < 0x40:
        return bytes((value,))
    if 0 <= value < 0x4000:
        return (value | 0x4000).to_bytes(2)
    if 0 <= value < 0x4000_0000:
        return (value | 0x8000_0000).to_bytes(4)
    if 0 <= value <= MAX_VARINT:
        return (value | 0xC000_0000_0000_0000).to_bytes(8)
    raise ValueError(f"{value} is no varint")


def read_varint(data: bytes | bytearray, at: int = 0) -> tuple[int, int] | None:
    """Return the integer at a place and the place behind it; None when not all of it is there.

    Longer ones than needed are fine.
    """
    if at >= len(data):
        return None
    first = data[at]
    if first < 0x40:
        return first, at + 1
    size = 1 << (first >> 6)
    end = at + size
    if end > len(data):
        return None
    return int.from_bytes(data[at:end]) & ((1 << (8 * size - 2)) - 1), end
