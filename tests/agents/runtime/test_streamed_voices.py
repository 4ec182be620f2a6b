"""An agent whose voice takes text over a WebSocket: what is heard, and what is known of it when it is cut."""

from __future__ import annotations

import pytest
import trio

from conformance.peers.voice_services import KEY, VOICE
from conformance.peers.voice_streams import Plan, open_voice_streams
from tests.agents.runtime.stage import ScriptBrain, Step, open_stage
from tests.media.support import inline, sine
from tests.support.web import local_web
from tests.tts.codecs import voice as voice_of
from tests.tts.mock import Fail, Speak, open_mock
from tests.tts.stage import config_for
from vb.events.agent import AgentError, AgentTurn
from vb.tts.tasks.catalog import asked_providers

ANSWER = "One two three. Four five six. "
LONG = "Alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november. "


async def turn(
    name: str, plan: Plan, answer: list[Step], cut_after_s: float | None = None
) -> dict[str, object]:
    """Have a question answered, interrupt it perhaps, and return what the agent tells of its turn."""
    async with open_voice_streams() as streams:
        streams.plans = [plan, Plan()]
        web = local_web(["127.0.0.1/32"])
        provider = asked_providers(config_for(streams.url), web, inline, lambda: 0.5)[name]
        voice = provider.check(voice_of(VOICE, api_key=KEY, model_id=provider.capabilities.live_model))
        async with open_stage(ScriptBrain(answer), speaker=(provider, voice)) as stage:
            await stage.say("hello")
            if cut_after_s is not None:
                with trio.fail_after(10):
                    while not any(stage.heard):  # noqa: ASYNC110 - what a test hears rings no bell
                        await trio.sleep(0.01)
                await trio.sleep(cut_after_s)
                await stage.noise(1.0)
            found = await stage.until(AgentTurn, within_s=20)
            assert stage.all(AgentError) == []
        await web.aclose()
        models = {each.query.get("model_id") for each in streams.connections}
        assert models == ({"eleven_flash_v2_5"} if name == "elevenlabs" else {None})
        return {**found, "connections": len(streams.connections)}


@pytest.mark.parametrize("name", ["elevenlabs", "deepgram"])
async def test_an_answer_is_spoken_over_one_connection(name: str) -> None:
    told = await turn(name, Plan(), ["One two ", "three. Four five ", "six. "])
    assert (told["heard"], told["interrupted"], told["connections"]) == (ANSWER.strip(), False, 1)


@pytest.mark.parametrize("fault", ["mute", "close", "abort"])
async def test_a_voice_that_fails_before_it_is_heard_is_asked_again(fault: str) -> None:
    told = await turn("elevenlabs", Plan(fault=fault, at=1), [ANSWER])  # type: ignore[arg-type]  # a parameter
    assert (told["heard"], told["connections"]) == (ANSWER.strip(), 2)


async def test_where_no_socket_opens_sentences_are_asked_for_by_http() -> None:
    async with open_mock() as mock:
        tone = sine(600, 16_000, 0.2).tobytes()
        mock.plan(Fail(404), Speak(tone), Speak(tone))
        web = local_web(["127.0.0.1/32"])
        provider = asked_providers(config_for(mock.url), web, inline, lambda: 0.5)["elevenlabs"]
        voice = provider.check(voice_of(VOICE, api_key=KEY))
        async with open_stage(ScriptBrain([ANSWER]), speaker=(provider, voice)) as stage:
            await stage.say("hello")
            told = await stage.until(AgentTurn, within_s=20)
            assert stage.all(AgentError) == []
        await web.aclose()
    assert told["heard"] == ANSWER.strip()
    assert [request.method for request in mock.requests] == ["GET", "POST", "POST"]


async def test_of_a_cut_answer_the_words_that_were_heard_are_known() -> None:
    told = await turn("elevenlabs", Plan(), [LONG], cut_after_s=0.2)
    heard = str(told["heard"])
    assert told["interrupted"] is True
    assert LONG.startswith(heard)
    assert 0 < len(heard) < len(LONG) - 10
