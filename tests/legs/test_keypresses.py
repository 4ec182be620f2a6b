"""One key, several channels: what counts, and what is the same press once more."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.legs.keypresses import WINDOW_S, KeyPresses, Way

WAYS: list[Way] = ["event", "info", "tone"]


def counted(told: list[tuple[float, str, Way]]) -> str:
    presses = KeyPresses()
    return "".join(digit for at, digit, way in told if presses.is_new(digit, way, at))


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(WAYS, 2)))
def test_a_press_told_by_two_ways_counts_once(first: Way, second: Way) -> None:
    told = [(0.0, "5", first), (0.1, "5", second), (0.5, "5", first), (0.6, "5", second)]
    assert counted([*told, (1.0, "7", first), (1.1, "7", second)]) == "557"


def test_a_press_told_by_three_ways_counts_once() -> None:
    assert counted([(0.0, "5", "tone"), (0.1, "5", "event"), (0.2, "5", "info"), (0.4, "5", "event")]) == "55"


@pytest.mark.parametrize("way", WAYS)
def test_presses_told_by_one_way_all_count(way: Way) -> None:
    assert counted([(0.0, "2", way), (0.01, "2", way), (0.02, "2", way)]) == "222"


def test_a_way_that_lags_behind_is_still_the_same_presses() -> None:
    events: list[tuple[float, str, Way]] = [(0.1 * k, "9", "event") for k in range(4)]
    infos: list[tuple[float, str, Way]] = [(0.1 * k + 0.55, "9", "info") for k in range(4)]
    assert counted([*events, *infos]) == "9999"


def test_a_press_that_one_way_lost_loses_no_count() -> None:
    assert counted([(0.0, "5", "info"), (0.4, "5", "event"), (0.45, "5", "info")]) == "55"


def test_what_comes_long_after_is_another_press() -> None:
    assert counted([(0.0, "5", "event"), (WINDOW_S + 0.01, "5", "info")]) == "55"


def test_a_key_held_down_is_told_at_its_beginning_and_at_its_end() -> None:
    presses = KeyPresses()
    assert presses.is_new("5", "tone", 0.0)
    assert not presses.is_new("5", "info", 3.1, lasted_s=3.0)
    assert presses.is_new("6", "info", 10.0)
    assert not presses.is_new("6", "event", 13.0, lasted_s=2.9)
    assert presses.is_new("7", "info", 20.0)
    assert not presses.is_new("7", "event", 30.0, lasted_s=10.0)


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(WAYS, 2)))
def test_a_key_pressed_again_two_seconds_later_counts_whatever_way_tells_it(first: Way, second: Way) -> None:
    presses = KeyPresses()
    assert presses.is_new("5", first, 0.0, lasted_s=0.1)
    assert presses.is_new("5", second, 2.0, lasted_s=0.1)


def test_other_keys_are_other_presses() -> None:
    assert counted([(0.0, "1", "event"), (0.0, "2", "info"), (0.1, "2", "event"), (0.1, "1", "info")]) == "12"


@given(st.lists(st.sampled_from("15*"), max_size=20), st.floats(0, 0.9))
def test_two_whole_ways_count_as_one(digits: list[str], lag_s: float) -> None:
    events: list[tuple[float, str, Way]] = [(0.2 * k, digit, "event") for k, digit in enumerate(digits)]
    infos: list[tuple[float, str, Way]] = [(at + lag_s, digit, "info") for at, digit, _ in events]
    assert counted(sorted([*events, *infos])) == "".join(digits)
