"""Text streams for the tests of this folder: a sender run by its own deadlines."""

from __future__ import annotations

from collections.abc import Iterable

from vb.rtp.packet import RtpPacket, parse_rtp
from vb.rtp.red import parse_red
from vb.rtp.rtt_sender import TextSender
from vb.sdp.text import TextTypes

REDUNDANT = TextTypes(99, 98, 2)
PLAIN = TextTypes(99)
RATE = 30


def make_sender(*, sequence: int = 65_530, timestamp: int = 0xFFFF_FF00) -> TextSender:
    return TextSender(ssrc=7, sequence=sequence, timestamp=timestamp, now=100.0)


def parsed(data: bytes | None) -> RtpPacket:
    assert data is not None
    packet = parse_rtp(data)
    assert packet is not None
    return packet


def blocks(packet: RtpPacket) -> list[bytes]:
    """The blocks of a redundant packet, the oldest first."""
    found = parse_red(packet.payload)
    assert found is not None
    return [block.data for block in found]


def run_out(
    sender: TextSender, types: TextTypes = REDUNDANT, rate: int = RATE
) -> list[tuple[float, RtpPacket]]:
    """Every packet that is still to come, with its time."""
    found = []
    while (due := sender.deadline(rate)) is not None:
        found.append((due, parsed(sender.tick(types, rate, due))))
    return found


def run_all(
    texts: Iterable[tuple[float, str]], types: TextTypes = REDUNDANT, rate: int = 10_000
) -> list[tuple[float, RtpPacket]]:
    """Every packet of a new sender that is given these texts at these times."""
    sender = make_sender()
    found = []
    for at, text in texts:
        while (due := sender.deadline(rate)) is not None and due <= at:
            found.append((due, parsed(sender.tick(types, rate, due))))
        assert sender.queue(text, at)
    return found + run_out(sender, types, rate)
