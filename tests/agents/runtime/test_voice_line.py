"""The way to the voice: opened ahead of need, and not tried again and again where it does not open."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.agents.runtime.engines import SocketVoice
from tests.agents.runtime.stage import ScriptBrain, open_stage
from vb.agents.runtime.options import AgentOptions
from vb.agents.tasks.voice_line import KEPT_S, VoiceLine
from vb.events.agent import AgentError, AgentTurn
from vb.tts.base import Voice


def speaker(voice: SocketVoice) -> tuple[SocketVoice, Voice]:
    return voice, Voice("v")


async def test_a_socket_is_open_when_the_turn_is_over(autojump_clock: MockClock) -> None:
    for preemptive in (True, False):
        voice = SocketVoice(0.15)
        options = AgentOptions(preemptive=preemptive)
        async with open_stage(ScriptBrain(["alpha."]), options, speaker=speaker(voice)) as stage:
            await stage.say("hello")
            turn = await stage.until(AgentTurn)
            assert turn["first_heard_ms"] <= 420
            assert turn["heard"] == "alpha."
            assert len(voice.opened_at) == 1
            await trio.sleep(1)
            assert voice.opened == 0
        assert voice.opened == 0


async def test_a_socket_that_nobody_needed_waits_for_a_while(autojump_clock: MockClock) -> None:
    voice = SocketVoice(0.1)
    async with open_stage(ScriptBrain(["alpha."]), speaker=speaker(voice)) as stage:
        await stage.noise(0.5)  # nothing was said
        await trio.sleep(2.0)
        assert (voice.opened, len(voice.opened_at)) == (1, 1)
        await stage.say("hello")
        assert (await stage.until(AgentTurn))["heard"] == "alpha."
        assert len(voice.opened_at) == 1
        await stage.noise(0.5)
        await trio.sleep(KEPT_S + 2)
        assert (voice.opened, len(voice.opened_at)) == (0, 2)


async def test_sockets_that_do_not_open_are_tried_less_and_less(autojump_clock: MockClock) -> None:
    voice = SocketVoice(0.1, refuses=True)
    async with open_stage(ScriptBrain(["alpha."]), speaker=speaker(voice)) as stage:
        for number in range(40):
            await stage.say("hello")
            assert (await stage.until(AgentTurn, number + 1))["heard"] == "alpha."
            await trio.sleep(3)
        assert stage.all(AgentError) == []
    steps = [after - before for before, after in zip(voice.opened_at, voice.opened_at[1:], strict=False)]
    assert 3 <= len(voice.opened_at) <= 6
    assert steps == sorted(steps)


async def test_a_socket_that_hangs_costs_one_wait_and_no_other(autojump_clock: MockClock) -> None:
    voice = SocketVoice(3600)
    async with open_stage(ScriptBrain(["alpha."]), speaker=speaker(voice)) as stage:
        for number in range(3):
            await stage.say("hello")
            turn = await stage.until(AgentTurn, number + 1)
            assert turn["heard"] == "alpha."
            assert turn["took_ms"] < (4500 if number == 0 else 1000)
        assert len(voice.opened_at) == 1
    assert voice.opened == 0


async def test_once_a_socket_opens_the_next_failure_is_the_first_one_again(
    autojump_clock: MockClock,
) -> None:
    voice = SocketVoice(0.1, refuses=True)
    async with open_stage(ScriptBrain(["alpha."]), speaker=speaker(voice)) as stage:
        for number, refuses in enumerate((True, False, True, False)):
            voice.refuses = refuses
            await stage.say("hello")
            await stage.until(AgentTurn, number + 1)
            await trio.sleep(13)
    assert len(voice.opened_at) == 4


@pytest.mark.parametrize("known", [True, False])
async def test_a_socket_that_dies_while_it_waits_costs_the_answer_nothing(
    known: bool, autojump_clock: MockClock
) -> None:
    voice = SocketVoice(0.1)
    async with open_stage(ScriptBrain(["alpha."]), speaker=speaker(voice)) as stage:
        await stage.noise(0.5)
        await trio.sleep(2.0)
        assert len(voice.sessions) == 1
        voice.sessions[0].die(known=known)
        await stage.say("hello")
        assert (await stage.until(AgentTurn))["heard"] == "alpha."
        assert stage.all(AgentError) == []
        assert len(voice.sessions) == 2
    assert voice.opened == 0


async def test_a_socket_is_not_taken_while_it_closes(autojump_clock: MockClock) -> None:
    voice = SocketVoice(0.1)
    line = VoiceLine(voice, Voice("v"))
    async with trio.open_nursery() as nursery:
        voice.closes_s = 0.1
        line.prepare(nursery)
        await trio.sleep(0.1 + KEPT_S + 0.05)  # in the middle of its goodbye
        async with line.open(streamed=True) as session:
            assert session is voice.sessions[1]


async def test_what_waits_is_dropped_with_what_the_user_has_cut(autojump_clock: MockClock) -> None:
    async with open_stage(ScriptBrain(["echo."])) as stage:
        await stage.agent.say("alpha. " * 4, uninterruptible=True)
        await stage.agent.say("bravo. " * 20, uninterruptible=False)
        await stage.agent.say("charlie.", uninterruptible=False)
        await stage.until(AgentTurn)
        await trio.sleep(0.5)
        await stage.say("stop")  # while it says the second one
        await stage.until(AgentTurn, 3)
        await trio.sleep(2)
    assert not any("charlie" in said for said in stage.voice.said)
