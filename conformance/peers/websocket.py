"""How a peer opens a WebSocket to the server, and lets it go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionRejected, HandshakeError, WebSocketConnection, wrap_client_stream

from conformance.expect import Difference


async def _close_at_end(stream: trio.SocketStream) -> None:
    try:
        await trio.sleep_forever()
    finally:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def open_websocket(
    url: str, where: str, headers: Sequence[tuple[str, str]] = (), *, most_waiting: int
) -> AsyncIterator[tuple[WebSocketConnection, trio.Nursery]]:
    """A connection, and a nursery that ends with it.

    Args:
        url: of the server.
        where: names the peer in a difference.
        headers: of the request.
        most_waiting: messages that wait to be taken.

    Raises:
        Difference: when the connection is refused.
    """
    parts = urlsplit(url)
    resource = parts.path + (f"?{parts.query}" if parts.query else "")
    async with trio.open_nursery() as nursery:
        try:
            with trio.fail_after(5):
                stream = await trio.open_tcp_stream(parts.hostname or "127.0.0.1", parts.port or 80)
                nursery.start_soon(_close_at_end, stream)
                socket = await wrap_client_stream(
                    nursery,
                    stream,
                    parts.netloc,
                    resource,
                    message_queue_size=most_waiting,
                    extra_headers=[(key.encode(), value.encode()) for key, value in headers],
                )
        except ConnectionRejected as refused:
            raise Difference(where, "an open connection", refused.status_code) from refused
        except (HandshakeError, OSError, trio.TooSlowError) as problem:
            raise Difference(where, "an open connection", repr(problem)) from problem
        try:
            yield socket, nursery
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await socket.aclose()
            nursery.cancel_scope.cancel()
