"""A WebSocket as a cheap service sees it: the handshake, and frames of which mostly the length matters."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = b"\x8a\x00"


def headers_of(head: bytes) -> dict[bytes, bytes]:
    """Return the fields of a request by their names in small letters."""
    fields = dict(line.partition(b":")[::2] for line in head.split(b"\r\n")[1:])
    return {name.lower(): value.strip() for name, value in fields.items()}


def opening_of(headers: dict[bytes, bytes]) -> bytes:
    """Return the answer that opens a WebSocket."""
    accept = base64.b64encode(hashlib.sha1(headers[b"sec-websocket-key"] + _GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def take_masked(data: bytearray, *, read: frozenset[int]) -> tuple[int, int, bytes] | None:
    """Take the first frame of a client off the data, None while it is not whole.

    Args:
        data: what has come.
        read: opcodes of which the payload is wanted.

    Returns:
        Opcode, length, and the payload where it is wanted.
    """
    if len(data) < 2:
        return None
    size, start = data[1] & 0x7F, 2
    if size >= 126:
        start = 4 if size == 126 else 10
        size = int.from_bytes(data[2:start], "big")
    end = start + 4 + size
    if len(data) < end:
        return None
    opcode, payload = data[0] & 0x0F, b""
    if opcode in read:
        mask = data[start : start + 4] * (size // 4 + 1)
        masked = int.from_bytes(data[start + 4 : end], "big")
        payload = (masked ^ int.from_bytes(mask[:size], "big")).to_bytes(size, "big")
    del data[:end]
    return opcode, size, payload


def frame_of(opcode: int, data: bytes) -> bytes:
    """Return a frame of a server."""
    size = len(data)
    if size < 126:
        return bytes([0x80 | opcode, size]) + data
    if size < 1 << 16:
        return bytes([0x80 | opcode, 126]) + size.to_bytes(2, "big") + data
    return bytes([0x80 | opcode, 127]) + size.to_bytes(8, "big") + data
