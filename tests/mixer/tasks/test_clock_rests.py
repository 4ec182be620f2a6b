"""While nobody is there the plane's clock rests, and nobody who comes then can tell."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from tests.mixer.support import MemoryEndpoint, MemoryIo, agreed, rtp, to_ulaw, tone
from tests.support.ids import SequentialIds
from vb.codecs.complexity import HIGHEST_AUTO, LEAN
from vb.mixer.batch import Batch
from vb.mixer.frames import TICK_S
from vb.mixer.plan import Member, MixPlan
from vb.mixer.plane import Plane
from vb.mixer.port import RtpPort
from vb.mixer.tasks import run_plane
from vb.mixer.ticks import TickGrid

HOUR_S = 3600.0


class _Io(MemoryIo):
    """Its packets arrive by Trio's clock."""

    def drain(self, batch: Batch) -> int:
        self.now = trio.current_time()
        return super().drain(batch)


class _Plane(Plane):
    """Remembers when it ticked."""

    def __init__(self) -> None:
        self.io = _Io()
        super().__init__(self.io, SequentialIds(), capacity=16, batch_rows=64)
        self.ticked: list[float] = []

    def tick(self, now: float, tick_at: float) -> None:
        assert now == pytest.approx(tick_at)
        self.ticked.append(tick_at)
        super().tick(now, tick_at)


class _Restless(_Plane):
    """Ticks whether somebody is there or not."""

    @property
    def at_rest(self) -> bool:
        return False


class _Waits(trio.abc.Instrument):
    """Counts how often the event loop has waited."""

    def __init__(self) -> None:
        self.count = 0

    def after_io_wait(self, timeout: float) -> None:
        self.count += timeout > 0


async def test_nothing_wakes_up_while_nobody_is_there(autojump_clock: MockClock) -> None:
    subject, waits = _Plane(), _Waits()
    async with trio.open_nursery() as nursery:
        await nursery.start(run_plane, subject)
        await trio.sleep(1)
        trio.lowlevel.add_instrument(waits)
        await trio.sleep(HOUR_S)
        nursery.cancel_scope.cancel()
    assert len(subject.ticked) == 1, "it takes note that nobody is there"
    assert waits.count <= 2, "this test and its end"


async def test_who_comes_is_served_at_the_next_point_of_the_grid(autojump_clock: MockClock) -> None:
    subject = _Plane()
    async with trio.open_nursery() as nursery:
        grid: TickGrid = await nursery.start(run_plane, subject)
        await trio.sleep_until(HOUR_S + 0.007)
        subject.ticked.clear()
        port = subject.open_stream(None, None)
        await trio.sleep(0.095)
        assert subject.ticked == pytest.approx([HOUR_S + TICK_S * k for k in range(1, 6)])
        port.close()
        await trio.sleep_until(2 * HOUR_S + 0.013)
        assert len(subject.ticked) == 6, "the last one takes note that nobody is there"
        subject.open_stream(None, None)
        await trio.sleep(TICK_S)
        assert subject.ticked[6:] == pytest.approx([2 * HOUR_S + TICK_S])
        assert (grid.late, grid.skipped) == (0, 0)
        assert grid.lateness(trio.current_time()).max_ms == pytest.approx(0, abs=0.001)
        nursery.cancel_scope.cancel()


async def test_a_change_with_nobody_there_takes_one_tick(autojump_clock: MockClock) -> None:
    subject = _Plane()
    async with trio.open_nursery() as nursery:
        await nursery.start(run_plane, subject)
        for change in (partial(subject.publish, MixPlan("r", 16000, ())), partial(subject.withdraw, "r")):
            await trio.sleep(HOUR_S)
            subject.ticked.clear()
            change()
            await trio.sleep(HOUR_S)
            assert len(subject.ticked) == 1
        nursery.cancel_scope.cancel()


