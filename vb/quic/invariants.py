"""What any version of QUIC lets everybody read of a datagram: enough to find its connection.

Spec: RFC 8999.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CONNECTION_ID_BYTES: Final = 8
"""Of every connection id that we choose; short headers do not tell."""
_LONG: Final = 0x80


@dataclass(frozen=True, slots=True)
class Heading:
    """The beginning of a datagram.

    Attributes:
        destination: connection id of whom it is for.
        source: connection id of its sender; empty in a short header.
        version: None in a short header.
    """

    destination: bytes
    source: bytes
    version: int | None


def destination_of(data: bytes) -> bytes:
    """Return the connection id that a datagram is for; it may be cut off."""
    if not data or not data[0] & _LONG:
        return data[1 : 1 + CONNECTION_ID_BYTES]
    return data[6 : 6 + data[5]] if len(data) > 6 else b""


def read_heading(data: bytes) -> Heading | None:
    """Return how a datagram begins; None when no version of QUIC begins like that."""
    size = len(data)
    if not size:
        return None
    if not data[0] & _LONG:
        end = 1 + CONNECTION_ID_BYTES
        return Heading(data[1:end], b"", None) if size >= end else None
    if size < 7:
        return None
    source_at = 6 + data[5]
    if size <= source_at:
        return None
    end = source_at + 1 + data[source_at]
    if size < end:
        return None
    return Heading(data[6:source_at], data[source_at + 1 : end], int.from_bytes(data[1:5]))
