"""Whoever has something to say is heard, whatever happens; and nothing keeps a turn for ever."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import MockClock

from tests.agents.runtime.engines import TONES
from tests.agents.runtime.stage import FRAME_S, ScriptBrain, Stage, open_stage
from vb.agents.audio import Mouth
from vb.events.agent import AgentError, AgentTurn

MUTE_S = 0.5
HELD_S = 2.0
EIGHT = "alpha bravo charlie delta alpha bravo charlie delta."


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, float]]:
    """Measure the longest time in which a mouth had something to say and nothing was heard of it."""
    take, longest, run = Mouth.take, {"mute": 0.0, "held": 0.0}, {"mute": 0.0, "held": 0.0}

    def judged(self: Mouth, rate_hz: int) -> object:
        waits = self.waiting_ms > 0
        frame = take(self, rate_hz)
        now = "held" if self.paused else "mute"
        for name in run:
            run[name] = run[name] + FRAME_S if waits and frame is None and name == now else 0.0
            longest[name] = max(longest[name], run[name])
        return frame

    with monkeypatch.context() as patched:
        patched.setattr(Mouth, "take", judged)
        yield longest


async def _answered(stage: Stage, answers: int) -> None:
    await stage.say("go on")
    await stage.until(AgentTurn, answers)


@pytest.mark.parametrize("seed", range(6))
async def test_after_any_interruption_the_next_answer_is_heard_as_soon_as_it_is_there(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    with watched(monkeypatch) as longest:
        async with open_stage(ScriptBrain([0.2, EIGHT])) as stage:
            stage.voice.delay_s = 0.1
            for _ in range(12):
                await stage.say("go on", chance.choice([0.1, 0.24, 0.5]))
                await trio.sleep(chance.uniform(0.0, 2.5))
            turns = len(stage.all(AgentTurn))
            await trio.sleep(5)
            await _answered(stage, turns + 2)
            for turn in stage.all(AgentTurn):
                if turn["first_audio_ms"] is not None and turn["first_heard_ms"] is not None:
                    assert turn["first_heard_ms"] - turn["first_audio_ms"] <= 1000 * (MUTE_S + HELD_S)
    assert longest["mute"] <= MUTE_S
    assert longest["held"] <= HELD_S


async def test_a_voice_that_stalls_in_the_middle_ends_its_turn_and_is_told(
    autojump_clock: MockClock,
) -> None:
    async with open_stage(ScriptBrain(["Alpha. Bravo."], ["charlie."])) as stage:
        stage.voice.delays += [0.0, 3600.0, 3600.0]
        await stage.say("hello")
        await stage.until(AgentTurn)
        (error,) = stage.all(AgentError)
        assert (error["part"], error["category"]) == ("voice", "retryable")
        assert "says nothing" in error["error"]
        await stage.say("again")
        assert (await stage.until(AgentTurn, 2))["heard"] == "charlie."
        assert TONES["charlie"] in stage.heard
        assert stage.longest_silence_s() <= 5
