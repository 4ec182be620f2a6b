import pytest
import trio
from trio.testing import MockClock

from tests.mixer.support import MemoryIo
from tests.support.ids import SequentialIds
from vb.mixer.frames import TICK_S
from vb.mixer.plane import Plane
from vb.mixer.rest import REST_S
from vb.mixer.tasks import clock, run_plane
from vb.mixer.ticks import TickGrid


def plane() -> Plane:
    """A plane with somebody there, so that it ticks."""
    subject = Plane(MemoryIo(), SequentialIds(), capacity=4, batch_rows=16)
    subject.open_stream(None, None)
    return subject


async def test_the_plane_ticks_fifty_times_a_second(autojump_clock: MockClock) -> None:
    subject = plane()
    async with trio.open_nursery() as nursery:
        await nursery.start(run_plane, subject)
        await trio.sleep(2.01)
        nursery.cancel_scope.cancel()
    assert subject.statistics.ticks == 100


async def test_a_short_hold_up_is_made_up(mock_clock: MockClock) -> None:
    subject = plane()
    async with trio.open_nursery() as nursery:
        grid: TickGrid = await nursery.start(run_plane, subject)
        mock_clock.jump(0.095)
        for _ in range(20):
            await trio.testing.wait_all_tasks_blocked()
        assert subject.statistics.ticks == 4
        assert grid.skipped == 0
        nursery.cancel_scope.cancel()


async def test_a_long_hold_up_is_skipped_and_counted(mock_clock: MockClock) -> None:
    subject = plane()
    async with trio.open_nursery() as nursery:
        grid: TickGrid = await nursery.start(run_plane, subject)
        mock_clock.jump(0.330)
        for _ in range(20):
            await trio.testing.wait_all_tasks_blocked()
        assert grid.skipped == 15
        assert subject.statistics.ticks == 1
        nursery.cancel_scope.cancel()


async def _work(clock: MockClock, seconds: float, steps: list[float]) -> None:
    """A task that is always ready, and whose steps take a while."""
    while True:
        steps.append(trio.current_time())
        clock.jump(seconds)
        await trio.lowlevel.checkpoint()


async def test_a_tick_waits_for_no_more_than_one_step_of_another_task(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        grid: TickGrid = await nursery.start(run_plane, plane())
        for _ in range(100):
            nursery.start_soon(_work, mock_clock, 0.001, [])
        while trio.current_time() < 2:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    lateness = grid.lateness(trio.current_time())
    assert lateness.max_ms < 1.01
    assert grid.late == grid.skipped == 0


class _SlowPlane(Plane):
    """Each of its ticks takes so long."""

    def __init__(self, clock: MockClock, seconds: float) -> None:
        super().__init__(MemoryIo(), SequentialIds(), capacity=4, batch_rows=16)
        self.open_stream(None, None)
        self._clock = clock
        self._seconds = seconds

    def tick(self, now: float, tick_at: float) -> None:
        super().tick(now, tick_at)
        self._clock.jump(self._seconds)


async def test_ticks_that_take_all_the_time_leave_some_to_other_tasks(mock_clock: MockClock) -> None:
    steps: list[float] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(run_plane, _SlowPlane(mock_clock, 0.030))
        for _ in range(20):
            nursery.start_soon(_work, mock_clock, 0.001, steps)
        while trio.current_time() < 3:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert len(steps) * 0.001 > 3 * 0.3  # the clock's own task still takes its turns


class _BrokenPlane(Plane):
    """Its second tick fails."""

    def tick(self, now: float, tick_at: float) -> None:
        super().tick(now, tick_at)
        if self.statistics.ticks == 2:
            raise ArithmeticError("a fault of the plane")


async def test_a_tick_that_fails_between_two_tasks_ends_the_plane(mock_clock: MockClock) -> None:
    subject = _BrokenPlane(MemoryIo(), SequentialIds(), capacity=4, batch_rows=16)
    subject.open_stream(None, None)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(run_plane, subject)
            nursery.start_soon(_work, mock_clock, 0.001, [])

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert subject.statistics.ticks == 2
    assert caught.group_contains(ArithmeticError)


async def test_a_tick_that_is_due_after_a_wait_moves_the_alarm_and_wakes_nobody(
    mock_clock: MockClock,
) -> None:
    subject, grid = plane(), TickGrid(trio.current_time() + TICK_S)
    ticker = clock._Ticker(subject, grid)
    with trio.CancelScope(deadline=grid.due) as ticker.alarm:
        mock_clock.jump(TICK_S / 2)
        ticker.after_io_wait(1)  # something came before its time
        assert subject.statistics.ticks == 0
        mock_clock.jump(TICK_S / 2)
        ticker.after_io_wait(0)  # somebody has something to do: before that it ticks
        assert subject.statistics.ticks == 0
        ticker.after_io_wait(1)
        assert subject.statistics.ticks == 1
        await trio.lowlevel.checkpoint()
    assert not ticker.alarm.cancel_called
    assert ticker.alarm.deadline == grid.due == pytest.approx(2 * TICK_S)


@pytest.mark.parametrize(("realtime", "rests"), [(True, {REST_S}), (False, set())])
async def test_only_a_busy_thread_with_real_time_priority_rests(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, realtime: bool, rests: set[float]
) -> None:
    rested: list[float] = []
    monkeypatch.setattr("time.thread_time", trio.current_time)
    monkeypatch.setattr(clock, "_is_realtime", lambda: realtime)
    monkeypatch.setattr(clock, "_rest", rested.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(run_plane, plane())
        await trio.sleep(1.01)
        nursery.cancel_scope.cancel()
    assert set(rested) == rests
    assert len(rested) in ((45, 46) if realtime else (0,))  # it takes a tenth of a second to find out
