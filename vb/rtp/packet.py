"""RTP packets, and telling them from what else arrives on a media port.

Spec: RFC 3550 §5.1, RFC 7983 §7, RFC 5761 §4.
"""

import struct
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

HEADER_BYTES: Final = 12
_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
_VERSION_BITS = 0x80
_PADDING_BIT = 0x20
_EXTENSION_BIT = 0x10
_MARKER_BIT = 0x80


class PacketKind(Enum):
    """Protocol of a datagram on a media port."""

    RTP = auto()
    RTCP = auto()
    STUN = auto()
    DTLS = auto()
    UNKNOWN = auto()


def classify(datagram: bytes) -> PacketKind:
    """Tell by the first two bytes what a datagram holds; the rest of it may still be damaged."""
    if not datagram:
        return PacketKind.UNKNOWN
    first = datagram[0]
    if 128 <= first <= 191:
        is_rtcp = len(datagram) > 1 and 192 <= datagram[1] <= 223
        return PacketKind.RTCP if is_rtcp else PacketKind.RTP
    if first <= 3:
        return PacketKind.STUN
    return PacketKind.DTLS if 20 <= first <= 63 else PacketKind.UNKNOWN


@dataclass(frozen=True, slots=True)
class HeaderExtension:
    """The extension of an RTP header: its profile's number and its body, a multiple of four bytes."""

    profile: int
    data: bytes


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One RTP packet without its padding."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension: HeaderExtension | None = None

    def to_bytes(self) -> bytes:
        """Return the packet as it is sent."""
        first = _VERSION_BITS | len(self.csrcs)
        body = struct.pack(f"!{len(self.csrcs)}I", *self.csrcs)
        if self.extension is not None:
            first |= _EXTENSION_BIT
            body += _EXTENSION.pack(self.extension.profile, len(self.extension.data) // 4)
            body += self.extension.data
        header = build_header(self.payload_type, self.sequence, self.timestamp, self.ssrc, marker=self.marker)
        return bytes((first,)) + header[1:] + body + self.payload


def build_header(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, *, marker: bool = False
) -> bytes:
    """Return the 12 bytes before the payload of a packet without contributors and extension."""
    second = payload_type | _MARKER_BIT if marker else payload_type
    return _HEADER.pack(_VERSION_BITS, second, sequence, timestamp, ssrc)


def parse_rtp(datagram: bytes) -> RtpPacket | None:
    """Read any bytes as an RTP packet, or returns None when a length in them does not add up."""
    if len(datagram) < HEADER_BYTES:
        return None
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(datagram)
    if first & 0xC0 != _VERSION_BITS:
        return None
    start = HEADER_BYTES + 4 * (first & 0x0F)
    end = len(datagram)
    if start > end:
        return None
    csrcs = struct.unpack_from(f"!{first & 0x0F}I", datagram, HEADER_BYTES)
    extension = None
    if first & _EXTENSION_BIT:
        extension = _parse_extension(datagram, start)
        if extension is None:
            return None
        start += _EXTENSION.size + len(extension.data)
    if first & _PADDING_BIT:
        padding = datagram[-1]
        end -= padding
        if padding == 0 or end < start:
            return None
    return RtpPacket(
        payload_type=second & 0x7F,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=bytes(datagram[start:end]),
        marker=bool(second & _MARKER_BIT),
        csrcs=csrcs,
        extension=extension,
    )


def _parse_extension(datagram: bytes, start: int) -> HeaderExtension | None:
    body = start + _EXTENSION.size
    if body > len(datagram):
        return None
    profile, words = _EXTENSION.unpack_from(datagram, start)
    if body + 4 * words > len(datagram):
        return None
    return HeaderExtension(profile, bytes(datagram[body : body + 4 * words]))
