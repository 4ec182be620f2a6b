import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.rtp.sequence import MAX_DROPOUT, Arrival, ExtendedSequence, difference16, difference32


@pytest.mark.parametrize(
    ("newer", "older", "difference"),
    [(1, 65535, 2), (65535, 1, -2), (5, 5, 0), (0x8000, 0, -0x8000), (0x7FFF, 0, 0x7FFF)],
)
def test_sequence_difference_takes_the_shorter_way(newer: int, older: int, difference: int) -> None:
    assert difference16(newer, older) == difference


@given(st.integers(0, 0xFFFF_FFFF), st.integers(-0x8000_0000, 0x7FFF_FFFF))
def test_timestamp_difference_undoes_modular_addition(older: int, step: int) -> None:
    assert difference32((older + step) & 0xFFFF_FFFF, older) == step


def test_wrap_counts_on() -> None:
    sequence = ExtendedSequence(65534)
    arrivals = [sequence.update(number) for number in (65535, 0, 1)]
    assert arrivals == [Arrival.NEXT] * 3
    assert sequence.highest == 65537
    assert sequence.expected == 4


@given(st.integers(0, 65535), st.lists(st.integers(1, MAX_DROPOUT), min_size=1, max_size=200))
def test_steps_of_any_stream_add_up_over_its_wraps(first: int, steps: list[int]) -> None:
    sequence = ExtendedSequence(first)
    number = first
    for step in steps:
        number += step
        assert sequence.update(number & 0xFFFF) is Arrival.NEXT
    assert sequence.highest == number
    assert sequence.expected == sum(steps) + 1


def test_reordered_and_repeated_packets_are_late() -> None:
    sequence = ExtendedSequence(10)
    arrivals = [sequence.update(number) for number in (12, 11, 12, 13)]
    assert arrivals == [Arrival.NEXT, Arrival.LATE, Arrival.LATE, Arrival.NEXT]
    assert sequence.expected == 4


def test_late_packet_across_a_wrap_does_not_count_another_wrap() -> None:
    sequence = ExtendedSequence(65535)
    sequence.update(0)
    assert sequence.update(65535) is Arrival.LATE
    assert sequence.highest == 65536


@pytest.mark.parametrize("jump", [20_000, -20_000, MAX_DROPOUT + 1, -101])
def test_jump_is_believed_at_its_second_packet(jump: int) -> None:
    sequence = ExtendedSequence(30_000)
    first = (30_000 + jump) & 0xFFFF
    assert sequence.update(first) is Arrival.SUSPECT
    assert sequence.highest == 30_000
    assert sequence.update((first + 1) & 0xFFFF) is Arrival.RESTART
    assert sequence.highest == first + 1
    assert sequence.expected == 3
    assert sequence.update((first + 2) & 0xFFFF) is Arrival.NEXT


def test_jump_to_the_last_number_before_a_wrap_is_believed() -> None:
    sequence = ExtendedSequence(30_000)
    sequence.update(65535)
    assert sequence.update(0) is Arrival.RESTART
    assert sequence.expected == 3
    assert sequence.update(1) is Arrival.NEXT
    assert sequence.expected == 4


def test_stray_packet_changes_nothing() -> None:
    sequence = ExtendedSequence(100)
    assert sequence.update(40_000) is Arrival.SUSPECT
    assert sequence.update(101) is Arrival.NEXT
    assert sequence.update(40_001) is Arrival.SUSPECT
    assert sequence.expected == 2


def test_same_far_packet_twice_is_no_restart() -> None:
    sequence = ExtendedSequence(100)
    assert sequence.update(40_000) is Arrival.SUSPECT
    assert sequence.update(40_000) is Arrival.SUSPECT
