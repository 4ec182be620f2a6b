from __future__ import annotations

import pytest

from bench.trend import Tolerance, trend_of

TIMES = [30.0 * place for place in range(9)]


def test_a_level_figure_is_steady() -> None:
    trend = trend_of(TIMES, [5.0] * 9, Tolerance(0.0, 0.0))
    assert (trend.first, trend.last, trend.per_hour) == (5.0, 5.0, 0.0)
    assert trend.is_steady


def test_a_figure_that_climbs_is_not_steady() -> None:
    trend = trend_of(TIMES, [100.0 + place for place in range(9)], Tolerance(0.03, 1.0))
    assert (trend.first, trend.last, trend.per_hour) == (101.0, 107.0, 120.0)
    assert not trend.is_steady


def test_a_figure_that_falls_is_steady() -> None:
    assert trend_of(TIMES, [float(9 - place) for place in range(9)], Tolerance(0.0, 0.0)).is_steady


def test_one_disturbance_does_not_decide() -> None:
    assert trend_of(TIMES, [5.0] * 8 + [500.0], Tolerance(0.0, 0.0)).is_steady


def test_what_a_tolerance_allows_is_steady() -> None:
    assert trend_of(TIMES, [100.0] * 6 + [111.0] * 3, Tolerance(0.1, 1.0)).is_steady
    assert not trend_of(TIMES, [100.0] * 6 + [111.5] * 3, Tolerance(0.1, 1.0)).is_steady


def test_two_samples_are_no_trend() -> None:
    with pytest.raises(ValueError, match="three samples"):
        trend_of([0.0, 1.0], [1.0, 2.0], Tolerance(0.0, 0.0))
