"""An agent beside every kind of leg: it hears that leg, is heard there, and ends with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.agents.provider import Conversation, Provider, loudness, open_provider, speech
from tests.integration.test_agents import attach, config_for, greet_elevenlabs, pipecat_audio, pipecat_heard
from tests.integration.test_agents import eleven_audio as elevenlabs_audio
from tests.integration.test_whatsapp import connect, tls, two_sides
from tests.support.browser import open_browser
from tests.support.phone import open_phone
from tests.support.program import open_program
from tests.support.world import Events, call_in, wait_for
from vb.agents.protobuf import read_fields, write_bytes
from vb.config import Config
from vb.server import Server, open_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

__all__ = ["tls"]  # a fixture of the module that calls over WhatsApp
READY = write_bytes(4, write_bytes(1, b'{"label":"rtvi-ai","type":"bot-ready","data":{}}'))


async def join(server: Server, provider: Provider, events: Events, leg_id: str) -> Conversation:
    """Attach a bot to a leg, which begins to speak."""
    await attach(server, "pipecat", leg_id, websocket_url=f"{provider.ws_url}/bot")
    conversation = await provider.next()
    await conversation.send(READY)
    await wait_for(events, "agent.connected", leg_id=leg_id)
    await conversation.send(pipecat_audio(speech(900, 3.0), 16000))
    return conversation


async def ends(server: Server, events: Events, leg_id: str) -> None:
    """The agent ends with its leg, and before it."""
    await server.call("delete_leg", id=leg_id)
    assert (await wait_for(events, "agent.disconnected", leg_id=leg_id))["reason"] == "leg_ended"
    await wait_for(events, "leg.disconnected", leg_id=leg_id)


async def test_beside_a_program(tmp_path: Path) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        with server.events() as events:
            async with open_program(f"{server.url}/v1/legs/websocket") as program:
                leg_id = (await program.frame("connected"))["leg_id"]
                conversation = await join(server, provider, events, leg_id)
                await program.talk(500, 1.2)
                assert loudness(pipecat_heard(conversation, 20), 500) > 0.05
                assert program.level(900) > 0.05
                await ends(server, events, leg_id)


async def test_beside_a_browser(tmp_path: Path) -> None:
    async with (
        open_provider() as provider,
        open_server(config_for(provider, tmp_path)) as server,
        open_browser(1000) as browser,
    ):
        with server.events() as events:
            leg_id = await browser.call(server)
            await wait_for(events, "leg.connected", leg_id=leg_id)
            conversation = await join(server, provider, events, leg_id)
            await browser.hear(60)
            assert browser.leg.heard_pitch_hz() == pytest.approx(900, abs=15)
            assert loudness(pipecat_heard(conversation, 20), 1000) > 0.05
            await ends(server, events, leg_id)


async def test_beside_calls_over_whatsapp_both_ways(tls: Config) -> None:
    reach = tls.server.model_copy(update={"fetch_allow": ("127.0.0.0/8",)})
    async with (
        open_provider() as provider,
        two_sides(tls.model_copy(update={"server": reach})) as (ours, theirs, stack),
    ):
        await connect(ours, theirs)
        bots = [await join(side.server, provider, side.events, side.leg_id) for side in (ours, theirs)]
        phone = await theirs.in_room(stack, 500)
        await phone.hear(40)
        assert phone.tones(10) == {900}
        heard = pipecat_heard(bots[0], 20)
        assert loudness(heard, 900) + loudness(heard, 500) > 0.05
        await ends(ours.server, ours.events, ours.leg_id)
        assert (await theirs.told("agent.disconnected"))["reason"] == "leg_ended"


async def test_a_lost_connection_has_a_category_and_is_told_once(tmp_path: Path) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        with server.events() as events:
            async with open_phone(500) as phone:
                leg_id = await call_in(server, phone, events)
                await attach(server, "elevenlabs", leg_id, agent_id="a1")
                conversation = await greet_elevenlabs(provider)
                await wait_for(events, "agent.connected")
                await conversation.send(elevenlabs_audio(speech(900, 1.0), 1))
                await conversation.stream.aclose()
                over = await wait_for(events, "agent.disconnected", leg_id=leg_id)
                assert (over["reason"], over["category"]) == ("connection_lost", "retryable")
                await phone.hear(10)


async def test_a_bot_that_does_not_judge_is_interrupted_by_the_users_speech(tmp_path: Path) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        with server.events() as events:
            async with open_phone(500) as phone:
                phone.loud = False
                leg_id = await call_in(server, phone, events)
                url = f"{provider.ws_url}/bot"
                await attach(server, "pipecat", leg_id, websocket_url=url, interruption_ms=200)
                conversation = await provider.next()
                await conversation.send(READY)
                await wait_for(events, "agent.connected", leg_id=leg_id)
                await conversation.send(pipecat_audio(speech(900, 5.0), 16000))
                await phone.hear(30)
                assert phone.tones(10) == {900}
                phone.loud = True
                cut = await wait_for(events, "agent.interrupted", leg_id=leg_id)
                assert 200 < cut["played_ms"] < 3000
                await until_interrupted(conversation)
                await conversation.send(pipecat_audio(speech(900, 1.0), 16000))  # it was on its way
                await phone.hear(20)
                assert phone.tones(10) == set()
                await conversation.send(write_bytes(5, b""))
                phone.loud = False
                await conversation.send(pipecat_audio(speech(1300, 1.0), 16000))
                await phone.hear(30)
                assert phone.tones(10) == {1300}


async def until_interrupted(conversation: Conversation) -> None:
    """Wait for an InterruptionFrame."""
    with trio.fail_after(5):
        while not any(kind == 5 for data in conversation.binaries for kind, _ in read_fields(data)):  # noqa: ASYNC110
            await trio.sleep(0.01)
