"""How blocks come from a backlog to a session: behind the tick where they can, in order where they cannot."""

from __future__ import annotations

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from tests.stt.scripted import CAN, ScriptedSession, settle
from vb.mixer.frames import Pcm
from vb.stt.tasks.feeding import AT_ONCE, Feeding


def hear(feeding: Feeding, *values: int) -> None:
    for value in values:
        feeding.backlog.push(np.full(320, value, np.int16), 16_000)


async def test_blocks_of_all_are_sent_behind_the_tick_in_one_turn(autojump_clock: MockClock) -> None:
    pairs = [(Feeding(CAN), ScriptedSession()) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for feeding, session in pairs:
            nursery.start_soon(feeding.run, session, session.keep_alive)
        await settle()
        for feeding, session in pairs:
            hear(feeding, 1, 2)
            assert session.audio == []
        await settle()
        assert [session.audio for _, session in pairs] == [[1]] * 3  # the first block is short
        for feeding, _ in pairs[:2]:
            hear(feeding, 3)
        await settle()
        assert [session.audio for _, session in pairs] == [[1, 2, 3], [1, 2, 3], [1]]
        nursery.cancel_scope.cancel()


async def test_what_has_to_wait_is_overtaken_by_nothing(autojump_clock: MockClock) -> None:
    feeding, session = Feeding(CAN), ScriptedSession()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feeding.run, session, session.keep_alive)
        await settle()
        session.stuck = True
        hear(feeding, 1)
        await settle()
        hear(feeding, 2, 3, 4, 5)
        session.stuck = False
        hear(feeding, 6, 7)
        assert session.audio == []
        session.hear()
        await settle()
        hear(feeding, 8, 9)
        await settle()
        assert session.audio == list(range(1, 10))
        nursery.cancel_scope.cancel()


async def test_what_is_asked_for_follows_all_that_was_heard(autojump_clock: MockClock) -> None:
    feeding, session = Feeding(CAN), ScriptedSession()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feeding.run, session, session.keep_alive)
        await settle()
        hear(feeding, 1, 2)
        feeding.finalize()
        hear(feeding, 3, 4)
        await settle()
        assert session.audio == [1, 2, 3, 4]
        assert session.sent[-1] == "finalize"
        feeding.end()
        await settle()
        assert session.words == ["finalize", "finish"]


async def test_silence_counts_from_the_last_block(autojump_clock: MockClock) -> None:
    feeding, session = Feeding(CAN), ScriptedSession()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feeding.run, session, session.keep_alive)
        await settle()
        await trio.sleep(CAN.keep_alive_s - 1)
        hear(feeding, 1)
        await settle()
        await trio.sleep(CAN.keep_alive_s - 0.5)
        assert session.words == []
        await trio.sleep(1)
        assert session.words == ["keep_alive"]
        hear(feeding, 2, 3)
        await settle()
        assert session.audio == [1, 2, 3]
        nursery.cancel_scope.cancel()


async def test_a_fault_of_a_session_is_its_own_and_no_others(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ScriptedSession, pcm: Pcm) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(ScriptedSession, "put", broken)
    feeding, session = Feeding(CAN), ScriptedSession()
    raised: list[Exception] = []

    async def run() -> None:
        try:
            await feeding.run(session, session.keep_alive)
        except RuntimeError as error:
            raised.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await settle()
        hear(feeding, 1, 2, 3)
    assert [str(error) for error in raised] == ["broken"]


async def test_blocks_of_very_many_leave_room_for_a_tick_between(autojump_clock: MockClock) -> None:
    feedings = [Feeding(CAN) for _ in range(5 * AT_ONCE)]
    sent: list[int] = []

    class Counting(ScriptedSession):
        def put(self, pcm: Pcm) -> None:
            sent[-1] += 1

    class Passes(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            sent.append(0)

    async with trio.open_nursery() as nursery:
        for feeding in feedings:
            session = Counting()
            nursery.start_soon(feeding.run, session, session.keep_alive)
        await settle()
        sent.append(0)
        trio.lowlevel.add_instrument(counter := Passes())
        for feeding in feedings:
            hear(feeding, 1)
        await settle()
        trio.lowlevel.remove_instrument(counter)
        nursery.cancel_scope.cancel()
    assert sum(sent) == len(feedings)
    assert max(sent) == AT_ONCE


async def test_a_fault_that_comes_too_late_does_not_reach_the_next_session(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeding, session = Feeding(CAN), ScriptedSession()

    def broken(pcm: Pcm) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(session, "put", broken)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feeding.run, session, session.keep_alive)
        await settle()
        hear(feeding, 1)
        nursery.cancel_scope.cancel()
        feeding.put_due()  # before the task that is cancelled has been stepped
    following = ScriptedSession()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feeding.run, following, following.keep_alive)
        await settle()
        hear(feeding, 2, 3)
        feeding.end()
    assert following.words == ["finish"]
