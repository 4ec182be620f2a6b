"""Capsules: what is said about a session on the stream that asked for it.

Spec: RFC 9297 §3, draft-ietf-webtrans-http3 §6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vb.quic.varint import read_varint, varint

CLOSE_SESSION: Final = 0x2843
MAX_REASON_BYTES: Final = 1024
_CODE_BYTES: Final = 4
_LONGEST: Final = _CODE_BYTES + MAX_REASON_BYTES


class CapsuleError(ValueError):
    """A capsule that is not well formed."""


@dataclass(frozen=True, slots=True)
class Close:
    """The end of a session: an application's code of 32 bits and its words."""

    code: int
    reason: str


def encode_close(code: int, reason: str) -> bytes:
    """Return the capsule that ends a session; words that are too long are cut."""
    words = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()
    value = (code & 0xFFFFFFFF).to_bytes(_CODE_BYTES) + words
    return varint(CLOSE_SESSION) + varint(len(value)) + value


class Capsules:
    """Reads the capsules of one stream; what nobody knows is skipped, not kept."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._skip = 0

    def receive(self, data: bytes) -> Close | None:
        """Take bytes; returns the end of the session if they tell it.

        Raises:
            CapsuleError: they cannot be understood.
        """
        self._held += data
        while True:
            if self._skip:
                skipped = min(self._skip, len(self._held))
                del self._held[:skipped]
                self._skip -= skipped
                if self._skip:
                    return None
            kind = read_varint(self._held)
            length = kind and read_varint(self._held, kind[1])
            if kind is None or length is None:
                return None
            if kind[0] != CLOSE_SESSION:
                del self._held[: length[1]]
                self._skip = length[0]
                continue
            size, begin = length
            if not _CODE_BYTES <= size <= _LONGEST:
                raise CapsuleError("the end of a session has a wrong length")
            if len(self._held) < begin + size:
                return None
            value = bytes(self._held[begin : begin + size])
            try:
                return Close(int.from_bytes(value[:_CODE_BYTES]), value[_CODE_BYTES:].decode())
            except UnicodeDecodeError:
                raise CapsuleError("the reason of an end is not UTF-8") from None
