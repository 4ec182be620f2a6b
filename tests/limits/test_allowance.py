from __future__ import annotations

import pytest

from vb.errors import TooManyRequests
from vb.limits import allowance
from vb.limits.allowance import DAY_S, Allowance

NOON = 20_000 * DAY_S + DAY_S / 2


def test_without_caps_nothing_is_counted() -> None:
    free = Allowance()
    for _ in range(1000):
        free.open("shop", 0.0, NOON)
    assert len(free) == 0


def test_calls_at_a_time_are_capped_for_each_application_alone() -> None:
    capped = Allowance(max_calls=2)
    first = capped.open("shop", 0.0, NOON)
    capped.open("shop", 0.0, NOON)
    with pytest.raises(TooManyRequests, match="2 calls") as refused:
        capped.open("shop", 0.0, NOON)
    assert refused.value.retry_after_s == 5
    capped.open("bank", 0.0, NOON)
    capped.open(None, 0.0, NOON)
    first.close(1.0, NOON + 1)
    first.close(1.0, NOON + 1)
    capped.open("shop", 1.0, NOON + 1)
    with pytest.raises(TooManyRequests):
        capped.open("shop", 1.0, NOON + 1)


def test_calls_a_second_are_capped_and_a_refused_one_takes_no_place() -> None:
    capped = Allowance(max_calls=10, max_calls_per_second=2)
    tickets = [capped.open("shop", 0.0, NOON) for _ in range(2)]
    for _ in range(20):
        with pytest.raises(TooManyRequests, match="a second"):
            capped.open("shop", 0.1, NOON)
    tickets += [capped.open("shop", at, NOON) for at in (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5)]
    with pytest.raises(TooManyRequests, match="10 calls"):
        capped.open("shop", 5.0, NOON)


def test_minutes_of_calls_that_ended_and_of_those_that_are_up_count() -> None:
    capped = Allowance(max_minutes=10)
    done, running, ringing = (capped.open("shop", 0.0, NOON) for _ in range(3))
    done.answered(10.0, NOON + 10.0)
    running.answered(10.0, NOON + 10.0)
    running.answered(400.0, NOON + 400.0)
    done.close(310.0, NOON + 310.0)
    ringing.close(310.0, NOON + 310.0)
    capped.open("shop", 309.0, NOON + 309)
    with pytest.raises(TooManyRequests, match="minutes") as refused:
        capped.open("shop", 311.0, NOON + 311)
    assert refused.value.retry_after_s == DAY_S / 2 - 311
    capped.open("bank", 311.0, NOON + 311)


def test_a_new_day_gives_new_minutes_and_calls_that_are_up_count_from_midnight_on() -> None:
    capped = Allowance(max_minutes=10)
    call = capped.open("shop", 0.0, NOON)
    call.answered(0.0, NOON)
    midnight = DAY_S / 2
    with pytest.raises(TooManyRequests):
        capped.open("shop", midnight - 1, NOON + midnight - 1)
    capped.open("shop", midnight + 599, NOON + midnight + 599)
    call.close(midnight + 599, NOON + midnight + 599)
    capped.open("shop", midnight + 5000, NOON + midnight + 5000).answered(
        midnight + 5000, NOON + midnight + 5000
    )
    with pytest.raises(TooManyRequests):
        capped.open("shop", midnight + 5002, NOON + midnight + 5002)


def up_from(capped: Allowance, opened: float, answered: float, ended: float) -> None:
    """A call of the shop; times are seconds from noon."""
    call = capped.open("shop", opened, NOON + opened)
    call.answered(answered, NOON + answered)
    call.close(ended, NOON + ended)


def test_a_call_over_midnight_counts_for_the_new_day_though_nobody_dialled_in_between() -> None:
    capped = Allowance(max_minutes=120)
    midnight = DAY_S / 2
    up_from(capped, midnight - 3600, midnight - 3600, midnight + 7199)
    call = capped.open("shop", midnight + 7200, NOON + midnight + 7200)
    call.answered(midnight + 7200, NOON + midnight + 7200)
    with pytest.raises(TooManyRequests, match="minutes"):
        capped.open("shop", midnight + 7201, NOON + midnight + 7201)


def test_a_call_that_ended_before_midnight_counts_for_the_day_before() -> None:
    capped = Allowance(max_minutes=10)
    midnight = DAY_S / 2
    up_from(capped, midnight - 700, midnight - 700, midnight - 1)
    capped.open("shop", midnight + 1, NOON + midnight + 1)


def test_ringing_over_midnight_is_not_counted() -> None:
    capped = Allowance(max_minutes=10)
    midnight = DAY_S / 2
    call = capped.open("shop", midnight - 60, NOON + midnight - 60)
    call.answered(midnight + 60, NOON + midnight + 60)
    capped.open("shop", midnight + 659, NOON + midnight + 659)
    with pytest.raises(TooManyRequests, match="minutes"):
        capped.open("shop", midnight + 660, NOON + midnight + 660)
    call.close(midnight + 659, NOON + midnight + 659)
    up_from(capped, midnight + 659, midnight + 659, midnight + 660)
    with pytest.raises(TooManyRequests, match="minutes"):
        capped.open("shop", midnight + 5000, NOON + midnight + 5000)


def test_a_clock_that_is_set_back_gives_no_minutes_again() -> None:
    capped = Allowance(max_minutes=1)
    call = capped.open("shop", 0.0, NOON)
    call.answered(0.0, NOON)
    call.close(60.0, NOON + 60.0)
    with pytest.raises(TooManyRequests):
        capped.open("shop", 61.0, NOON - 2 * DAY_S)


def test_applications_without_calls_and_minutes_make_way_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "MAX_APPLICATIONS", 3)
    capped = Allowance(max_calls=1, max_minutes=1)
    used = capped.open("used", 0.0, NOON)
    used.answered(0.0, NOON)
    used.close(1.0, NOON + 1)
    capped.open("busy", 0.0, NOON)
    capped.open("idle", 0.0, NOON).close(1.0, NOON + 1)
    capped.open("new", 2.0, NOON + 2)
    assert len(capped) == 3
    with pytest.raises(TooManyRequests, match="too many applications"):
        capped.open("newer", 2.0, NOON + 2)
    capped.open("newer", DAY_S, NOON + DAY_S)
