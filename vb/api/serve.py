"""The web server: the listening socket, one task per connection, and an end in the right order."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable
from typing import Any, Final

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.logging import Logger
from hypercorn.trio.worker_context import WorkerContext

from vb.api.app import Application, create_app
from vb.api.connection import HttpConnection
from vb.api.edge import EdgeEngine
from vb.api.encoding import MAX_BODY_BYTES
from vb.listen_address import parse_listen_address
from vb.log import StrangersLog

log = structlog.get_logger(__name__)
strangers = StrangersLog(__name__)

BACKLOG: Final = 512
MAX_CONNECTIONS: Final = 4096
GRACEFUL_TIMEOUT_S: Final = 3.0
LEAST_GRACEFUL_TIMEOUT_S: Final = 0.5
"""So long clients have to take what is queued for them even when the stop has used up its time."""


class _ServerLog(Logger):
    """Hypercorn's log as structured lines; what merely tells of clients stays at debug."""

    def __init__(self, config: HypercornConfig) -> None:
        super().__init__(config)
        self.error_logger = logging.getLogger("vb.api.hypercorn")

    async def info(self, message: str, *_args: Any, **_kwargs: Any) -> None:
        log.debug(message)

    async def warning(self, message: str, *_args: Any, **_kwargs: Any) -> None:
        log.warning(message)

    async def exception(self, message: str, *_args: Any, **_kwargs: Any) -> None:
        log.exception(message)


def _hypercorn_config() -> HypercornConfig:
    config = HypercornConfig()
    config.accesslog = None
    config.errorlog = None
    config.logger_class = _ServerLog
    config.include_server_header = False
    config.keep_alive_max_requests = 2**31
    config.websocket_max_message_size = MAX_BODY_BYTES
    return config


def open_listener(addr: str) -> socket.socket:
    """Bind and listen on `host:port`, `:port` or `[ipv6]:port`; port 0 takes a free one.

    Without a host it listens on IPv6 and IPv4 where the machine has both.

    Raises:
        OSError: the address cannot be bound; the message names it.
    """
    address = parse_listen_address(addr)
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address.bind(sock)
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise OSError(exc.errno, f"cannot listen on HTTP_ADDR {addr}: {exc.strerror}") from None
    return sock


def _url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    if host in ("::", "0.0.0.0"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve_http(
    engine: EdgeEngine,
    *,
    stop: trio.Event,
    app: Application | None = None,
    deadline: Callable[[], float] = lambda: math.inf,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve REST, VSI, metrics and documents until `stop`; reports its base URL as started.

    Args:
        engine: what commands work on.
        stop: set to end in order.
        app: made with `create_app` before, for it takes longer than a tick; None makes it now.
        deadline: asked at the end for when the stop has to be over, of Trio's clock.

    At the end WebSocket clients get what is queued for them and close code 1001, requests that run go on,
    and connections that wait for a request are closed at once. What is not through after GRACEFUL_TIMEOUT_S,
    or at the deadline if that is sooner, is cut off; LEAST_GRACEFUL_TIMEOUT_S is given in any case.

    Cancellation: ends the same way, within the same time.

    Raises:
        OSError: the address cannot be bound.
    """
    sock = open_listener(engine.config.http.addr)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    server = _HttpServer(engine, app or create_app(engine), deadline)
    async with listener:
        await server.app.startup()
        task_status.started(_url_of(sock))
        await server.run(listener, stop)


class _HttpServer:
    """The connections of one server."""

    def __init__(self, engine: EdgeEngine, app: Application, deadline: Callable[[], float]) -> None:
        self.app = app
        self._deadline = deadline
        self._stop_timeout_s = engine.config.server.stop_timeout_s
        self._wrapped = ASGIWrapper(self.app)
        self._metrics = engine.metrics
        self._config = _hypercorn_config()
        self._context = WorkerContext(None)
        self._connections: set[HttpConnection] = set()
        self._unknown: dict[HttpConnection, None] = {}
        self._empty = trio.Event()

    async def run(self, listener: trio.SocketListener, stop: trio.Event) -> None:
        """Accept until `stop` or cancellation, then end in order."""
        ending = trio.Event()
        async with trio.open_nursery() as nursery:
            try:
                nursery.start_soon(self._serve, listener, ending)
                await stop.wait()
            finally:
                ending.set()

    async def _serve(self, listener: trio.SocketListener, ending: trio.Event) -> None:
        """Keep the connections, which outlive the wish to stop for a moment, and only for a moment."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(self._accept, listener, connections)
                    await ending.wait()
                    accepting.cancel_scope.cancel()
                await self._finish()
                connections.cancel_scope.cancel()

    async def _accept(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        await trio.serve_listeners(self._handle, [listener], handler_nursery=connections)

    async def _handle(self, stream: trio.SocketStream) -> None:
        if len(self._connections) >= MAX_CONNECTIONS and not self._make_room():
            strangers.warning("connection_refused", reason="too many connections")
            await trio.aclose_forcefully(stream)
            return
        connection = HttpConnection(
            self._wrapped, self._config, self._context, self.app.accepts_upgrade, stream, self._unknown
        )
        self._connections.add(connection)
        try:
            await connection.run()
        except* Exception:  # the connection boundary: a fault ends one connection, never the server
            self._metrics.recovered("api", "connection")
            log.exception("connection failed")
        finally:
            self._connections.discard(connection)
            if not self._connections:
                self._empty.set()

    def _make_room(self) -> bool:
        """Close the connection of a stranger; False if there is none.

        Else strangers could keep everybody out by connections alone, silent ones or such as read slowly what
        is open to all.
        """
        oldest = next(iter(self._unknown), None)
        if oldest is None:
            return False
        oldest.dismiss()
        return True

    async def _finish(self) -> None:
        """Say goodbye to WebSockets, let requests end, and give up on what is left after the time-out."""
        await self._context.terminated.set()
        left_s = min(self._stop_timeout_s, self._deadline() - trio.current_time())
        with trio.move_on_after(max(LEAST_GRACEFUL_TIMEOUT_S, min(GRACEFUL_TIMEOUT_S, left_s))):
            self.app.close_sessions()
            for connection in tuple(self._connections):
                connection.close_if_idle()
            self._empty = trio.Event()
            if self._connections:
                await self._empty.wait()
        self.app.runner.release()
        for connection in tuple(self._connections):
            await connection.abandon()
