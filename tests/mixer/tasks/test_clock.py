import pytest
import trio
from trio.testing import MockClock

from tests.mixer.support import MemoryIo
from tests.support.ids import SequentialIds
from vb.mixer.plane import Plane
from vb.mixer.rest import REST_S
from vb.mixer.tasks import clock, run_plane
from vb.mixer.ticks import TickGrid


def plane() -> Plane:
    return Plane(MemoryIo(), SequentialIds(), capacity=4, batch_rows=16)


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
