import struct

import pytest

from vb.rtp.dtmf import MAX_PENDING_DIGITS, EventPacket, TelephoneEventSender


def event(code: int, duration: int, *, end: bool = False, volume: int = 10) -> bytes:
    return struct.pack("!BBH", code, (0x80 if end else 0) | volume, duration)


def digit_packets(code: int) -> list[bytes]:
    """The seven packets of a digit at 8 kHz."""
    return [event(code, 160 * n) for n in (1, 2, 3, 4)] + [event(code, 800, end=True)] * 3


def send_all(
    sender: TelephoneEventSender, ticks: int, first_timestamp: int = 1000
) -> list[EventPacket | None]:
    return [sender.tick(first_timestamp + 160 * n) for n in range(ticks)]


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
