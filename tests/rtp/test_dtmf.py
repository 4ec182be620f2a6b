import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.rtp.dtmf import (
    DIGITS,
    END_TIMEOUT_S,
    MAX_PENDING_DIGITS,
    EventPacket,
    TelephoneEventReceiver,
    TelephoneEventSender,
)

TICK_S = 0.02


def event(code: int, duration: int, *, end: bool = False, volume: int = 10) -> bytes:
    return struct.pack("!BBH", code, (0x80 if end else 0) | volume, duration)


def digit_packets(code: int) -> list[bytes]:
    """The seven packets of a digit at 8 kHz."""
    return [event(code, 160 * n) for n in (1, 2, 3, 4)] + [event(code, 800, end=True)] * 3


def receive_all(receiver: TelephoneEventReceiver, payloads: list[bytes], timestamp: int) -> list[str]:
    return [receiver.receive(payload, timestamp, index * TICK_S) for index, payload in enumerate(payloads)]


def send_all(
    sender: TelephoneEventSender, ticks: int, first_timestamp: int = 1000
) -> list[EventPacket | None]:
    return [sender.tick(first_timestamp + 160 * n) for n in range(ticks)]


def test_digit_fires_once_at_its_first_end_packet() -> None:
    fired = receive_all(TelephoneEventReceiver(), digit_packets(5), 1000)
    assert fired == ["", "", "", "", "5", "", ""]


@pytest.mark.parametrize(("code", "digit"), list(enumerate("0123456789*#ABCD")))
def test_every_event_code_is_its_digit(code: int, digit: str) -> None:
    assert TelephoneEventReceiver().receive(event(code, 800, end=True), 1, 0.0) == digit


@pytest.mark.parametrize("code", [16, 17, 32, 66, 255])
def test_event_that_is_no_digit_is_ignored(code: int) -> None:
    receiver = TelephoneEventReceiver()
    assert receiver.receive(event(code, 800, end=True), 1, 0.0) == ""
    assert receiver.deadline is None


def test_lost_start_does_not_lose_the_digit() -> None:
    assert receive_all(TelephoneEventReceiver(), digit_packets(1)[6:], 1000) == ["1"]


def test_lost_ends_are_replaced_by_a_time_out() -> None:
    receiver = TelephoneEventReceiver()
    receive_all(receiver, digit_packets(1)[:4], 1000)
    last_packet = 3 * TICK_S
    assert receiver.deadline == pytest.approx(last_packet + END_TIMEOUT_S)
    assert receiver.expire(last_packet + 0.1) == ""
    assert receiver.expire(last_packet + 0.12) == "1"
    assert receiver.expire(last_packet + 9.0) == ""
    assert receiver.deadline is None


def test_packets_after_the_time_out_do_not_fire_again() -> None:
    receiver = TelephoneEventReceiver()
    receive_all(receiver, digit_packets(1)[:4], 1000)
    assert receiver.expire(1.0) == "1"
    assert receiver.receive(event(1, 800, end=True), 1000, 1.1) == ""


def test_next_event_ends_the_one_whose_ends_were_lost() -> None:
    receiver = TelephoneEventReceiver()
    receive_all(receiver, digit_packets(1)[:4], 1000)
    assert receiver.receive(event(2, 160), 2600, 0.1) == "1"
    assert receiver.receive(event(2, 800, end=True), 2600, 0.2) == "2"


def test_end_of_the_next_event_brings_both_digits_in_order() -> None:
    receiver = TelephoneEventReceiver()
    receive_all(receiver, digit_packets(1)[:4], 1000)
    assert receiver.receive(event(2, 800, end=True), 2600, 0.1) == "12"


def test_same_digit_pressed_twice_fires_twice() -> None:
    receiver = TelephoneEventReceiver()
    fired = receive_all(receiver, digit_packets(7), 1000) + receive_all(receiver, digit_packets(7), 2600)
    assert "".join(fired) == "77"


