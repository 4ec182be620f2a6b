"""Whole conversations on the virtual clock: interruptions at every step, and parts that fail."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from tests.agents.runtime.engines import OTHER_HZ, TONES, TonesVoice
from tests.agents.runtime.stage import TONE_HZ, ScriptBrain, Step, open_stage
from vb.agents.runtime.brain import Line, Tool, ToolCall
from vb.agents.runtime.options import AgentOptions
from vb.events.agent import (
    AgentConnected,
    AgentDisconnected,
    AgentError,
    AgentInterrupted,
    AgentResponse,
    AgentTurn,
    AgentUserTranscript,
)
from vb.providers.failure import ProviderFailed
from vb.tts.base import Capabilities

LOOK = Tool("look", "")
WITH_TOOL = AgentOptions(tools=(LOOK,))
EIGHT = "alpha bravo charlie delta alpha bravo charlie delta"


@pytest.fixture(params=[False, True], ids=["by sentence", "as it is written"], autouse=True)
def voice_takes_text(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of this holds for voices that are given sentence by sentence, and for those that take a stream."""
    monkeypatch.setattr(TonesVoice, "capabilities", Capabilities(marks=True, streams_text=request.param))


def calls(*ids: str, name: str = "look") -> list[ToolCall]:
    return [ToolCall(each, name) for each in ids]


@pytest.mark.parametrize("after_s", [0.45, 0.5, 0.6, 0.8, 0.95, 1.1, 1.35, 1.7, 2.4])
async def test_whenever_a_reply_is_interrupted_the_next_turn_is_answered(
    autojump_clock: MockClock, after_s: float
) -> None:
    """Before the first word, the first audio, the first frame, and at each of some frames after that."""
    brain = ScriptBrain([0.3, "Alpha alpha. ", 0.2, "Alpha alpha."], ["bravo."])
    async with open_stage(brain, prepare=lambda stage: setattr(stage.voice, "delay_s", 0.1)) as stage:
        await stage.say("first")
        await trio.sleep(after_s)
        await stage.say("second")
        await stage.until(AgentResponse, len(stage.all(AgentResponse)) + 1)
        assert TONES["bravo"] in stage.heard
        last = max(at for at, hertz in enumerate(stage.heard) if hertz == TONES["bravo"])
        first = stage.heard.index(TONES["bravo"])
        assert TONES["alpha"] not in stage.heard[first:last]
        assert [line.role for line in brain.asked[-1]].count("user") == 2


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.1, 0.5, 0.9, 1.1, 1.6])
async def test_whenever_it_is_stopped_it_says_so_once_and_leaves_nothing(
    autojump_clock: MockClock, after_s: float
) -> None:
    brain = ScriptBrain([0.3, *calls("c1"), "alpha alpha"])
    async with open_stage(brain, AgentOptions(greeting="delta", tools=(LOOK,))) as stage:
        await trio.sleep(after_s)
        if after_s > 0.4:
            await stage.say("hello", 0.3)
            await trio.sleep(after_s)
    assert len(stage.all(AgentDisconnected)) == 1
    kinds = [kind for kind, _ in stage.events]
    assert kinds.index(AgentConnected) < kinds.index(AgentDisconnected) == len(kinds) - 1


async def test_fifty_interruptions_never_bring_back_a_tone_of_an_earlier_turn(
    autojump_clock: MockClock,
) -> None:
    names = list(TONES)
    brain = ScriptBrain(*[[f"{names[n % 4]} " * 8] for n in range(51)])
    async with open_stage(brain) as stage:
        await stage.say("go")
        for number in range(50):
            await trio.sleep(0.5 + number * 0.037 % 1.5)
            own = TONES[names[(len(brain.asked) - 1) % 4]]
            since = len(stage.heard) - 5
            assert set(stage.heard[since:]) <= {0, own}
            await stage.say("on", 0.3)
        await trio.sleep(0.5)
        assert len(brain.asked) == 51


@pytest.mark.parametrize(("said", "cough_s"), [(True, 0.3), (False, 0.3)])
async def test_a_noise_before_or_in_a_reply_does_not_leave_the_user_without_it(
    autojump_clock: MockClock, said: bool, cough_s: float
) -> None:
    brain = ScriptBrain([0.5, EIGHT])
    async with open_stage(brain) as stage:
        await stage.say("hello")
        await trio.sleep(1.6 if said else 0.5)
        await stage.noise(cough_s)
        turn = await stage.until(AgentTurn, 2)
        assert not turn["interrupted"]
        heard = [fields["text"] for fields in stage.all(AgentResponse)]
        assert " ".join(heard) == EIGHT


