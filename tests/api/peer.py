"""A client of the HTTP edge that says exactly what it is told to say."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio
import trio.lowlevel

if TYPE_CHECKING:
    pass


UPGRADE = (
    b"GET /v1/vsi HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(b"0123456789abcdef") + b"\r\nSec-WebSocket-Version: 13\r\n"
)


def masked(kind: int, data: bytes, *, final: bool = True, mask: bool = True) -> bytes:
    head = bytes([kind | (0x80 if final else 0)])
    bit = 0x80 if mask else 0
    if len(data) < 126:
        head += bytes([bit | len(data)])
    elif len(data) < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", len(data))
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", len(data))
    return head + (b"\0\0\0\0" if mask else b"") + data


async def send_for_ever(peer: Peer, data: bytes) -> None:
    while True:
        await peer.send(data)


class Peer:
    """A client that says exactly what it is told to say."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""

    @classmethod
    async def connect(cls, url: str) -> Peer:
        host, _, port = url.removeprefix("http://").rpartition(":")
        return cls(await trio.open_tcp_stream(host.strip("[]"), int(port)))

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def _more(self) -> None:
        with trio.fail_after(8):
            data = await self._stream.receive_some(65536)
        if not data:
            raise EOFError
        self._buffer += data

    async def read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self._buffer:
            await self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines[1:])}
        status = int(lines[0].split()[1])
        return status, headers, await self.read(int(headers.get("content-length", 0)))

    async def frame(self) -> tuple[int, bytes]:
        first, second = await self.read(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack(">H", await self.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await self.read(8))
        return first & 15, await self.read(length)

    async def event(self) -> Any:
        kind, data = await self.frame()
        assert kind == 1
        return json.loads(data)

    async def close_code(self) -> int:
        while True:
            kind, data = await self.frame()
            if kind == 8:
                return int.from_bytes(data[:2], "big")

    async def ended(self) -> bool:
        try:
            while True:
                await self._more()
        except (EOFError, trio.BrokenResourceError):
            return True

    async def open_vsi(self) -> None:
        await self.send(UPGRADE + b"\r\n")
        assert (await self.response())[0] == 101
        assert await self.event() == {"type": "connected"}

    async def say(self, frame: object) -> None:
        await self.send(masked(1, json.dumps(frame).encode()))


Connect = Callable[[str], Awaitable[Peer]]
