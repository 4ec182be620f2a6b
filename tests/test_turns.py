from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import inf

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from vb.turns import BEAT_S, TURN_S, after_beat, at_leisure, beat_from, spread

SLOW_S = 0.4 * TURN_S


async def test_others_run_once_steps_have_taken_a_turn(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    taken: list[int] = []
    seen: list[int] = []

    def steps() -> Iterator[None]:
        for number in range(20):
            taken.append(number)
            mock_clock.jump(SLOW_S)
            yield

    async def watch() -> None:
        while len(taken) < 20:
            seen.append(len(taken))
            await trio.lowlevel.checkpoint()
        seen.append(len(taken))

    nursery.start_soon(watch)
    await spread(steps())
    assert taken == list(range(20))
    await trio.lowlevel.checkpoint()
    assert max(after - before for before, after in pairwise(seen)) <= 2 * 3  # a task may miss a pass


@given(st.floats(0, 1e7))
def test_a_beat_comes_at_most_one_beat_later_and_never_before(moment: float) -> None:
    beat = beat_from(moment)
    assert moment <= beat <= moment + 1.001 * BEAT_S
    assert beat / BEAT_S == pytest.approx(round(beat / BEAT_S), abs=1e-4)
    assert beat < after_beat(moment) < beat + BEAT_S / 4


def test_only_what_is_not_due_soon_waits_for_the_beat() -> None:
    assert at_leisure(100.011, 100.0) == 100.011
    assert at_leisure(99.0, 100.0) == 99.0
    assert at_leisure(105.011, 100.0) == after_beat(105.011) > 105.011
    assert at_leisure(inf, 100.0) == after_beat(inf) == inf


async def test_quick_steps_are_taken_at_once(mock_clock: MockClock) -> None:
    passes = 0

    def steps() -> Iterator[None]:
        for _ in range(1000):
            yield

    async def count() -> None:
        nonlocal passes
        while True:
            passes += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await spread(steps())
        assert passes == 0
        nursery.cancel_scope.cancel()
