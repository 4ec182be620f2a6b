"""Text on its way in: order, repair, loss."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rtp.text_streams import PLAIN, REDUNDANT, run_all
from vb.rtp.packet import RtpPacket
from vb.rtp.red import RedBlock, build_red
from vb.rtp.rtt_receiver import REORDER_S, REPLACEMENT, TextChunk, TextReceiver
from vb.rtp.rtt_sender import TICK_S
from vb.sdp.text import TextTypes


def red(index: int, *data: bytes, timestamp: int | None = None, ssrc: int = 7) -> RtpPacket:
    """A redundant packet whose blocks are a tick apart, the oldest first."""
    repeated = [RedBlock(99, block, 300 * (len(data) - 1 - at)) for at, block in enumerate(data[:-1])]
    payload = build_red(repeated, RedBlock(99, data[-1]))
    at = 5000 + 300 * index if timestamp is None else timestamp
    return RtpPacket(98, 65_530 + index & 0xFFFF, at, ssrc, payload)


def plain(index: int, data: bytes) -> RtpPacket:
    return RtpPacket(99, 65_530 + index & 0xFFFF, 5000 + 300 * index, 7, data)


class Listener:
    """A receiver and everything that it said."""

    def __init__(self) -> None:
        self.receiver = TextReceiver()
        self.chunks: list[TextChunk] = []
        self.now = 50.0

    def take(self, *packets: RtpPacket) -> list[tuple[str, bool]]:
        """What these packets bring."""
        before = len(self.chunks)
        for packet in packets:
            self._keep(self.receiver.receive(packet, REDUNDANT, self.now))
        return [(chunk.text, chunk.lost) for chunk in self.chunks[before:]]

    def wait(self, seconds: float) -> list[tuple[str, bool]]:
        """What a while of silence brings."""
        before = len(self.chunks)
        self.now += seconds
        self._keep(self.receiver.expire(self.now))
        return [(chunk.text, chunk.lost) for chunk in self.chunks[before:]]

    def _keep(self, chunk: TextChunk | None) -> None:
        if chunk is not None:
            self.chunks.append(chunk)

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)


def test_each_block_is_told_once() -> None:
    listener = Listener()
    assert listener.take(red(0, b"", b"", b"a"), red(1, b"", b"a", b"b"), red(2, b"a", b"b", b"")) == [
        ("a", False),
        ("b", False),
    ]


def test_a_repeated_packet_is_not_told_again() -> None:
    assert Listener().take(red(0, b"a"), red(0, b"a"), red(1, b"a", b"b"), red(0, b"a")) == [
        ("a", False),
        ("b", False),
    ]


def test_two_lost_packets_are_repaired_by_the_next_one() -> None:
    listener = Listener()
    listener.take(red(0, b"a"))
    assert listener.take(red(3, b"b", b"c", b"d")) == [("bcd", False)]
    assert listener.take(red(1, b"", b"a", b"b"), red(2, b"a", b"b", b"c")) == []


def test_a_deeper_loss_is_marked_once_after_a_short_wait() -> None:
    listener = Listener()
    listener.take(red(0, b"a"))
    assert listener.take(red(6, b"w", b"x", b"y")) == []
    assert listener.wait(REORDER_S / 2) == []
    assert listener.wait(REORDER_S / 2) == [(REPLACEMENT + "wxy", True)]
    assert listener.take(red(2, b"late")) == []
    assert listener.receiver.deadline is None


def test_a_late_packet_within_the_wait_takes_its_place() -> None:
    listener = Listener()
    listener.take(plain(0, b"a"))
    assert listener.take(plain(2, b"c")) == []
    assert listener.take(plain(1, b"b")) == [("bc", False)]
    assert listener.wait(1) == []


def test_each_gap_has_its_own_mark() -> None:
    listener = Listener()
    listener.take(plain(0, b"a"), plain(2, b"c"), plain(4, b"e"))
    assert listener.wait(1) == [(f"{REPLACEMENT}c{REPLACEMENT}e", True)]


def test_the_second_gap_waits_as_long_as_the_first() -> None:
    listener = Listener()
    listener.take(plain(0, b"a"), plain(2, b"c"), plain(4, b"e"))
    listener.wait(REORDER_S - 0.1)
    assert listener.take(plain(1, b"b")) == [("bc", False)]
    assert listener.wait(0.2) == []
    assert listener.take(plain(3, b"d")) == [("de", False)]


def test_packets_without_text_fill_gaps_and_say_nothing() -> None:
    listener = Listener()
    listener.take(red(0, b"", b"", b"a"))
    assert listener.take(red(3, b"", b"", b"")) == []
    assert listener.receiver.deadline is None
    assert listener.take(red(4, b"", b"", b"b")) == [("b", False)]


def test_a_slot_without_history_fills_no_gap() -> None:
    listener = Listener()
    listener.take(plain(0, b"a"))
    headless = RtpPacket(98, 65_532, 5600, 7, build_red([RedBlock(99, b"")] * 2, RedBlock(99, b"c")))
    assert listener.take(headless) == []
    assert listener.wait(1) == [(REPLACEMENT + "c", True)]


def test_a_block_already_told_does_not_stand_in_for_another_one() -> None:
    listener = Listener()
    listener.take(plain(0, b"a"))
    assert (
        listener.take(
            RtpPacket(98, 65_532, 5600, 7, build_red([RedBlock(99, b"a", 600)], RedBlock(99, b"c")))
        )
        == []
    )
    assert listener.wait(1) == [(REPLACEMENT + "c", True)]


def test_what_the_first_packet_repeats_was_missed_and_is_told() -> None:
    assert Listener().take(red(5, b"a", b"b", b"c")) == [("abc", False)]


def test_byte_order_marks_are_dropped_and_control_characters_kept() -> None:
    listener = Listener()
    assert listener.take(plain(0, "\ufeff".encode())) == []
    assert listener.take(plain(1, "\ufeffa\b\r\n\u2028\x07\ufeff".encode())) == [("a\b\r\n\u2028\x07", False)]


def test_a_character_cut_by_the_sender_is_put_together() -> None:
    listener = Listener()
    euro = "\u20ac".encode()
    assert listener.take(plain(0, b"a" + euro[:1]), plain(1, euro[1:])) == [("a", False), ("\u20ac", False)]


def test_bytes_that_are_no_text_become_marks_without_a_loss() -> None:
    assert Listener().take(plain(0, b"a\xffb")) == [("a\ufffdb", False)]


@pytest.mark.parametrize(
    "payload", [b"", b"\xe3", b"\xe3\xff\xff\xff\x63", build_red([], RedBlock(98, b"nested"))]
)
def test_malformed_redundancy_is_counted_and_repaired_like_a_loss(payload: bytes) -> None:
    listener = Listener()
    listener.take(red(0, b"a"))
    assert listener.take(replace(red(1, b""), payload=payload)) == []
    assert listener.receiver.malformed == 1
    assert listener.take(red(2, b"a", b"b", b"c")) == [("bc", False)]


def test_packets_of_other_types_are_ignored() -> None:
    assert Listener().take(replace(plain(0, b"x"), payload_type=0)) == []


def test_a_new_source_starts_anew() -> None:
    listener = Listener()
    listener.take(red(0, b"a"))
    assert listener.take(red(900, b"", b"", b"z", ssrc=8)) == [("z", False)]


def test_a_sender_that_starts_its_numbers_again_is_followed_from_the_second_packet() -> None:
    listener = Listener()
    listener.take(plain(0, b"a"))
    assert listener.take(plain(30_000, b"b")) == []
    assert listener.take(plain(30_001, b"c")) == [("bc", False)]


def test_a_single_stray_number_changes_nothing() -> None:
    listener = Listener()
    listener.take(plain(0, b"a"))
    assert listener.take(plain(30_000, b"stray"), plain(1, b"b")) == [("b", False)]


def test_no_more_than_a_bounded_number_of_packets_waits() -> None:
    listener = Listener()
    listener.take(plain(0, b"a"))
    found = listener.take(*(plain(index, b"x") for index in range(2, 70)))
    assert found[0] == (REPLACEMENT + "x" * 65, True)


TEXTS = st.lists(
    st.tuples(
        st.floats(0.01, 3),
        st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff\ufffd"),
            min_size=1,
            max_size=12,
        ),
    ),
    min_size=1,
    max_size=12,
)


def timed(texts: list[tuple[float, str]]) -> list[tuple[float, str]]:
    found, at = [], 110.0
    for wait, text in texts:
        at += wait
        found.append((at, text))
    return found


@settings(deadline=None, max_examples=200)
@given(TEXTS, st.data())
def test_loss_within_redundancy_reordering_and_repetition_leave_the_text_whole(
    texts: list[tuple[float, str]], data: st.DataObject
) -> None:
    packets = run_all(timed(texts))
    arrivals: list[tuple[float, RtpPacket]] = []
    lost_in_a_row = 0
    for index, (at, packet) in enumerate(packets):
        # The last packet carries the text of the two before it; nothing can repair the loss of all three.
        may_lose = lost_in_a_row < 2 and 0 < index < len(packets) - 1
        if may_lose and data.draw(st.booleans()):
            lost_in_a_row += 1
            continue
        lost_in_a_row = 0
        delays = data.draw(st.lists(st.floats(0, REORDER_S + TICK_S - 0.01), min_size=1, max_size=3))
        arrivals += [(at + delay, packet) for delay in delays]
    listener = Listener()
    for at, packet in sorted(arrivals, key=lambda arrival: arrival[0]):
        listener.wait(max(0.0, at - listener.now))
        listener.take(packet)
    listener.wait(10)
    assert listener.text == "".join(text for _, text in texts)
    assert not any(chunk.lost for chunk in listener.chunks)


@settings(deadline=None, max_examples=200)
@given(TEXTS, st.data(), st.sampled_from([REDUNDANT, PLAIN]))
def test_any_loss_is_marked_and_leaves_the_rest_in_order(
    texts: list[tuple[float, str]], data: st.DataObject, types: TextTypes
) -> None:
    packets = run_all(timed(texts), types)
    listener = Listener()
    for at, packet in packets:
        listener.wait(max(0.0, at - listener.now))
        if data.draw(st.booleans()):
            listener.take(packet)
    listener.wait(10)
    whole = "".join(text for _, text in texts)
    remaining = iter(whole)
    assert all(char in remaining for char in listener.text.replace(REPLACEMENT, ""))
    # Only what came before the first packet or after the last one can be missing without a mark.
    assert any(chunk.lost for chunk in listener.chunks) or listener.text in whole


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([98, 99]), st.integers(0, 65_535), st.binary(max_size=30)), max_size=30
    )
)
def test_any_packets_are_taken(packets: list[tuple[int, int, bytes]]) -> None:
    listener = Listener()
    for payload_type, sequence, payload in packets:
        listener.take(RtpPacket(payload_type, sequence, 0, 7, payload))
        listener.wait(0.1)
    listener.wait(10)
    assert listener.receiver.deadline is None
