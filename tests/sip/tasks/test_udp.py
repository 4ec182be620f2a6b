"""One UDP socket on loopback: what a burst of datagrams may cost the loop."""

from __future__ import annotations

import socket
from contextlib import suppress
from time import perf_counter

import pytest
import trio
import trio.testing

from vb.sip.hop import Hop, Outgoing, TransactionKey
from vb.sip.tasks.udp import BATCH, TURN_S, UdpSocket

pytestmark = pytest.mark.integration
BURST = 40


class Slow:
    """Takes datagrams at a cost, and notes how many came between two flushes."""

    def __init__(self, cost_s: float) -> None:
        self.batches = [0]
        self.done = trio.Event()
        self._cost_s = cost_s

    def received(self, data: bytes, source: Hop) -> None:
        self.batches[-1] += 1
        began = perf_counter()
        while perf_counter() - began < self._cost_s:
            pass

    def failed(self, transport: str, host: str, port: int, quoted: bytes) -> None:
        raise AssertionError("nothing was sent")

    def undelivered(self, sender: TransactionKey) -> None:
        raise AssertionError("nothing was sent")

    def flush(self) -> None:
        if sum(self.batches) == BURST:
            self.done.set()
        self.batches.append(0)


async def take_burst(handler: Slow) -> None:
    subject = UdpSocket("127.0.0.1", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for _ in range(BURST):
            peer.sendto(b"x", subject.address)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subject.run, handler)
            await handler.done.wait()
            nursery.cancel_scope.cancel()
    subject.close()


async def test_costly_datagrams_are_taken_in_short_turns() -> None:
    cost_s = TURN_S / 2
    handler = Slow(cost_s)
    await take_burst(handler)
    assert max(handler.batches) <= 3


async def test_cheap_datagrams_are_taken_many_at_a_time() -> None:
    handler = Slow(0)
    await take_burst(handler)
    assert BATCH >= max(handler.batches) > 3


class Batches:
    """Notes after how many datagrams there was a flush."""

    def __init__(self, peer: socket.socket) -> None:
        self.texts: list[bytes] = []
        self.batches: list[int] = []
        self._peer = peer

    def received(self, data: bytes, source: Hop) -> None:
        raise AssertionError("nobody sends")

    def failed(self, transport: str, host: str, port: int, quoted: bytes) -> None:
        raise AssertionError("the peer is there")

    def undelivered(self, sender: TransactionKey) -> None:
        raise AssertionError("the peer is there")

    def flush(self) -> None:
        before = len(self.texts)
        try:
            while True:
                self.texts.append(self._peer.recv(100, socket.MSG_DONTWAIT))
        except BlockingIOError:
            self.batches.append(len(self.texts) - before)


async def test_datagrams_that_had_to_wait_go_out_a_batch_at_a_time_in_order() -> None:
    subject = UdpSocket("127.0.0.1", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        handler, hop = Batches(peer), Hop("udp", "127.0.0.1", peer.getsockname()[1])
        count = 2 * BATCH + 5
        for number in range(count):
            subject._queue(Outgoing(b"%d" % number, hop))
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(subject.run_backlog, handler)
                while len(handler.texts) < count:
                    await trio.lowlevel.checkpoint()
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
    subject.close()
    assert handler.texts == [b"%d" % number for number in range(count)]
    assert handler.batches == [BATCH, BATCH, 5]


class Reports:
    """Notes what is told of peers that cannot be reached."""

    def __init__(self) -> None:
        self.quoted: list[bytes] = []
        self.undelivered_requests = 0

    def received(self, data: bytes, source: Hop) -> None:
        raise AssertionError("nobody sends")

    def failed(self, transport: str, host: str, port: int, quoted: bytes) -> None:
        self.quoted.append(quoted)

    def undelivered(self, sender: TransactionKey) -> None:
        self.undelivered_requests += 1

    def flush(self) -> None:
        pass


def refuse(subject: UdpSocket, count: int) -> None:
    """Let the system hear of so many refused datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        address = gone.getsockname()
    for _ in range(2 * count - 1):  # every other one only reports the one before; the last is still to tell
        with suppress(ConnectionRefusedError):
            subject._socket.sendto(b"refused", address)


async def test_many_reports_about_one_peer_keep_no_request_from_another() -> None:
    subject, handler = UdpSocket("127.0.0.1", 0), Reports()
    refuse(subject, 4 * BATCH)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        subject.send(Outgoing(b"hello", Hop("udp", *peer.getsockname()), ("branch", "INVITE")), handler)
        assert peer.recv(100, socket.MSG_DONTWAIT) == b"hello"
    assert handler.undelivered_requests == 0
    subject.close()


async def test_reports_quote_what_was_refused() -> None:
    subject, handler = UdpSocket("127.0.0.1", 0), Reports()
    refuse(subject, 3)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subject.run, handler)
            while len(handler.quoted) < 3:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert set(handler.quoted) == {b"refused"}
    subject.close()
