"""Deadlines of TCP connections, on the mock clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from vb.sip.hop import Hop, TransactionKey
from vb.sip.tasks.tcp import TcpTransport

pytestmark = pytest.mark.integration


class Handler:
    """Writes down what a connection delivers."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.lost: list[int] = []

    def received(self, data: bytes, source: Hop) -> None:
        self.messages.append(data)

    def unframed(self, data: bytes, status: int, source: Hop) -> None:
        self.messages.append(b"unframed")

    def sent_on(self, sender: TransactionKey, flow: int, *, reused: bool) -> None:
        """Nobody sends requests here."""

    def undelivered(self, sender: TransactionKey) -> None:
        """Nobody waits for an answer here."""

    def needs(self, flow: int) -> bool:
        return False

    def flow_lost(self, flow: int) -> None:
        self.lost.append(flow)

    def flush(self) -> None:
        """Nothing to send."""


async def test_a_sender_that_takes_longer_than_ten_seconds_is_cut_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    handler = Handler()
    tcp = TcpTransport(handler)
    tcp.bind("127.0.0.1", 0)
    port = tcp.listening_ports[0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tcp.run)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            start = trio.current_time()
            for byte in b"OPTIONS":
                await stream.send_all(bytes([byte]))
                with trio.move_on_after(3.0) as scope:
                    assert await stream.receive_some(1) == b""
                if not scope.cancelled_caught:
                    break
            closed_after_s = trio.current_time() - start
        nursery.cancel_scope.cancel()
    assert 9.9 <= closed_after_s <= 10.1
    assert handler.messages == []
    assert handler.lost == [1]
