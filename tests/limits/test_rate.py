from __future__ import annotations

from vb.limits.rate import RateLimit


def test_a_burst_of_one_seconds_worth_is_let_through_and_no_more() -> None:
    limit = RateLimit(5)
    assert [limit.take(10.0) for _ in range(7)] == [True] * 5 + [False] * 2


def test_what_was_used_comes_back_with_time() -> None:
    limit = RateLimit(10)
    for _ in range(10):
        limit.take(1.0)
    assert not limit.take(1.05)
    assert limit.take(1.2)


def test_no_limit_never_refuses() -> None:
    limit = RateLimit(0)
    assert all(limit.take(0.0) for _ in range(1000))
