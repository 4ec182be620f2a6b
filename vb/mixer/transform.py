"""What is done to each packet of a leg between the socket and the plane, such as SRTP."""

from __future__ import annotations

from typing import Final, Protocol

MAX_TRAILER_BYTES: Final = 144
"""Most bytes by which `protect` may lengthen a packet: SRTP's tag and key identifier (RFC 3711 §3.1)."""
REFUSED: Final = -1
"""What a transform returns for a packet that goes no further."""


class PacketTransform(Protocol):
    """Changes RTP and RTCP packets in place.

    All four are called inside the tick, or by the leg's task, and must not wait. `packet` is lent for the
    call and longer than the packet in it. Each returns the packet's new length, or a negative number when it
    is to be dropped, which is counted.
    """

    def protect(self, packet: memoryview, length: int) -> int:
        """Prepare an outgoing RTP packet; its first 12 bytes stay as they are."""
        ...

    def unprotect(self, packet: memoryview, length: int) -> int:
        """Restore an incoming RTP packet."""
        ...

    def protect_rtcp(self, packet: memoryview, length: int) -> int:
        """Prepare an outgoing RTCP packet."""
        ...

    def unprotect_rtcp(self, packet: memoryview, length: int) -> int:
        """Restore an incoming RTCP packet."""
        ...


class Shut:
    """Lets nothing through either way: a leg whose keys are still to come."""

    def protect(self, packet: memoryview, length: int) -> int:
        """Refuse."""
        return REFUSED

    def unprotect(self, packet: memoryview, length: int) -> int:
        """Refuse."""
        return REFUSED

    protect_rtcp = protect
    unprotect_rtcp = unprotect
