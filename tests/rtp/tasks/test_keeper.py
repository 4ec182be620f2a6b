"""One task serves the slow RTP of many legs: each when it is due, and a fault of one is that one's alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from vb.beat import BEAT_S, beat_from
from vb.rtp.tasks import KeptService, RtpKeeper


class Service:
    """Stands for the slow RTP of a leg: says when it has to be served next, from a list."""

    def __init__(self, *waits_s: float | None) -> None:
        self.waits_s = list(waits_s)
        self.served: list[float] = []
        self.wake: Callable[[], None] = lambda: None
        self.fault: Exception | None = None
        self.waits = False

    def on_wake(self, wake: Callable[[], None]) -> None:
        self.wake = wake

    def step(self, now: float) -> float | None:
        if self.fault is not None:
            raise self.fault
        self.served.append(round(now, 3))
        wait_s = self.waits_s.pop(0)
        return None if wait_s is None else now + wait_s


class Owner:
    """Notes what a keeper tells of a service."""

    def __init__(self) -> None:
        self.silent = 0
        self.faults: list[Exception] = []

    def on_silence(self) -> None:
        self.silent += 1

    def keep(self, keeper: RtpKeeper, service: Service) -> KeptService:
        return keeper.serve(service, on_silence=self.on_silence, on_fault=self.faults.append)  # type: ignore[arg-type]  # it has what a keeper uses


@asynccontextmanager
async def keeping() -> AsyncIterator[RtpKeeper]:
    keeper = RtpKeeper()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        yield keeper
        nursery.cancel_scope.cancel()


async def test_each_is_served_at_once_and_then_when_it_is_due(autojump_clock: MockClock) -> None:
    one, other = Service(2, 5, 100), Service(1, 100)
    begun = trio.current_time()
    async with keeping() as keeper:
        Owner().keep(keeper, one)
        Owner().keep(keeper, other)
        await trio.sleep(10)
    assert [at - begun for at in one.served] == pytest.approx([0, 2, 7], abs=2 * BEAT_S)
    assert [at - begun for at in other.served] == pytest.approx([0, 1], abs=2 * BEAT_S)


async def test_what_is_due_within_one_beat_is_done_in_one_go(autojump_clock: MockClock) -> None:
    await trio.sleep_until(beat_from(trio.current_time() + 0.001) + BEAT_S / 4)
    one, other, soon = Service(1.001, 100), Service(1.013, 100), Service(0.013, 100)
    async with keeping() as keeper:
        for service in (one, other, soon):
            Owner().keep(keeper, service)
        begun = trio.current_time()
        await trio.sleep(2)
    assert one.served[1:] == other.served[1:]
    assert begun + 1.013 <= one.served[1] + 0.001 <= begun + 1.013 + 2 * BEAT_S
    assert soon.served[1] == pytest.approx(begun + 0.013, abs=0.001)


async def test_who_has_changed_is_looked_at_without_a_task(autojump_clock: MockClock) -> None:
    service = Service(50, 50)
    kept = Owner().keep(RtpKeeper(), service)  # nobody runs it
    kept.look()
    assert len(service.served) == 2


async def test_what_has_come_is_left_to_the_task(autojump_clock: MockClock) -> None:
    service = Service(50, 50)
    async with keeping() as keeper:
        service.waits = True
        kept = Owner().keep(keeper, service)
        kept.look()
        assert service.served == []
        await wait_all_tasks_blocked()
        assert len(service.served) == 1
        kept.stop()
        kept.look()
    assert len(service.served) == 1


async def test_who_is_woken_is_served_before_it_is_due(autojump_clock: MockClock) -> None:
    service = Service(50, 50, 50)
    begun = trio.current_time()
    async with keeping() as keeper:
        Owner().keep(keeper, service)
        await trio.sleep(3)
        service.wake()
        service.wake()
        await trio.sleep(3)
    assert [round(at - begun, 3) for at in service.served] == [0, 3]


async def test_a_silent_one_is_told_once_and_served_no_more(autojump_clock: MockClock) -> None:
    service, owner = Service(1, None, 1), Owner()
    async with keeping() as keeper:
        owner.keep(keeper, service)
        await trio.sleep(10)
        service.wake()
        await trio.sleep(10)
    assert owner.silent == 1
    assert len(service.served) == 2


async def test_a_fault_of_one_is_told_to_its_owner_and_the_others_are_served(
    autojump_clock: MockClock,
) -> None:
    broken, whole, owner = Service(), Service(1, 1, 100), Owner()
    broken.fault = RuntimeError("broken")
    async with keeping() as keeper:
        owner.keep(keeper, broken)
        Owner().keep(keeper, whole)
        await trio.sleep(10)
    assert owner.faults == [broken.fault]
    assert len(whole.served) == 3


async def test_who_is_stopped_is_neither_served_nor_held(autojump_clock: MockClock) -> None:
    service, owner = Service(50, 50), Owner()
    async with keeping() as keeper:
        kept = owner.keep(keeper, service)
        await wait_all_tasks_blocked()
        service.wake()
        kept.stop()
        gone = weakref.ref(owner)
        wake, served = service.wake, service.served
        del owner, service
        gc.collect()
        assert gone() is None  # though its time in the heap has not come
        wake()
        await trio.sleep(100)
    assert len(served) == 1


@pytest.mark.parametrize("legs", [100])
async def test_many_that_are_woken_at_once_are_all_served(autojump_clock: MockClock, legs: int) -> None:
    services = [Service(50, 50) for _ in range(legs)]
    async with keeping() as keeper:
        for service in services:
            Owner().keep(keeper, service)
            service.wake()
        await trio.sleep(1)
    assert [len(service.served) for service in services] == [2] * legs
