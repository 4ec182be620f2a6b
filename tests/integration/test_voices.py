"""Voices on every kind of leg and in rooms, with a service that says a tone for each text."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from pydantic import SecretStr

from conformance.peers.voice_services import KEY, VOICE, VoiceServices, open_voice_services
from tests.support.browser import open_browser
from tests.support.phone import open_phone
from tests.support.program import Program, open_program
from tests.support.world import Events, call_in, rest_of, wait_for
from vb.commands.registry import dump
from vb.config import Config
from vb.server import Server, open_server

pytestmark = pytest.mark.integration


@asynccontextmanager
async def scene(config: Config) -> AsyncIterator[tuple[Server, VoiceServices, Events]]:
    async with open_voice_services() as services:
        changed = {
            name: getattr(config, name).model_copy(
                update={"api_key": SecretStr(KEY), "base_url": services.url}
            )
            for name in ("deepgram", "elevenlabs", "azure")
        }
        changed["google"] = config.google.model_copy(update={"base_url": services.url})
        async with open_server(config.model_copy(update=changed)) as server:
            with server.events() as events:
                yield server, services, events


@asynccontextmanager
async def program_leg(
    server: Server, events: Events, rate_hz: int, query: str = ""
) -> AsyncIterator[tuple[Program, str]]:
    url = f"{server.url}/v1/legs/websocket?{query}&sample_rate={rate_hz}"
    async with open_program(url, rate_hz=rate_hz) as program:
        welcome = await program.frame("connected")
        await wait_for(events, "leg.connected", leg_id=welcome["leg_id"])
        yield program, welcome["leg_id"]


async def hear(program: Program, hertz: float, within_s: float = 5.0) -> bool:
    """Wait until a program hears a tone."""
    with trio.move_on_after(within_s):
        while program.level(hertz) < 0.1:  # noqa: ASYNC110 - what is heard rings no bell
            await trio.sleep(0.02)
        return True
    return False


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 48000])
async def test_a_program_hears_a_text_at_its_own_rate(config: Config, rate_hz: int) -> None:
    async with (
        scene(config) as (server, _, events),
        program_leg(server, events, rate_hz) as (program, leg_id),
    ):
        answer = dump(await server.call("leg_tts", id=leg_id, text="600 hz 600 ms", voice=VOICE))
        await wait_for(events, "tts.started", tts_id=answer["tts_id"], leg_id=leg_id)
        assert await hear(program, 600)
        done = await wait_for(events, "tts.finished", tts_id=answer["tts_id"])
        assert (done["reason"], done["played_ms"]) == ("completed", 600)


async def test_a_browser_and_a_phone_hear_what_is_said_in_their_room(config: Config) -> None:
    async with (
        scene(config) as (server, services, events),
        open_phone(0) as phone,
        open_browser(0) as browser,
    ):
        leg_id = await browser.call(server)
        await server.call("add_leg_to_room", room_id="r", leg_id=leg_id)
        await wait_for(events, "leg.connected", leg_id=leg_id)
        await call_in(server, phone, events, "r")
        fields = {"language": "de-DE", "prompt": "softly", "provider": "google", "api_key": KEY}
        await server.call("room_tts", id="r", text="900 hz 2000 ms", voice="Kore", **fields)
        await wait_for(events, "tts.started", room_id="r")
        await phone.hear(40)
        await browser.hear(40)
        assert phone.tones() == {900}
        assert browser.leg.heard_pitch_hz() == pytest.approx(900, abs=20)
        asked = services.asked[-1]
        assert (asked.service, asked.language, asked.prompt) == ("google", "de-DE", "softly")


async def test_a_leg_that_joins_a_room_takes_what_is_said_to_it_along(config: Config) -> None:
    async with (
        scene(config) as (server, _, events),
        program_leg(server, events, 16000) as (one, one_id),
        program_leg(server, events, 16000, "room_id=r") as (other, _),
    ):
        await server.call("leg_tts", id=one_id, text="700 hz 3000 ms", voice=VOICE)
        assert await hear(one, 700)
        await server.call("add_leg_to_room", room_id="r", leg_id=one_id)
        one.heard = b""
        assert await hear(one, 700)
        assert other.level(700) < 0.01
        done = await wait_for(events, "tts.finished")
        assert (done["reason"], done["played_ms"]) == ("completed", 3000)


async def test_nothing_is_told_or_asked_after_the_end_of_a_leg(config: Config) -> None:
    async with scene(config) as (server, _, events), program_leg(server, events, 16000) as (_, leg_id):
        for text in ("stall", "500 hz 5000 ms", "500 hz 400 ms"):
            await server.call("leg_tts", id=leg_id, text=text, voice=VOICE, overlap=text == "500 hz 5000 ms")
        await wait_for(events, "tts.started")
        begun = trio.current_time()
        await server.call("delete_leg", id=leg_id)
        told = await rest_of(events, 0.5)
        kinds = [event["type"] for event in told]
        assert kinds[-1] == "leg.disconnected"
        assert kinds.count("tts.finished") == 3
        assert {event["reason"] for event in told if event["type"] == "tts.finished"} == {"stopped"}
        assert trio.current_time() - begun < 3.0


async def test_neither_keys_nor_texts_reach_the_log_or_the_events(
    config: Config, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    told = []
    async with scene(config) as (server, _, events), program_leg(server, events, 16000) as (_, leg_id):
        for provider in ("elevenlabs", "deepgram", "azure", "google"):
            for text in ("secret words 500 hz 100 ms", "secret words status 401", "secret words garbage"):
                fields = {"provider": provider, "api_key": f"{KEY}-wrong" if "401" in text else KEY}
                await server.call("leg_tts", id=leg_id, text=text, voice="en-US-JennyNeural", **fields)
        told = await rest_of(events, 1.0)
    said = capsys.readouterr()
    errors = [event["category"] for event in told if event["type"] == "tts.error"]
    assert errors.count("permanent_auth") == 4
    assert errors.count("unknown") >= 3
    everything = f"{told}{caplog.text}{said.out}{said.err}"
    assert KEY not in everything
    assert "secret words" not in everything
