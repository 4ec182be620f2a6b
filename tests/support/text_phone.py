"""A softphone with real-time text, whose packets are written and read here, byte by byte."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from tests.support.phone import Phone, open_phone

T140, RED = 99, 98
TICK_MS = 300


@dataclass(frozen=True)
class TextPacket:
    """One packet of text as it came."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    payload: bytes

    @property
    def blocks(self) -> list[bytes]:
        """The blocks of a redundant packet, the oldest first; of a plain one its only block."""
        if self.payload_type == T140:
            return [self.payload]
        lengths, at = [], 0
        while self.payload[at] & 0x80:
            lengths.append(struct.unpack_from("!I", self.payload, at)[0] & 0x3FF)
            at += 4
        at += 1
        blocks = []
        for length in lengths:
            blocks.append(self.payload[at : at + length])
            at += length
        return [*blocks, self.payload[at:]]


def redundant(*blocks: bytes) -> bytes:
    """The redundant payload of blocks that are a tick apart, the oldest first."""
    headers = b""
    for index, block in enumerate(blocks[:-1]):
        age = (len(blocks) - 1 - index) * TICK_MS
        headers += struct.pack("!I", (0x80 | T140) << 24 | age << 10 | len(block))
    return headers + bytes((T140,)) + b"".join(blocks)


class TextLine:
    """The text socket of a phone."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self.packets: list[TextPacket] = []
        self._socket = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._arrived = trio.Event()

    async def open(self, nursery: trio.Nursery) -> None:
        await self._socket.bind(("127.0.0.1", 0))
        nursery.start_soon(self._receive)

    @property
    def port(self) -> int:
        port = self._socket.getsockname()[1]
        assert isinstance(port, int)
        return port

    async def _receive(self) -> None:
        while True:
            data, _ = await self._socket.recvfrom(4096)
            _, second, sequence, timestamp, _ = struct.unpack_from("!BBHII", data)
            self.packets.append(
                TextPacket(second & 0x7F, bool(second & 0x80), sequence, timestamp, data[12:])
            )
            self._arrived.set()
            self._arrived = trio.Event()

    async def send(self, index: int, *blocks: bytes, red: bool = True) -> None:
        """Send the packet of this tick: redundant with its blocks, or plain with its only one."""
        negotiation = self.phone.negotiation
        assert negotiation is not None
        assert negotiation.agreed is not None
        assert negotiation.agreed.text is not None
        remote = negotiation.agreed.text.remote_rtp
        assert remote is not None
        payload = redundant(*blocks) if red else blocks[0]
        header = struct.pack(
            "!BBHII", 0x80, RED if red else T140, 65_530 + index & 0xFFFF, index * TICK_MS, 5
        )
        await self._socket.sendto(header + payload, (remote.host, remote.port))

    async def send_raw(self, datagram: bytes, target: tuple[str, int]) -> None:
        """Send any bytes."""
        await self._socket.sendto(datagram, target)

    @property
    def text(self) -> str:
        """Everything that came for the first time, without byte order marks."""
        return b"".join(packet.blocks[-1] for packet in self.packets).decode().replace("\ufeff", "")

    async def read(self, text: str) -> None:
        """Wait until this text has come."""
        with trio.fail_after(10):
            while self.text != text:
                await self._arrived.wait()

    async def quiet(self, packets: int) -> None:
        """Wait for this many packets in all."""
        with trio.fail_after(10):
            while len(self.packets) < packets:
                await self._arrived.wait()

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def open_text_phone(tone_hz: float) -> AsyncIterator[tuple[Phone, TextLine]]:
    """A phone that offers and takes text, for as long as the block lasts."""
    async with open_phone(tone_hz) as phone:
        line = TextLine(phone)
        try:
            async with trio.open_nursery() as nursery:
                await line.open(nursery)
                assert phone.negotiation is not None
                phone.negotiation.text_port = line.port
                try:
                    yield phone, line
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            line.close()
