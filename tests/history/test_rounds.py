"""How often the task of a history does something: seldom while nothing happens, soon once it does."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.support.history import history_of
from vb.events.bus import EventBus
from vb.events.leg import LegJoinedRoom, LegRinging
from vb.history.change import Change
from vb.history.keeper import Status
from vb.history.quality import SAMPLE_EVERY_S
from vb.history.runs import SEEN_EVERY_S
from vb.history.tasks.service import IDLE_S, PAUSE_S, History
from vb.ids import SystemIds

LEG = str(uuid.uuid4())


class _Keeping:
    """Takes everything at once, and remembers when it came."""

    def __init__(self) -> None:
        self.status = Status(is_open=True)
        self.rounds: list[tuple[float, int]] = []

    async def run(self) -> None:
        await trio.sleep_forever()

    async def wait_free(self) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_done(self) -> None:
        await trio.lowlevel.checkpoint()

    async def round(self, changes: Sequence[Change], *, write: bool = True, last: bool = False) -> None:
        self.rounds.append((trio.current_time(), len(changes)))
        await trio.lowlevel.checkpoint()

    async def close(self, changes: Sequence[Change], *, calls_left: bool) -> None:
        await trio.lowlevel.checkpoint()

    def given(self) -> list[float]:
        """When it was given something."""
        return [at for at, count in self.rounds if count]


@pytest.fixture
def bus() -> EventBus:
    return EventBus("edge-1", SystemIds())


@pytest.fixture
def keeping() -> _Keeping:
    return _Keeping()


@pytest.fixture
def history(tmp_path: Path, bus: EventBus, keeping: _Keeping) -> History:
    history = History(history_of(f"sqlite:///{tmp_path}/calls", tmp_path), bus, run_id=uuid.uuid4())
    history.keeper = keeping
    history.store.admit()
    bus.subscribe(history.observe)
    return history


async def test_while_nothing_happens_it_only_says_that_it_is_there(
    autojump_clock: MockClock, history: History, keeping: _Keeping
) -> None:
    with trio.move_on_after(100):
        await history.run()
    assert len(keeping.rounds) == pytest.approx(100 / (SEEN_EVERY_S + PAUSE_S), abs=1)
    assert not keeping.given()


async def test_calls_that_are_left_to_be_removed_are_gone_on_with_each_second(
    autojump_clock: MockClock, history: History, keeping: _Keeping
) -> None:
    keeping.status = Status(is_open=True, sweeping=True)
    with trio.move_on_after(100):
        await history.run()
    assert len(keeping.rounds) == pytest.approx(100 / (IDLE_S + PAUSE_S), abs=1)


async def test_what_happens_after_a_rest_is_told_within_a_second_and_what_is_urgent_at_once(
    autojump_clock: MockClock, history: History, keeping: _Keeping, bus: EventBus
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(history.run)
        await trio.sleep(32)
        begun = trio.current_time()
        bus.publish(LegRinging(leg_id=LEG, leg_type="sip_inbound", from_="a", to="b"))
        await trio.sleep(30)
        assert [at - begun for at in keeping.given()] == pytest.approx([0], abs=2 * PAUSE_S)
        begun = trio.current_time()
        bus.publish(LegJoinedRoom(leg_id=LEG, room_id="hall"))
        await trio.sleep(30)
        later = [at - begun for at in keeping.given()[1:]]
        assert len(later) == 1
        assert 0 < later[0] <= IDLE_S + 2 * PAUSE_S
        nursery.cancel_scope.cancel()


async def test_what_comes_while_it_waits_for_more_does_not_put_off_what_waits(
    autojump_clock: MockClock, history: History, keeping: _Keeping, bus: EventBus
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(history.run)
        bus.publish(LegRinging(leg_id=LEG, leg_type="sip_inbound", from_="a", to="b"))
        await trio.sleep(20)
        for number in range(100):
            bus.publish(LegJoinedRoom(leg_id=LEG, room_id=f"r{number}"))
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    gaps = [later - at for at, later in zip(keeping.given()[1:], keeping.given()[2:], strict=False)]
    assert len(gaps) >= 8
    assert max(gaps) <= IDLE_S + 0.1 + 2 * PAUSE_S


@pytest.mark.parametrize(("count", "wakes"), [(1, 1), (10, 1), (11, 2), (95, 10), (3000, 50)])
async def test_every_leg_is_asked_every_five_seconds_few_of_them_at_once(
    autojump_clock: MockClock, history: History, count: int, wakes: int
) -> None:
    asked: list[tuple[float, int]] = []

    def ask(number: int) -> None:
        asked.append((trio.current_time(), number))

    legs: Any = [SimpleNamespace(id=str(number), link=partial(ask, number)) for number in range(count)]
    history.live_legs = lambda: legs
    with trio.move_on_after(4 * SAMPLE_EVERY_S - 0.01):
        await history.run_sampling()
    times: dict[int, list[float]] = {}
    for at, number in asked:
        times.setdefault(number, []).append(at)
    assert len(times) == count
    for of_leg in times.values():
        assert of_leg == pytest.approx([of_leg[0] + SAMPLE_EVERY_S * k for k in range(4)])
    assert len({round(at, 6) for at, _ in asked}) == 4 * wakes