def test_late_packet_of_an_earlier_event_is_ignored() -> None:
    receiver = TelephoneEventReceiver()
    receive_all(receiver, digit_packets(1), 1000)
    receiver.receive(event(2, 160), 2600, 0.2)
    assert receiver.receive(event(1, 800, end=True), 1000, 0.21) == ""
    assert receiver.receive(event(2, 800, end=True), 2600, 0.3) == "2"


def test_earlier_event_never_seen_before_does_not_break_the_running_one() -> None:
    receiver = TelephoneEventReceiver()
    receiver.receive(event(2, 160), 2600, 0.2)
    assert receiver.receive(event(1, 160), 1000, 0.21) == ""
    assert receiver.receive(event(2, 800, end=True), 2600, 0.3) == "2"


def test_other_digit_with_the_same_timestamp_is_rejected() -> None:
    receiver = TelephoneEventReceiver()
    receiver.receive(event(1, 160), 1000, 0.0)
    assert receiver.receive(event(2, 800, end=True), 1000, 0.02) == ""
    assert receiver.receive(event(1, 800, end=True), 1000, 0.04) == "1"
    assert receiver.receive(event(2, 800, end=True), 1000, 0.06) == ""


def test_event_longer_than_its_duration_field_is_one_digit() -> None:
    receiver = TelephoneEventReceiver()
    receiver.receive(event(3, 0xFFFF), 1000, 0.0)
    assert receiver.receive(event(3, 160), 1000 + 0xFFFF, 0.02) == ""
    assert receiver.receive(event(3, 800, end=True), 1000 + 0xFFFF, 0.04) == "3"
    assert receiver.expire(9.0) == ""


def test_a_segment_whose_last_packet_was_lost_is_continued_all_the_same() -> None:
    receiver = TelephoneEventReceiver()
    receiver.receive(event(3, 0xFF00), 1000, 0.0)
    assert receiver.receive(event(3, 160), 1000 + 0xFFFF, 0.02) == ""
    assert receiver.receive(event(3, 800, end=True), 1000 + 0xFFFF, 0.04) == "3"


def test_segments_after_a_pause_in_the_packets_are_not_a_second_digit() -> None:
    receiver = TelephoneEventReceiver()
    receiver.receive(event(3, 0xFF00), 1000, 0.0)
    assert receiver.expire(0.2) == "3"
    for segment in (1, 2):
        assert receiver.receive(event(3, 0xFFFF), 1000 + segment * 0xFFFF, 0.3 * segment) == ""
    assert receiver.receive(event(3, 800, end=True), 1000 + 2 * 0xFFFF, 0.7) == ""
    assert receiver.receive(event(4, 800, end=True), 1000 + 2 * 0xFFFF + 4000, 0.9) == "4"


def test_timestamp_wrap_between_events_is_no_step_back() -> None:
    receiver = TelephoneEventReceiver()
    receiver.receive(event(1, 160), 0xFFFF_FF00, 0.0)
    assert receiver.receive(event(2, 160), 0x100, 0.02) == "1"


@pytest.mark.parametrize("volume", [0, 36, 63])
def test_volume_is_ignored(volume: int) -> None:
    assert TelephoneEventReceiver().receive(event(4, 800, end=True, volume=volume), 1, 0.0) == "4"


def test_end_without_duration_still_counts() -> None:
    assert TelephoneEventReceiver().receive(event(4, 0, end=True), 1, 0.0) == "4"


@given(st.lists(st.tuples(st.binary(max_size=6), st.integers(0, 5), st.floats(0, 0.2)), max_size=50))
def test_any_payloads_give_digits_only(packets: list[tuple[bytes, int, float]]) -> None:
    receiver = TelephoneEventReceiver()
    now = 0.0
    for payload, timestamp, wait_s in packets:
        now += wait_s
        fired = receiver.receive(payload, timestamp, now) + receiver.expire(now)
        assert set(fired) <= set(DIGITS)
        assert len(fired) <= 2


