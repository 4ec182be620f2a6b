"""An HTTP server that misbehaves on purpose: bodies without end or at a crawl, lying lengths, redirects."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

PIECE = bytes(64 << 10)
MAX_SENT_BYTES = 2 << 30


class HostileServer:
    """Answers by path.

    ``/endless`` never stops, ``/huge`` declares 10 GB, ``/crawl`` sends a byte a second, ``/short`` less than
    it declares, ``/hang`` nothing, ``/loop`` redirects to itself, ``/to/<url>`` to a URL.
    """

    def __init__(self) -> None:
        self.port = 0
        self.asked: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()

    def url(self, path: str) -> str:
        """The full URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, stream: trio.SocketStream) -> None:
        """Handles one connection."""
        async with stream:
            try:
                await self._answer(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

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
        if path == "/hang":
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