async def test_the_peer_of_a_leg_that_comes_after_a_rest_was_not_silent_for_as_long(
    autojump_clock: MockClock,
) -> None:
    subject = _Plane()
    async with trio.open_nursery() as nursery:
        await nursery.start(run_plane, subject)
        await trio.sleep(HOUR_S)
        port = subject.open_port(MemoryEndpoint())
        assert port.last_arrival_s == trio.current_time()
        nursery.cancel_scope.cancel()


async def test_a_server_that_was_overloaded_rests_when_its_level_has_come_back(
    autojump_clock: MockClock,
) -> None:
    subject = _Plane()
    for _ in range(200):
        subject.complexity.note(1.0, 0.0)
    assert subject.complexity.level == LEAN
    async with trio.open_nursery() as nursery:
        await nursery.start(run_plane, subject)
        await trio.sleep(HOUR_S)
        assert subject.complexity.level == HIGHEST_AUTO
        assert 1000 < len(subject.ticked) < HOUR_S
        nursery.cancel_scope.cancel()


class _Caller:
    """A leg that comes, talks and goes, and what it was sent: when, and which packets."""

    def __init__(self, plane: _Plane, number: int, rooms: list[list[RtpPort]]) -> None:
        self._plane, self._number, self._room = plane, number, rooms[number % len(rooms)]
        self.heard: list[tuple[float, bytes]] = []

    async def call(self, begins_s: float, packets: int) -> None:
        await trio.sleep_until(begins_s)
        plane, number, address = self._plane, self._number, 4000 + 2 * self._number
        port = plane.open_port(MemoryEndpoint())
        port.configure(agreed(address))
        port.sending = True
        self._room.append(port)
        self._publish()
        for k in range(packets):
            payload = to_ulaw(tone(300 + 70 * number, 160, start=160 * k) * (k % 90 < 60))
            packet = rtp(k, 160 * k, payload, ssrc=number)
            plane.io.arrive(port.slot, packet, ("192.0.2.1", address), trio.current_time())
            await trio.sleep(TICK_S)
            sent = plane.io.sent[port.slot]
            while sent:
                self.heard.append((round(trio.current_time(), 4), sent.popleft()))
        self._room.remove(port)
        port.close()
        self._publish()

    def _publish(self) -> None:
        members = tuple(Member(port) for port in self._room)
        self._plane.publish(MixPlan(f"r{id(self._room)}", 16000, members, comfort_noise=True))


def _calls(seed: int) -> list[tuple[float, int]]:
    """When calls begin and how many packets each sends; mostly nobody is there."""
    random = np.random.default_rng(seed)
    begins = np.cumsum(random.choice([0.1, 1.0, 10.0, 50.0], 14) * random.random(14))
    return [(float(begin), int(random.integers(1, 120))) for begin in begins]


async def _heard(make: Callable[[], _Plane], seed: int) -> tuple[list[Any], int]:
    subject = make()
    callers: list[_Caller] = []
    rooms: list[list[RtpPort]] = [[], []]
    async with trio.open_nursery() as nursery:
        grid: TickGrid = await nursery.start(run_plane, subject)
        async with trio.open_nursery() as calls:
            for number, (begins_s, packets) in enumerate(_calls(seed)):
                caller = _Caller(subject, number, rooms)
                callers.append(caller)
                calls.start_soon(caller.call, begins_s, packets)
        assert (grid.late, grid.skipped) == (0, 0)
        nursery.cancel_scope.cancel()
    return [caller.heard for caller in callers], len(subject.ticked)


@pytest.mark.parametrize("seed", range(4))
def test_every_packet_is_the_same_and_leaves_at_the_same_time_as_without_rests(seed: int) -> None:
    runs = [
        trio.run(_heard, make, seed, clock=MockClock(autojump_threshold=0)) for make in (_Plane, _Restless)
    ]
    (rested, ticks), (restless, all_ticks) = runs
    assert rested == restless
    assert sum(map(len, rested)) > 200
    assert ticks < all_ticks / 3