async def test_history_holds_what_was_heard_and_nothing_else(autojump_clock: MockClock) -> None:
    brain = ScriptBrain([f"{EIGHT}, \n {EIGHT}. ", EIGHT], ["bravo."])
    async with open_stage(brain) as stage:
        await stage.say("hello")
        await trio.sleep(1.7)
        await stage.say("stop")
        cut = await stage.until(AgentInterrupted)
        await stage.until(AgentResponse, 2)
        (heard,) = [line.text for line in brain.asked[1] if line.role == "assistant"]
        assert EIGHT.startswith(heard)
        assert abs(len(heard.split()) - cut["played_ms"] / 300) <= 1


async def test_a_tool_that_is_interrupted_is_done_once_and_its_result_is_in_the_next_request(
    autojump_clock: MockClock,
) -> None:
    done: list[str] = []

    async def do(call: ToolCall) -> str:
        await trio.sleep(2.0)
        done.append(call.id)
        return "blue"

    brain = ScriptBrain(["alpha. ", *calls("c1", "c2")], ["bravo."])
    async with open_stage(brain, WITH_TOOL, do) as stage:
        await stage.say("look")
        await trio.sleep(1.5)
        await stage.say("quick")
        await stage.until(AgentResponse, 2)
        assert done == ["c1"]
        one, two = calls("c1", "c2")
        assert brain.asked[1] == [
            Line("user", "look"),
            Line("assistant", "alpha.", calls=(one, two)),
            Line("tool", "blue", call_id="c1"),
            Line("tool", "error: not done, the user has interrupted", call_id="c2"),
            Line("user", "quick"),
        ]


async def test_a_hang_up_does_not_wait_for_a_tool(autojump_clock: MockClock) -> None:
    async def do(call: ToolCall) -> str:
        await trio.sleep(14)
        return "late"

    async with open_stage(ScriptBrain(calls("c1")), WITH_TOOL, do) as stage:
        await stage.say("look")
        await trio.sleep(1.0)
        begun = trio.current_time()
    assert trio.current_time() - begun < 0.1


async def test_words_that_come_with_a_call_are_in_the_history_once(autojump_clock: MockClock) -> None:
    brain = ScriptBrain(["alpha. ", *calls("c1")], ["bravo."])
    async with open_stage(brain, WITH_TOOL) as stage:
        await stage.say("look")
        turn = await stage.until(AgentTurn)
        assert (turn["heard"], turn["played_ms"]) == ("alpha. bravo.", 600)
        await stage.say("thanks")
        await stage.until(AgentTurn, 2)
        texts = [line.text for line in brain.asked[2]]
        assert texts == ["look", "alpha.", "done", "bravo.", "thanks"]


async def test_a_model_that_calls_tools_without_end_is_broken_off(autojump_clock: MockClock) -> None:
    done: list[str] = []

    async def do(call: ToolCall) -> str:
        done.append(call.id)
        return "no"

    brain = ScriptBrain(calls("", "", ""))  # without ids of their own
    async with open_stage(brain, WITH_TOOL, do) as stage:
        await stage.say("look")
        turn = await stage.until(AgentTurn)
        assert len(done) == len(set(done)) == 5
        assert len(brain.asked) <= 6
        assert turn["heard"].startswith("Sorry")
        assert {error["part"] for error in stage.all(AgentError)} == {"tool", "model"}


@pytest.mark.parametrize(
    "call", [ToolCall("c1", "fly"), ToolCall("c1", "look", {}, "its arguments are no JSON object")]
)
async def test_a_call_that_cannot_be_carried_out_is_one_event(
    autojump_clock: MockClock, call: ToolCall
) -> None:
    async def do(call: ToolCall) -> str:
        raise AssertionError(call)

    brain = ScriptBrain([call], ["bravo."])
    async with open_stage(brain, WITH_TOOL, do) as stage:
        await stage.say("look")
        await stage.until(AgentResponse)
        (error,) = stage.all(AgentError)
        assert (error["part"], error["category"]) == ("tool", "permanent_input")
        assert brain.asked[1][-1].text.startswith("error: ")


