"""A relayed candidate: one allocation at a TURN server, and the leg's packets on their way through it.

The plane sends and receives on the leg's own socket only. So a relay has a socket beside it, its front,
which stands for the peer: what the plane sends there is wrapped for the server, and the peer's media comes
from there. Relayed calls are few, which is why a task may touch each of their packets.
"""

from __future__ import annotations

import math
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from functools import cache
from typing import Final, Protocol

import structlog
import trio

from vb.beat import at_leisure
from vb.rtp.packet import PacketKind, classify
from vb.webrtc.stun import Address
from vb.webrtc.turn import Allocated, TurnClient, TurnFailed

log = structlog.get_logger(__name__)

MAX_UNSENT_BYTES: Final = 65_536
"""Of a stream to the server; what goes beyond it is dropped, as a full socket would."""
_CONNECT_LIMIT_S: Final = 5.0
_ROUND: Final = 64
_DATAGRAM_BYTES: Final = 2048
_STREAM_BYTES: Final = 65_536


class RelayHost(Protocol):
    """What a relay tells its leg."""

    def relay_is_up(self, relay: Relay, relayed: Address, mapped: Address | None) -> None:
        """Take the address that peers may send to."""
        ...

    def relay_is_down(self, relay: Relay) -> None:
        """Take note that there is none, or none any more."""
        ...

    def relay_received(self, data: bytes, peer: Address, relayed: Address) -> None:
        """Take a STUN or DTLS datagram of a peer."""
        ...


class _Link(Protocol):
    """The way to the server."""

    dropped: int

    def send(self, data: bytes) -> None: ...
    async def receive(self) -> list[bytes]: ...
    async def flush(self) -> None: ...
    def close(self) -> None: ...


