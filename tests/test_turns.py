from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import pairwise

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from vb.turns import AT_ONCE, Turns


@pytest.fixture
async def turns(nursery: trio.Nursery, autojump_clock: MockClock) -> AsyncIterator[Turns]:
    turns = Turns()
    nursery.start_soon(turns.run)
    await wait_all_tasks_blocked()
    yield turns
    nursery.cancel_scope.cancel()


def busy(clock: MockClock, seconds: float) -> None:
    """Keep the loop busy, as the clock sees it."""
    clock.jump(seconds)


def steps(log: list[str], name: str, count: int) -> Iterator[None]:
    for number in range(count):
        log.append(f"{name}{number}")
        yield


async def test_a_piece_of_work_that_comes_alone_is_done_at_once(turns: Turns) -> None:
    done: list[int] = []
    turns.take(lambda: done.append(1))
    assert done == [1]


async def test_of_a_burst_only_a_few_begin_in_one_pass_and_all_in_their_order(turns: Turns) -> None:
    done: list[int] = []
    counts: list[int] = []
    for number in range(50):
        turns.take(partial(done.append, number))
    while len(done) < 50:
        counts.append(len(done))
        await trio.lowlevel.checkpoint()
    counts.append(len(done))
    assert done == list(range(50))
    assert max(after - before for before, after in pairwise(counts)) <= 2 * AT_ONCE  # a task may miss a pass


async def test_nothing_begins_while_passes_are_long_but_not_for_ever(
    turns: Turns, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    done: list[int] = []
    counts: list[int] = []
    for number in range(60):
        turns.take(partial(done.append, number))
    while len(done) < 60:
        counts.append(len(done))
        busy(autojump_clock, 0.006)
        await trio.lowlevel.checkpoint()
    idle = sum(after == before for before, after in pairwise(counts))
    assert idle >= (len(counts) - 1) / 2


async def test_steps_are_spread_over_passes_by_the_time_that_they_take(
    turns: Turns, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    log: list[str] = []
    passes: list[int] = []

    def slow() -> Iterator[None]:
        for _ in steps(log, "slow", 20):
            busy(autojump_clock, 0.0004)
            yield

    async def spread() -> None:
        await turns.spread(slow())
        passes.append(-1)

    nursery.start_soon(spread)
    while -1 not in passes:
        passes.append(len(log))
        await trio.lowlevel.checkpoint()
    seen = [count for count in passes if count >= 0]
    assert len(log) == 20
    assert max(after - before for before, after in pairwise(seen)) <= 2 * 3  # a task may miss a pass


async def test_work_that_steps_hand_in_comes_after_all_of_them(turns: Turns, nursery: trio.Nursery) -> None:
    log: list[str] = []

    def parent() -> Iterator[None]:
        for number in range(5):
            log.append(f"step{number}")
            turns.take(partial(log.append, f"end{number}"))
            yield
        log.append("over")

    await turns.spread(parent())
    assert log[:6] == ["step0", "step1", "step2", "step3", "step4", "over"]
    await wait_all_tasks_blocked()
    assert log[6:] == ["end0", "end1", "end2", "end3", "end4"]


async def test_a_fault_ends_one_piece_of_work_and_is_told(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    faults: list[int] = []
    turns = Turns(lambda: faults.append(1))
    nursery.start_soon(turns.run)
    await wait_all_tasks_blocked()
    done: list[str] = []

    def broken() -> Iterator[None]:
        yield
        raise ZeroDivisionError

    with structlog.testing.capture_logs() as logs:
        await turns.spread(broken())
        await turns.spread(steps(done, "next", 2))
    assert faults == [1]
    assert [line["event"] for line in logs] == ["work failed in its turn"]
    assert done == ["next0", "next1"]
    nursery.cancel_scope.cancel()


async def test_without_a_task_everything_is_done_at_once(autojump_clock: MockClock) -> None:
    turns, log = Turns(), list[str]()
    for number in range(10):
        turns.take(partial(log.append, str(number)))
    await turns.spread(steps(log, "s", 3))
    assert log == [*map(str, range(10)), "s0", "s1", "s2"]


async def test_what_waits_when_the_server_ends_is_done_then(autojump_clock: MockClock) -> None:
    turns, done = Turns(), list[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.run)
        await wait_all_tasks_blocked()
        for number in range(30):
            turns.take(partial(done.append, number))
        nursery.cancel_scope.cancel()
    assert done == list(range(30))
