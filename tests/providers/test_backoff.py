import pytest

from vb.providers.backoff import Backoff

MIDDLE = 0.5


def test_delays_grow_by_the_factor_up_to_the_cap() -> None:
    backoff = Backoff(tries=9, budget_s=60)
    delays = [backoff.delay_s(failures, 0, lambda: MIDDLE) for failures in range(1, 5)]
    assert delays == [0.1, 0.4, 1.6, 1.6]


def test_delays_are_spread_by_a_quarter_to_both_sides() -> None:
    assert Backoff().delay_s(1, 0, lambda: 0.0) == pytest.approx(0.075)
    assert Backoff().delay_s(1, 0, lambda: 1.0) == pytest.approx(0.125)


def test_third_failure_is_the_last() -> None:
    assert Backoff().delay_s(2, 0, lambda: MIDDLE) is not None
    assert Backoff().delay_s(3, 0, lambda: MIDDLE) is None


def test_try_that_would_begin_beyond_the_budget_is_not_made() -> None:
    assert Backoff().delay_s(1, 4.95, lambda: MIDDLE) is None
