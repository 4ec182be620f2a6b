"""One HTTP connection: Hypercorn's protocol objects on a Trio stream, with deadlines and contained faults.

Hypercorn's own Trio server waits without limit for a peer that does not read, lets a fault of one
connection end the whole server, and speaks HTTP/2 to whoever asks. This driver keeps its protocol objects
and replaces the rest.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import h11
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Request, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import Handshake
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

from vb.api.flow import Flow
from vb.api.websocket_stream import Receiver, WebSocketStream
from vb.log import StrangersLog

strangers = StrangersLog(__name__)

FIRST_REQUEST_TIMEOUT_S: Final = 15.0
KEEP_ALIVE_TIMEOUT_S: Final = 75.0
WRITE_TIMEOUT_S: Final = 5.0
GONE_S: Final = 10.0
"""A peer that has acknowledged none of what was written for so long has vanished without a word."""
_LOOK_S: Final = GONE_S / 4
"""How often a peer that owes acknowledgements is looked after; it is let go of twice this late at most."""
LINGER_S: Final = 1.0
_STREAM_ERRORS: Final = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)
_MAX_EMPTY_LINES: Final = 16
_READ_BYTES: Final = 4096
"""Little at a time: this much of the smallest WebSocket frames still leaves room for the media's tick."""
_AUDIO_READ_BYTES: Final = 16_384
"""Frames that somebody else reads cost less."""
_WRITE_BYTES: Final = 65_536
_LEAST_BYTES: Final = 1024
"""What a peer has to take within WRITE_TIMEOUT_S while something waits for it: about a frame or two."""

# Compression would cost more time than it saves, yet Hypercorn accepts it whenever it is offered.
_IGNORED_HEADER: Final = b"sec-websocket-extensions"
_PROTOCOLS_HEADER: Final = b"sec-websocket-protocol"

# With both of them, whatever stands before this server may see another end of the request (RFC 9112 §6.1).
_FRAMING_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding"})


def _counts(name: bytes, value: bytes) -> bool:
    # Hypercorn reads subprotocols as ASCII, and fails on others.
    return name != _IGNORED_HEADER and (name != _PROTOCOLS_HEADER or value.isascii())


AcceptsUpgrade = Callable[[str, bytes, list[tuple[bytes, bytes]], str | None], bool]
"""Decides by path, query, headers and client address whether a request to upgrade becomes a WebSocket."""


class RequestReader(h11.Connection):
    """h11's side of a server, passing over a few empty lines before a request.

    Old clients send one behind the body of a POST.  Spec: RFC 9112 §2.2.
    """

    _empty_lines = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return what comes next, as h11 does.

        Raises:
            h11.RemoteProtocolError: the peer broke the protocol, or sent too many empty lines.
        """
        if self.their_state is h11.IDLE:
            data, closed = self.trailing_data
            while data.startswith((b"\r\n", b"\n")) and self._empty_lines < _MAX_EMPTY_LINES:
                length = data.index(b"\n") + 1
                # h11 has no public way to take something out of what it was given.
                self._receive_buffer.maybe_extract_at_most(length)
                data = data[length:]
                self._empty_lines += 1
            if data == b"\r" and not closed:
                return h11.NEED_DATA
            if data:
                self._empty_lines = 0
        return super().next_event()


class Http1Protocol(H11Protocol):
    """HTTP/1.1 that upgrades only what the application takes, and joins a response's head and body."""

    accepts_upgrade: AcceptsUpgrade
    write: Callable[[bytes], Awaitable[None]]
    holding_head = False

    async def _check_protocol(self, event: h11.Request) -> None:
        """Stay with HTTP/1.1, whatever other protocol the client asks for."""

    async def _create_stream(self, request: h11.Request) -> None:
        if _FRAMING_HEADERS.issubset(name for name, _ in request.headers):
            await self._send_error_response(400)
            await self.send(Closed())
            return
        headers = [(name, value) for name, value in request.headers if _counts(name, value)]
        version = request.http_version.decode()
        # Nothing else opens a WebSocket (RFC 6455 §4.1).
        upgrades = request.method == b"GET" and self._upgrades(request.target, headers, version)
        if upgrades:
            assert isinstance(self.connection, h11.Connection)
            self.connection = H11WSConnection(self.connection)
        stream_class = WebSocketStream if upgrades else HTTPStream
        self.stream = stream_class(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        if isinstance(self.stream, WebSocketStream):
            self.stream.write = self.write
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=headers,
                http_version=version,
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )

    def _upgrades(self, target: bytes, headers: list[tuple[bytes, bytes]], version: str) -> bool:
        """Say whether a request becomes a WebSocket; if not it is answered as an ordinary request."""
        if not any(name == b"upgrade" and value.lower() == b"websocket" for name, value in headers):
            return False
        try:
            valid = Handshake(headers, version).is_valid()
        except UnicodeDecodeError:
            return False
        path, _, query = target.partition(b"?")
        client_host = self.client[0] if self.client else None
        return valid and self.accepts_upgrade(path.decode("ascii"), query, headers, client_host)

    async def stream_send(self, event: StreamEvent) -> None:
        """Write an event of the stream; the head of a response waits for what follows it.

        A response that comes before the end of the request's body is the connection's last, and says so.
        Spec: RFC 9112 §9.6.
        """
        self.holding_head = isinstance(event, Response) and event.status_code >= 200
        connection = self.connection
        unread = isinstance(connection, h11.Connection) and connection.their_state is h11.SEND_BODY
        if isinstance(event, Response) and self.holding_head and unread:
            event = Response(
                stream_id=event.stream_id,
                headers=[*event.headers, (b"connection", b"close")],
                status_code=event.status_code,
            )
        await super().stream_send(event)


