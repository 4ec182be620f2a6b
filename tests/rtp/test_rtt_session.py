"""The text stream of one leg: addresses, directions, sources."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.rtp.text_streams import PLAIN, REDUNDANT, parsed
from tests.support.ids import SequentialIds
from vb.rtp.packet import RtpPacket
from vb.rtp.rtt_receiver import TextChunk
from vb.rtp.rtt_sender import MAX_PENDING_CHARACTERS, TICK_S
from vb.rtp.rtt_session import KEEP_ALIVE_S, TextSession
from vb.sdp import AgreedText, Direction, MediaAddress

PEER = ("192.0.2.7", 40_000)
STRANGER = ("198.51.100.9", 50_000)
AGREED = AgreedText(MediaAddress(*PEER), "sendrecv", REDUNDANT, REDUNDANT)


def session(agreed: AgreedText | None = AGREED) -> TextSession:
    found = TextSession(SequentialIds(), 0.0)
    found.configure(agreed, 0.0)
    return found


def plain(index: int, data: bytes) -> bytes:
    return RtpPacket(99, index, 300 * index, 7, data).to_bytes()


def sent(stream: TextSession, until: float) -> list[tuple[float, RtpPacket, tuple[str, int]]]:
    """Everything that goes out until a moment."""
    found = []
    while (due := stream.deadline) is not None and due <= until:
        packet = stream.packet(due)
        assert packet is not None
        found.append((due, parsed(packet[0]), packet[1]))
    return found


def test_nothing_is_sent_or_taken_before_an_agreement() -> None:
    stream = session(None)
    assert stream.queue("early", 0.0)
    assert (stream.can_send, stream.deadline, stream.packet(5.0)) == (False, None, None)
    assert stream.receive(plain(0, b"x"), PEER, 0.0) is None


def test_what_was_queued_before_the_agreement_goes_out_after_it() -> None:
    stream = session(None)
    stream.queue("early", 0.0)
    stream.configure(AGREED, 1.0)
    packets = sent(stream, 5.0)
    assert b"early" in packets[1][1].payload
    assert {address for *_, address in packets} == {PEER}


@pytest.mark.parametrize("direction", ["recvonly", "inactive"])
def test_nothing_is_sent_where_the_far_end_takes_nothing(direction: Direction) -> None:
    stream = session(replace(AGREED, direction=direction))
    assert (stream.can_send, stream.deadline, stream.packet(5.0)) == (False, None, None)


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
def test_nothing_is_taken_from_a_far_end_that_does_not_send(direction: Direction) -> None:
    stream = session(replace(AGREED, direction=direction))
    assert stream.receive(plain(0, b"x"), PEER, 0.0) is None


def test_without_an_address_nothing_is_sent_until_a_source_has_proved_itself() -> None:
    stream = session(replace(AGREED, remote_rtp=None))
    assert stream.packet(1.0) is None
    for index in range(4):
        stream.receive(plain(index, b"x"), PEER, 1.0)
    due = stream.packet(1.0)
    assert due is not None
    assert due[1] == PEER


def test_a_stranger_is_heard_after_four_packets_and_loses_none_of_them() -> None:
    stream = session()
    for index, data in enumerate((b"a", b"b", b"c")):
        assert stream.receive(plain(index, data), STRANGER, 0.1) is None
    assert stream.receive(plain(3, b"d"), STRANGER, 0.2) == TextChunk("abcd")
    assert sent(stream, 5.0)[-1][2] == STRANGER


def test_a_stranger_is_refused_once_the_far_end_was_heard() -> None:
    stream = session()
    assert stream.receive(plain(0, b"a"), PEER, 0.0) == TextChunk("a")
    for index in range(6):
        assert stream.receive(plain(index, b"x"), STRANGER, 0.1) is None
    assert stream.receive(plain(1, b"b"), PEER, 0.2) == TextChunk("b")


def test_an_unchanged_address_keeps_its_source() -> None:
    stream = session()
    stream.receive(plain(0, b"a"), PEER, 0.0)
    stream.configure(replace(AGREED, send=PLAIN), 1.0)
    assert stream.latch.locked == PEER
    stream.configure(replace(AGREED, remote_rtp=MediaAddress(*STRANGER)), 1.0)
    assert stream.receive(plain(1, b"b"), STRANGER, 1.0) == TextChunk("b")


def test_an_idle_way_is_kept_open() -> None:
    stream = session()
    opening = sent(stream, 3.0)
    kept = sent(stream, 40.0)
    assert len(opening) == 3
    assert [at for at, *_ in kept] == pytest.approx(
        [opening[-1][0] + KEEP_ALIVE_S, opening[-1][0] + 2 * KEEP_ALIVE_S]
    )
    assert {packet.payload.rstrip(b"\0")[-1:] for _, packet, _ in kept} == {b"c"}


def test_text_that_is_too_much_is_counted() -> None:
    stream = session()
    assert not stream.queue("x" * (MAX_PENDING_CHARACTERS + 1), 0.0)
    assert stream.overflows == 1


def test_what_waits_for_a_missing_packet_is_told_at_the_deadline() -> None:
    stream = session()
    sent(stream, 1.0)
    stream.receive(plain(0, b"a"), PEER, 1.0)
    assert stream.receive(plain(5, b"b"), PEER, 1.0) is None
    due = stream.deadline
    assert due is not None
    assert due < 1.0 + 2 * TICK_S
    assert stream.expire(due) == TextChunk("\ufffdb", lost=True)


@pytest.mark.parametrize(
    "datagram", [b"", b"\x00\x01", b"\x80\xc8" + bytes(26), b"\x80\x63\x00", bytes(2000)]
)
def test_what_is_no_rtp_is_ignored(datagram: bytes) -> None:
    stream = session()
    assert stream.receive(datagram, PEER, 0.0) is None
    assert stream.latch.locked is None
