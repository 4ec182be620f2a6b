"""A small blocking WebSocket client: text frames, pings answered, nothing else."""

from __future__ import annotations

import base64
import json
import os
import socket
from typing import Final

_TEXT: Final = 1
_CLOSE: Final = 8
_PING: Final = 9
_PONG: Final = 10

Frame = tuple[int, bytes]


class ConnectionEnded(Exception):
    """The server closed the connection."""


def masked_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """Return one final client frame."""
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    elif size < 1 << 16:
        head = bytes([0x80 | opcode, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | opcode, 0x80 | 127]) + size.to_bytes(8, "big")
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def take_frame(data: bytearray) -> Frame | None:
    """Remove the first whole server frame from `data`; None when there is none yet."""
    if len(data) < 2:
        return None
    size, start = data[1] & 0x7F, 2
    if size >= 126:
        start = 4 if size == 126 else 10
        if len(data) < start:
            return None
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        return None
    opcode, payload = data[0] & 0x0F, bytes(data[start : start + size])
    del data[: start + size]
    return opcode, payload


class WebSocket:
    """A connection to a WebSocket resource that speaks JSON text.

    Raises:
        ConnectionEnded: the server did not upgrade.
    """

    def __init__(self, host: str, port: int, path: str, *, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(10)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.connect((host, port))
        self._ended: str | None = None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        request = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        ]
        self._socket.sendall("\r\n".join([*request, "", ""]).encode())
        self._data = bytearray()
        while b"\r\n\r\n" not in self._data:
            self._read()
        head, _, rest = bytes(self._data).partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionEnded(head.decode("latin-1"))
        self._data = bytearray(rest)

    def _read(self) -> None:
        data = self._socket.recv(262144)
        if not data:
            raise ConnectionEnded("the server closed the connection")
        self._data += data

    def _send(self, opcode: int, payload: bytes) -> None:
        self._socket.sendall(masked_frame(opcode, payload, os.urandom(4)))

    def send(self, message: dict[str, object]) -> None:
        """Send one message."""
        self._send(_TEXT, json.dumps(message).encode())

    def fileno(self) -> int:
        """Let `select` wait for this connection."""
        return self._socket.fileno()

    def take(self, timeout_s: float = 10.0) -> list[dict[str, object]]:
        """Return all messages that one read brings; waits when nothing is there.

        Raises:
            ConnectionEnded: the server closed the connection, and everything before that was returned.
            TimeoutError: nothing came.
        """
        messages: list[dict[str, object]] = []
        if self._ended is not None:
            raise ConnectionEnded(self._ended)
        self._socket.settimeout(timeout_s)
        self._read()
        while (frame := take_frame(self._data)) is not None:
            self._handle(frame, messages)
        return messages

    def _handle(self, frame: Frame, messages: list[dict[str, object]]) -> None:
        opcode, payload = frame
        if opcode == _TEXT:
            messages.append(json.loads(payload))
        elif opcode == _PING:
            self._send(_PONG, payload)
        elif opcode == _CLOSE:
            self._ended = payload[2:].decode("utf-8", "replace")

    def detach(self) -> tuple[socket.socket, bytearray]:
        """Give away the connection, and what came on it that was not taken."""
        return self._socket, self._data

    def close(self) -> None:
        """Close without a farewell."""
        self._socket.close()
