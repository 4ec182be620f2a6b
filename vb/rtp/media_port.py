"""What a leg's RTP task needs of its attachment to the media plane."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from vb.rtp.digits import EventPacket
from vb.rtp.latching import Address, SourceLatch
from vb.rtp.rtcp_session import PeerReport, SentSnapshot
from vb.rtp.stats import ReceptionSnapshot
from vb.sdp.negotiate import Agreed


@dataclass(frozen=True, slots=True)
class RtcpDatagram:
    """An RTCP datagram as it came, on its own port or multiplexed."""

    data: bytes
    source: Address
    arrival_s: float


class MediaPort(Protocol):
    """The slow side of an RTP leg's port."""

    events: deque[EventPacket]
    rtcp: deque[RtcpDatagram]
    wake: Callable[[], None]
    ssrc: int
    agreed: Agreed | None
    latch: SourceLatch
    peer_report: PeerReport | None

    @property
    def supervised(self) -> bool:
        """Whether the peer's silence ends the leg."""
        ...

    @property
    def transmitting(self) -> bool:
        """Whether audio goes out."""
        ...

    @property
    def peer_may_send(self) -> bool:
        """Whether the peer's direction lets it send."""
        ...

    @property
    def last_arrival_s(self) -> float:
        """Monotonic time of the last packet from the leg's source."""
        ...

    def sent(self) -> SentSnapshot:
        """Return the state of our own stream."""
        ...

    def reception(self) -> ReceptionSnapshot | None:
        """Return the state of the incoming source."""
        ...

    def keep_alive(self) -> bytes | None:
        """Return an RTP packet without audio, None when none may be sent."""
        ...

    def seal_rtcp(self, data: bytes) -> bytes | None:
        """Return RTCP as it is to be sent, None when it may not."""
        ...
