"""The server's side of a WebSocket, as honest or hostile as a test wants it: raw frames in and out."""

from __future__ import annotations

import base64
import hashlib
import struct

import trio

from vb.web.tasks.client import WebClient

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, rsv: int = 0, key: bytes = b"") -> bytes:
    """A frame as a server sends it; with a key it is masked, which a server must not do."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask = 0x80 if key else 0
    if len(data) < 126:
        head = bytes((first, mask | len(data)))
    elif len(data) < 65536:
        head = struct.pack("!BBH", first, mask | 126, len(data))
    else:
        head = struct.pack("!BBQ", first, mask | 127, len(data))
    return head + key + (bytes(octet ^ key[i % 4] for i, octet in enumerate(data)) if key else data)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


class Frames:
    """Reads a client's frames from a stream; each has to be masked."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self.held = b""
        self._stream = stream

    async def _take(self, count: int) -> bytes:
        while len(self.held) < count:
            data = bytes(await self._stream.receive_some(65536))
            if not data:
                raise EOFError
            self.held += data
        taken, self.held = self.held[:count], self.held[count:]
        return taken

    async def next(self) -> tuple[int, bytes]:
        """Return opcode (with the reserved bits) and data of the next frame; EOFError at the end."""
        first, second = await self._take(2)
        assert first & 0x80, "the client does not fragment"
        assert second & 0x80, "the client masks"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._take(8))
        key = await self._take(4)
        data = await self._take(size)
        return first & 0x7F, bytes(octet ^ key[i % 4] for i, octet in enumerate(data))


def answer_to(head: str, *more: str) -> bytes:
    """The answer that opens a WebSocket, with further header lines."""
    key = next(
        line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key")
    )
    token = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    return "\r\n".join([*lines, f"Sec-WebSocket-Accept: {token}", *more, "", ""]).encode()


class MemoryServer:
    """The far end of a connection in memory."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.frames = Frames(stream)
        self.head = ""

    async def accept(self, *more: str, then: bytes = b"") -> None:
        """Read the request and open the WebSocket."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += bytes(await self.stream.receive_some(65536))
        self.head = data.decode("latin-1")
        await self.stream.send_all(answer_to(self.head, *more) + then)


class MemoryWeb:
    """A way out whose only connection is given."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def connect(self, target: object, *, trusted: bool = False) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return self._stream


def as_web(stream: trio.abc.Stream) -> WebClient:
    return MemoryWeb(stream)  # type: ignore[return-value]  # only its connect is used
