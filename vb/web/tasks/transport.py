"""An httpx transport that judges every request and connects only to what it has judged.

Connections are kept for further requests by place: name, port and judged addresses together. So a kept
connection serves a request only if that request's own judgment came to the same addresses, and one made for
another name on the same address serves none. What goes over the wire, Host header and TLS name, is what the
URL says. The pool of httpcore is not used: it looks at every connection for every request, and a hundred
long downloads would leave it none to keep.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import httpcore
import httpx
import trio

from vb.web.errors import CannotConnect
from vb.web.heads import AnswerHeads
from vb.web.place import Place
from vb.web.policy import parse_url
from vb.web.tasks.dial import Dialer
from vb.web.tasks.guard import Guard

TRUSTED: Final = "vb.trusted"
"""Name of the request extension that says that the operator has set the URL."""
TARGET: Final = "vb.target"
"""Name of the request extension that holds the URL, which was taken apart already."""
REPEATABLE: Final = "vb.repeatable"
"""Name of the request extension that says that the request may be sent twice, although it is no GET."""
_READ_BYTES: Final = 8_192
"""What is read at once: whatever small things a server has put into it are looked at without a pause."""
_KEPT_CONNECTIONS: Final = 100
_KEPT_S: Final = 30.0
_CLOSE_TIMEOUT_S: Final = 1.0
_TOGETHER_BYTES: Final = 16_384
_CONNECT_ERRORS: Final[Mapping[type[Exception], type[Exception]]] = {CannotConnect: httpx.ConnectError}
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
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
}
_LOST: Final = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends requests to places that a guard has found good.

    Who sends requests bounds their number; a limit here would let slow hosts starve the others.

    Args:
        guard: judges the host of each request.
        dial: connects.
    """

    def __init__(self, guard: Guard, dial: Dialer) -> None:
        self._guard = guard
        self._dial = dial
        self._idle: list[_Connection] = []  # the one that waits longest is the first

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Judge a request and send it.

        Raises:
            UrlRefused, HostUnknown: the guard says so.
            httpx.TransportError: it fails.
        """
        target = request.extensions.get(TARGET)
        if target is None or request.url.raw_host.decode("ascii") != target.host:
            target = parse_url(str(request.url.copy_with(username=None, password=None)))
        place = await self._guard.judge(target, trusted=bool(request.extensions.get(TRUSTED)))
        return await self.forward(request, place)

    async def forward(self, request: httpx.Request, place: Place) -> httpx.Response:
        """Send a request to a place that was found good for it.

        A server may close a kept connection at the moment in which a request goes out on it; a request that
        may be sent twice is, then (RFC 9110 section 9.2.2).
        """
        kept = await self._take(place)
        if kept is not None:
            try:
                return await self._ask(kept, request)
            except _LOST:
                if request.method not in ("GET", "HEAD") and not request.extensions.get(REPEATABLE):
                    raise
        with _named(_CONNECT_ERRORS):
            stream = _Stream(await self._dial(place))
        origin = _url(request).origin
        http = httpcore.AsyncHTTP11Connection(origin, stream, keepalive_expiry=_KEPT_S)
        return await self._ask(_Connection(place, http, stream.heads), request)

    async def _ask(self, connection: _Connection, request: httpx.Request) -> httpx.Response:
        whole = isinstance(request.stream, httpx.ByteStream)
        asked = httpcore.Request(
            method=request.method,
            url=_url(request),
            headers=request.headers.raw,
            content=_Whole(request.content) if whole else request.stream,
            extensions=request.extensions,
        )
        connection.heads.expect()
        try:
            with _named(_ERRORS):
                answer = await connection.http.handle_async_request(asked)
        except BaseException:
            await connection.http.aclose()  # cancelled before the library looks after it
            raise
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer, partial(self._give_back, connection)),
            extensions=answer.extensions,
        )

    async def _take(self, place: Place) -> _Connection | None:
        """Return a connection that is kept for a place; those that were closed meanwhile are dropped."""
        while kept := next((kept for kept in reversed(self._idle) if kept.place == place), None):
            self._idle.remove(kept)
            if not kept.http.has_expired():
                return kept
            await kept.http.aclose()
        return None

    async def _give_back(self, connection: _Connection) -> None:
        """Keep a connection if its answer was read to the end."""
        if connection.http.is_idle():
            self._idle.append(connection)
        while self._idle and (len(self._idle) > _KEPT_CONNECTIONS or self._idle[0].http.has_expired()):
            await self._idle.pop(0).http.aclose()

    @property
    def kept(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    async def close_old(self) -> None:
        """Close connections that have waited long enough, or that their server has closed."""
        old = [kept for kept in self._idle if kept.http.has_expired()]
        self._idle = [kept for kept in self._idle if kept not in old]
        for kept in old:
            await kept.http.aclose()

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        while self._idle:
            await self._idle.pop().http.aclose()


@dataclass(frozen=True, slots=True, eq=False)
class _Connection:
    """A connection, the place that it was made to, and what reads the heads of its answers first."""

    place: Place
    http: httpcore.AsyncHTTP11Connection
    heads: AnswerHeads


class _Whole:
    """A body that is there as a whole; unlike a generator it may be left where sending it is cancelled."""

    def __init__(self, content: bytes) -> None:
        self._left = [content] if content else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response, give_back: Callable[[], Awaitable[None]]) -> None:
        self._answer = answer
        self._give_back = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._answer.aiter_stream():
                yield part
        except tuple(_ERRORS) as error:
            raise _renamed(error, _ERRORS) from error

    async def aclose(self) -> None:
        # httpx asks once, even where that is cancelled: the connection would belong to nobody then.
        with trio.move_on_after(_CLOSE_TIMEOUT_S, shield=True):
            await self._answer.aclose()
            await self._give_back()


def _url(request: httpx.Request) -> httpcore.URL:
    url = request.url
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


@contextmanager
def _named(names: Mapping[type[Exception], type[Exception]]) -> Iterator[None]:
    """Give failures of one layer the names that the layer above it knows."""
    try:
        yield
    except tuple(names) as error:
        raise _renamed(error, names) from error


def _renamed(error: Exception, names: Mapping[type[Exception], type[Exception]]) -> Exception:
    return next(name for kind, name in names.items() if isinstance(error, kind))(str(error))


class _Stream(httpcore.AsyncNetworkStream):
    """A connection in use by the pool.

    What is short goes out together before the next answer is read: headers and body, mostly, which costs one
    packet and one turn of the event loop instead of two.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._unsent = b""
        self.heads = AnswerHeads()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._unsent:
            with suppress(httpcore.WriteError):  # there may be an answer all the same, as httpcore has it
                await self._flush(timeout)
        with _named(_READ_ERRORS), trio.fail_after(_seconds(timeout)):
            while True:
                data = bytes(await self._stream.receive_some(min(max_bytes, _READ_BYTES)))
                readable = self.heads.feed(data)
                if readable is not None:
                    return readable

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._unsent += buffer
        if len(self._unsent) > _TOGETHER_BYTES:
            await self._flush(timeout)

    async def _flush(self, timeout: float | None) -> None:
        data, self._unsent = self._unsent, b""
        with _named(_WRITE_ERRORS), trio.fail_after(_seconds(timeout)):
            await self._stream.send_all(data)

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
