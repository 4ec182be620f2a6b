"""A paced RTP sender with a known loss and unevenness, for comparing two measurements of one stream."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import trio

PACKET_S = 0.020
PACKET_SAMPLES = 160
SILENCE = b"\xff" * PACKET_SAMPLES


@dataclass(frozen=True, slots=True)
class Pattern:
    """What to send: every `drop_every`-th packet is left out, and packets are late by turns.

    Every second packet is late by the same time, so the jitter settles at that and stays there.
    """

    packets: int
    drop_every: int
    late_s: tuple[float, ...] = (0.0, 0.012)

    def dropped(self, number: int) -> bool:
        """Whether a packet is left out; never the first or the last, which nobody could miss."""
        return number % self.drop_every == self.drop_every - 1 and 0 < number < self.packets - 1

    @property
    def lost(self) -> int:
        """How many are left out."""
        return sum(self.dropped(number) for number in range(self.packets))


def packets(pattern: Pattern, *, ssrc: int, first_sequence: int) -> Iterator[tuple[float, bytes]]:
    """When each packet leaves, in seconds from the start, and its bytes (silence).  Spec: RFC 3550 §5.1."""
    for number in range(pattern.packets):
        if pattern.dropped(number):
            continue
        marker = 0x80 if number == 0 else 0
        header = struct.pack(
            "!BBHII", 0x80, marker, (first_sequence + number) & 0xFFFF, number * PACKET_SAMPLES, ssrc
        )
        late_s = pattern.late_s[number % len(pattern.late_s)]
        yield number * PACKET_S + late_s, header + SILENCE


async def send_stream(sock: trio.socket.SocketType, pattern: Pattern) -> int:
    """Wait for the far end's first packet, then send the pattern to where it came from.

    Returns:
        The number of packets sent.
    """
    _, address = await sock.recvfrom(2048)
    start, sent = trio.current_time(), 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain, sock)
        # The sequence wraps in the middle, where a count by plain subtraction goes wrong.
        for due_s, packet in packets(pattern, ssrc=0x1CE0, first_sequence=0x10000 - pattern.packets // 2):
            await trio.sleep_until(start + due_s)
            await sock.sendto(packet, address)
            sent += 1
        nursery.cancel_scope.cancel()
    return sent


async def _drain(sock: trio.socket.SocketType) -> None:
    while True:
        await sock.recv(2048)
