"""Answers that are begun before the user has surely finished, and words that nobody may interrupt."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.agents.runtime.engines import OTHER_HZ, TONES
from tests.agents.runtime.stage import ScriptBrain, open_stage
from vb.agents.base import Busy
from vb.agents.runtime.brain import Line, Tool, ToolCall, Words
from vb.agents.runtime.decisions import Timing
from vb.agents.runtime.options import AgentOptions
from vb.events.agent import AgentError, AgentInterrupted, AgentResponse, AgentTurn
from vb.providers.failure import ProviderFailed
from vb.stt.base import FinalText, Turn

LOOK = AgentOptions(tools=(Tool("look", ""),))
EIGHT = "alpha bravo charlie delta alpha bravo charlie delta"


async def test_a_model_is_asked_at_the_last_words_and_heard_when_the_turn_is_over(
    autojump_clock: MockClock,
) -> None:
    brain = ScriptBrain([0.3, "alpha."])
    async with open_stage(brain) as stage:
        await stage.say("hello")
        said_at = trio.current_time()
        await stage.until(AgentTurn)
        (turn,) = stage.all(AgentTurn)
        assert turn["early"]
        assert turn["transcript_ms"] <= 20
        assert turn["first_words_ms"] - turn["transcript_ms"] == 300
        assert turn["endpointing_ms"] in (400, 420)
        first = stage.heard.index(TONES["alpha"]) * 0.02
        assert 0.4 <= first - said_at <= 0.5
        assert len(brain.asked) == 1


async def test_one_that_may_not_begin_early_is_asked_when_the_turn_is_over(autojump_clock: MockClock) -> None:
    async with open_stage(ScriptBrain([0.3, "alpha."]), AgentOptions(preemptive=False)) as stage:
        await stage.say("hello")
        turn = await stage.until(AgentTurn)
        assert not turn["early"]
        assert turn["first_words_ms"] >= 700


async def test_an_answer_to_other_words_is_thrown_away(autojump_clock: MockClock) -> None:
    brain = ScriptBrain(["alpha."], ["bravo."])
    async with open_stage(brain) as stage:
        await stage.say("book a table")
        await trio.sleep(0.1)
        await stage.say("for two", 0.3)
        turn = await stage.until(AgentTurn)
        assert turn["heard"] == "bravo."
        assert TONES["alpha"] not in stage.heard
        assert [lines[-1].text for lines in brain.asked] == ["book a table", "book a table for two"]
        await trio.sleep(3)
        assert len(stage.all(AgentTurn)) == 1


async def test_no_tool_is_run_before_the_turn_is_over_nor_for_words_that_have_changed(
    autojump_clock: MockClock,
) -> None:
    done: list[tuple[str, float]] = []

    async def do(call: ToolCall) -> str:
        done.append((call.id, trio.current_time()))
        return "blue"

    brain = ScriptBrain([ToolCall("c1", "look")], [ToolCall("c2", "look")], ["bravo."])
    async with open_stage(brain, LOOK, do) as stage:
        await stage.say("look")
        await trio.sleep(0.1)
        await stage.say("again", 0.3)
        ended_at = trio.current_time()
        await stage.until(AgentTurn)
        ((name, at),) = done
        assert name == "c2"
        assert at - ended_at >= 0.38
        assert brain.asked[-1] == [
            Line("user", "look again"),
            Line("assistant", "", calls=(ToolCall("c2", "look"),)),
            Line("tool", "blue", call_id="c2"),
        ]


async def test_a_model_is_asked_three_times_for_one_turn_and_once_more_when_it_is_over(
    autojump_clock: MockClock,
) -> None:
    brain = ScriptBrain(["alpha."])
    async with open_stage(brain) as stage:
        for number in range(6):
            await stage.say(f"word{number}", 0.3)
            await trio.sleep(0.1)
        turn = await stage.until(AgentTurn)
        assert len(brain.asked) == 4
        assert brain.asked[-1] == [Line("user", " ".join(f"word{n}" for n in range(6)))]
        assert not turn["early"]


async def test_long_speech_is_not_answered_early(autojump_clock: MockClock) -> None:
    brain = ScriptBrain(["alpha."])
    async with open_stage(brain) as stage:
        for _ in range(12):
            await stage.noise(0.9)
            await trio.sleep(0.1)
        stage.ears.says("a long story")
        turn = await stage.until(AgentTurn)
        assert not turn["early"]
        assert len(brain.asked) == 1


async def test_what_the_agent_has_learned_meanwhile_makes_it_think_again(autojump_clock: MockClock) -> None:
    brain = ScriptBrain(["alpha."], ["bravo."])
    async with open_stage(brain) as stage:
        await stage.say("hello")
        await trio.sleep(0.1)
        await stage.agent.inject("The caller is a regular customer.", respond=False)
        turn = await stage.until(AgentTurn)
        assert turn["heard"] == "bravo."
        assert [line.role for line in brain.asked[1]] == ["system", "user"]


async def test_a_model_that_fails_early_is_told_once_and_only_when_it_is_wanted(
    autojump_clock: MockClock,
) -> None:
    brain = ScriptBrain([ProviderFailed("retryable", "m: no")])
    async with open_stage(brain) as stage:
        await stage.say("hello")
        await trio.sleep(0.2)
        assert stage.all(AgentError) == []
        turn = await stage.until(AgentTurn)
        assert turn["heard"].startswith("Sorry")
        assert len(stage.all(AgentError)) == len(brain.asked) == 1


async def test_turns_that_the_provider_tells_are_quicker_and_are_guessed(autojump_clock: MockClock) -> None:
    options = AgentOptions(timing=Timing(min_endpointing_s=0.3, provider_turns=True))
    brain = ScriptBrain([0.2, "alpha."])
    async with open_stage(brain, options) as stage:
        await stage.noise(0.5)
        await trio.sleep(0.1)
        stage.ears.hears(Turn("eager_end_of_turn", text="book a table"))
        await trio.sleep(0.1)
        stage.ears.hears(Turn("end_of_turn", text="book a table"))
        stage.ears.hears(FinalText("book a table", speech_final=True))
        turn = await stage.until(AgentTurn)
        assert turn["early"]
        assert (turn["policy_ms"], turn["endpointing_ms"]) == (300, 300)
        assert turn["first_words_ms"] <= 320
        assert stage.ears.finalized == 0
        assert len(brain.asked) == 1


async def test_a_turn_that_is_resumed_stops_the_model(autojump_clock: MockClock) -> None:
    options = AgentOptions(timing=Timing(min_endpointing_s=0.3, provider_turns=True))
    async with open_stage(ScriptBrain([5.0, "alpha."]), options) as stage:
        await stage.noise(0.5)
        stage.ears.hears(Turn("eager_end_of_turn", text="book"))
        await trio.sleep(0.05)
        assert stage.brain.thinking == 1
        stage.ears.hears(Turn("turn_resumed"))
        await trio.sleep(0.05)
        assert stage.brain.thinking == 0


# -- words that nobody may interrupt -----------------------------------------------------------------------


async def test_a_text_that_may_not_be_interrupted_is_heard_whole_and_the_user_is_answered_then(
    autojump_clock: MockClock,
) -> None:
    brain = ScriptBrain(["bravo."])
    async with open_stage(brain) as stage:
        await stage.agent.say(EIGHT, uninterruptible=True)
        await trio.sleep(0.5)
        await stage.say("hello")
        said = await stage.until(AgentTurn)
        assert (said["heard"], said["interrupted"], said["false_interruptions"]) == (EIGHT, False, 0)
        assert (await stage.until(AgentResponse, 2))["text"] == "bravo."
        assert brain.asked[0] == [Line("assistant", EIGHT), Line("user", "hello")]


async def test_a_text_that_may_be_interrupted_is(autojump_clock: MockClock) -> None:
    async with open_stage(ScriptBrain(["bravo."])) as stage:
        await stage.agent.say(EIGHT, uninterruptible=False)
        await trio.sleep(0.5)
        await stage.say("stop")
        await stage.until(AgentInterrupted)
        assert (await stage.until(AgentResponse, 2))["text"] == "bravo."


async def test_words_of_a_model_or_of_rules_may_be_guarded(autojump_clock: MockClock) -> None:
    """A pause that has begun before ends with them."""
    brain = ScriptBrain(["Alpha alpha alpha. ", 2.0, Words("Bravo bravo.", uninterruptible=True)])
    async with open_stage(brain) as stage:
        await stage.say("hello")
        await trio.sleep(0.8)
        await stage.say("wait", 0.7)
        turn = await stage.until(AgentTurn)
        assert turn["interrupted"]
        await stage.until(AgentTurn, 2)
    async with open_stage(brain) as stage:
        await stage.say("hello")
        await trio.sleep(1.9)
        await stage.noise(0.7)
        turn = await stage.until(AgentTurn)
        assert (turn["interrupted"], turn["heard"]) == (False, "Alpha alpha alpha. Bravo bravo.")


async def test_texts_wait_for_words_that_may_not_be_interrupted_in_order_and_not_without_end(
    autojump_clock: MockClock,
) -> None:
    async with open_stage(ScriptBrain(["delta."])) as stage:
        await stage.agent.say("alpha alpha", uninterruptible=True)
        await stage.agent.say("bravo", uninterruptible=True)
        await stage.agent.inject("say delta", respond=True)
        for _ in range(6):
            await stage.agent.say("charlie", uninterruptible=True)
        with pytest.raises(Busy):
            await stage.agent.say("no", uninterruptible=False)
        await stage.until(AgentTurn, 9)
        assert [turn["heard"] for turn in stage.all(AgentTurn)] == ["alpha alpha", "bravo", "delta."] + [
            "charlie"
        ] * 6
        assert OTHER_HZ not in stage.heard


async def test_an_apology_is_in_the_words_of_the_request_or_none(autojump_clock: MockClock) -> None:
    async with open_stage(ScriptBrain([]), AgentOptions(apology="Charlie.")) as stage:
        await stage.say("hello")
        assert (await stage.until(AgentTurn))["heard"] == "Charlie."
    async with open_stage(ScriptBrain([]), AgentOptions(apology="")) as stage:
        await stage.say("hello")
        turn = await stage.until(AgentTurn)
        assert (turn["heard"], turn["first_heard_ms"]) == ("", None)
        assert len(stage.all(AgentError)) == 1