@given(st.text("0123456789*#ABCD", min_size=1, max_size=6), st.integers(0, 2**32 - 1), st.data())
def test_digits_survive_the_loss_of_up_to_two_packets_of_each(
    digits: str, first_timestamp: int, data: st.DataObject
) -> None:
    sender, receiver = TelephoneEventSender(8000), TelephoneEventReceiver()
    assert sender.queue(digits)
    heard, sent_of_digit, lost = "", 0, frozenset[int]()
    for tick in range(10 * len(digits) + 10):
        now = tick * TICK_S
        packet = sender.tick((first_timestamp + 160 * tick) & 0xFFFF_FFFF)
        if packet is not None:
            if packet.marker:
                sent_of_digit = 0
                lost = data.draw(st.frozensets(st.integers(0, 6), max_size=2))
            if sent_of_digit not in lost:
                heard += receiver.receive(packet.payload, packet.timestamp, now)
            sent_of_digit += 1
        heard += receiver.expire(now)
    assert heard == digits


def test_digit_is_seven_packets_with_growing_duration_and_three_ends() -> None:
    sender = TelephoneEventSender(8000)
    sender.queue("5")
    packets = [packet for packet in send_all(sender, 20) if packet is not None]
    assert [packet.payload for packet in packets] == digit_packets(5)


def test_only_the_first_packet_of_a_digit_has_the_marker() -> None:
    sender = TelephoneEventSender(8000)
    sender.queue("5")
    markers = [packet.marker for packet in send_all(sender, 20) if packet is not None]
    assert markers == [True] + [False] * 6


def test_all_packets_of_a_digit_bear_the_timestamp_of_its_start() -> None:
    sender = TelephoneEventSender(8000)
    sender.queue("5")
    assert {packet.timestamp for packet in send_all(sender, 20, 4711) if packet is not None} == {4711}


@pytest.mark.parametrize(("clock_rate_hz", "durations"), [(16_000, (320, 1600)), (48_000, (960, 4800))])
def test_durations_count_in_the_negotiated_clock(clock_rate_hz: int, durations: tuple[int, int]) -> None:
    sender = TelephoneEventSender(clock_rate_hz)
    sender.queue("5")
    packets = [packet for packet in send_all(sender, 20) if packet is not None]
    first, last = packets[0].payload, packets[-1].payload
    assert (struct.unpack("!BBH", first)[2], struct.unpack("!BBH", last)[2]) == durations


def test_gap_of_60_ms_without_packets_follows_every_digit() -> None:
    sender = TelephoneEventSender(8000)
    sender.queue("12")
    sent = [packet is not None for packet in send_all(sender, 24)]
    assert sent == [True] * 7 + [False] * 3 + [True] * 7 + [False] * 7


def test_digits_queued_right_after_another_digit_keep_the_gap() -> None:
    sender = TelephoneEventSender(8000)
    sender.queue("1")
    send_all(sender, 7)
    sender.queue("2")
    assert [packet is not None for packet in send_all(sender, 4)] == [False, False, False, True]


def test_sender_is_active_until_the_last_gap_is_over() -> None:
    sender = TelephoneEventSender(8000)
    states = [sender.active]
    sender.queue("1")
    for _ in range(11):
        states.append(sender.active)
        sender.tick(0)
    assert states == [False] + [True] * 10 + [False]


def test_nothing_queued_is_nothing_to_send() -> None:
    assert TelephoneEventSender(8000).tick(0) is None


def test_small_letters_are_digits_and_other_characters_are_skipped() -> None:
    sender = TelephoneEventSender(8000)
    assert sender.queue("1 a-x\N{LATIN SMALL LETTER A WITH RIGHT HALF RING}+d")
    codes = [packet.payload[0] for packet in send_all(sender, 60) if packet is not None and packet.marker]
    assert codes == [1, 10 + 2, 15]


def test_text_without_digits_leaves_the_sender_idle() -> None:
    sender = TelephoneEventSender(8000)
    assert sender.queue("hello?")
    assert not sender.active


def test_full_queue_takes_all_of_a_text_or_nothing() -> None:
    sender = TelephoneEventSender(8000)
    assert sender.queue("1" * (MAX_PENDING_DIGITS - 1))
    assert not sender.queue("22")
    assert sender.queue("2")
