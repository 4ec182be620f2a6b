"""Random interruptions: each turn has a tone of its own, so that audio of another turn is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.agents.runtime.engines import TONES, WORD_MS, SocketVoice, TonesVoice
from tests.agents.runtime.stage import ScriptBrain, Stage, Step, open_stage
from vb.agents.audio import Mouth
from vb.agents.runtime.history import History
from vb.events.agent import AgentInterrupted, AgentResponse, AgentTurn
from vb.tts.base import Voice

NAMES = list(TONES)
WORDS = 8


@dataclass(frozen=True)
class Deed:
    """What the user does next.

    Attributes:
        wait_s: how long he listens.
        loud_s: how long he is heard then.
        understood: whether there are words in it.
    """

    wait_s: float
    loud_s: float
    understood: bool


DEEDS = st.lists(
    st.builds(
        Deed,
        wait_s=st.floats(0.0, 3.5).map(lambda s: round(s, 3)),
        loud_s=st.sampled_from([0.04, 0.1, 0.14, 0.24, 0.5]),
        understood=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


async def converse(
    deeds: Sequence[Deed], think_s: float, voice_s: float, waits_s: float, voice: TonesVoice | None
) -> None:
    """Hold a conversation, and look at every frame, event and line of it.

    Every answer is one word eight times, each the tone of its turn. What the user says is numbered, and has
    waited for its tick.
    """
    answers: list[list[Step]] = [[think_s, f"{NAMES[n % 4]} " * WORDS] for n in range(len(deeds) * 4 + 4)]
    brain = ScriptBrain(*answers)
    speaker = None if voice is None else (voice, Voice("v"))
    async with open_stage(brain, speaker=speaker) as stage:
        (voice or stage.voice).delay_s = voice_s
        stage.waits_s = waits_s
        await stage.say("go")
        for number, deed in enumerate(deeds):
            await trio.sleep(deed.wait_s)
            await stage.noise(deed.loud_s)
            if deed.understood:
                stage.ears.says(f"u{number}")
        await trio.sleep(20)
        await stage.say("last")
        await stage.until(AgentTurn, len(stage.all(AgentTurn)) + 1)
        assert stage.all(AgentTurn)[-1]["heard"].split() == [_word(stage)] * WORDS
        assert brain.asked[-1][-1].text == "last"
    _judge_turns(stage)
    _judge_sound(stage)
    _judge_history(brain)
    assert voice is None or voice.opened == 0


def _word(stage: Stage) -> str:
    return str(stage.all(AgentTurn)[-1]["text"]).split()[0]


def _judge_turns(stage: Stage) -> None:
    turns = stage.all(AgentTurn)
    assert [turn["turn"] for turn in turns] == list(range(1, len(turns) + 1))
    for turn in turns:
        assert turn["text"].startswith(turn["heard"])
        heard = len(turn["heard"].split())
        assert abs(heard * WORD_MS - turn["played_ms"]) <= WORD_MS
        assert turn["false_interruptions"] == len(turn["resumed_samples"])
        assert turn["resumed_samples"] == sorted(turn["resumed_samples"])
    cut = [turn["turn"] for turn in turns if turn["interrupted"] and turn["text"]]
    told = [event["turn"] for event in stage.all(AgentInterrupted)]
    assert set(told) >= set(cut) - {turns[-1]["turn"]}
    assert len(told) == len(set(told))
    assert [event["text"] for event in stage.all(AgentResponse)] == [
        turn["heard"] for turn in turns if turn["heard"]
    ]


def _judge_sound(stage: Stage) -> None:
    """What was heard is each turn's own tone, for just as long as it says, one turn after the other."""
    runs: list[list[int]] = []
    for hertz in stage.heard:
        if hertz and runs and runs[-1][0] == hertz:
            runs[-1][1] += 1
        elif hertz:
            runs.append([hertz, 1])
    expected: list[list[int]] = []
    for turn in stage.all(AgentTurn):
        frames = turn["played_ms"] / 20
        if frames:
            hertz = TONES[turn["text"].split()[0]]
            if expected and expected[-1][0] == hertz:
                expected[-1][1] += round(frames)
            else:
                expected.append([hertz, round(frames)])
    assert runs == expected


def _judge_history(brain: ScriptBrain) -> None:
    for lines in brain.asked:
        texts = [line.text for line in lines if line.role == "user"]
        assert len(texts) == len(set(texts))
        for line in lines:
            if line.role == "assistant":
                assert len(set(line.text.split())) == 1
                assert len(line.text.split()) <= WORDS


def _hold(
    deeds: Sequence[Deed],
    think_s: float = 0.3,
    voice_s: float = 0.1,
    waits_s: float = 0.0,
    voice: TonesVoice | None = None,
) -> None:
    clock = MockClock(autojump_threshold=0)
    trio.run(converse, deeds, think_s, voice_s, waits_s, voice, clock=clock)


THINKS = st.sampled_from([0.0, 0.3, 1.2])
WAITS = st.sampled_from([0.0, 0.013, 0.2])


@settings(max_examples=30, deadline=None)
@given(DEEDS, THINKS, st.sampled_from([0.0, 0.1, 0.7]), WAITS)
def test_whenever_the_user_interrupts_nothing_of_an_earlier_turn_is_heard_or_remembered(
    deeds: list[Deed], think_s: float, voice_s: float, waits_s: float
) -> None:
    _hold(deeds, think_s, voice_s, waits_s)


@settings(max_examples=20, deadline=None)
@given(DEEDS, THINKS, st.sampled_from([0.0, 0.3, 2.0]), st.booleans())
def test_nor_is_it_of_a_voice_whose_socket_opens_ahead_of_need(
    deeds: list[Deed], think_s: float, opens_s: float, refuses: bool
) -> None:
    _hold(deeds, think_s, voice=SocketVoice(opens_s, refuses=refuses))


FIVE = [Deed(1.5, 0.5, understood=True)] * 5


def test_five_interruptions_are_judged() -> None:
    _hold(FIVE)


def _keeps(self: Mouth, turn: int) -> bool:
    return False


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (Mouth, "interrupt", _keeps),
        (History, "add", lambda self, line: self.lines.append(line) or self.lines.append(line)),
    ],
)
def test_a_runtime_that_keeps_what_was_cut_does_not_pass(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, broken: object
) -> None:
    monkeypatch.setattr(owner, name, broken)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        _hold(FIVE)


def test_a_pause_that_loses_a_frame_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Mouth.take

    def losing(self: Mouth, rate_hz: int) -> object:
        if self.paused:
            self.paused = False
            take(self, rate_hz)
            self.paused = True
            return None
        return take(self, rate_hz)

    monkeypatch.setattr(Mouth, "take", losing)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        _hold([Deed(1.5, 0.14, understood=False)])
