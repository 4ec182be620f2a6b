"""SIP peers over TCP and TLS: one connection to the server, or a listener that the server connects to."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from conformance.peers.sip_message import split_stream
from conformance.peers.sip_ua import Address, SipUa

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
MAX_MESSAGE_BYTES = 1 << 20


async def _read(stream: Stream, ua: SipUa, source: Address) -> None:
    """Hands every message of a connection to its peer until the connection ends."""
    buffer = b""
    try:
        async for chunk in stream:
            if ua.drops_next:
                ua.drops_next = False
                return
            buffer += chunk
            while True:
                message, buffer = split_stream(buffer)
                if message is None:
                    break
                await ua.on_message(message, source)
            if len(buffer) > MAX_MESSAGE_BYTES:
                return
    except (trio.BrokenResourceError, ssl.SSLError):
        return


@asynccontextmanager
async def _connection(server: Address, context: ssl.SSLContext | None) -> AsyncIterator[SipUa]:
    plain = await trio.open_tcp_stream(*server)
    name = plain.socket.getsockname()
    stream: Stream = plain
    if context is not None:
        stream = trio.SSLStream(plain, context, server_hostname=server[0], https_compatible=True)
        await stream.do_handshake()
    lock = trio.Lock()

    async def send(data: bytes, _: Address) -> None:
        async with lock:
            await stream.send_all(data)

    ua = SipUa((name[0], name[1]), server, "TCP" if context is None else "TLS", send)
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(_read, stream, ua, server)
        yield ua
        nursery.cancel_scope.cancel()


def open_tcp(server: Address) -> AbstractAsyncContextManager[SipUa]:
    """A TCP peer with one connection to the server."""
    return _connection(server, None)


def open_tls(server: Address, context: ssl.SSLContext) -> AbstractAsyncContextManager[SipUa]:
    """A TLS peer with one connection to the server, whose certificate ``context`` judges."""
    return _connection(server, context)


@asynccontextmanager
async def open_listener(server: Address, context: ssl.SSLContext | None = None) -> AsyncIterator[SipUa]:
    """A peer that the server connects to, over TCP or, with a context, over TLS.

    It answers on the connection that a request came by, and sends its own requests on the newest one.
    """
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    streams: dict[Address, Stream] = {}

    async def send(data: bytes, to: Address) -> None:
        stream = streams.get(to) or next(reversed(streams.values()))
        await stream.send_all(data)

    port = listener.socket.getsockname()[1]
    ua = SipUa(("127.0.0.1", port), server, "TCP" if context is None else "TLS", send)

    async def serve(plain: trio.SocketStream) -> None:
        name = plain.socket.getpeername()
        source = (name[0], name[1])
        stream: Stream = plain
        if context is not None:
            stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
            try:
                await stream.do_handshake()
            except (trio.BrokenResourceError, ssl.SSLError):
                return
        streams[source] = stream
        ua.connected.set()
        async with stream:
            await _read(stream, ua, source)
        del streams[source]

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, [listener])
        yield ua
        nursery.cancel_scope.cancel()
