"""Users whose speech the detector of local speech tells, with its helper on the clock of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import trio
from trio.testing import MockClock

from tests.local_speech.fakes import FakeHelper, open_speech
from vb.agents.tasks.watching import LATE_S, REST_S, Ear, Watching
from vb.codecs.pcm import level_of
from vb.local_speech.frames import Kind
from vb.local_speech.rows import MAX_ROWS, read

FRAME = (6000 * np.sin(2 * np.pi * 300 * np.arange(960) / 48_000)).astype(np.int16)
SILENCE = np.zeros(960, np.int16)


class User:
    """Somebody whose frames come by the clock."""

    def __init__(self, watching: Watching, keep_s: float = 0.0) -> None:
        self.seen: list[tuple[float, float, float]] = []
        """When it was told, and what."""
        self.ear: Ear = watching.add(self._voiced, keep_s=keep_s)

    def _voiced(self, at: float, length_s: float) -> None:
        self.seen.append((trio.current_time(), at, length_s))

    async def says(self, frame: np.ndarray, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            await trio.sleep(0.02)
            self.ear.push(frame, 48_000, trio.current_time(), agent_speaks=False)


@asynccontextmanager
async def open_watching(helper: FakeHelper) -> AsyncIterator[Watching]:
    async with open_speech(helper, detects=True) as speech, trio.open_nursery() as nursery:
        watching = Watching(speech)
        nursery.start_soon(watching.run)
        user = User(watching)  # it starts the helper
        await user.says(SILENCE, 2.0)
        user.ear.close()
        yield watching
        nursery.cancel_scope.cancel()


async def test_frames_are_judged_by_the_detector_and_dated_by_their_last_sample(
    autojump_clock: MockClock,
) -> None:
    async with open_watching(FakeHelper(detect_s=0.01)) as watching:
        user = User(watching)
        await user.says(SILENCE, 0.32)
        begun = trio.current_time()
        await user.says(FRAME, 0.32)
        ended = trio.current_time()
        await user.says(SILENCE, 0.32)
        assert {length_s for _, _, length_s in user.seen} == {0.032}
        told_at, at, _ = user.seen[0]
        assert begun < at <= begun + 0.064
        assert told_at - at <= 0.02 + 0.011
        assert ended <= user.seen[-1][1] <= ended + 0.07


async def test_all_users_of_a_tick_are_judged_in_one_batch(autojump_clock: MockClock) -> None:
    helper = FakeHelper()
    async with open_watching(helper) as watching:
        helper.frames.clear()
        users = [User(watching) for _ in range(9)]
        async with trio.open_nursery() as nursery:
            for user in users:
                nursery.start_soon(user.says, FRAME if user is users[0] else SILENCE, 0.64)
        await trio.sleep(0.01)
        asked = [read(frame.body, MAX_ROWS) for frame in helper.frames if frame.kind is Kind.FRAMES]
        assert [len(each.rows) for each in asked] == [9] * 20
        assert users[0].seen
        assert not any(user.seen for user in users[1:])


async def test_a_detector_that_does_not_keep_up_is_left_alone_and_loudness_decides(
    autojump_clock: MockClock,
) -> None:
    helper = FakeHelper()
    async with open_watching(helper) as watching:
        user = User(watching)
        await user.says(SILENCE, 0.2)
        helper.detect_s = 5.0
        begun = trio.current_time()
        await user.says(FRAME, 0.5)
        told_at, at, _ = user.seen[0]
        assert at - begun <= 0.064
        assert told_at - begun <= LATE_S + 0.07
        assert sum(length_s for *_, length_s in user.seen) >= 0.4
        assert all(length_s == 0.02 for *_, length_s in user.seen[-5:])
        helper.detect_s = 0.0
        await user.says(SILENCE, 5.0 + REST_S)
        user.seen.clear()
        await user.says(FRAME, 0.3)
        assert {length_s for *_, length_s in user.seen} == {0.032}
        asked = [read(frame.body, MAX_ROWS) for frame in helper.frames if frame.kind is Kind.FRAMES]
        assert asked[-1].rows.tolist() == [0]
        (figure,) = [value for _, _, value, labels in watching.readings() if labels == {"by": "loudness"}]
        assert figure > 0


async def test_a_helper_that_crashes_leaves_nobody_unheard(autojump_clock: MockClock) -> None:
    helper = FakeHelper()
    async with open_watching(helper) as watching:
        user = User(watching)
        await user.says(SILENCE, 0.2)
        helper._scope.cancel()
        await user.says(FRAME, 0.5)
        assert sum(length_s for *_, length_s in user.seen) >= 0.4


async def test_a_fault_of_one_conversation_ends_it_and_no_other(autojump_clock: MockClock) -> None:
    async with open_watching(FakeHelper()) as watching:
        faults: list[str] = []
        watching.on_fault = lambda: faults.append("counted")

        def fails(at: float, length_s: float) -> None:
            raise ZeroDivisionError

        bad = User(watching)
        bad.ear.close()
        bad.ear = watching.add(fails, failed=lambda: faults.append("ended"))
        good = User(watching)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bad.says, FRAME, 0.5)
            nursery.start_soon(good.says, FRAME, 0.5)
        assert faults[:2] == ["counted", "ended"]
        assert sum(length_s for *_, length_s in good.seen) >= 0.4


async def test_rows_come_back_and_are_fresh_for_the_next_user(autojump_clock: MockClock) -> None:
    helper = FakeHelper()
    async with open_watching(helper) as watching:
        for _ in range(30):  # the helper has 16 of them
            user = User(watching)
            await user.says(FRAME, 0.1)
            assert user.seen
            user.ear.close()
            user.ear.close()
        asked = [read(frame.body, MAX_ROWS) for frame in helper.frames if frame.kind is Kind.FRAMES]
        assert sum(len(each.fresh) for each in asked) >= 31


async def test_without_a_detector_loudness_decides_at_once(autojump_clock: MockClock) -> None:
    watching = Watching()
    await watching.run()
    user = User(watching, keep_s=0.1)
    await user.says(FRAME, 0.2)
    assert [told_at for told_at, *_ in user.seen] == [at for _, at, _ in user.seen]
    assert user.ear.recent().size == 1600


async def test_the_agents_own_echo_is_no_speech_of_the_user(autojump_clock: MockClock) -> None:
    async with open_watching(FakeHelper()) as watching:
        user = User(watching)
        for _ in range(20):
            await trio.sleep(0.02)
            user.ear.activity.spoke(level_of(FRAME))
            user.ear.push(FRAME // 10, 48_000, trio.current_time(), agent_speaks=True)
        await trio.sleep(0.1)
        assert user.seen == []
