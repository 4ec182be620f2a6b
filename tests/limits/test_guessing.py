from __future__ import annotations

import pytest

from vb.limits import guessing
from vb.limits.guessing import FORGET_S, FREE_GUESSES, MAX_PAUSE_S, OTHERS, WINDOW_S, Guess, Guessing


def waits(table: Guessing, count: int, source: str = "a", now: float = 0.0) -> list[int]:
    return [table.wrong(source, now).wait_s for _ in range(count)]


def test_the_tenth_wrong_password_of_a_minute_begins_a_burst_and_the_next_has_to_wait() -> None:
    table = Guessing()
    guesses = [table.wrong("a", 5.0 * n) for n in range(10)]
    assert guesses == [Guess("a")] * 9 + [Guess("a", begins=True)]
    assert table.wrong("a", 45.4) == Guess("a", wait_s=1)


def test_wrong_passwords_of_different_minutes_do_not_add_up() -> None:
    table = Guessing()
    for minute in range(20):
        assert waits(table, FREE_GUESSES - 1, now=minute * WINDOW_S) == [0] * (FREE_GUESSES - 1)


def test_the_pauses_double_up_to_a_minute_and_a_burst_is_told_once() -> None:
    table, now, pauses = Guessing(), 0.0, []
    waits(table, FREE_GUESSES)
    for _ in range(9):
        guess = table.wrong("a", now)
        pauses.append(guess.wait_s)
        now += guess.wait_s
        assert table.wrong("a", now) == Guess("a")  # the one after the pause begins the next
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pauses[-1] == MAX_PAUSE_S


def test_guesses_within_a_pause_do_not_make_it_longer() -> None:
    table = Guessing()
    waits(table, FREE_GUESSES)
    assert waits(table, 1000, now=0.5) == [1] * 1000
    assert waits(table, 2, now=1.0) == [0, 2]


def test_one_source_does_not_slow_down_another() -> None:
    table = Guessing()
    waits(table, 100, "a")
    assert waits(table, FREE_GUESSES, "b") == [0] * FREE_GUESSES


def test_a_source_starts_anew_only_after_it_was_quiet_for_ten_minutes() -> None:
    table = Guessing()
    waits(table, FREE_GUESSES)
    assert waits(table, 2, now=FORGET_S - 1) == [0, 2]
    assert waits(table, FREE_GUESSES + 1, now=2 * FORGET_S - 1) == [0] * FREE_GUESSES + [1]


def test_everything_is_forgotten_in_time() -> None:
    table = Guessing()
    for source in range(100):
        waits(table, 1 + source % FREE_GUESSES, str(source))
    table.wrong("a", WINDOW_S)
    assert len(table) == 10 + 1
    table.wrong("b", FORGET_S)
    assert len(table) == 1


def test_the_table_is_bounded_and_what_finds_it_full_is_counted_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guessing, "MAX_SOURCES", 5)
    table = Guessing()
    for source in range(5):
        table.wrong(str(source), 0.0)
    late = [table.wrong(f"late{n}", 1.0) for n in range(FREE_GUESSES + 5)]
    assert late == [Guess(OTHERS)] * 9 + [Guess(OTHERS, begins=True)] + [Guess(OTHERS, wait_s=1)] * 5
    assert len(table) == 5 + 1


def test_fresh_sources_do_not_have_old_ones_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "MAX_SOURCES", 50)
    table = Guessing()
    waits(table, FREE_GUESSES, "a")
    for source in range(10_000):
        table.wrong(str(source), 0.5)
    assert waits(table, 1, "a", 0.5) == [1]
    assert len(table) == 50 + 1


def test_a_source_that_was_counted_with_others_gets_a_place_of_its_own_when_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guessing, "MAX_SOURCES", 1)
    table = Guessing()
    table.wrong("a", 0.0)
    assert table.wrong("b", 1.0).source == OTHERS
    assert table.wrong("b", WINDOW_S + 1).source == "b"
