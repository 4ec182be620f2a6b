"""The table of TCP connections on loopback: how many there may be, and who has to go."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import pytest
import trio
import trio.testing

from vb.sip.hop import Hop, TransactionKey
from vb.sip.tasks.tcp import TcpTransport
from vb.sip.tasks.tls import Tls

pytestmark = pytest.mark.integration
PING, PONG = b"\r\n\r\n", b"\r\n"


class Nobody:
    """Takes what connections deliver, and needs none of them."""

    def received(self, data: bytes, source: Hop) -> None:
        """Drop it."""

    def unframed(self, data: bytes, status: int, source: Hop) -> None:
        """Drop it."""

    def sent_on(self, sender: TransactionKey, flow: int, *, reused: bool) -> None:
        """Drop it."""

    def undelivered(self, sender: TransactionKey) -> None:
        """Drop it."""

    def flow_lost(self, flow: int) -> None:
        """Drop it."""

    def needs(self, flow: int) -> bool:
        """Need none."""
        return False

    def flush(self) -> None:
        """Have nothing to do."""


@asynccontextmanager
async def running(transport: TcpTransport) -> AsyncIterator[int]:
    transport.bind("127.0.0.1", 0)
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.run)
            await trio.testing.wait_all_tasks_blocked()
            yield transport.listening_ports[0]
            nursery.cancel_scope.cancel()


async def test_our_own_connections_take_no_place_of_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vb.sip.tasks.tcp.MAX_CONNECTIONS", 5)
    monkeypatch.setattr("vb.sip.tasks.tcp.KEPT_FOR_US", 2)
    transport = TcpTransport(Nobody())
    async with running(transport) as port, AsyncExitStack() as stack:
        for _ in range(3):
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            transport.send(PING, Hop("tcp", "127.0.0.1", server.getsockname()[1]))
        for _ in range(2):
            peer = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            await peer.send_all(PING)
            assert await peer.receive_some(10) == PONG
        assert (transport.connections, transport.refused) == (5, 0)


async def test_who_makes_room_while_its_handshake_ends_goes_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vb.sip.tasks.tcp.MAX_CONNECTIONS", 2)
    monkeypatch.setattr("vb.sip.tasks.tcp.KEPT_FOR_US", 1)
    shaken = trio.Event()

    async def greet(stream: trio.SocketStream, tls: Tls) -> trio.SocketStream:
        with trio.CancelScope(shield=True):  # too late to break it off
            await shaken.wait()
        return stream

    monkeypatch.setattr("vb.sip.tasks.tcp.greet", greet)
    transport = TcpTransport(Nobody(), tls=cast(Tls, object()))
    async with (
        running(transport) as port,
        await trio.open_tcp_stream("127.0.0.1", port) as first,
        await trio.open_tcp_stream("127.0.0.1", port) as second,
    ):
        while transport.connections < 2:
            await trio.testing.wait_all_tasks_blocked()
        shaken.set()
        assert await first.receive_some(10) == b""
        await second.send_all(PING)
        assert await second.receive_some(10) == PONG
