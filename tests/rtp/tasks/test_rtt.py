"""The driver of a text stream over loopback sockets, in virtual time."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.rtp.text_streams import REDUNDANT, blocks, parsed
from tests.support.ids import SequentialIds
from vb.rtp.packet import RtpPacket
from vb.rtp.ports import PortPool
from vb.rtp.rtt_receiver import REORDER_S, TextChunk
from vb.rtp.rtt_sender import TICK_S
from vb.rtp.tasks import TextStream, bind_endpoint
from vb.sdp import AgreedText, MediaAddress

HOST = "127.0.0.1"


class Line:
    """A running stream and the socket of its far end."""

    def __init__(self) -> None:
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind((HOST, 0))
        self.peer.setblocking(False)
        self.endpoint = bind_endpoint(PortPool(0, 0), HOST)
        self.stream = TextStream(self.endpoint, SequentialIds())
        self.chunks: list[TextChunk] = []
        self.told = trio.Event()

    def keep(self, chunk: TextChunk) -> None:
        self.chunks.append(chunk)
        self.told.set()

    def agree(self) -> None:
        port = self.peer.getsockname()[1]
        self.stream.configure(AgreedText(MediaAddress(HOST, port), "sendrecv", REDUNDANT, REDUNDANT))

    def send(self, index: int, data: bytes) -> None:
        packet = RtpPacket(99, index, 300 * index, 7, data)
        self.peer.sendto(packet.to_bytes(), (HOST, self.endpoint.rtp_port))

    def received(self) -> list[RtpPacket]:
        found = []
        while True:
            try:
                found.append(parsed(self.peer.recv(2048)))
            except BlockingIOError:
                return found


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    found = Line()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.stream.run, found.keep)
            await wait_all_tasks_blocked()
            yield found
            nursery.cancel_scope.cancel()
    finally:
        found.endpoint.close()
        found.peer.close()


async def test_text_goes_out_on_the_ticks_after_the_agreement(mock_clock: MockClock) -> None:
    async with line() as far:
        assert far.stream.queue("hi")
        mock_clock.jump(5)
        await wait_all_tasks_blocked()
        assert far.received() == []
        far.agree()
        for _ in range(5):
            await wait_all_tasks_blocked()
            mock_clock.jump(TICK_S + 0.001)
        found = [blocks(packet)[-1] for packet in far.received()]
        assert found == ["\ufeff".encode(), b"hi", b"", b""]


async def test_text_that_comes_in_is_told_and_a_gap_after_its_wait(mock_clock: MockClock) -> None:
    async with line() as far:
        far.agree()
        far.send(0, b"a")
        far.send(3, b"d")
        with trio.fail_after(1000):
            await far.told.wait()
        await wait_all_tasks_blocked(0.01)
        assert far.chunks == [TextChunk("a")]
        mock_clock.jump(REORDER_S + 0.001)
        await wait_all_tasks_blocked()
        assert far.chunks == [TextChunk("a"), TextChunk("\ufffdd", lost=True)]
