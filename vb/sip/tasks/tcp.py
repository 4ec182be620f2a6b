"""TCP connections, plain or with TLS: bounded in number, in queue and in patience with slow peers.

Spec: RFC 3261 §18, RFC 5626 §3.5.1.
"""

from __future__ import annotations

import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Literal, Protocol

import trio

from vb.limits.sources import source_of
from vb.sip.errors import SipParseError
from vb.sip.framing import PING, PONG, StreamFramer
from vb.sip.hop import Hop, TransactionKey
from vb.sip.tasks.tls import Tls, TlsStream, greet, introduce
from vb.sip.tasks.udp import TURN_S

MAX_CONNECTIONS = 1024
KEPT_FOR_US = 256
"""So many of them are for connections that we open ourselves."""
MAX_CONNECTIONS_PER_PEER = 64
MAX_QUEUED_BYTES = 8 << 20
"""What waits for one peer at most: a BYE for each call that a process may have, with something to spare."""
MAX_OWED_BYTES = 1 << 20
"""With so much of answers waiting for a peer no further requests are read from it."""
CONNECT_TIMEOUT_S = 5.0
SEND_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 3600.0
FLUSH_TIMEOUT_S = 1.0
_CHUNK_BYTES = 16384


class StreamHandler(Protocol):
    """Where connections deliver."""

    def received(self, data: bytes, source: Hop) -> None:
        """Take one message."""
        ...

    def unframed(self, data: bytes, status: int, source: Hop) -> None:
        """Take what could not be framed; the connection is closed after the answer."""
        ...

    def sent_on(self, sender: TransactionKey, flow: int, *, reused: bool) -> None:
        """Take note of the connection that a request goes out on, and whether that was up before."""
        ...

    def undelivered(self, sender: TransactionKey) -> None:
        """Take note that a request cannot be sent."""
        ...

    def flow_lost(self, flow: int) -> None:
        """Take note that a connection is gone."""
        ...

    def needs(self, flow: int) -> bool:
        """Say whether a call or a request of ours would suffer from the loss of a connection."""
        ...

    def flush(self) -> None:
        """Act on what was delivered."""
        ...


SipStream = trio.SocketStream | TlsStream


class Connection:
    """One connection, open or being opened."""

    def __init__(self, peer: Hop) -> None:
        self.peer = peer
        self.queue: deque[tuple[bytes, bool]] = deque()
        self.queued_bytes = 0
        self.owed_bytes = 0
        self.drained = trio.Event()
        self.wakeup = trio.Event()
        self.scope = trio.CancelScope()
        self.is_up = False
        self.is_closing = False

    def put(self, data: bytes, *, is_answer: bool = True) -> bool:
        """Queue bytes; False if the peer takes too little.

        Answers are what reading from the peer has caused. Requests of ours do not keep us from reading: their
        answers are among what is to be read.
        """
        if self.queued_bytes + len(data) > MAX_QUEUED_BYTES:
            return False
        self.queued_bytes += len(data)
        self.owed_bytes += len(data) if is_answer else 0
        self.queue.append((data, is_answer))
        self.wakeup.set()
        return True

    def take(self) -> bytes:
        """Return the oldest bytes."""
        data, is_answer = self.queue.popleft()
        self.queued_bytes -= len(data)
        self.owed_bytes -= len(data) if is_answer else 0
        if self.owed_bytes <= MAX_OWED_BYTES:
            self.drained.set()
        return data

    async def wait_drained(self) -> None:
        """Wait while a peer has asked for more than it takes."""
        while self.owed_bytes > MAX_OWED_BYTES:
            self.drained = trio.Event()
            await self.drained.wait()

    def finish(self) -> None:
        """Close once the queue is sent."""
        self.is_closing = True
        self.wakeup.set()


