"""What `agent.turn` and the metrics tell of an answer: each step, whose time it was, and what was paused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock

from tests.agents.runtime.engines import TONES
from tests.agents.runtime.stage import ScriptBrain, open_stage
from vb.agents.runtime.brain import Tool, ToolCall
from vb.agents.runtime.budget import shares_ms, steps_ms
from vb.agents.runtime.decisions import Timing
from vb.agents.runtime.options import AgentOptions
from vb.agents.runtime.reply import Reply
from vb.agents.seats import LegSeat
from vb.events.agent import AgentInterrupted, AgentTurn

EIGHT = "alpha bravo charlie delta alpha bravo charlie delta"
LATE = AgentOptions(preemptive=False)


async def test_every_step_of_an_answer_has_its_time(autojump_clock: MockClock) -> None:
    def slow(stage: object) -> None:
        stage.voice.delay_s = 0.2  # type: ignore[attr-defined]  # it has one

    async with open_stage(ScriptBrain([0.3, "alpha ", 0.1, "bravo."]), LATE, prepare=slow) as stage:
        await stage.noise(0.5)
        await trio.sleep(0.1)
        stage.ears.says("hello")
        turn = await stage.until(AgentTurn)
    names = ("vad", "transcript", "endpointing", "first_words", "first_text", "first_audio", "first_heard")
    steps = [turn[f"{name}_ms"] for name in names]
    assert steps == sorted(steps)
    vad, transcript, endpointing, words, text, audio, heard = steps
    assert vad == 0
    assert 100 <= transcript <= 120
    assert endpointing == 400
    assert (words - endpointing, text - words, audio - text) == (300, 100, 200)
    assert heard - audio <= 40
    assert (turn["policy_ms"], turn["provider_ms"]) == (400, 600)
    assert turn["server_ms"] == heard - 1000
    assert turn["network_ms"] == 40


@pytest.mark.parametrize(("waits_s", "counted_s"), [(0.0, 0.0), (0.013, 0.013), (0.04, 0.04), (0.3, 0.05)])
async def test_silence_counts_from_when_the_last_sample_came_and_ends_between_two_frames(
    autojump_clock: MockClock, waits_s: float, counted_s: float
) -> None:
    async with open_stage(ScriptBrain(["alpha."]), LATE) as stage:
        stage.waits_s = waits_s
        await stage.noise(0.5)
        last = trio.current_time() - 0.02
        stage.ears.says("hello")
        turn = await stage.until(AgentTurn)
        assert (turn["endpointing_ms"], turn["policy_ms"]) == (400, 400)
        assert turn["vad_ms"] == round(1000 * counted_s)
        heard_at = stage.heard.index(TONES["alpha"]) * 0.02
        assert heard_at - (last - counted_s) <= 0.42 + 1e-6


async def test_what_may_not_be_interrupted_is_the_policys_time(autojump_clock: MockClock) -> None:
    options = AgentOptions(greeting="alpha bravo charlie delta alpha", guarded=True, preemptive=False)
    async with open_stage(ScriptBrain([0.3, "bravo."]), options) as stage:
        await trio.sleep(0.3)
        await stage.say("hello")
        turn = await stage.until(AgentTurn, 2)
        assert 600 <= turn["policy_ms"] <= 800
        assert turn["provider_ms"] == 300
        assert turn["server_ms"] <= 40


async def test_a_tool_that_is_still_at_work_is_the_providers_time(autojump_clock: MockClock) -> None:
    async def do(call: ToolCall) -> str:
        await trio.sleep(4.0)
        return "done"

    options = AgentOptions(tools=(Tool("look", ""),), preemptive=False)
    async with open_stage(ScriptBrain([ToolCall("c", "look")], ["bravo."]), options, do) as stage:
        await stage.say("look")
        await trio.sleep(1.0)
        await stage.say("hurry")
        turn = await stage.until(AgentTurn, 2)
        assert turn["heard"] == "bravo."
        assert turn["provider_ms"] >= 1500
        assert turn["server_ms"] <= 40


@pytest.mark.parametrize("late_s", [0.0, 1.0])
async def test_a_late_transcript_is_the_providers_time_and_not_the_policys(
    autojump_clock: MockClock, late_s: float
) -> None:
    async with open_stage(ScriptBrain(["alpha."]), LATE) as stage:
        await stage.noise(0.5)
        await trio.sleep(late_s)
        stage.ears.says("hello")
        turn = await stage.until(AgentTurn)
    assert turn["policy_ms"] == 400
    assert abs(turn["provider_ms"] - max(0, 1000 * late_s - 400)) <= 25
    assert turn["server_ms"] <= 60


async def test_a_model_that_is_asked_early_takes_no_time_that_was_waited_for_anyway(
    autojump_clock: MockClock,
) -> None:
    async with open_stage(ScriptBrain([0.3, "alpha."], [0.7, "alpha."])) as stage:
        await stage.say("hello")
        turn = await stage.until(AgentTurn)
        assert (turn["early"], turn["policy_ms"], turn["provider_ms"]) == (True, 400, 0)
        assert turn["server_ms"] <= 60
        await stage.say("again")
        turn = await stage.until(AgentTurn, 2)
        assert (turn["early"], turn["policy_ms"]) == (True, 400)
        assert 300 <= turn["provider_ms"] <= 320


async def test_words_of_which_nothing_was_heard_have_no_shares(autojump_clock: MockClock) -> None:
    async with open_stage(
        ScriptBrain(["alpha."]),
        AgentOptions(greeting="bravo"),
        prepare=lambda s: setattr(s.voice, "fails", True),
    ) as stage:
        turn = await stage.until(AgentTurn)
        times = [name for name, value in turn.items() if name.endswith("_ms") and value is not None]
        assert sorted(times) == ["network_ms", "played_ms", "took_ms"]


async def test_pauses_tell_how_soon_and_at_which_sample_it_went_on(autojump_clock: MockClock) -> None:
    async with open_stage(ScriptBrain([EIGHT])) as stage:
        await stage.say("hello")
        await trio.sleep(1.0)
        await stage.noise(0.1)
        await trio.sleep(0.5)
        await stage.noise(0.14)
        turn = await stage.until(AgentTurn)
        first, second = turn["resumed_samples"]
        assert (turn["interrupted"], turn["false_interruptions"]) == (False, 2)
        assert 0 < first < second < 24 * 2400
        assert first % 480 == second % 480 == 0
        assert turn["ducked_ms"] <= 80
        figures = {(name, *labels.values()): value for name, _, value, labels in stage.tally.readings()}
        assert figures["agent_ducks",] == 1
        assert figures["agent_duck_seconds",] == turn["ducked_ms"] / 1000
        assert figures["agent_turn_share_seconds", "policy"] == 0.4
        assert figures["agent_turn_steps", "first_text"] == 1
        words = [hertz for hertz in stage.heard if hertz]
        assert words == [hertz for word in EIGHT.split() for hertz in [TONES[word]] * 15]


async def test_an_interruption_tells_what_was_heard_and_how_soon_it_was_quiet(
    autojump_clock: MockClock,
) -> None:
    async with open_stage(ScriptBrain([EIGHT])) as stage:
        await stage.say("hello")
        await trio.sleep(1.0)
        begun = len(stage.heard)
        await stage.say("stop", 0.4)
        cut = await stage.until(AgentInterrupted)
        turn = stage.all(AgentTurn)[0]
        assert turn["ducked_ms"] <= 80
        silent = next(at for at in range(begun, len(stage.heard)) if not any(stage.heard[at : at + 20]))
        assert (silent - begun) * 20 <= 100
        assert turn["played_ms"] == cut["played_ms"]
        assert EIGHT.startswith(turn["heard"])


def test_shares_add_up_whatever_came_when() -> None:
    reply = Reply(1, 10.4, ended_at=10.0, wait_s=0.4, judged_at=10.01, transcript_at=10.2)
    reply.model_asked_at, reply.first_words_at, reply.piece_at = 10.401, 10.6, 10.7
    reply.voice_open_at, reply.first_text_at = 10.75, 10.751
    reply.first_audio_at, reply.first_heard_at = 10.9, 10.93
    shares = shares_ms(reply)
    assert shares == {"policy": 400, "provider": 498, "server": 32}
    assert steps_ms(reply)["vad"] == 10


async def test_a_turn_that_waits_for_its_end_is_the_policys_time(autojump_clock: MockClock) -> None:
    options = AgentOptions(timing=Timing(max_endpointing_s=1.0), preemptive=False)
    async with open_stage(ScriptBrain(["alpha."]), options) as stage:
        await stage.noise(0.5)
        stage.ears.says("and then", final=False)
        turn = await stage.until(AgentTurn)
        assert (turn["policy_ms"], turn["provider_ms"]) == (1000, 0)


@pytest.mark.parametrize("trip_ms", [None, 84.0])
def test_the_way_to_a_leg_is_what_its_rtcp_tells(trip_ms: float | None) -> None:
    link = SimpleNamespace(round_trip_ms=trip_ms)
    leg = SimpleNamespace(link=lambda: link)
    assert LegSeat(leg).round_trip_ms() == trip_ms  # type: ignore[arg-type]  # as much of a leg as it needs
    leg.link = lambda: None
    assert LegSeat(leg).round_trip_ms() is None  # type: ignore[arg-type]  # the same