class Relay:
    """One allocation.

    Args:
        client: speaks TURN.
        server: address of the server.
        stream: it is reached over TCP.
        tls_name: the name that its certificate must have, where TCP is protected by TLS.
        local_host: address to send from.
        leg_socket: where the plane receives.
        host: told of what happens.

    Attributes:
        peer: whom the plane's packets are for, once media goes this way.
        dropped: packets that could not be sent.
    """

    def __init__(
        self,
        client: TurnClient,
        server: Address,
        *,
        stream: bool,
        local_host: str,
        leg_socket: Address,
        host: RelayHost,
        tls_name: str | None = None,
    ) -> None:
        self.client = client
        self.peer: Address | None = None
        self.relayed: Address | None = None
        self.dropped = 0
        self._server = server
        self._stream = stream
        self._tls_name = tls_name
        self._local_host = local_host
        self._leg_socket = leg_socket
        self._host = host
        self._link: _Link | None = None
        self._front: socket.socket | None = None
        self._woken = trio.Event()

    @property
    def front(self) -> Address:
        """Where the plane sends what is for the peer.

        Raises:
            RuntimeError: the relay does not run.
        """
        if self._front is None:
            raise RuntimeError("the relay does not run")
        host, port = self._front.getsockname()[:2]
        return host, port

    async def run(self) -> None:
        """Keep the allocation until cancelled, or until it is refused or lost."""
        with ExitStack() as closing:
            try:
                link = await _connect(
                    self._server, self._local_host, stream=self._stream, tls_name=self._tls_name
                )
            except (OSError, trio.TooSlowError, trio.BrokenResourceError) as exc:
                log.info("TURN server cannot be reached", problem=str(exc) or "no answer in time")
                self._host.relay_is_down(self)
                return
            closing.callback(link.close)
            self._link = link
            self._front = datagram_socket(self._leg_socket[0])
            closing.callback(self._front.close)
            self._front.connect(self._leg_socket)
            self.client.start(trio.current_time())
            try:
                async with trio.open_nursery() as nursery:
                    for work in (self._receive, self._forward, link.flush):
                        nursery.start_soon(self._until_lost, work, nursery.cancel_scope)
                    await self._keep()
                    nursery.cancel_scope.cancel()
            finally:
                self._link = None
                self.client.close(trio.current_time())
                for data in self.client.outgoing():
                    link.send(data)
                self._host.relay_is_down(self)

    async def _until_lost(self, work: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        try:
            await work()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            log.info("TURN server is lost", problem=str(exc) or type(exc).__name__)
            scope.cancel()

    async def _keep(self) -> None:
        """Do what the client has due; returns when its allocation has failed."""
        while not self.step():
            deadline = self.client.deadline()
            with trio.move_on_at(math.inf if deadline is None else at_leisure(deadline, trio.current_time())):
                await self._woken.wait()
            if self._woken.is_set():
                self._woken = trio.Event()
            self.client.expire(trio.current_time())

    def step(self) -> bool:
        """Send what the client has to send and tell what has happened; True when it has failed."""
        if self._link is not None:
            for data in self.client.outgoing():
                self._link.send(data)
        for event in self.client.events():
            if isinstance(event, Allocated):
                self.relayed = event.relayed
                self._host.relay_is_up(self, event.relayed, event.mapped)
            elif isinstance(event, TurnFailed):
                log.info("TURN server refuses", code=event.code, reason=event.reason)
                return True
        return False

    def permit(self, host: str) -> None:
        """Let a peer's host through."""
        self.client.permit(host, trio.current_time())
        self._woken.set()

    def aim(self, peer: Address) -> None:
        """Pass the plane's packets on to a peer, which gets a channel: 32 bytes less for each of them."""
        self.peer = peer
        self.client.bind(peer, trio.current_time())
        self._woken.set()

    def send(self, data: bytes, destination: Address) -> None:
        """Send a datagram to a peer through the server."""
        wrapped = self.client.wrap(destination, data)
        if wrapped is not None and self._link is not None:
            self._link.send(wrapped)
        else:
            self.dropped += 1

    async def _receive(self) -> None:
        while self._link is not None:
            for data in await self._link.receive():
                for peer, payload in self.client.receive(data, trio.current_time()):
                    self._take(payload, peer)
            self._woken.set()

    def _take(self, payload: bytes, peer: Address) -> None:
        if classify(payload) in (PacketKind.STUN, PacketKind.DTLS):
            if self.relayed is not None:
                self._host.relay_received(payload, peer, self.relayed)
        elif self._front is not None:
            try:
                self._front.send(payload)
            except OSError:
                self.dropped += 1

    async def _forward(self) -> None:
        """Take what the plane sends to the peer."""
        front = self._front
        while front is not None:
            await trio.lowlevel.wait_readable(front)
            for data, _ in waiting(front):
                if self.peer is not None:
                    self.send(data, self.peer)


@cache
def trusted() -> ssl.SSLContext:
    """Return what TURN servers over TLS are judged by: this machine's authorities."""
    return ssl.create_default_context()


async def _connect(server: Address, local_host: str, *, stream: bool, tls_name: str | None) -> _Link:
    with trio.fail_after(_CONNECT_LIMIT_S):
        if stream:
            tcp = await trio.open_tcp_stream(*server, local_address=local_host)
            if tls_name is None:
                return _StreamLink(tcp, tcp)
            try:
                # Reading the machine's authorities takes a while, the first time.
                tls = trio.SSLStream(tcp, await trio.to_thread.run_sync(trusted), server_hostname=tls_name)
                await tls.do_handshake()
            except BaseException:
                tcp.socket.close()
                raise
            return _StreamLink(tls, tcp)
        link = datagram_socket(local_host)
        try:
            link.connect(server)
        except OSError:
            link.close()
            raise
        return _DatagramLink(link)


def datagram_socket(host: str) -> socket.socket:
    """Return a UDP socket on a free port of an address.

    Raises:
        OSError: the address cannot be used.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((host, 0))
    except OSError:
        sock.close()
        raise
    return sock


def waiting(sock: socket.socket) -> list[tuple[bytes, Address]]:
    """Return the datagrams that wait in a socket, each with its source, up to a round of them."""
    found: list[tuple[bytes, Address]] = []
    with suppress(BlockingIOError, ConnectionRefusedError):
        while len(found) < _ROUND:
            data, source = sock.recvfrom(_DATAGRAM_BYTES)
            found.append((data, source[:2]))
    return found


class _DatagramLink:
    """UDP."""

    def __init__(self, sock: socket.socket) -> None:
        self.dropped = 0
        self._socket = sock

    def send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError:
            self.dropped += 1

    async def receive(self) -> list[bytes]:
        await trio.lowlevel.wait_readable(self._socket)
        return [data for data, _ in waiting(self._socket)]

    async def flush(self) -> None:
        """Wait for ever: nothing is kept back."""
        await trio.sleep_forever()

    def close(self) -> None:
        self._socket.close()


class _StreamLink:
    """TCP, or TLS over it: what cannot be written at once is kept, up to a limit."""

    def __init__(self, stream: trio.abc.Stream, tcp: trio.SocketStream) -> None:
        self.dropped = 0
        self._stream = stream
        self._tcp = tcp
        self._unsent = bytearray()
        self._filled = trio.Event()

    def send(self, data: bytes) -> None:
        if len(self._unsent) + len(data) > MAX_UNSENT_BYTES:
            self.dropped += 1
            return
        self._unsent += data
        self._filled.set()

    async def receive(self) -> list[bytes]:
        data = await self._stream.receive_some(_STREAM_BYTES)
        if not data:
            raise OSError("the server has closed the connection")
        return [bytes(data)]

    async def flush(self) -> None:
        """Write what is kept, for ever."""
        while True:
            await self._filled.wait()
            self._filled = trio.Event()
            while self._unsent:
                taken = bytes(self._unsent)
                self._unsent.clear()
                await self._stream.send_all(taken)

    def close(self) -> None:
        """Close at once; what is still kept is written if the system takes it without waiting."""
        with suppress(OSError):
            if self._unsent and self._stream is self._tcp:
                os.write(self._tcp.socket.fileno(), self._unsent)
        self._tcp.socket.close()
