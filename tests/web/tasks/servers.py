"""Servers on loopback, plain and with TLS, that count their connections."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
import trustme

Handler = Callable[["Peer"], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """The far end of one connection."""

    def __init__(self, stream: trio.abc.Stream, number: int) -> None:
        self.stream = stream
        self.number = number
        self._rest = b""

    async def head(self) -> str:
        """Take the headers of the next request; "" at the end."""
        while b"\r\n\r\n" not in self._rest:
            data = await self.stream.receive_some(65536)
            if not data:
                return ""
            self._rest += bytes(data)
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        return head.decode("latin-1")


class Server:
    """What answers, and what it was asked."""

    def __init__(self, handler: Handler) -> None:
        self.port = 0
        self.connections = 0
        self.heads: list[str] = []
        self._handler = handler

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        try:
            await self._handler(Peer(stream, self.connections))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # a client that goes away is no failure of the server
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def open_server(
    handler: Handler, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A server on loopback inside the block."""
    server = Server(handler)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(port, host=host)
        server.port = listener.socket.getsockname()[1]
        serve = server.serve if tls is None else partial(_serve_tls, server, tls)
        nursery.start_soon(partial(trio.serve_listeners, serve, [listener]))
        yield server
        nursery.cancel_scope.cancel()


async def _serve_tls(server: Server, tls: ssl.SSLContext, stream: trio.SocketStream) -> None:
    await server.serve(trio.SSLStream(stream, tls, server_side=True, https_compatible=True))


def answering(response: bytes = OK) -> Callable[[Peer], Awaitable[None]]:
    """Answer every request alike."""

    async def handler(peer: Peer) -> None:
        while await peer.head():
            await peer.stream.send_all(response)

    return handler


def contexts(*names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the context of a server that is called so, and of a client that trusts it."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert(*names).configure_cert(server)
    authority.configure_trust(client)
    client.set_alpn_protocols(["http/1.1"])
    return server, client
