"""Telephone-events received: presses as well-behaved and as odd senders send them, one digit each."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.rtp.digits import END_TIMEOUT_S, EventPacket, TelephoneEventReceiver
from vb.rtp.dtmf import DIGITS, TelephoneEventSender

TICK_S = 0.02
STEP = 160
"""A tick in the clock of the events."""


def event(code: int, duration: int, *, end: bool = False, volume: int = 10) -> bytes:
    return struct.pack("!BBH", code, (0x80 if end else 0) | volume, duration)


@dataclass
class Line:
    """A receiver with the packets of one sender, 20 ms apart."""

    receiver: TelephoneEventReceiver
    sequence: int = 100
    now: float = 0.0

    def take(
        self,
        payload: bytes,
        timestamp: int,
        wait_s: float = TICK_S,
        *,
        marker: bool = False,
        late_by: int = 0,
        ssrc: int = 1,
    ) -> str:
        """Receive the next packet; `late_by` packets were sent after it but came before."""
        self.now += wait_s
        self.sequence += 1
        sequence = self.sequence - late_by
        if late_by:
            self.sequence -= 1
        return self.receiver.receive(
            EventPacket(payload, timestamp, self.now, sequence & 0xFFFF, marker=marker, ssrc=ssrc)
        )

    def digit(self, code: int, timestamp: int, which: slice = slice(None)) -> list[str]:
        """Receive the seven packets of a digit at 8 kHz, or some of them."""
        updates = [event(code, STEP * n) for n in (1, 2, 3, 4)]
        packets = updates + [event(code, 5 * STEP, end=True)] * 3
        fired: list[str] = []
        for index in range(len(packets))[which]:
            fired.append(self.take(packets[index], timestamp, marker=index == 0))
        return fired


@pytest.fixture
def line() -> Line:
    return Line(TelephoneEventReceiver())


def test_digit_fires_once_at_its_first_end_packet(line: Line) -> None:
    assert line.digit(5, 1000) == ["", "", "", "", "5", "", ""]


@pytest.mark.parametrize(("code", "digit"), list(enumerate("0123456789*#ABCD")))
def test_every_event_code_is_its_digit(line: Line, code: int, digit: str) -> None:
    assert line.take(event(code, 800, end=True), 1) == digit


@pytest.mark.parametrize("code", [16, 17, 32, 66, 255])
def test_event_that_is_no_digit_is_ignored(line: Line, code: int) -> None:
    assert line.take(event(code, 800, end=True), 1) == ""
    assert line.receiver.deadline is None


def test_lost_start_does_not_lose_the_digit(line: Line) -> None:
    assert line.digit(1, 1000, slice(6, None)) == ["1"]


def test_a_long_press_lasts_from_its_first_packet_to_its_last(line: Line) -> None:
    for number in range(1, 450):
        line.take(event(2, min(number * STEP, 65535)), 9000)
    assert line.receiver.lasted_s == 0.0
    assert line.take(event(2, 450 * STEP - 65535, end=True), 9000 + 65535) == "2"
    assert line.receiver.lasted_s == pytest.approx(9.0, abs=0.03)
    line.take(event(2, STEP), 200_000, marker=True)
    assert line.receiver.lasted_s == 0.0


@pytest.mark.parametrize("which", [slice(5), slice(3, 5), slice(4, 5), slice(4)])
def test_a_short_press_lasts_as_long_as_its_packets_say(line: Line, which: slice) -> None:
    digits = line.digit(1, 1000, which)
    if digits[-1] != "1":
        assert line.receiver.expire(line.now + 1.0) == "1"
    assert line.receiver.lasted_s == pytest.approx(0.1, abs=0.021)


def test_lost_ends_are_replaced_by_a_time_out(line: Line) -> None:
    line.digit(1, 1000, slice(4))
    assert line.receiver.deadline == pytest.approx(line.now + END_TIMEOUT_S)
    assert line.receiver.expire(line.now + 0.1) == ""
    assert line.receiver.expire(line.now + 0.12) == "1"
    assert line.receiver.expire(line.now + 9.0) == ""
    assert line.receiver.deadline is None


def test_packets_after_the_time_out_do_not_fire_again(line: Line) -> None:
    line.digit(1, 1000, slice(4))
    assert line.receiver.expire(1.0) == "1"
    assert line.take(event(1, 800, end=True), 1000, 1.1) == ""


def test_an_end_long_after_its_updates_is_no_second_press(line: Line) -> None:
    line.digit(1, 1000, slice(2))
    assert line.receiver.expire(1.0) == "1"
    assert line.take(event(1, 13600, end=True), 1000, 1.66) == ""


def test_next_event_ends_the_one_whose_ends_were_lost(line: Line) -> None:
    line.digit(1, 1000, slice(4))
    assert line.take(event(2, 160), 2600) == "1"
    assert line.take(event(2, 800, end=True), 2600) == "2"


def test_end_of_the_next_event_brings_both_digits_in_order(line: Line) -> None:
    line.digit(1, 1000, slice(4))
    assert line.take(event(2, 800, end=True), 2600) == "12"


def test_same_digit_pressed_twice_fires_twice(line: Line) -> None:
    fired = line.digit(7, 1000)
    line.now += 0.06
    assert "".join(fired + line.digit(7, 2600)) == "77"


def test_late_packet_of_an_earlier_event_is_ignored(line: Line) -> None:
    line.digit(1, 1000)
    line.take(event(2, 160), 2600)
    assert line.take(event(1, 800, end=True), 1000, late_by=2) == ""
    assert line.take(event(2, 800, end=True), 2600) == "2"


def test_the_late_end_of_a_press_under_way_counts(line: Line) -> None:
    line.digit(1, 1000, slice(3))
    line.take(event(1, 800), 1000)
    assert line.take(event(1, 800, end=True), 1000, late_by=1) == "1"


def test_earlier_event_never_seen_before_does_not_break_the_running_one(line: Line) -> None:
    line.take(event(2, 160), 2600)
    assert line.take(event(1, 160), 1000, late_by=1) == ""
    assert line.take(event(2, 800, end=True), 2600) == "2"


def test_event_longer_than_its_duration_field_is_one_digit(line: Line) -> None:
    line.take(event(3, 0xFFFF), 1000)
    assert line.take(event(3, 160), 1000 + 0xFFFF) == ""
    assert line.take(event(3, 800, end=True), 1000 + 0xFFFF) == "3"
    assert line.receiver.expire(9.0) == ""


def test_event_whose_duration_starts_again_under_one_stamp_is_one_digit(line: Line) -> None:
    line.take(event(3, 0xFFE0), 1000)
    assert line.take(event(3, 160), 1000) == ""
    assert line.take(event(3, 800, end=True), 1000) == "3"


def test_a_segment_whose_last_packet_was_lost_is_continued_all_the_same(line: Line) -> None:
    line.take(event(3, 0xFF00), 1000)
    assert line.take(event(3, 160), 1000 + 0xFFFF, 0.04) == ""
    assert line.take(event(3, 800, end=True), 1000 + 0xFFFF) == "3"


def test_segments_after_a_pause_in_the_packets_are_not_a_second_digit(line: Line) -> None:
    line.take(event(3, 0xFF00), 1000)
    assert line.receiver.expire(0.2) == "3"
    for segment in (1, 2):
        assert line.take(event(3, 0xFFFF), 1000 + segment * 0xFFFF, 0.3) == ""
    assert line.take(event(3, 800, end=True), 1000 + 2 * 0xFFFF, 0.1) == ""
    assert line.take(event(4, 800, end=True), 1000 + 2 * 0xFFFF + 4000, 0.2) == "4"


def test_timestamp_wrap_between_events_is_no_step_back(line: Line) -> None:
    line.take(event(1, 160), 0xFFFF_FF00)
    assert line.take(event(2, 160), 0x100) == "1"


def test_sequence_wrap_within_an_event_is_no_step_back(line: Line) -> None:
    line.sequence = 0xFFFD
    assert "".join(line.digit(6, 1000)) == "6"


def test_sequence_numbers_of_long_ago_are_not_compared(line: Line) -> None:
    line.digit(6, 1000)
    line.sequence -= 30_000
    assert "".join((line.take(event(6, 160), 9_000_000, 900.0), *line.digit(6, 9_000_000))) == "6"


@pytest.mark.parametrize("volume", [0, 36, 63])
def test_volume_is_ignored(line: Line, volume: int) -> None:
    assert line.take(event(4, 800, end=True, volume=volume), 1) == "4"


def test_end_without_duration_still_counts(line: Line) -> None:
    assert line.take(event(4, 0, end=True), 1) == "4"


def test_another_source_goes_on_with_numbers_of_its_own(line: Line) -> None:
    line.digit(4, 1000)
    line.sequence = 7
    line.now += 0.1
    assert line.take(event(4, 160), 77, ssrc=2, marker=True) == ""
    assert line.take(event(4, 800, end=True), 77, 0.08, ssrc=2) == "4"


# -- what senders do ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """One packet of a press as it leaves its sender."""

    at: float
    payload: bytes
    timestamp: int
    marker: bool
    sequence: int
    end: bool
    press: int
    """Which press of the text it is of."""
    index: int
    """Which packet of its press."""


def presses(digits: str, *, updates: int = 4, pause_ticks: int = 3, first: int = 5000) -> list[Sent]:
    """Return what a well-behaved sender sends: growing updates, three ends, and a pause."""
    sent: list[Sent] = []
    tick = 0
    for press, digit in enumerate(digits):
        start = tick
        for index in range(updates + 3):
            end = index >= updates
            duration = STEP * min(index + 1, updates + 1)
            payload = event(DIGITS.index(digit), duration, end=end)
            stamp = (first + STEP * start) & 0xFFFF_FFFF
            sent.append(Sent(tick * TICK_S, payload, stamp, index == 0, 65530 + len(sent), end, press, index))
            tick += 1
        tick += pause_ticks
    return sent


def heard(packets: list[Sent]) -> str:
    receiver, digits = TelephoneEventReceiver(), ""
    for packet in packets:
        digits += receiver.expire(packet.at)
        digits += receiver.receive(
            EventPacket(
                packet.payload,
                packet.timestamp & 0xFFFF_FFFF,
                packet.at,
                packet.sequence & 0xFFFF,
                marker=packet.marker,
            )
        )
    return digits + receiver.expire(1e9)


def by_the_letter(packet: Sent) -> Sent:
    return packet


def ends_stamped_anew(packet: Sent) -> Sent:
    moved = STEP * packet.index if packet.end else 0
    return replace(packet, timestamp=packet.timestamp + moved)


def repeated_ends_stamped_anew(packet: Sent) -> Sent:
    moved = STEP * packet.index if packet.index > 4 else 0
    return replace(packet, timestamp=packet.timestamp + moved)


def ends_stamped_anywhere(packet: Sent) -> Sent:
    moved = 77_777 * packet.index if packet.end else 0
    return replace(packet, timestamp=packet.timestamp + moved)


def every_packet_stamped_anew(packet: Sent) -> Sent:
    return replace(packet, timestamp=packet.timestamp + STEP * packet.index)


def one_duration_stamped_anew(packet: Sent) -> Sent:
    return replace(every_packet_stamped_anew(packet), payload=packet.payload[:2] + struct.pack("!H", STEP))


def one_stamp(packet: Sent) -> Sent:
    return replace(packet, timestamp=5000)


def never_marked(packet: Sent) -> Sent:
    return replace(packet, marker=False)


def always_marked(packet: Sent) -> Sent:
    return replace(packet, marker=True)


def ends_without_duration(packet: Sent) -> Sent:
    return replace(packet, payload=packet.payload[:2] + b"\0\0") if packet.end else packet


def one_stamp_never_marked(packet: Sent) -> Sent:
    return never_marked(one_stamp(packet))


def anew_never_marked(packet: Sent) -> Sent:
    return never_marked(every_packet_stamped_anew(packet))


SENDERS = [
    by_the_letter,
    ends_stamped_anew,
    repeated_ends_stamped_anew,
    ends_stamped_anywhere,
    every_packet_stamped_anew,
    one_duration_stamped_anew,
    one_stamp,
    never_marked,
    always_marked,
    ends_without_duration,
    one_stamp_never_marked,
    anew_never_marked,
]
TEXTS = ["5", "55", "112", "1223", "0*#D", "777777"]


@pytest.mark.parametrize("digits", TEXTS)
@pytest.mark.parametrize("sender", SENDERS)
def test_every_sender_is_heard_right(sender: Callable[[Sent], Sent], digits: str) -> None:
    assert heard([sender(packet) for packet in presses(digits)]) == digits


@pytest.mark.parametrize("updates", [1, 2, 8, 50])
@pytest.mark.parametrize("sender", SENDERS)
def test_short_and_long_presses_are_heard_right(sender: Callable[[Sent], Sent], updates: int) -> None:
    assert heard([sender(packet) for packet in presses("1223", updates=updates)]) == "1223"


@pytest.mark.parametrize("digits", TEXTS)
@pytest.mark.parametrize(
    "sender", [by_the_letter, every_packet_stamped_anew, one_stamp, never_marked, always_marked]
)
def test_lost_ends_lose_no_digit(sender: Callable[[Sent], Sent], digits: str) -> None:
    assert heard([sender(packet) for packet in presses(digits) if not packet.end]) == digits


@pytest.mark.parametrize("digits", TEXTS)
@pytest.mark.parametrize("sender", [by_the_letter, ends_stamped_anew, never_marked, always_marked])
def test_lost_updates_lose_no_digit(sender: Callable[[Sent], Sent], digits: str) -> None:
    assert heard([sender(packet) for packet in presses(digits) if packet.end]) == digits


def test_audio_between_the_packets_changes_nothing() -> None:
    for sender in SENDERS:
        apart = [replace(packet, sequence=2 * packet.sequence) for packet in presses("1223")]
        assert heard([sender(packet) for packet in apart]) == "1223", sender.__name__


def test_a_hold_up_on_the_way_neither_loses_nor_doubles_a_digit() -> None:
    for sender in (by_the_letter, ends_stamped_anew, one_stamp, every_packet_stamped_anew):
        held_up = [replace(packet, at=max(packet.at, 0.4)) for packet in presses("1122")]
        assert heard([sender(packet) for packet in held_up]) == "1122", sender.__name__


TEXT = st.text("0123456789*#ABCD", min_size=1, max_size=5)


@given(TEXT, st.data(), st.sampled_from([by_the_letter, never_marked]))
def test_digits_survive_loss_while_a_packet_of_each_comes(
    digits: str, data: st.DataObject, sender: Callable[[Sent], Sent]
) -> None:
    kept = [data.draw(st.sets(st.integers(0, 6), min_size=1)) for _ in digits]
    packets = [packet for packet in presses(digits) if packet.index in kept[packet.press]]
    assert heard([sender(packet) for packet in packets]) == digits


GROWING = [sender for sender in SENDERS if sender is not one_duration_stamped_anew]


@given(TEXT, st.data(), st.sampled_from(GROWING))
def test_digits_of_odd_senders_survive_the_loss_of_a_packet_of_each(
    digits: str, data: st.DataObject, sender: Callable[[Sent], Sent]
) -> None:
    lost = [data.draw(st.integers(0, 6)) for _ in digits]
    packets = [packet for packet in presses(digits) if packet.index != lost[packet.press]]
    assert heard([sender(packet) for packet in packets]) == digits


@given(TEXT, st.data())
def test_digits_survive_jitter_reordering_and_duplication(digits: str, data: st.DataObject) -> None:
    arrived: list[Sent] = []
    for packet in presses(digits):
        for _ in range(data.draw(st.integers(1, 2))):
            arrived.append(replace(packet, at=packet.at + data.draw(st.floats(0, 0.05))))
    arrived.sort(key=lambda packet: packet.at)
    assert heard(arrived) == digits


@given(TEXT, st.data())
def test_digits_survive_jitter_and_loss_together(digits: str, data: st.DataObject) -> None:
    arrived: list[Sent] = []
    for packet in presses(digits):
        if packet.index == 0 or data.draw(st.booleans()):
            arrived.append(replace(packet, at=packet.at + data.draw(st.floats(0, 0.03))))
    arrived.sort(key=lambda packet: packet.at)
    assert heard(arrived) == digits


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=6),
            st.integers(0, 5),
            st.floats(0, 0.2),
            st.integers(0, 65535),
            st.booleans(),
            st.integers(0, 1),
        ),
        max_size=50,
    )
)
def test_any_payloads_give_digits_only(
    packets: list[tuple[bytes, int, float, int, bool, int]],
) -> None:
    receiver = TelephoneEventReceiver()
    now = 0.0
    for payload, timestamp, wait_s, sequence, marker, ssrc in packets:
        now += wait_s
        packet = EventPacket(payload, timestamp, now, sequence, marker=marker, ssrc=ssrc)
        fired = receiver.receive(packet) + receiver.expire(now)
        assert set(fired) <= set(DIGITS)
        assert len(fired) <= 2


@pytest.mark.parametrize("clock_hz", [8000, 16000, 48000])
def test_what_we_send_is_what_we_hear(clock_hz: int) -> None:
    sender, receiver = TelephoneEventSender(clock_hz), TelephoneEventReceiver()
    assert sender.queue("1223**")
    digits = ""
    for tick in range(80):
        packet = sender.tick(1000 + tick * clock_hz // 50)
        digits += receiver.expire(tick * TICK_S)
        if packet is not None:
            digits += receiver.receive(
                EventPacket(packet.payload, packet.timestamp, tick * TICK_S, tick, marker=packet.marker),
                clock_hz,
            )
    assert digits == "1223**"