@pytest.mark.parametrize("answer", [[], [ProviderFailed("rate_limited", "m: no")], [60.0, "alpha"]])
async def test_a_model_that_fails_is_spoken_of_and_silence_is_short(
    autojump_clock: MockClock, answer: list[Any]
) -> None:
    async with open_stage(ScriptBrain(answer)) as stage:
        for _ in range(2):
            await stage.say("hello")
            since = len(stage.heard)
            await stage.until(AgentTurn, len(stage.all(AgentTurn)) + 1)
            assert stage.longest_silence_s(since) < 5.0
        assert [error["part"] for error in stage.all(AgentError)] == ["model"]
        assert stage.all(AgentResponse)[0]["text"].startswith("Sorry")


async def test_a_voice_that_stalls_is_asked_again_and_its_words_are_heard_once(
    autojump_clock: MockClock,
) -> None:
    async with open_stage(
        ScriptBrain(["alpha bravo. charlie."]), prepare=lambda s: setattr(s.voice, "stalls", 1)
    ) as stage:
        await stage.say("hello")
        turn = await stage.until(AgentTurn)
        assert turn["heard"] == "alpha bravo. charlie."
        assert stage.all(AgentError) == []
        assert stage.heard.count(TONES["alpha"]) == stage.heard.count(TONES["charlie"]) == 15


async def test_a_user_who_interrupts_a_voice_that_stalls_is_answered(autojump_clock: MockClock) -> None:
    brain = ScriptBrain(["alpha alpha alpha."], ["bravo."])
    async with open_stage(brain, prepare=lambda s: setattr(s.voice, "stalls", 1)) as stage:
        await stage.say("first")
        await trio.sleep(1.0)
        await stage.say("second")
        await stage.until(AgentResponse, len(stage.all(AgentResponse)) + 1)
        assert TONES["bravo"] in stage.heard
        assert TONES["alpha"] not in stage.heard
        assert [line.role for line in brain.asked[-1]].count("user") == 2
        assert stage.all(AgentError) == []


async def test_a_voice_that_says_nothing_leaves_no_long_silence(autojump_clock: MockClock) -> None:
    async with open_stage(ScriptBrain(["alpha."]), prepare=lambda s: setattr(s.voice, "stalls", 4)) as stage:
        for _ in range(2):
            await stage.say("hello")
            since = len(stage.heard)
            turn = await stage.until(AgentTurn, len(stage.all(AgentTurn)) + 1)
            assert stage.longest_silence_s(since) < 5.0
            assert (turn["heard"], turn["interrupted"], turn["first_heard_ms"]) == ("", False, None)
        assert [error["part"] for error in stage.all(AgentError)] == ["voice"]
        assert TONE_HZ in stage.heard
        await stage.say("hello")
        assert (await stage.until(AgentResponse))["text"] == "alpha."


async def test_goodbye_is_said_in_time_though_the_voice_is_dead(autojump_clock: MockClock) -> None:
    done: list[float] = []

    async def do(call: ToolCall) -> str:
        done.append(trio.current_time())
        return "done"

    hangup = AgentOptions(tools=(Tool("hangup", ""),))
    brain = ScriptBrain(["alpha. ", *calls("c1", name="hangup")], [])
    async with open_stage(brain, hangup, do, prepare=lambda s: setattr(s.voice, "stalls", 9)) as stage:
        await stage.say("bye")
        asked = trio.current_time()
        await stage.until(AgentTurn)
        assert len(done) == 1
        assert done[0] - asked <= 4.0


@pytest.mark.parametrize("words", ["alpha bravo.", "Alpha. Bravo. Charlie."])
async def test_a_hang_up_follows_the_last_frame_of_the_goodbye_within_100_ms(
    autojump_clock: MockClock, words: str
) -> None:
    done: list[int] = []

    async def do(call: ToolCall) -> str:
        done.append(len(stage.heard))
        return "done"

    hangup = AgentOptions(tools=(Tool("hangup", ""),))
    brain = ScriptBrain([f"{words} ", *calls("c1", name="hangup"), 0.3], [])
    async with open_stage(brain, hangup, do) as stage:
        await stage.say("bye")
        turn = await stage.until(AgentTurn)
        assert turn["heard"] == words
        last = max(at for at, hertz in enumerate(stage.heard) if hertz)
        (at,) = done
        assert 0 < (at - last) * 20 <= 100


