"""Rests of a busy thread after its ticks."""

from __future__ import annotations

from vb.mixer.frames import TICK_S
from vb.mixer.rest import REST_S, Rest

TICK_TAKES_S = 0.009
SECOND = 50


def rests(share: float) -> list[float]:
    """Rests in a second in which the thread wants this share of its core."""
    used_s, wanted_s = 0.0, share * TICK_S
    rest, found = Rest(0.0, used_s), []
    for tick in range(SECOND):
        used_s += min(TICK_TAKES_S, wanted_s)
        found.append(rest.after_tick(tick * TICK_S + TICK_TAKES_S, used_s))
        used_s += min(max(0.0, wanted_s - TICK_TAKES_S), TICK_S - TICK_TAKES_S - found[-1])
    return found


def test_a_thread_that_wants_all_of_its_core_leaves_more_than_a_twentieth_of_each_second() -> None:
    assert 0.05 < sum(rests(1.0)) <= SECOND * REST_S


def test_rests_go_on_while_they_are_needed() -> None:
    assert set(rests(1.0)[6:]) == {REST_S}


def test_a_thread_with_time_to_spare_never_rests() -> None:
    assert set(rests(0.7)) == {0.0}
