"""A provider over real HTTP on loopback, which can fail at every step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

PIECE_BYTES = 3_201
"""Odd on purpose: pieces end in the middle of samples."""


@dataclass
class Request:
    """One request as received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Speak:
    """Audio, in pieces, each after a pause.

    Attributes:
        content: the body.
        content_type: its header; "" for none.
        declared: Content-Length; None for chunks.
        cut_at: after so many bytes the connection is closed.
        stall_at: after so many bytes nothing more comes.
        wait: awaited before the answer.
        piece_bytes: length of a piece.
        pace_s: pause after each piece.
    """

    content: bytes
    content_type: str = "audio/pcm"
    declared: int | None = None
    cut_at: int | None = None
    stall_at: int | None = None
    wait: trio.Event | None = None
    piece_bytes: int = PIECE_BYTES
    pace_s: float = 0.0


@dataclass
class Fail:
    """An answer without success."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Raw:
    """Bytes that are no HTTP, and then the end."""

    data: bytes


class Stall:
    """A request that is never answered."""


Behaviour = Speak | Fail | Raw | Stall


class Mock:
    """Answers each request by the next behaviour; the last one stays."""

    def __init__(self) -> None:
        self.port = 0
        self.script: list[Behaviour] = []
        self.paths: dict[str, Behaviour] = {}
        self.requests: list[Request] = []
        self.open = 0
        self.asked = trio.Event()
        self.closed = trio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def plan(self, *script: Behaviour) -> None:
        self.script = list(script)

    @property
    def spoken(self) -> Sequence[Request]:
        """The requests for speech."""
        return [request for request in self.requests if request.path.partition("?")[0] not in self.paths]

    async def serve(self, stream: trio.SocketStream) -> None:
        self.open += 1
        buffer = bytearray()
        try:
            while (request := await _read(stream, buffer)) is not None:
                self.requests.append(request)
                self.asked.set()
                if not await self._answer(stream, request):
                    return
        except trio.BrokenResourceError:
            pass
        finally:
            self.open -= 1
            self.closed.set()
            await trio.aclose_forcefully(stream)

    async def _answer(self, stream: trio.SocketStream, request: Request) -> bool:
        """Answer one request; returns whether the connection goes on."""
        behaviour = self.paths.get(request.path.partition("?")[0])
        if behaviour is None:
            behaviour = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        match behaviour:
            case Stall():
                await stream.receive_some(1)
                return False
            case Raw(data):
                await stream.send_all(data)
                return False
            case Fail(status, body, headers):
                lines = [f"HTTP/1.1 {status} No", f"Content-Length: {len(body)}"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                await stream.send_all("\r\n".join([*lines, "", ""]).encode() + body)
                return True
            case Speak():
                return await self._speak(stream, behaviour)

    async def _speak(self, stream: trio.SocketStream, behaviour: Speak) -> bool:
        if behaviour.wait is not None:
            await behaviour.wait.wait()
        lines = ["HTTP/1.1 200 OK"]
        if behaviour.content_type:
            lines.append(f"Content-Type: {behaviour.content_type}")
        declared = behaviour.declared
        lines.append("Transfer-Encoding: chunked" if declared is None else f"Content-Length: {declared}")
        await stream.send_all("\r\n".join([*lines, "", ""]).encode())
        end = behaviour.cut_at if behaviour.cut_at is not None else behaviour.stall_at
        content = behaviour.content if end is None else behaviour.content[:end]
        for start in range(0, len(content), behaviour.piece_bytes):
            piece = content[start : start + behaviour.piece_bytes]
            if declared is None:
                piece = b"%x\r\n%b\r\n" % (len(piece), piece)
            await stream.send_all(piece)
            if behaviour.pace_s:
                await trio.sleep(behaviour.pace_s)
        if behaviour.stall_at is not None:
            await stream.receive_some(1)
            return False
        if behaviour.cut_at is not None:
            return False
        if declared is None:
            await stream.send_all(b"0\r\n\r\n")
        return True


async def _read(stream: trio.SocketStream, buffer: bytearray) -> Request | None:
    while b"\r\n\r\n" not in buffer:
        chunk = await stream.receive_some(65536)
        if not chunk:
            return None
        buffer += chunk
    head, _, rest = bytes(buffer).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    length = int(headers.get("content-length", "0"))
    while len(rest) < length:
        rest += await stream.receive_some(65536)
    buffer[:] = rest[length:]
    return Request(method, path, headers, rest[:length])


@asynccontextmanager
async def open_mock() -> AsyncIterator[Mock]:
    """One on a free port."""
    mock = Mock()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    mock.port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, mock.serve, [listener])
        yield mock
        nursery.cancel_scope.cancel()