async def test_a_voice_that_comes_in_bursts_is_heard_evenly_with_one_gap(autojump_clock: MockClock) -> None:
    """Two seconds of audio at once, nothing for a second and a half more, and two seconds again."""
    seven = "Alpha alpha alpha alpha alpha alpha alpha."
    brain = ScriptBrain([f"{seven} {seven}"])
    async with open_stage(brain, prepare=lambda s: s.voice.delays.extend([0.0, 3.6])) as stage:
        await stage.say("hello")
        turn = await stage.until(AgentTurn)
        assert turn["played_ms"] == 4200
        first = next(at for at, hertz in enumerate(stage.heard) if hertz)
        last = max(at for at, hertz in enumerate(stage.heard) if hertz)
        frames = [bool(hertz) for hertz in stage.heard[first : last + 1]]
        gap = len(frames) - 210
        assert frames == [True] * 105 + [False] * gap + [True] * 105
        assert 1.4 <= gap * 0.02 <= 1.6


async def test_a_slow_tool_is_bridged_by_a_tone_and_times_stay_true(autojump_clock: MockClock) -> None:
    async def do(call: ToolCall) -> str:
        await trio.sleep(9)
        return "blue"

    brain = ScriptBrain(calls("c1"), [EIGHT])
    async with open_stage(brain, WITH_TOOL, do) as stage:
        await stage.say("look")
        since = len(stage.heard)
        await trio.sleep(11.2)
        await stage.say("stop")
        turn = await stage.until(AgentTurn)
        assert stage.longest_silence_s(since) < 5.0
        words = stage.heard.count(TONES["alpha"]) // 15
        assert words >= 1
        assert 1 <= len(turn["heard"].split()) <= 8
        assert turn["first_heard_ms"] > 9000


async def test_a_guarded_greeting_is_heard_whole_and_then_the_user_is_answered(
    autojump_clock: MockClock,
) -> None:
    options = AgentOptions(greeting=EIGHT, guarded=True)
    async with open_stage(ScriptBrain(["bravo."]), options) as stage:
        await trio.sleep(0.3)
        await stage.say("hello")
        greeting = await stage.until(AgentTurn)
        assert (greeting["heard"], greeting["interrupted"], greeting["played_ms"]) == (EIGHT, False, 2400)
        assert (await stage.until(AgentResponse, 2))["text"] == "bravo."


async def test_an_mhm_lets_it_go_on_at_the_same_sample(autojump_clock: MockClock) -> None:
    async with open_stage(ScriptBrain([EIGHT])) as stage:
        await stage.say("hello")
        await trio.sleep(1.5)
        await stage.noise(0.12)
        turn = await stage.until(AgentTurn)
        assert (turn["played_ms"], turn["interrupted"], turn["false_interruptions"]) == (2400, False, 1)
        figures = [(name, value, labels) for name, _, value, labels in stage.tally.readings()]
        assert ("agent_turns", 1, {"outcome": "completed"}) in figures
        assert ("agent_false_interruptions", 1, {}) in figures
        assert ("agent_turn_seconds", 0.42, {"step": "first_heard"}) in figures
        words = [hertz for hertz in stage.heard if hertz]
        assert words == [hertz for word in EIGHT.split() for hertz in [TONES[word]] * 15]


@pytest.mark.parametrize("frames", [4, 7, 10])
async def test_its_own_echo_does_not_interrupt_it(autojump_clock: MockClock, frames: int) -> None:
    async with open_stage(ScriptBrain([EIGHT])) as stage:
        stage.echo = frames
        await stage.say("hello")
        turn = await stage.until(AgentTurn)
        assert (turn["heard"], turn["interrupted"]) == (EIGHT, False)


async def test_lost_ears_are_told_once_and_come_back(autojump_clock: MockClock) -> None:
    async with open_stage(ScriptBrain(["bravo."])) as stage:
        stage.ears.breaks()
        await trio.sleep(2)
        await stage.say("hello")
        assert (await stage.until(AgentResponse))["text"] == "bravo."
        (error,) = stage.all(AgentError)
        assert error["part"] == "transcript"


async def test_an_interrupted_model_is_not_left_talking(autojump_clock: MockClock) -> None:
    long: list[Step] = ["Alpha alpha. ", *cast("list[Step]", [0.5, "Alpha. "]) * 40]
    brain = ScriptBrain(long, ["bravo."])
    async with open_stage(brain) as stage:
        await stage.say("hello")
        await trio.sleep(1.5)
        assert brain.thinking == 1
        await stage.noise(0.4)
        assert brain.thinking == 0
        stage.ears.says("stop")
        await stage.until(AgentResponse, 2)
        assert OTHER_HZ not in stage.heard


async def test_it_asks_whether_anybody_is_there_twice(autojump_clock: MockClock) -> None:
    async with open_stage(ScriptBrain(["bravo."]), AgentOptions(idle_s=5.0, idle_prompt="delta")) as stage:
        await trio.sleep(40)
        assert [fields["text"] for fields in stage.all(AgentResponse)] == ["delta", "delta"]


