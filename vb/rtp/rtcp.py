"""RTCP packets: reports, source descriptions and goodbyes, read from and written to compound packets.

Spec: RFC 3550 §6.
"""

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202
GOODBYE: Final = 203
MAX_TEXT_BYTES: Final = 255

_HEADER = struct.Struct("!BBH")
_SSRC = struct.Struct("!I")
_SENDER_INFO = struct.Struct("!QIII")
_REPORT_BLOCK = struct.Struct("!IIIIII")
_VERSION_BITS = 0x80
_PADDING_BIT = 0x20
_MAX_COUNT = 31
_CNAME_ITEM = 1


class SenderInfo(NamedTuple):
    """What a sender says about its own stream.

    Attributes:
        ntp: wall time in 1/2³² s since 1900.
        timestamp: the RTP timestamp of that same moment.
        packets: packets sent.
        octets: bytes of payload sent.
    """

    ntp: int
    timestamp: int
    packets: int
    octets: int


class ReportBlock(NamedTuple):
    """What a receiver says about one source.

    Attributes:
        ssrc: the source.
        fraction_lost: part of the packets lost since the last report, in 1/256.
        cumulative_lost: packets lost in all, negative when duplicates prevail.
        highest_sequence: extended highest sequence number.
        jitter: interarrival jitter in units of the RTP clock.
        last_report: middle 32 bits of the NTP time of the source's last report, 0 for none.
        delay_since_last_report: time since that report arrived, in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    cumulative_lost: int
    highest_sequence: int
    jitter: int
    last_report: int = 0
    delay_since_last_report: int = 0


class Report(NamedTuple):
    """A sender report, or a receiver report when `sender` is None."""

    ssrc: int
    sender: SenderInfo | None = None
    blocks: tuple[ReportBlock, ...] = ()


class SourceDescription(NamedTuple):
    """The canonical names of sources; other items are left out."""

    cnames: tuple[tuple[int, str], ...]


class Goodbye(NamedTuple):
    """Sources that say they leave."""

    ssrcs: tuple[int, ...]
    reason: str = ""


RtcpPacket: TypeAlias = Report | SourceDescription | Goodbye


class _Malformed(Exception):
    """A length or count inside a packet does not add up."""


def parse_rtcp(datagram: bytes) -> tuple[RtcpPacket, ...] | None:
    """Read any bytes as a compound RTCP packet, or returns None when one of its lengths does not add up.

    Packets of types that vb does not use are left out. Reduced-size packets (RFC 5506) are read too.
    """
    packets = []
    start = 0
    if not datagram:
        return None
    try:
        while start < len(datagram):
            end, packet = _parse_packet(datagram, start)
            if packet is not None:
                packets.append(packet)
            start = end
    except _Malformed:
        return None
    return tuple(packets)


def _parse_packet(datagram: bytes, start: int) -> tuple[int, RtcpPacket | None]:
    if start + _HEADER.size > len(datagram):
        raise _Malformed
    first, kind, words = _HEADER.unpack_from(datagram, start)
    end = start + 4 * (words + 1)
    if first & 0xC0 != _VERSION_BITS or end > len(datagram):
        raise _Malformed
    body = datagram[start + _HEADER.size : end]
    if first & _PADDING_BIT:
        # Only the last packet of a compound may be padded, to a multiple of four bytes.
        if end != len(datagram) or not body or not 0 < body[-1] <= len(body) or body[-1] % 4:
            raise _Malformed
        body = body[: -body[-1]]
    count = first & _MAX_COUNT
    return end, _parse_body(kind, count, body)


def _parse_body(kind: int, count: int, body: bytes) -> RtcpPacket | None:
    if kind in (SENDER_REPORT, RECEIVER_REPORT):
        return _parse_report(body, count, from_sender=kind == SENDER_REPORT)
    if kind == SOURCE_DESCRIPTION:
        return _parse_description(body, count)
    if kind == GOODBYE:
        return _parse_goodbye(body, count)
    return None


def _parse_report(body: bytes, count: int, *, from_sender: bool) -> Report:
    start = _SSRC.size + (_SENDER_INFO.size if from_sender else 0)
    if len(body) < start + count * _REPORT_BLOCK.size:
        raise _Malformed
    blocks = tuple(_parse_block(body, start + index * _REPORT_BLOCK.size) for index in range(count))
    sender = SenderInfo(*_SENDER_INFO.unpack_from(body, _SSRC.size)) if from_sender else None
    return Report(_SSRC.unpack_from(body)[0], sender, blocks)


def _parse_block(body: bytes, start: int) -> ReportBlock:
    ssrc, lost, highest, jitter, last_report, delay = _REPORT_BLOCK.unpack_from(body, start)
    cumulative = ((lost & 0xFF_FFFF) + 0x80_0000 & 0xFF_FFFF) - 0x80_0000
    return ReportBlock(ssrc, lost >> 24, cumulative, highest, jitter, last_report, delay)


def _parse_description(body: bytes, count: int) -> SourceDescription:
    cnames = []
    start = 0
    for _ in range(count):
        if start + _SSRC.size > len(body):
            raise _Malformed
        (ssrc,) = _SSRC.unpack_from(body, start)
        start, cname = _parse_chunk(body, start + _SSRC.size)
        if cname is not None:
            cnames.append((ssrc, cname))
    return SourceDescription(tuple(cnames))


def _parse_chunk(body: bytes, start: int) -> tuple[int, str | None]:
    """Return where the next chunk starts, and the canonical name of this one."""
    cname = None
    while start < len(body) and body[start] != 0:
        if start + 2 > len(body) or start + 2 + body[start + 1] > len(body):
            raise _Malformed
        text = body[start + 2 : start + 2 + body[start + 1]]
        if body[start] == _CNAME_ITEM and cname is None:
            cname = text.decode(errors="replace")
        start += 2 + len(text)
    if start >= len(body):
        raise _Malformed
    # The list ends with one to four zero bytes, up to the next multiple of four.
    return (start + 4) & ~3, cname


def _parse_goodbye(body: bytes, count: int) -> Goodbye:
    start = count * _SSRC.size
    if len(body) < start:
        raise _Malformed
    reason = b""
    if len(body) > start:
        reason = body[start + 1 : start + 1 + body[start]]
        if len(reason) != body[start]:
            raise _Malformed
    return Goodbye(struct.unpack_from(f"!{count}I", body), reason.decode(errors="replace"))


def build_rtcp(packets: Iterable[RtcpPacket]) -> bytes:
    """Return a compound packet; a valid one begins with a report and holds a source description."""
    return b"".join(_build(packet) for packet in packets)


def _build(packet: RtcpPacket) -> bytes:
    match packet:
        case Report():
            return _build_report(packet)
        case SourceDescription():
            chunks = b"".join(_build_chunk(ssrc, cname) for ssrc, cname in packet.cnames)
            return _frame(SOURCE_DESCRIPTION, len(packet.cnames), chunks)
        case Goodbye():
            body = struct.pack(f"!{len(packet.ssrcs)}I", *packet.ssrcs)
            if packet.reason:
                reason = _text(packet.reason)
                body += bytes((len(reason),)) + reason
                body += bytes(-len(body) % 4)
            return _frame(GOODBYE, len(packet.ssrcs), body)


def _frame(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(_VERSION_BITS | count, kind, len(body) // 4) + body


def _build_report(report: Report) -> bytes:
    body = _SSRC.pack(report.ssrc)
    sender = report.sender
    if sender is not None:
        body += _SENDER_INFO.pack(sender.ntp, sender.timestamp, sender.packets, sender.octets)
    for block in report.blocks:
        body += _REPORT_BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | block.cumulative_lost & 0xFF_FFFF,
            block.highest_sequence,
            block.jitter,
            block.last_report,
            block.delay_since_last_report,
        )
    kind = RECEIVER_REPORT if sender is None else SENDER_REPORT
    return _frame(kind, len(report.blocks), body)


def _build_chunk(ssrc: int, cname: str) -> bytes:
    text = _text(cname)
    chunk = _SSRC.pack(ssrc) + bytes((_CNAME_ITEM, len(text))) + text
    return chunk + bytes(4 - len(chunk) % 4)


def _text(text: str) -> bytes:
    """Encode an item, cut where it is too long but never inside a character."""
    return text.encode()[:MAX_TEXT_BYTES].decode(errors="ignore").encode()
