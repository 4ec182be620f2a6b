from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import trio
from trio.testing import MockClock

from vb.turns import TURN_S, spread

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
