"""Utterances that are prepared ahead and heard once they are committed."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.media.support import sine
from tests.tts.listener import RATE_HZ
from tests.tts.mock import Fail, Speak, Stall
from tests.tts.stage import Stage, open_stage
from tests.tts.test_voices import same
from vb.errors import Conflict, NotFound
from vb.tts.tasks.voices import StagingLimits

TONE = sine(400, RATE_HZ, 0.5)
QUICK = StagingLimits(ttl_s=0.05)


def stage_one(stage: Stage, text: str = "hello", **more: Any) -> str:
    return stage.voices.stage(stage.listener, stage.speech(text, **more))


async def test_what_is_committed_is_heard_without_asking_again() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        tts_id = stage_one(stage)
        staged = await stage.listener.hear_until("tts.staged")
        assert staged == {"tts_id": tts_id, "bytes": 16_000, "duration_ms": 500}
        assert stage.listener.heard == []
        stage.voices.commit(stage.listener, tts_id)
        await stage.listener.hear_until("tts.finished")
        assert stage.listener.kinds == ["tts.staged", "tts.started", "tts.finished"]
        assert same(stage.listener.pcm, TONE)
        assert len(stage.mock.requests) == 1


async def test_a_commit_before_it_is_ready_plays_it_when_it_is() -> None:
    async with open_stage(limits=QUICK) as stage:
        wait = trio.Event()
        stage.mock.plan(Speak(TONE.tobytes(), wait=wait))
        tts_id = stage_one(stage)
        stage.voices.commit(stage.listener, tts_id)
        await trio.sleep(0.1)
        wait.set()
        await stage.listener.hear_until("tts.finished")
        assert stage.listener.kinds == ["tts.staged", "tts.started", "tts.finished"]


async def test_what_is_not_committed_in_time_expires() -> None:
    async with open_stage(limits=QUICK) as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        tts_id = stage_one(stage)
        discarded = await stage.listener.hear_until("tts.discarded")
        assert discarded == {"tts_id": tts_id, "reason": "expired"}
        for change in (stage.voices.commit, stage.voices.discard):
            with pytest.raises(NotFound):
                change(stage.listener, tts_id)


async def test_what_is_discarded_is_told_and_gone() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Stall())
        tts_id = stage_one(stage)
        stage.voices.discard(stage.listener, tts_id)
        discarded = await stage.listener.hear_until("tts.discarded")
        assert discarded == {"tts_id": tts_id, "reason": "app"}
        with pytest.raises(NotFound):
            stage.voices.commit(stage.listener, tts_id)


async def test_the_end_of_a_leg_discards_what_waits() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        tts_id = stage_one(stage)
        await stage.listener.hear_until("tts.staged")
        await stage.listener.slots.end()
        assert stage.listener.told[-1] == ("tts.discarded", {"tts_id": tts_id, "reason": "leg_gone"})


async def test_the_end_of_a_leg_stops_what_is_committed_and_not_ready() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Stall())
        tts_id = stage_one(stage)
        stage.voices.commit(stage.listener, tts_id)
        await stage.listener.slots.end()
        stopped = {"tts_id": tts_id, "reason": "stopped", "played_ms": 0}
        assert stage.listener.told == [("tts.finished", stopped)]


async def test_what_is_committed_and_not_ready_is_stopped_by_its_id() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Stall())
        tts_id = stage_one(stage)
        with pytest.raises(NotFound):
            stage.players.stop(stage.listener, tts_id)
        stage.voices.commit(stage.listener, tts_id)
        stage.players.stop(stage.listener, tts_id)
        finished = await stage.listener.hear_until("tts.finished")
        assert finished == {"tts_id": tts_id, "reason": "stopped", "played_ms": 0}


async def test_a_second_commit_and_a_late_discard_are_refused() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        tts_id = stage_one(stage)
        stage.voices.commit(stage.listener, tts_id)
        for _ in range(2):
            for change in (stage.voices.commit, stage.voices.discard):
                with pytest.raises(Conflict):
                    change(stage.listener, tts_id)
            if not _:
                await stage.listener.hear_until("tts.finished")


async def test_more_than_may_wait_is_refused_and_nothing_is_evicted() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        first, *_ = [stage_one(stage) for _ in range(3)]
        with pytest.raises(Conflict):
            stage_one(stage)
        await stage.listener.hear_until("tts.staged", count=3)
        stage.voices.commit(stage.listener, first)
        stage_one(stage)
        assert "tts.discarded" not in stage.listener.kinds


async def test_too_long_audio_is_an_error_of_the_input() -> None:
    async with open_stage(limits=StagingLimits(max_bytes=8_000)) as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        tts_id = stage_one(stage)
        error = await stage.listener.hear_until("tts.error")
        assert (error["tts_id"], error["category"]) == (tts_id, "permanent_input")
        with pytest.raises(NotFound):
            stage.voices.commit(stage.listener, tts_id)


async def test_a_failure_while_it_is_prepared_is_one_event() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Fail(401))
        stage_one(stage)
        error = await stage.listener.hear_until("tts.error")
        assert error["category"] == "permanent_auth"
        assert stage.listener.kinds == ["tts.error"]


async def test_committed_utterances_are_heard_in_the_order_of_their_commits() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        first, second = stage_one(stage, "one"), stage_one(stage, "two")
        await stage.listener.hear_until("tts.staged", count=2)
        stage.voices.commit(stage.listener, second)
        stage.voices.commit(stage.listener, first)
        await stage.listener.hear_until("tts.finished", count=2)
        ends = [fields["tts_id"] for kind, fields in stage.listener.told if kind == "tts.finished"]
        assert ends == [second, first]
