from __future__ import annotations

from dataclasses import replace

from bench.load.churn import PRESS_S, QUIET_S, REST_S, Churn, Rush

RUSH = Rush(count=3, rate=2.0, names=("a", "b"), draw=False, hold_s=(5.0, 5.0), presses={"a": "42"}, seed=1)


def churn(rush: Rush = RUSH, lines: int = 3) -> Churn:
    return Churn(rush, first=10, lines=range(7, 7 + lines), now=100.0)


def test_calls_come_at_their_rate_on_lines_of_their_own() -> None:
    calls = churn()
    assert calls.due(100.0) == (10, 7, "a")
    assert calls.due(100.4) is None
    assert calls.due(100.5) == (11, 8, "b")
    assert calls.due(101.0) == (12, 9, "a")
    assert calls.planned == 0
    assert calls.due(200.0) is None


def test_a_caller_is_silent_before_it_hangs_up() -> None:
    calls = churn()
    calls.due(100.5)
    calls.due(100.5)
    calls.answered(11, 100.0)
    assert calls.actions(105.0 - QUIET_S - 0.01) == []
    assert calls.actions(105.0 - QUIET_S + 0.01) == [(11, "quiet", "")]
    assert calls.actions(105.0) == [(11, "hang up", "")]


def test_keys_are_pressed_by_those_who_dial_the_name() -> None:
    calls = churn()
    calls.due(100.0)
    calls.answered(10, 100.0)
    assert calls.actions(100.0 + PRESS_S) == [(10, "press", "42")]


def test_a_line_rests_before_it_is_used_again() -> None:
    calls = churn(lines=1)
    assert calls.due(100.0) == (10, 7, "a")
    calls.over(10, 7, 100.4)
    assert calls.due(100.5) is None
    assert calls.short_of_lines == 1
    assert calls.due(100.5 + REST_S) == (12, 7, "a")


def test_the_same_seed_draws_the_same_names() -> None:
    rush = replace(RUSH, count=50, draw=True, rate=100.0)
    first, second = churn(rush, 50), churn(rush, 50)
    assert [first.due(200.0) for _ in range(50)] == [second.due(200.0) for _ in range(50)]


def test_an_endless_rush_ends_when_it_is_told_to() -> None:
    calls = churn(replace(RUSH, count=None))
    assert calls.planned == 1
    calls.stop()
    assert calls.planned == 0
    assert calls.due(200.0) is None
