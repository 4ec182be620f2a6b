"""An HTTP server that misbehaves on purpose: bodies without end or at a crawl, lying lengths, redirects."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from conformance.expect import Difference

PIECE = bytes(64 << 10)
MAX_SENT_BYTES = 2 << 30


@dataclass(frozen=True)
class Paced:
    """A body that is sent slowly; ``cut_at`` bytes of it if that is set, and then the connection closes."""

    body: bytes
    bytes_per_s: int
    cut_at: int = 0


class HostileServer:
    """Answers by path.

    ``/endless`` never stops, ``/huge`` declares 10 GB, ``/crawl`` sends a byte a second, ``/short`` less than
    it declares, ``/hang`` nothing, ``/loop`` redirects to itself, ``/to/<url>`` to a URL. What was put into
    ``paced`` comes at its own pace.
    """

    def __init__(self) -> None:
        self.port = 0
        self.asked: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.paced: dict[str, Paced] = {}
        self._serving = 0
        self._idle = trio.Event()

    def url(self, path: str) -> str:
        """The full URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, stream: trio.SocketStream) -> None:
        """Handles one connection."""
        self._serving += 1
        async with stream:
            try:
                await self._answer(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            finally:
                self._left()

    def _left(self) -> None:
        self._serving -= 1
        if not self._serving:
            self._idle.set()
            self._idle = trio.Event()

    async def all_gone(self, within_s: float) -> None:
        """Waits until nobody is being served.

        Raises:
            Difference: when somebody still is.
        """
        with trio.move_on_after(within_s):
            while self._serving:
                await self._idle.wait()
        if self._serving:
            raise Difference("connections that are left", 0, self._serving)

    async def _answer(self, stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < 65536:
            chunk = await stream.receive_some(65536)
            if not chunk:
                return
            head += chunk
        path = head.split(b" ")[1].decode("latin-1")
        self.asked[path] += 1
        start = "HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nConnection: close\r\n"
        if path in self.paced:
            paced = self.paced[path]
            await stream.send_all(f"{start}Content-Length: {len(paced.body)}\r\n\r\n".encode())
            await self._pace(stream, path, paced)
        elif path == "/hang":
            await trio.sleep_forever()
        elif path.startswith("/to/") or path == "/loop":
            target = self.url("/loop") if path == "/loop" else path.removeprefix("/to/")
            moved = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
            await stream.send_all(moved.encode())
        elif path == "/short":
            await stream.send_all(f"{start}Content-Length: 100000\r\n\r\nRIFF".encode())
        else:
            length = "" if path == "/endless" else "Content-Length: 10000000000\r\n"
            await stream.send_all(f"{start}{length}\r\n".encode())
            await self._body(stream, path)

    async def _pace(self, stream: trio.SocketStream, path: str, paced: Paced) -> None:
        step = paced.bytes_per_s // 20
        for at in range(0, paced.cut_at or len(paced.body), step):
            await stream.send_all(paced.body[at : at + step])
            self.sent[path] += step
            await trio.sleep(1 / 20)

    async def _body(self, stream: trio.SocketStream, path: str) -> None:
        while self.sent[path] < MAX_SENT_BYTES:
            piece = b"R" if path == "/crawl" else PIECE
            await stream.send_all(piece)
            self.sent[path] += len(piece)
            if path == "/crawl":
                await trio.sleep(1)


@asynccontextmanager
async def open_hostile() -> AsyncIterator[HostileServer]:
    """One on a free port."""
    server = HostileServer()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server.port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, server.serve, [listener])
        yield server
        nursery.cancel_scope.cancel()
