"""Many legs are watched at once."""

from __future__ import annotations

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from tests.local_speech.fakes import FakeHelper, open_speech, say
from vb.local_speech.frames import Kind
from vb.local_speech.rows import MAX_ROWS, read
from vb.local_speech.tasks.watch import Watch
from vb.providers.failure import ProviderFailed

SPEECH = say("one two three four five")[:7680].reshape(15, 512)
SILENCE = np.zeros(512, np.int16)


async def test_each_leg_has_its_own_probability(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper()) as speech:
        watch = Watch(speech)
        rows = [watch.open() for _ in range(3)]
        for frame in SPEECH:
            odds = await watch.judge(rows, np.stack([SILENCE, frame, SILENCE]))
        assert odds.shape == (3,)
        assert (odds > 0.5).tolist() == [False, True, False]


async def test_a_row_is_fresh_once_for_each_leg(autojump_clock: MockClock) -> None:
    helper = FakeHelper()
    async with open_speech(helper) as speech:
        watch = Watch(speech)
        first, second = watch.open(), watch.open()
        await watch.judge([first], SILENCE[None])
        await watch.judge([first, second], np.stack([SILENCE, SILENCE]))
        watch.close(first)
        watch.close(first)
        assert watch.open() == first
        await watch.judge([first, second], np.stack([SILENCE, SILENCE]))
        asked = [read(frame.body, MAX_ROWS) for frame in helper.frames if frame.kind is Kind.FRAMES]
    assert [each.fresh.tolist() for each in asked] == [[first], [second], [first]]


async def test_a_crash_fails_the_batch_and_the_next_one_is_judged(autojump_clock: MockClock) -> None:
    helper = FakeHelper()
    async with open_speech(helper) as speech:
        watch = Watch(speech)
        row = watch.open()
        await watch.judge([row], SILENCE[None])
        helper._scope.cancel()
        with pytest.raises(ProviderFailed) as failed:
            await watch.judge([row], SILENCE[None])
        assert failed.value.category == "retryable"
        assert (await watch.judge([row], SILENCE[None])).shape == (1,)
        assert helper.starts == 2


async def test_a_detector_that_does_not_keep_up_says_so_and_forgets_the_oldest(
    autojump_clock: MockClock,
) -> None:
    helper = FakeHelper(mute=False)
    failed: list[ProviderFailed] = []

    async with open_speech(helper) as speech:
        watch = Watch(speech)
        row = watch.open()
        await watch.judge([row], SILENCE[None])
        speech._launch = trio.sleep_forever  # no other helper comes
        helper._scope.cancel()
        await trio.sleep(1)

        async def one() -> None:
            try:
                await watch.judge([row], SILENCE[None])
            except ProviderFailed as exc:
                failed.append(exc)

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(one)
            await trio.sleep(1)
            assert [each.category for each in failed] == ["service_unavailable"] * 4
            nursery.cancel_scope.cancel()


async def test_more_legs_than_there_are_rows_are_refused(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper()) as speech:
        watch = Watch(speech)
        for _ in range(MAX_ROWS):
            watch.open()
        with pytest.raises(ProviderFailed, match="too many"):
            watch.open()
