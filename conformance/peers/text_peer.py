"""Real-time text as the peers speak it: T.140 over RTP (RFC 4103), alone or with redundancy (RFC 2198)."""

from __future__ import annotations

import secrets
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from conformance.expect import Difference
from conformance.peers.mailbox import Mailbox
from conformance.peers.rtp_peer import Address, parse_rtp

RED, T140 = 98, 99
INTERVAL_MS = 300
BOM = "\ufeff"


@dataclass(frozen=True)
class Block:
    """One block of a redundant packet; ``offset_ms`` is its age."""

    payload_type: int
    offset_ms: int
    data: bytes


@dataclass(frozen=True)
class TextPacket:
    """One packet of text as received; the last block is the new one."""

    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    blocks: tuple[Block, ...]

    @property
    def text(self) -> str:
        """The new text."""
        return _text(self.blocks[-1])

    @property
    def history(self) -> list[str]:
        """The text of the redundant blocks, oldest first, empty ones too."""
        return [_text(block) for block in self.blocks[:-1]]


def _text(block: Block) -> str:
    """The text of a block without the byte order mark that begins a session (T.140 §8.1)."""
    return block.data.decode("utf-8").removeprefix(BOM)


def read_red(payload: bytes) -> tuple[Block, ...]:
    """Takes a redundant payload apart.

    Raises:
        ValueError: when the lengths do not fit.
    """
    heads: list[tuple[int, int, int]] = []
    position = 0
    while True:
        if position >= len(payload):
            raise ValueError("no header of the new block")
        if not payload[position] & 0x80:
            primary = payload[position]
            position += 1
            break
        if position + 4 > len(payload):
            raise ValueError("half a header")
        word = int.from_bytes(payload[position : position + 4], "big")
        heads.append((word >> 24 & 0x7F, word >> 10 & 0x3FFF, word & 0x3FF))
        position += 4
    blocks = []
    for number, offset, size in heads:
        blocks.append(Block(number, offset, payload[position : position + size]))
        position += size
    if position > len(payload):
        raise ValueError("blocks longer than the payload")
    return (*blocks, Block(primary, 0, payload[position:]))


def write_red(history: Sequence[tuple[int, bytes]], new: bytes) -> bytes:
    """A redundant payload: ages in ms and data of the old blocks, oldest first, then the new block."""
    heads = b"".join(
        struct.pack("!I", 1 << 31 | T140 << 24 | offset << 10 | len(data)) for offset, data in history
    )
    return heads + bytes([T140]) + b"".join(data for _, data in history) + new


def text_lines(port: int, *, generations: int | None = 2, direction: str | None = None) -> list[str]:
    """An m=text section, with redundancy unless ``generations`` is None."""
    plain = f"a=rtpmap:{T140} t140/1000"
    lines = [f"m=text {port} RTP/AVP {T140}", plain]
    if generations is not None:
        lines = [
            f"m=text {port} RTP/AVP {RED} {T140}",
            f"a=rtpmap:{RED} red/1000",
            plain,
            f"a=fmtp:{RED} {'/'.join([str(T140)] * (generations + 1))}",
        ]
    return lines + ([f"a={direction}"] if direction else [])


class TextPeer:
    """One text address of a peer."""

    def __init__(self, sock: trio.socket.SocketType, who: str) -> None:
        self.who = who
        self.port = sock.getsockname()[1]
        self.remote: Address | None = None
        self.packets: Mailbox[TextPacket] = Mailbox()
        self.malformed: list[bytes] = []
        self._sock = sock
        self._ssrc = int.from_bytes(secrets.token_bytes(4), "big")
        self._sequence = int.from_bytes(secrets.token_bytes(2), "big")
        self._timestamp = int.from_bytes(secrets.token_bytes(3), "big")
        self._history: list[bytes] = []
        self._begun = False

    async def send(
        self, text: str, *, generations: int = 2, redundant: bool = True, lost: bool = False
    ) -> bytes:
        """Sends the next block of text, unless it is to be lost, and returns the packet."""
        data = text.encode()
        old = self._history[-generations:] if generations else []
        ages = [(INTERVAL_MS * (len(old) - index), block) for index, block in enumerate(old)]
        payload = write_red(ages, data) if redundant else data
        packet = self.pack(payload, RED if redundant else T140, marker=not self._history)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + INTERVAL_MS) & 0xFFFFFFFF
        self._history.append(data)
        if not lost:
            await self.send_raw(packet)
        return packet

    def pack(self, payload: bytes, payload_type: int, *, marker: bool = False) -> bytes:
        """A packet with the next sequence number and timestamp."""
        second = payload_type | (0x80 if marker else 0)
        head = struct.pack("!BBHII", 0x80, second, self._sequence, self._timestamp, self._ssrc)
        return head + payload

    async def send_raw(self, packet: bytes) -> None:
        """Puts a packet on the wire as it is."""
        assert self.remote is not None
        await self._sock.sendto(packet, self.remote)

    async def collect(self) -> None:
        """Keeps every packet that arrives; runs until cancelled."""
        while True:
            try:
                data, source = await self._sock.recvfrom(4096)
            except ConnectionRefusedError:
                continue
            found = parse_rtp(data, trio.current_time(), (source[0], source[1]))
            if found is None:
                continue
            try:
                blocks = (
                    read_red(found.payload) if found.payload_type == RED else (Block(T140, 0, found.payload),)
                )
            except ValueError:
                self.malformed.append(data)
                continue
            self._keep(TextPacket(found.marker, found.payload_type, found.sequence, found.timestamp, blocks))

    async def packet(self, within_s: float = 1.5) -> TextPacket:
        """The next packet from the first text on; the opening byte order mark is not counted.

        Raises:
            Difference: when none comes in time.
        """
        found = await self.packets.take(lambda _: True, within_s)
        if found is None:
            raise Difference(f"text at {self.who}", "a packet", f"none within {within_s} s")
        return found

    def _keep(self, packet: TextPacket) -> None:
        self._begun = self._begun or bool(packet.text or any(packet.history))
        if self._begun:
            self.packets.put(packet)

    async def text(self, wanted: str, within_s: float = 2.0) -> None:
        """Collects new text until all that is wanted has come.

        Raises:
            Difference: when other text comes, or not all of it in time.
        """
        got = ""
        with trio.move_on_after(within_s):
            while got != wanted and wanted.startswith(got):
                got += (await self.packet(within_s)).text
        if got != wanted:
            raise Difference(f"text at {self.who}", wanted, got)

    async def silence(self, for_s: float) -> None:
        """Checks that no new text comes for a while; packets that only repeat do not count.

        Raises:
            Difference: when some does.
        """
        found = await self.packets.take(lambda packet: packet.text != "", for_s)
        if found is not None:
            raise Difference(f"text at {self.who}", "silence", found.text)


@asynccontextmanager
async def open_text(who: str) -> AsyncIterator[TextPeer]:
    """A peer on a free port, receiving while the block runs."""
    sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    await sock.bind(("127.0.0.1", 0))
    peer = TextPeer(sock, who)
    with sock:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.collect)
            yield peer
            nursery.cancel_scope.cancel()