async def test_what_was_heard_last_is_told_before_the_end(autojump_clock: MockClock) -> None:
    async with open_stage(ScriptBrain([EIGHT])) as stage:
        await stage.say("hello")
        await trio.sleep(1.1)
    kinds = [kind for kind, _ in stage.events]
    assert kinds[-3:] == [AgentResponse, AgentTurn, AgentDisconnected]
    assert stage.all(AgentResponse)[0]["text"] == "alpha bravo"


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_goes_wrong_it_answers_again_and_leaves_nothing(
    autojump_clock: MockClock, seed: int
) -> None:
    """Noises, words, faults of every part, and slow tools, at moments that only the seed knows."""
    dice = random.Random(seed)

    async def do(call: ToolCall) -> str:
        await trio.sleep(dice.choice([0.0, 0.3, 3.0]))
        return "blue"

    steps: list[Step] = [
        "Alpha alpha. ",
        "Bravo. ",
        0.4,
        2.0,
        *calls("c1", ""),
        ProviderFailed("unknown", "m: no"),
    ]
    answers = [dice.choices(steps, k=dice.randrange(5)) for _ in range(12)]
    brain = ScriptBrain(*answers)
    options = AgentOptions(greeting="delta", guarded=dice.random() < 0.5, tools=(LOOK,))
    async with open_stage(brain, options, do) as stage:
        stage.voice.delay_s = dice.choice([0.0, 0.2])
        for _ in range(10):
            await trio.sleep(dice.uniform(0, 2.5))
            stage.voice.stalls = dice.choice([0, 0, 0, 1, 2])
            stage.voice.fails = dice.random() < 0.1
            if dice.random() < 0.1:
                stage.ears.breaks()
            if dice.random() < 0.5:
                await stage.say("hello", dice.uniform(0.05, 0.8))
            else:
                await stage.noise(dice.uniform(0.02, 0.8))
        await trio.sleep(60)
        stage.voice.stalls, stage.voice.fails = 0, False
        brain.answer_from_now_on("charlie.")
        await stage.say("are you there")
        answer = await stage.until(AgentResponse, len(stage.all(AgentResponse)) + 1)
        assert answer["text"] == "charlie."
        for line in brain.asked[-1]:
            ids = [call.id for call in line.calls]
            at = brain.asked[-1].index(line)
            assert [result.call_id for result in brain.asked[-1][at + 1 : at + 1 + len(ids)]] == ids
    assert len(stage.all(AgentTurn)) == len({turn["turn"] for turn in stage.all(AgentTurn)})


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 48_000])
async def test_a_voice_at_an_odd_rate_is_heard_for_as_long_as_it_says(
    autojump_clock: MockClock, rate_hz: int
) -> None:
    async with open_stage(
        ScriptBrain(["alpha bravo"]), prepare=lambda s: setattr(s.voice, "rate_hz", rate_hz)
    ) as stage:
        await stage.say("hello")
        turn = await stage.until(AgentTurn)
        assert abs(turn["played_ms"] - 600 * 24_000 / rate_hz) <= 40
        assert (turn["heard"], stage.all(AgentError)) == ("alpha bravo", [])


@pytest.mark.parametrize("rate_hz", [0, -1, 1, 10**9])
async def test_a_voice_at_an_impossible_rate_is_one_event(autojump_clock: MockClock, rate_hz: int) -> None:
    async with open_stage(
        ScriptBrain(["alpha"]), prepare=lambda s: setattr(s.voice, "rate_hz", rate_hz)
    ) as stage:
        for count in (1, 2):
            await stage.say("hello")
            await stage.until(AgentTurn, count)
        (error,) = stage.all(AgentError)
        assert (error["part"], error["category"]) == ("voice", "permanent_input")
        assert TONE_HZ in stage.heard


@pytest.mark.parametrize("text", ["\ud800 hello", "x" * 1_000_000, "\x00", "word " * 100_000])
async def test_whatever_a_transcript_holds_it_is_bounded_text(autojump_clock: MockClock, text: str) -> None:
    brain = ScriptBrain(["alpha"])
    async with open_stage(brain) as stage:
        await stage.say(text)
        await stage.until(AgentTurn)
        (told,) = stage.all(AgentUserTranscript)
        assert len(told["text"].encode()) <= 65_536
        assert brain.asked[0][-1].text == told["text"]