class TcpTransport:
    """Every plain TCP connection of an endpoint, or every one with TLS, inbound and outbound.

    A connection is used for every message to its address; one that we opened over TLS only for messages
    to the name that its certificate proved.

    Args:
        handler: where messages and failures go.
        tls: certificates; None = plain TCP.
        flows: numbers of connections, shared by all transports of an endpoint.

    Attributes:
        refused: connections beyond a limit.
        dropped: messages for connections whose queue was full.
    """

    def __init__(
        self, handler: StreamHandler, *, tls: Tls | None = None, flows: Iterator[int] | None = None
    ) -> None:
        self.transport: Literal["tcp", "tls"] = "tcp" if tls is None else "tls"
        self.refused = 0
        self.dropped = 0
        self._handler = handler
        self._listeners: list[trio.SocketListener] = []
        self._flows: dict[int, Connection] = {}
        self._by_peer: dict[tuple[str, int, str], Connection] = {}
        self._per_source: Counter[str] = Counter()
        self._inbound: dict[Connection, None] = {}  # who was silent for longest is the first
        self._tls = tls
        self._next_flow = flows or count(1)
        self._spawn: Callable[[Connection], None] | None = None

    def bind(self, host: str, port: int) -> None:
        """Listen on an address.

        Raises:
            OSError: if it cannot be bound.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = trio.socket.socket(family, socket.SOCK_STREAM)
        raw = socket.socket(fileno=sock.detach())
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            raw.bind((host, port))
            raw.listen(128)
            raw.setblocking(False)
        except OSError:
            raw.close()
            raise
        self._listeners.append(trio.SocketListener(trio.socket.from_stdlib_socket(raw)))

    def close(self) -> None:
        """Close the listening sockets."""
        for listener in self._listeners:
            listener.socket.close()
        self._listeners.clear()

    @property
    def listening_ports(self) -> list[int]:
        """Ports listened on, in the order of binding."""
        return [int(listener.socket.getsockname()[1]) for listener in self._listeners]

    @property
    def connections(self) -> int:
        """Number of connections."""
        return len(self._flows)

    def send(self, data: bytes, hop: Hop, sender: TransactionKey | None = None) -> None:
        """Send over the hop's connection, another one to the same address, or a new one."""
        connection = self._flows.get(hop.flow) or self._by_peer.get(_key(hop))
        if connection is None or connection.is_closing:
            connection = self._open(hop)
        if connection is None:
            if sender is not None:
                self._handler.undelivered(sender)
            return
        if sender is not None:
            self._handler.sent_on(sender, connection.peer.flow, reused=connection.is_up)
        if not connection.put(data, is_answer=sender is None):
            self.dropped += 1
            connection.scope.cancel()

    def _open(self, hop: Hop) -> Connection | None:
        # A peer that connects and goes must not have us open, in place of that one, more than it may itself.
        is_over = hop.flow and self._per_source[source_of(hop.host)] >= MAX_CONNECTIONS_PER_PEER
        if self._spawn is None or len(self._flows) >= MAX_CONNECTIONS or is_over:
            self.refused += 1
            return None
        connection = self._register(hop.host, hop.port, hop.server_name)
        self._spawn(connection)
        return connection

    def _register(self, host: str, port: int, server_name: str = "") -> Connection:
        connection = Connection(Hop(self.transport, host, port, next(self._next_flow), server_name))
        self._flows[connection.peer.flow] = connection
        self._by_peer[_key(connection.peer)] = connection
        self._per_source[source_of(host)] += 1
        return connection

    def _forget(self, connection: Connection) -> None:
        peer = connection.peer
        del self._flows[peer.flow]
        if self._by_peer.get(_key(peer)) is connection:
            del self._by_peer[_key(peer)]
        self._inbound.pop(connection, None)
        source = source_of(peer.host)
        self._per_source[source] -= 1
        if not self._per_source[source]:
            del self._per_source[source]
        self._handler.flow_lost(peer.flow)
        self._handler.flush()

    async def run(self) -> None:
        """Accept and serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self._spawn = lambda connection: nursery.start_soon(self._run_outbound, connection)
            try:
                if self._listeners:
                    await trio.serve_listeners(self._run_inbound, self._listeners, handler_nursery=nursery)
                await trio.sleep_forever()
            finally:
                self._spawn = None

    async def _run_inbound(self, stream: trio.SocketStream) -> None:
        try:
            address = stream.socket.getpeername()
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        host = str(address[0]).partition("%")[0]
        is_full = len(self._inbound) >= MAX_CONNECTIONS - KEPT_FOR_US or len(self._flows) >= MAX_CONNECTIONS
        if self._per_source[source_of(host)] >= MAX_CONNECTIONS_PER_PEER or (
            is_full and not self._make_room()
        ):
            self.refused += 1
            await trio.aclose_forcefully(stream)
            return
        connection = self._register(host, int(address[1]))
        self._inbound[connection] = None
        if self._tls is None:
            await self._run(connection, stream)
            return
        secured = None
        try:
            with connection.scope:
                secured = await greet(stream, self._tls)
        finally:
            if secured is None:
                self._drop(connection, stream)
        if secured is not None:
            await self._run(connection, secured)

    def _make_room(self) -> bool:
        """Close the connection that was silent for longest of those that nobody needs; False if all are.

        Else a few strangers, who have to say nothing to connect, could keep all peers away.
        """
        for connection in self._inbound:
            if not self._handler.needs(connection.peer.flow):
                del self._inbound[connection]
                connection.scope.cancel()
                return True
        return False

    def _drop(self, connection: Connection, stream: trio.SocketStream | None) -> None:
        self._forget(connection)
        if stream is not None:
            stream.socket.close()

    async def _run_outbound(self, connection: Connection) -> None:
        stream: trio.SocketStream | None = None
        ready: SipStream | None = None
        peer = connection.peer
        try:
            with connection.scope:
                with trio.move_on_after(CONNECT_TIMEOUT_S):
                    stream = await trio.open_tcp_stream(peer.host, peer.port)
                ready = stream
                if stream is not None and self._tls is not None:
                    ready = None
                    ready = await introduce(stream, self._tls, peer)
        except OSError:
            stream = None
        finally:
            if ready is None:
                self._drop(connection, stream)
        if ready is not None:
            await self._run(connection, ready)

    async def _run(self, connection: Connection, stream: SipStream) -> None:
        is_given_up = connection.scope.cancel_called  # just as it came up
        connection.scope = trio.CancelScope()
        if is_given_up:
            connection.scope.cancel()
        connection.is_up = True
        socket_stream = stream if isinstance(stream, trio.SocketStream) else stream.transport_stream
        socket_stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            with connection.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, connection, stream)
                    await self._read(connection, stream)
                    connection.finish()
                    nursery.cancel_scope.deadline = trio.current_time() + FLUSH_TIMEOUT_S
        finally:
            self._forget(connection)
            await trio.aclose_forcefully(stream)

    async def _write(self, connection: Connection, stream: SipStream) -> None:
        while True:
            while connection.queue:
                data = connection.take()
                with trio.move_on_after(SEND_TIMEOUT_S) as scope:
                    try:
                        await stream.send_all(data)
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        scope.cancel()
                if scope.cancel_called:
                    connection.scope.cancel()
                    return
            if connection.is_closing:
                return
            connection.wakeup = trio.Event()
            await connection.wakeup.wait()

    async def _read(self, connection: Connection, stream: SipStream) -> None:
        """Deliver messages until the peer closes, is too slow or sends what cannot be framed."""
        framer = StreamFramer()
        while True:
            deadline = framer.deadline() or trio.current_time() + IDLE_TIMEOUT_S
            data: bytes | bytearray = b""
            with trio.move_on_at(deadline):
                try:
                    data = await stream.receive_some(_CHUNK_BYTES)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
            if not data:
                return
            if connection in self._inbound:
                self._inbound[connection] = self._inbound.pop(connection)
            now = trio.current_time()
            framer.feed(bytes(data), now)
            try:
                while not self._deliver(connection, framer, now):
                    self._handler.flush()
                    await trio.lowlevel.checkpoint()
            except SipParseError as error:
                self._handler.unframed(framer.rest(), error.status, connection.peer)
                self._handler.flush()
                return
            self._handler.flush()
            await connection.wait_drained()
            framer.paused(trio.current_time() - now)

    def _deliver(self, connection: Connection, framer: StreamFramer, now: float) -> bool:
        """Deliver messages for as long as that may keep the loop; returns whether none is left."""
        until = trio.current_time() + TURN_S
        while (item := framer.next(now)) is not None:
            if item == PING:
                connection.put(PONG)
            else:
                self._handler.received(item, connection.peer)
            if trio.current_time() >= until:
                return False
        return True


def _key(peer: Hop) -> tuple[str, int, str]:
    return (peer.host, peer.port, peer.server_name)
