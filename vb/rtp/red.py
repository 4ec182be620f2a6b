"""Redundant payloads: blocks sent before, repeated in front of the new one.

Spec: RFC 2198 §3.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_AGE: Final = (1 << 14) - 1
"""Largest difference of timestamps that the header of a repeated block can tell."""
MAX_REPEATED_BYTES: Final = (1 << 10) - 1
"""Longest block that can be repeated; the new block of a packet has no such limit."""

_HEADER = struct.Struct("!I")
_MORE_BIT: Final = 0x80
_MAX_PAYLOAD_TYPE: Final = 0x7F


@dataclass(frozen=True, slots=True)
class RedBlock:
    """One block of a redundant payload.

    Attributes:
        payload_type: what its data is.
        data: its payload, possibly empty.
        age: how much its timestamp lies before that of the packet; 0 for the new block.
    """

    payload_type: int
    data: bytes
    age: int = 0


def build_red(repeated: Sequence[RedBlock], new: RedBlock) -> bytes:
    """Return the payload of a packet.

    Args:
        repeated: earlier blocks, the oldest first.
        new: the block of this packet; its age is not written.

    Raises:
        ValueError: a repeated block is too old or too long, or a payload type too large, for its field.
    """
    if not 0 <= new.payload_type <= _MAX_PAYLOAD_TYPE:
        raise ValueError(f"payload type {new.payload_type} does not fit")
    headers = [_header(block) for block in repeated]
    return b"".join((*headers, bytes((new.payload_type,)), *(block.data for block in repeated), new.data))


def _header(block: RedBlock) -> bytes:
    fits = 0 <= block.payload_type <= _MAX_PAYLOAD_TYPE and 0 <= block.age <= MAX_AGE
    if not fits or len(block.data) > MAX_REPEATED_BYTES:
        raise ValueError(f"a block of {len(block.data)} bytes, {block.age} old, does not fit")
    kind = _MORE_BIT | block.payload_type
    return _HEADER.pack(kind << 24 | block.age << 10 | len(block.data))


def parse_red(payload: bytes) -> tuple[RedBlock, ...] | None:
    """Read any bytes as a redundant payload: its blocks, the oldest first and the new one last.

    Returns:
        None when the headers have no end or name more data than there is.
    """
    headers: list[tuple[int, int, int]] = []
    at = 0
    while at < len(payload) and payload[at] & _MORE_BIT:
        if at + _HEADER.size > len(payload):
            return None
        (word,) = _HEADER.unpack_from(payload, at)
        headers.append((word >> 24 & _MAX_PAYLOAD_TYPE, word >> 10 & MAX_AGE, word & MAX_REPEATED_BYTES))
        at += _HEADER.size
    if at >= len(payload):
        return None
    payload_type = payload[at]
    at += 1
    if at + sum(length for _, _, length in headers) > len(payload):
        return None
    blocks: list[RedBlock] = []
    for kind, age, length in headers:
        blocks.append(RedBlock(kind, payload[at : at + length], age))
        at += length
    return (*blocks, RedBlock(payload_type, payload[at:]))
