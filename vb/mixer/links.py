"""Legs whose packets do not come from sockets: a protocol above hands them over, and takes what is sent.

To the plane such a leg is an RTP leg like any other: its audio waits in the same buffers, is decoded and
concealed in the same batches, and shares the encoding of what it hears. Only the network is another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from vb.mixer.batch import MAX_ROUNDS, ROW_BYTES, Batch

MAX_WAITING: Final = 64
"""Packets that wait for the next tick, more than a second; the oldest is dropped."""
_NS_PER_S: Final = 1_000_000_000


class PacketLink:
    """The endpoint of one such leg.

    Args:
        send: takes each packet that leaves, in the tick: it must not wait or fail, and has to copy it.

    Attributes:
        dropped: packets that found no room, or are longer than a packet may be.
    """

    def __init__(self, send: Callable[[memoryview], object]) -> None:
        self.send = send
        self.dropped = 0
        self.waiting: deque[tuple[float, bytes]] = deque()

    @property
    def rtp_port(self) -> int:
        """Return 0: there is no port."""
        return 0

    def receive(self, packet: bytes, arrival_s: float) -> bool:
        """Let the next tick take an RTP packet; says whether none was dropped for it.

        Args:
            packet: with a header of 12 bytes, of a source that is known to be the far end.
            arrival_s: monotonic time at which it came.
        """
        if len(packet) > ROW_BYTES:
            self.dropped += 1
            return False
        full = len(self.waiting) >= MAX_WAITING
        if full:
            self.waiting.popleft()
            self.dropped += 1
        self.waiting.append((arrival_s, packet))
        return not full


class Links:
    """All of them, by their slots."""

    def __init__(self) -> None:
        self._links: dict[int, PacketLink] = {}

    def __contains__(self, slot: int) -> bool:
        return slot in self._links

    def attach(self, slot: int, link: PacketLink) -> None:
        """Take part in a leg's traffic."""
        self._links[slot] = link

    def detach(self, slot: int) -> None:
        """Leave a leg alone."""
        self._links.pop(slot, None)

    def fill(self, batch: Batch, row: int) -> int:
        """Put what waits into a batch behind the rows that are filled; returns how many are filled then."""
        ready = [item for item in self._links.items() if item[1].waiting]
        for _ in range(MAX_ROUNDS):
            ready = [item for item in ready if item[1].waiting][: batch.rows - row]
            if not ready:
                break
            for slot, link in ready:
                arrival_s, packet = link.waiting.popleft()
                size = len(packet)
                batch.views[row][:size] = packet
                batch.lengths[row], batch.slots[row] = size, slot
                batch.stamps_ns[row] = round((arrival_s + batch.wall_offset_s) * _NS_PER_S)
                row += 1
            batch.rounds.append(row)
        return row
