"""Rests of a busy thread after its ticks."""

from __future__ import annotations

from vb.mixer.frames import TICK_S
from vb.mixer.rest import REST_S, Rest

SECOND = 50


def rests(share: float, *, tick_s: float = 0.009) -> list[float]:
    """Rests in a second in which the thread wants this share of its core, and a tick takes so long."""
    now = used_s = 0.0
    rest, found = Rest(now, used_s), []
    for tick in range(SECOND):
        due = (tick + 1) * TICK_S
        after = tick * TICK_S + tick_s
        used_s += min(tick_s, share * TICK_S)
        found.append(rest.after_tick(after, used_s, due))
        used_s += min(max(0.0, share * TICK_S - tick_s), due - after - found[-1])
    return found


def test_a_thread_that_wants_all_of_its_core_leaves_more_than_a_twentieth_of_each_second() -> None:
    assert 0.05 < sum(rests(1.0)) <= SECOND * REST_S


def test_rests_go_on_while_they_are_needed() -> None:
    assert set(rests(1.0)[6:]) == {REST_S}


def test_a_thread_with_time_to_spare_never_rests() -> None:
    assert set(rests(0.7)) == {0.0}


def test_a_tick_that_is_soon_due_is_not_put_off() -> None:
    assert set(rests(1.0, tick_s=0.018)) == {0.0}
