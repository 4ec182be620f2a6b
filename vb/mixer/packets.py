"""Packets of a media port that are neither RTP nor RTCP, on their way to the leg's task."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vb.rtp.latching import Address
from vb.rtp.packet import PacketKind

MAX_PACKETS: Final = 64
"""More than two whole DTLS flights and a round of connectivity checks."""


@dataclass(frozen=True, slots=True)
class PortPacket:
    """A STUN or DTLS packet as it came.

    Attributes:
        kind: `PacketKind.STUN` or `PacketKind.DTLS`.
        data: the datagram.
        source: where it came from.
        arrival_s: monotonic time at which the kernel had it.
    """

    kind: PacketKind
    data: bytes
    source: Address
    arrival_s: float


class PortPackets:
    """A bounded queue with one reader; whoever reads is woken by a plain call.

    Until somebody listens nothing is kept, and the plane counts what comes as dropped. What does not fit is
    dropped, and what waits stays in its order: a flight of DTLS is of no use without its beginning.

    Attributes:
        dropped: packets that did not fit.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._waiting: deque[PortPacket] = deque()
        self._wake: Callable[[], object] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def listening(self) -> bool:
        """Whether packets are kept."""
        return self._wake is not None

    def listen(self, wake: Callable[[], object]) -> None:
        """Keep packets from now on.

        Args:
            wake: called inside the tick after each packet; must not wait.
        """
        self._wake = wake

    def close(self) -> None:
        """Keep nothing any more, and let go of the reader."""
        self._wake = None
        self._waiting.clear()

    def put(self, packet: PortPacket) -> bool:
        """Queue a packet and wake the reader; False when there is no room or no reader."""
        if self._wake is None:
            return False
        if len(self._waiting) >= MAX_PACKETS:
            self.dropped += 1
            return False
        self._waiting.append(packet)
        self._wake()
        return True

    def take(self) -> list[PortPacket]:
        """Return all that waits, oldest first."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken
