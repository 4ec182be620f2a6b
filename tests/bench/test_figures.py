from __future__ import annotations

import math

import pytest

from bench.figures import Spread, percentile


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, 1), (1, 1), (50, 50), (95, 95), (99, 99), (99.5, 100), (100, 100)],
)
def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed(
    share: float, expected: int
) -> None:
    assert percentile(range(100, 0, -1), share) == expected


def test_the_percentile_of_one_value_is_that_value() -> None:
    assert [percentile([7.0], share) for share in (0, 50, 100)] == [7.0, 7.0, 7.0]


def test_the_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 50))


def test_a_spread_reads_four_figures_of_a_distribution() -> None:
    assert Spread.of(range(1, 201)) == Spread(p50_ms=100, p95_ms=190, p99_ms=198, max_ms=200)