class HttpConnection:
    """One accepted connection.

    Args:
        app: the ASGI application.
        config: Hypercorn's settings.
        context: shared state of the server, such as whether it ends.
        accepts_upgrade: which upgrades become WebSockets.
        stream: the connection.
        unknown: the connections of whom nobody knows that they may do anything: those that wait for a
            request, or are answered one that is open to all; first of them whose latest request began or
            ended longest ago. It enters itself.
    """

    def __init__(
        self,
        app: AppWrapper,
        config: HypercornConfig,
        context: WorkerContext,
        accepts_upgrade: AcceptsUpgrade,
        stream: trio.SocketStream,
        unknown: dict[HttpConnection, None],
    ) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._accepts_upgrade = accepts_upgrade
        self._stream = stream
        self._write_lock = trio.Lock()
        self._flow = Flow(stream.socket)
        self._held = b""
        self._broken = False
        self._ended = False
        self._gone = False
        self._closing = False
        self._idle = True
        self._unknown = unknown
        unknown[self] = None
        self._read_scope = trio.CancelScope()
        self._read_deadline = trio.current_time() + FIRST_REQUEST_TIMEOUT_S
        self._look_at = math.inf
        self._reading = False
        self._protocol: Http1Protocol
        self._receiver: Receiver | None = None

    async def run(self) -> None:
        """Serve the connection to its end."""
        socket = self._stream.socket
        try:
            client, server = socket.getpeername()[:2], socket.getsockname()[:2]
        except OSError:
            self._unknown.pop(self, None)
            await self._stream.aclose()
            return
        try:
            async with TaskGroup() as tasks:
                self._protocol = Http1Protocol(
                    self._app,
                    self._config,
                    self._context,
                    tasks,
                    ConnectionState(
                        {"flow": self._flow, "hand_over": self._hand_over, "admitted": self._admitted}
                    ),
                    False,
                    client,
                    server,
                    self._send,
                )
                self._protocol.connection = RequestReader(
                    h11.SERVER, max_incomplete_event_size=self._config.h11_max_incomplete_size
                )
                self._protocol.accepts_upgrade = self._accepts_upgrade
                self._protocol.write = self._write
                await self._read()
                self._gone = True
                if self._receiver is not None:
                    self._receiver.lost(reset=False)
                await self._protocol.handle(Closed())
        finally:
            self._unknown.pop(self, None)
            await trio.aclose_forcefully(self._stream)
            del self._protocol  # it refers to this object

    def _hand_over(self, receiver: Receiver) -> bool:
        """Let somebody else read and write the WebSocket that this connection has become.

        Returns:
            False when the client has gone while it was accepted: nobody reads it any more.
        """
        stream = self._protocol.stream
        if self._gone or not isinstance(stream, WebSocketStream):
            return False
        stream.hand_over(receiver)
        self._receiver = receiver
        return True

    def close_if_idle(self) -> None:
        """End a connection that waits for its next request."""
        if self._idle:
            self._read_scope.cancel()

    def dismiss(self) -> None:
        """End it at once, whatever it does."""
        self._unknown.pop(self, None)
        self._broken = True
        self._stream.socket.close()  # the reading task sees it, as in `abandon`

    def _admitted(self) -> None:
        """Take note that whoever asks may do so."""
        self._unknown.pop(self, None)

    async def abandon(self) -> None:
        """End the connection with whatever is still being written to it."""
        self._broken = True
        await trio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        """Feed the protocol until the peer or the server closes, or nothing comes for too long."""
        while True:
            self._reading = True
            with trio.CancelScope(deadline=self._deadline()) as self._read_scope:
                try:
                    data = await self._stream.receive_some(
                        _READ_BYTES if self._receiver is None else _AUDIO_READ_BYTES
                    )
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    if self._receiver is not None:
                        self._receiver.lost(reset=True)
                    return
            self._reading = False
            if self._read_scope.cancelled_caught and self._is_there():
                continue
            if self._read_scope.cancelled_caught or (self._closing and not data):
                return
            if self._closing:
                pass
            elif self._receiver is None:
                await self._protocol.handle(RawData(bytes(data)))
                stream = self._protocol.stream
                if isinstance(stream, WebSocketStream) and not await self._read_websocket(stream):
                    return
            elif data:
                pause_s = self._receiver.receive(bytes(data))
                if pause_s:
                    await trio.sleep(pause_s)
            if not data:
                return

    def _is_there(self) -> bool:
        """Tell whether reading has only been interrupted to look after the peer, and it is still there."""
        now = trio.current_time()
        if now < self._look_at:
            return False
        unanswered_s = self._flow.unanswered_for()
        if unanswered_s is not None and unanswered_s >= GONE_S:
            strangers.info("peer_vanished", peer=self._protocol.client)
            self._broken = True
            if self._receiver is not None:
                self._receiver.lost(reset=True)
            return False
        self._look_at = math.inf if unanswered_s is None else now + _LOOK_S
        return now < self._read_deadline

    def _watch(self) -> None:
        """See to it that somebody looks whether the peer takes what was written."""
        if self._look_at == math.inf:
            self._flow.unanswered_for()
            self._look_at = trio.current_time() + _LOOK_S
            self._read_scope.deadline = self._deadline()

    def _deadline(self) -> float:
        """Return when what is read now is interrupted; a command that runs meanwhile is not."""
        return min(self._read_deadline, self._look_at) if self._reading else self._read_deadline

    def _move_deadline(self) -> None:
        deadline = self._deadline()
        if deadline != self._read_scope.deadline:  # to set it costs more than all else here
            self._read_scope.deadline = deadline

    async def _read_websocket(self, stream: WebSocketStream) -> bool:
        """Feed an open WebSocket past the protocol, in one scope; False when nothing more can be read."""
        while True:
            late = b""
            with trio.CancelScope(deadline=self._read_deadline) as self._read_scope:
                while stream.is_open and not self._closing:
                    self._reading = True
                    self._move_deadline()
                    data = await self._flow.read(_READ_BYTES)
                    self._reading = False
                    if not data:
                        return False
                    if self._read_scope.cancel_called:
                        late = data  # they came as the time was up: what they hold must not be cancelled
                        break
                    if not (self._closing or stream.take(data)):
                        self._move_deadline()
                        await stream.settle()
                else:
                    return True
            self._reading = False
            if late and not self._closing:
                await stream.receive(late)
            if not self._is_there():
                return False

    async def _send(self, event: Event) -> None:
        """Take what the protocol wants: bytes out, the connection closed, or the idle timer moved."""
        if isinstance(event, RawData):
            self._held += event.data
            if self._held and not self._protocol.holding_head:
                data, self._held = self._held, b""
                await self._write(data)
        elif isinstance(event, Closed):
            await self._begin_close()
        elif isinstance(event, Updated):
            self._idle = event.idle
            if not self._broken:  # who has just asked is answered before anybody who waits has to go
                self._unknown.pop(self, None)
                self._unknown[self] = None
            self._set_read_deadline(KEEP_ALIVE_TIMEOUT_S if event.idle else math.inf)

    async def _write(self, data: bytes) -> None:
        """Write everything; a peer that takes too little of it in WRITE_TIMEOUT_S loses the connection.

        Cancellation: the write goes on, because half a message would garble all that follows.
        """
        rest = memoryview(data)
        self._watch()
        if not (self._write_lock.locked() or self._broken or self._ended):
            rest = rest[self._flow.write(rest) :]  # nearly always the end of it, without any waiting
            if not rest and not self._flow.broken:
                return
        with trio.CancelScope(shield=True):
            async with self._write_lock:
                while rest and not (self._broken or self._ended):
                    await self._write_part(rest[:_WRITE_BYTES])
                    rest = rest[_WRITE_BYTES:]

    async def _write_part(self, part: memoryview) -> None:
        """Write a part; a peer may be slow about it, as it reads, but not idle."""
        while part and not self._flow.broken:
            taken = self._flow.taken
            with trio.move_on_after(WRITE_TIMEOUT_S) as scope:
                while part and not self._flow.broken:
                    await self._flow.wait()
                    part = part[self._flow.write(part) :]
            # What the far end takes of the system's buffer is for a long time no room in it.
            if scope.cancelled_caught and self._flow.taken - taken < _LEAST_BYTES:
                strangers.warning("write_timeout", peer=self._protocol.client)
                break
        self._broken = bool(part) or self._flow.broken
        if self._broken:
            # The reading task sees the closed stream and tells the protocol.
            await trio.aclose_forcefully(self._stream)

    async def _begin_close(self) -> None:
        """Say that nothing more comes, and read on a little, or the peer might lose what was written last."""
        if self._closing:
            return
        self._closing = True
        self._set_read_deadline(LINGER_S)
        # The request that asks for this may have been cancelled already.
        with trio.move_on_after(WRITE_TIMEOUT_S + LINGER_S, shield=True):
            async with self._write_lock:
                self._ended = True
                with suppress(*_STREAM_ERRORS):
                    await self._stream.send_eof()

    def _set_read_deadline(self, timeout_s: float) -> None:
        self._read_deadline = trio.current_time() + timeout_s
        self._read_scope.deadline = self._deadline()
