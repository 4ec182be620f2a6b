"""A small HTTP/1.1 server for the peers that the server under test calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

MAX_BODY_BYTES = 1 << 20
MAX_CONNECTIONS = 200


@dataclass(frozen=True)
class Request:
    """One request as received."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever its case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True)
class Response:
    """What a handler answers."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Response]]


async def _read_request(stream: trio.SocketStream, buffer: bytearray) -> Request | None:
    while b"\r\n\r\n" not in buffer:
        chunk = await stream.receive_some(65536)
        if not chunk:
            return None
        buffer += chunk
    head, _, rest = bytes(buffer).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ")
    headers = tuple((key, value.strip()) for key, _, value in (line.partition(":") for line in lines[1:]))
    length = int(next((value for key, value in headers if key.lower() == "content-length"), "0"))
    if length > MAX_BODY_BYTES:
        return None
    while len(rest) < length:
        chunk = await stream.receive_some(65536)
        if not chunk:
            return None
        rest += chunk
    buffer[:] = rest[length:]
    return Request(method, path, headers, rest[:length])


async def _serve_connection(handler: Handler, limit: trio.CapacityLimiter, stream: trio.SocketStream) -> None:
    buffer = bytearray()
    async with stream, limit:
        try:
            while (request := await _read_request(stream, buffer)) is not None:
                response = await handler(request)
                lines = [
                    f"HTTP/1.1 {response.status} Answer",
                    f"Content-Type: {response.content_type}",
                    f"Content-Length: {len(response.body)}",
                    *(f"{key}: {value}" for key, value in response.headers),
                    "",
                    "",
                ]
                body = b"" if request.method == "HEAD" else response.body
                await stream.send_all("\r\n".join(lines).encode() + body)
        except (trio.BrokenResourceError, trio.ClosedResourceError, ValueError):
            return


@asynccontextmanager
async def serve_http(handler: Handler, port: int = 0) -> AsyncIterator[int]:
    """Serves on the loopback address while the block runs; yields the port."""
    limit = trio.CapacityLimiter(MAX_CONNECTIONS)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, partial(_serve_connection, handler, limit), listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()
