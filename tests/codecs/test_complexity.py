"""Encoders put more work into a frame while there is time, and less when ticks run out of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from vb.codecs.complexity import HIGHEST_AUTO, LEAN, Complexity


def run(complexity: Complexity, ticks: int, busy: float, late_s: float = 0.0) -> list[int]:
    levels = []
    for _ in range(ticks):
        complexity.note(busy, late_s)
        levels.append(complexity.level)
    return levels


def follow(complexity: Complexity, ticks: int, cost: Callable[[int], float]) -> list[int]:
    levels = []
    for _ in range(ticks):
        complexity.note(cost(complexity.level), 0.0)
        levels.append(complexity.level)
    return levels


def changes(levels: list[int]) -> int:
    return sum(a != b for a, b in pairwise(levels))


def test_an_idle_server_encodes_at_the_best_level() -> None:
    assert set(run(Complexity(), 1000, 0.05)) == {HIGHEST_AUTO}


def test_busy_ticks_lower_the_level_step_by_step_to_the_lowest() -> None:
    levels = run(Complexity(), 500, 0.7)
    assert levels[-1] == LEAN
    assert all(0 <= before - after <= 1 for before, after in pairwise(levels))


def test_ticks_without_time_left_lower_it_to_the_lowest_within_two_seconds() -> None:
    assert run(Complexity(), 100, 1.2)[-1] == LEAN


def test_a_single_long_tick_changes_nothing() -> None:
    complexity = Complexity()
    run(complexity, 100, 0.2)
    run(complexity, 1, 5.0)
    assert set(run(complexity, 100, 0.2)) == {HIGHEST_AUTO}


def test_ticks_that_begin_late_lower_it_however_short_they_are() -> None:
    assert run(Complexity(), 500, 0.1, late_s=0.008)[-1] == LEAN


def test_it_comes_back_slowly_once_ticks_are_short() -> None:
    complexity = Complexity()
    run(complexity, 500, 0.7)
    assert max(run(complexity, 200, 0.1)) == LEAN
    assert run(complexity, 250 * 7, 0.1)[-1] == HIGHEST_AUTO


def test_a_load_between_the_bounds_keeps_the_level() -> None:
    complexity = Complexity()
    run(complexity, 120, 0.7)
    level = complexity.level
    assert 0 < level < HIGHEST_AUTO
    run(complexity, 50, 0.45)
    level = complexity.level
    assert set(run(complexity, 3000, 0.45)) == {level}


def test_a_level_that_was_too_high_is_tried_ever_less_often() -> None:
    complexity = Complexity()
    levels = follow(complexity, 60_000, lambda level: 0.3 if level == LEAN else 0.65)
    assert levels[-1] in (LEAN, 0)
    assert changes(levels[:15_000]) > 2 * changes(levels[-15_000:])
    assert changes(levels[-15_000:]) <= 4


def test_a_fixed_level_stays_whatever_the_load() -> None:
    assert set(run(Complexity(10), 500, 2.0, 1.0)) == {10}


def test_it_has_settled_once_ticks_without_work_would_change_nothing() -> None:
    complexity = Complexity()
    run(complexity, 500, 0.7)
    for _ in range(10_000):
        run(complexity, 1, 0.0)
        if complexity.settled:
            break
    assert set(run(complexity, 5000, 0.0)) == {HIGHEST_AUTO}
    assert set(run(complexity, 25, 0.5, late_s=0.0)) == {HIGHEST_AUTO}, "nor does what comes then"


def test_it_has_settled_after_the_first_tick_of_an_idle_server() -> None:
    complexity = Complexity()
    run(complexity, 1, 0.05)
    assert complexity.settled


def test_a_fixed_level_has_always_settled() -> None:
    complexity = Complexity(10)
    assert complexity.settled
    run(complexity, 500, 2.0)
    assert complexity.settled
