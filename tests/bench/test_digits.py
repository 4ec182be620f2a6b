from __future__ import annotations

import numpy as np

from bench.load.digits import END_PACKETS, PAUSE_PACKETS, PRESSED_PACKETS, Digits

PACKETS = PRESSED_PACKETS + END_PACKETS


def row(sequence: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    header = bytes([0x80, 0]) + sequence.to_bytes(2) + (160 * sequence).to_bytes(4) + (99).to_bytes(4)
    return np.frombuffer(header + bytes(160), np.uint8)


def pressed(keys: str, ticks: int) -> list[bytes | None]:
    digits = Digits()
    digits.press(5, keys)
    return [digits.packet(5, row(sequence)) for sequence in range(ticks)]


def test_a_digit_takes_the_place_of_audio_and_ends_three_times() -> None:
    packets = [packet for packet in pressed("#", PACKETS) if packet is not None]
    assert len(packets) == PACKETS
    assert [packet[13] >> 7 for packet in packets] == [0] * PRESSED_PACKETS + [1] * END_PACKETS
    assert {packet[12] for packet in packets} == {11}


def test_all_packets_of_a_digit_have_the_time_of_its_begin() -> None:
    packets = [packet for packet in pressed("1", PACKETS) if packet is not None]
    assert {packet[4:8] for packet in packets} == {bytes(4)}
    assert [int.from_bytes(packet[2:4]) for packet in packets] == list(range(PACKETS))
    assert [packet[1] >> 7 for packet in packets] == [1] + [0] * (PACKETS - 1)


def test_a_duration_grows_until_the_end_and_stays_there() -> None:
    packets = [packet for packet in pressed("1", PACKETS) if packet is not None]
    durations = [int.from_bytes(packet[14:16]) for packet in packets]
    assert durations == [160, 320, 480, 640, 640, 640, 640]


def test_there_is_audio_between_two_digits_and_after_the_last() -> None:
    packets = pressed("12", 2 * (PACKETS + PAUSE_PACKETS) + 2)
    is_audio = [packet is None for packet in packets]
    one = [False] * PACKETS + [True] * PAUSE_PACKETS
    assert is_audio == one + one + [True, True]


def test_a_leg_that_presses_nothing_sends_audio() -> None:
    assert Digits().packet(5, row(1)) is None
