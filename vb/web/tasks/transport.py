"""An httpx transport that judges every request and connects only to what it has judged.

Connections are kept for further requests. A pool of httpcore keeps them by host; the host it is told is the
key of the judged place, name and addresses together. So a kept connection serves a request only if that
request's own judgment came to the same addresses, and one made for another name on the same address serves
none. What goes over the wire, Host header and TLS name, is what the URL says.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpcore
import httpx
import trio

from vb.web.errors import CannotConnect
from vb.web.place import Place
from vb.web.policy import parse_url
from vb.web.tasks.dial import Dialer
from vb.web.tasks.guard import Guard

TRUSTED: Final = "vb.trusted"
"""Name of the request extension that says that the operator has set the URL."""
REPEATABLE: Final = "vb.repeatable"
"""Name of the request extension that says that the request may be sent twice, although it is no GET."""
_KEPT_CONNECTIONS: Final = 100
_KEPT_S: Final = 30.0
_CONNECT_ERRORS: Final = {CannotConnect: httpcore.ConnectError, trio.TooSlowError: httpcore.ConnectTimeout}
_READ_ERRORS: Final = {
    trio.TooSlowError: httpcore.ReadTimeout,
    trio.BrokenResourceError: httpcore.ReadError,
    trio.ClosedResourceError: httpcore.ReadError,
}
_WRITE_ERRORS: Final = {
    trio.TooSlowError: httpcore.WriteTimeout,
    trio.BrokenResourceError: httpcore.WriteError,
    trio.ClosedResourceError: httpcore.WriteError,
}
_ERRORS: Final = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
}
_LOST: Final = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends requests to places that a guard has found good.

    Args:
        guard: judges the host of each request.
        dial: connects.
    """

    def __init__(self, guard: Guard, dial: Dialer) -> None:
        self._guard = guard
        self._pool = httpcore.AsyncConnectionPool(
            # Who sends requests bounds itself; a limit here would let slow hosts starve the others.
            max_connections=None,
            max_keepalive_connections=_KEPT_CONNECTIONS,
            keepalive_expiry=_KEPT_S,
            network_backend=_Backend(dial),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Judge a request and send it.

        A server may close a kept connection at the moment in which a request goes out on it; a request that
        may be sent twice is, then (RFC 9110 section 9.2.2).

        Raises:
            UrlRefused, HostUnknown: the guard says so.
            httpx.TransportError: it fails.
        """
        target = parse_url(str(request.url.copy_with(username=None, password=None)))
        place = await self._guard.judge(target, trusted=bool(request.extensions.get(TRUSTED)))
        repeatable = request.method in ("GET", "HEAD") or bool(request.extensions.get(REPEATABLE))
        trail = Trail()
        try:
            return await self.forward(request, place, trail)
        except _LOST:
            if trail.fresh or not repeatable:
                raise
        return await self.forward(request, place, Trail())

    async def forward(self, request: httpx.Request, place: Place, trail: Trail) -> httpx.Response:
        """Send a request to a place that was found good for it."""
        with _named(_ERRORS):
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    # For the pool everything is plain: TLS is part of connecting to the place.
                    url=httpcore.URL(
                        scheme=b"http",
                        host=place.key.encode("ascii"),
                        port=place.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions={**request.extensions, "trace": trail.note},
                )
            )
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class Trail:
    """Whether a request has made a connection of its own."""

    def __init__(self) -> None:
        self.fresh = False

    async def note(self, name: str, info: dict[str, Any]) -> None:
        """Take one step of the pool."""
        if name == "connection.connect_tcp.started":
            self.fresh = True


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _named(_ERRORS):
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


@contextmanager
def _named(names: Mapping[type[Exception], type[Exception]]) -> Iterator[None]:
    """Give failures of one layer the names that the layer above it knows."""
    try:
        yield
    except tuple(names) as error:
        raise next(name for kind, name in names.items() if isinstance(error, kind))(str(error)) from error


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects for the pool, which says the key of a place where it thinks that it says a host."""

    def __init__(self, dial: Dialer) -> None:
        self._dial = dial

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *_: object, **__: object
    ) -> httpcore.AsyncNetworkStream:
        with _named(_CONNECT_ERRORS), trio.fail_after(_seconds(timeout)):
            return _Stream(await self._dial(Place.from_key(host, port)))


class _Stream(httpcore.AsyncNetworkStream):
    """A connection in use by the pool."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _named(_READ_ERRORS), trio.fail_after(_seconds(timeout)):
            return bytes(await self._stream.receive_some(max_bytes))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _named(_WRITE_ERRORS), trio.fail_after(_seconds(timeout)):
            await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)

    def get_extra_info(self, info: str) -> Any:
        """Say whether an idle connection has something to read: then the server has closed it."""
        if info != "is_readable":
            return None
        stream = self._stream
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        return isinstance(stream, trio.SocketStream) and stream.socket.is_readable()


def _seconds(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout
