"""SRTP on a leg's packets where they lie, next to the socket."""

from __future__ import annotations

from vb.mixer.transform import REFUSED
from vb.webrtc.srtp import Srtp


class SrtpTransform:
    """Protects and unprotects the packets of one leg for the plane.

    Args:
        srtp: both directions of the leg; from now on it belongs to the plane's thread.
    """

    __slots__ = ("srtp",)

    def __init__(self, srtp: Srtp) -> None:
        self.srtp = srtp

    def protect(self, packet: memoryview, length: int) -> int:
        """Turn an outgoing RTP packet into SRTP."""
        return self.srtp.protect(packet, length) or REFUSED

    def unprotect(self, packet: memoryview, length: int) -> int:
        """Turn an incoming SRTP packet into RTP."""
        return self.srtp.unprotect(packet, length) or REFUSED

    def protect_rtcp(self, packet: memoryview, length: int) -> int:
        """Turn an outgoing RTCP packet into SRTCP."""
        return _replace(packet, self.srtp.protect_rtcp(bytes(packet[:length])))

    def unprotect_rtcp(self, packet: memoryview, length: int) -> int:
        """Turn an incoming SRTCP packet into RTCP."""
        return _replace(packet, self.srtp.unprotect_rtcp(bytes(packet[:length])))


def _replace(packet: memoryview, data: bytes | None) -> int:
    if data is None or len(data) > len(packet):
        return REFUSED
    packet[: len(data)] = data
    return len(data)
