"""A leg's candidate of the other address family: a socket of its own beside the one that the plane serves.

The plane sends and receives on one socket of a leg. So this one has another beside it, its front, which
stands for the peer as that of a relay does, and a task passes media on between the two. Its candidate comes
after those of the first family, so it is used where there is no other way.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import trio

from vb.rtcleg.relay import datagram_socket, waiting
from vb.rtp.packet import PacketKind, classify
from vb.rtp.ports import PortPool
from vb.rtp.tasks import RtpEndpoint, bind_endpoint
from vb.webrtc.stun import Address

Received = Callable[[bytes, Address, Address], None]
"""Told of each STUN or DTLS datagram that came to the socket, its source, and the base."""


class SecondSocket:
    """The socket of the other family.

    Args:
        endpoint: it, and one for RTCP, which is not used.
        bound: its address.
        base: the same as peers know it.
        front: connected to the socket that the plane serves.

    Attributes:
        peer: whom the plane's packets are for, once media goes this way.
        dropped: packets that could not be passed on.
    """

    def __init__(self, endpoint: RtpEndpoint, bound: Address, base: Address, front: socket.socket) -> None:
        self.bound = bound
        self.base = base
        self.peer: Address | None = None
        self.dropped = 0
        self._endpoint = endpoint
        self._front = front

    @property
    def front(self) -> Address:
        """Where the plane sends what is for the peer."""
        host, port = self._front.getsockname()[:2]
        return host, port

    def aim(self, peer: Address) -> None:
        """Pass the plane's packets on to a peer."""
        self.peer = peer

    def permit(self, host: str) -> None:
        """Do nothing: every host may send here."""

    def send(self, data: bytes, destination: Address) -> None:
        """Send a datagram to a peer."""
        self._endpoint.send_rtp(data, destination)

    async def run(self, received: Received) -> None:
        """Pass on what comes, both ways, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, received)
            nursery.start_soon(self._forward)

    async def _receive(self, received: Received) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._endpoint.rtp)
            for data, source in waiting(self._endpoint.rtp):
                if classify(data) in (PacketKind.STUN, PacketKind.DTLS):
                    received(data, source, self.base)
                    continue
                try:
                    self._front.send(data)
                except OSError:
                    self.dropped += 1

    async def _forward(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._front)
            for data, _ in waiting(self._front):
                if self.peer is None:
                    self.dropped += 1
                else:
                    self.send(data, self.peer)


@contextmanager
def open_second(pool: PortPool, bind: str, host: str, leg_socket: Address) -> Iterator[SecondSocket]:
    """Hold a socket inside the block.

    Args:
        pool: of ports.
        bind: address to bind.
        host: the same as peers know it.
        leg_socket: where this machine reaches the socket that the plane serves.

    Raises:
        PortsExhausted: no port is left.
        OSError: the address cannot be used.
    """
    with ExitStack() as closing:
        endpoint = bind_endpoint(pool, bind)
        closing.callback(endpoint.close)
        front = datagram_socket(leg_socket[0])
        closing.callback(front.close)
        front.connect(leg_socket)
        port = endpoint.rtp_port
        yield SecondSocket(endpoint, (bind, port), (host, port), front)
