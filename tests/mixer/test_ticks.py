import math

import pytest

from vb.beat import BEAT_S, beat_from
from vb.mixer.ticks import TickGrid


def test_the_grid_is_absolute() -> None:
    grid = TickGrid(100.0)
    for k in range(1, 1001):
        assert grid.begin(grid.due + 0.0012) == 0
        assert grid.finish() == pytest.approx(100.0 + k * 0.02)


def test_a_grid_that_began_on_a_beat_keeps_to_it_for_days() -> None:
    grid = TickGrid(beat_from(987_654.321))
    for _ in range(1000):
        grid.begin(grid.due + 4 * 3600)
        grid.finish()
    assert grid.due - 987_654 > 150 * 24 * 3600
    assert grid.due == pytest.approx(beat_from(grid.due - BEAT_S / 2), abs=1e-6)


def test_fewer_than_five_late_ticks_are_made_up() -> None:
    grid = TickGrid(100.0)
    assert grid.begin(100.0 + 4.9 * 0.02) == 0
    assert grid.finish() == pytest.approx(100.02)
    assert (grid.late, grid.skipped) == (1, 0)


def test_five_periods_late_skips_forward_and_says_so() -> None:
    grid = TickGrid(100.0)
    assert grid.begin(100.0 + 7.5 * 0.02) == 7
    assert grid.due == pytest.approx(100.14)
    assert grid.skipped == 7


def test_lateness_is_that_of_the_last_minute() -> None:
    grid = TickGrid(0.0)
    assert grid.lateness(0.0).max_ms == 0
    for k in range(4000):
        grid.begin(grid.due + (0.050 if k == 10 else 0.001))
        grid.finish()
    lateness = grid.lateness(grid.due)
    assert lateness.p50_ms == pytest.approx(1, abs=0.01)
    assert lateness.max_ms == pytest.approx(1, abs=0.01)
    grid.rest()
    assert grid.lateness(4000 * 0.02 + 59).max_ms == pytest.approx(1, abs=0.01)
    assert grid.lateness(4000 * 0.02 + 61).max_ms == 0


@pytest.mark.parametrize(
    ("now", "rested", "due"),
    [
        (100.021, 0, 100.04),
        (100.05, 1, 100.06),
        (103.99, 198, 104.0),
        (104.0, 198, 104.0),
        (119.22, 959, 119.22),
    ],
)
def test_a_rest_ends_at_the_next_point_of_the_grid(now: float, rested: int, due: float) -> None:
    grid = TickGrid(100.02)
    grid.begin(100.02)
    grid.finish()
    grid.rest()
    assert grid.due == math.inf
    assert grid.go_on(now) == rested
    assert grid.due == pytest.approx(due)
    assert (grid.begin(grid.due), grid.late, grid.skipped) == (0, 0, 0)
