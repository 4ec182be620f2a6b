"""Text on its way out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rtp.text_streams import PLAIN, REDUNDANT, blocks, make_sender, parsed, run_all, run_out
from vb.rtp.red import parse_red
from vb.rtp.rtt_sender import BOM, MAX_BLOCK_BYTES, MAX_PENDING_CHARACTERS, TICK_S, TextSender
from vb.sdp.text import TextTypes

BOM_BYTES = BOM.encode()


def opened() -> TextSender:
    """A sender that has said its byte order mark and is idle."""
    sender = make_sender()
    run_out(sender)
    return sender


def test_the_stream_opens_with_a_byte_order_mark_of_its_own() -> None:
    sender = make_sender()
    assert sender.queue("hello", 100.0)
    (at, first), (_, second), *_ = run_out(sender)
    assert at == pytest.approx(100.0)
    assert (first.sequence, first.timestamp, first.ssrc) == (65_530, 0xFFFF_FF00, 7)
    assert (first.marker, second.marker) == (True, False)
    assert blocks(first) == [b"", b"", BOM_BYTES]
    assert blocks(second) == [b"", BOM_BYTES, b"hello"]


def test_text_waits_for_the_next_tick_and_is_gathered_until_then() -> None:
    sender = opened()
    sender.queue("h", 110.01)
    sender.queue("i", 110.2)
    (at, packet), *_ = run_out(sender)
    assert at == pytest.approx(100.0 + 34 * TICK_S)
    assert (packet.marker, blocks(packet)[-1]) == (True, b"hi")


def test_two_packets_without_text_follow_the_last_text_and_repeat_it() -> None:
    sender = opened()
    sender.queue("hi", 110.0)
    packets = [packet for _, packet in run_out(sender)]
    assert [blocks(packet)[1:] for packet in packets] == [[b"", b"hi"], [b"hi", b""], [b"", b""]]
    assert blocks(packets[2])[0] == b"hi"
    assert [packet.marker for packet in packets] == [True, False, False]
    assert sender.deadline(30) is None


def test_the_marker_comes_back_after_each_idle_period_only() -> None:
    packets = [packet for _, packet in run_all([(110.0, "a"), (110.4, "b"), (120.0, "c")])]
    marked = [blocks(packet)[-1] for packet in packets if packet.marker]
    assert marked == [BOM_BYTES, b"a", b"c"]


def test_repeated_blocks_tell_their_age() -> None:
    sender = opened()
    sender.queue("a", 110.0)
    at, first = run_out(sender)[0]
    sender.queue("b", at + 0.65)
    second = run_out(sender)[0][1]
    found = parse_red(second.payload)
    assert found is not None
    assert (second.timestamp - first.timestamp) & 0xFFFF_FFFF == 900
    assert [block.age for block in found] == [600, 300, 0]


def test_a_peer_without_redundancy_gets_plain_blocks_and_one_empty_one() -> None:
    packets = [packet for _, packet in run_all([(110.0, "hi")], PLAIN)]
    assert {packet.payload_type for packet in packets} == {99}
    assert [packet.payload for packet in packets] == [BOM_BYTES, b"", b"hi", b""]


def test_one_generation_is_repeated_once() -> None:
    packets = [packet for _, packet in run_all([(110.0, "hi")], TextTypes(99, 98, 1))]
    assert [blocks(packet) for packet in packets[2:]] == [[b"", b"hi"], [b"hi", b""]]


def test_a_keep_alive_says_nothing() -> None:
    sender = opened()
    packet = parsed(sender.keep_alive(REDUNDANT, 130.0))
    assert (packet.marker, blocks(packet)) == (False, [b"", b"", b""])


def test_text_older_than_a_header_can_tell_is_not_repeated() -> None:
    sender = opened()
    sender.queue("old", 110.0)
    due = sender.deadline(30)
    assert due is not None
    sender.tick(REDUNDANT, 30, due)
    assert blocks(parsed(sender.tick(REDUNDANT, 30, due + 16.5))) == [b"", b"", b""]


def test_the_rate_holds_over_any_ten_seconds() -> None:
    packets = run_all([(110.0, "x" * 1000)], rate=30)
    sent = [(at, len(blocks(packet)[-1])) for at, packet in packets[3:]]
    assert sum(count for _, count in sent) == 1000
    assert max(count for _, count in sent) == 9
    for start, _ in sent:
        assert sum(count for at, count in sent if start <= at < start + 10) <= 300


def test_text_that_the_rate_allows_goes_out_at_once() -> None:
    packets = run_all([(110.0, "x" * 300)], rate=30)
    assert len(blocks(packets[3][1])[-1]) == 300


def test_text_beyond_the_room_is_not_taken_at_all() -> None:
    sender = opened()
    assert sender.queue("x" * MAX_PENDING_CHARACTERS, 110.0)
    assert not sender.queue("y", 110.0)
    assert sender.pending == MAX_PENDING_CHARACTERS


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    sender = opened()
    sender.queue("a\ud83db", 110.0)
    assert blocks(run_out(sender)[0][1])[-1] == b"a?b"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1500))
def test_long_text_is_cut_between_characters_into_blocks_that_fit(text: str) -> None:
    packets = run_all([(110.0, text)])
    found = [blocks(packet)[-1] for _, packet in packets[3:]]
    assert "".join(block.decode() for block in found) == text
    assert all(len(block) <= MAX_BLOCK_BYTES for block in found)
    assert all(len(packet.payload) <= 1250 for _, packet in packets)
