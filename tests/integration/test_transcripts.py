"""Transcripts with real sockets: a service that hears tones as words, legs that say them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from pydantic import SecretStr

from conformance.peers.stt_service import KEY, Plan, SttService, open_stt_service
from conformance.peers.stt_words import WORDS
from tests.support.browser import open_browser
from tests.support.phone import open_phone
from tests.support.program import Program, open_program, tone
from tests.support.world import Events, call_in, rest_of, wait_for
from vb.commands.registry import dump
from vb.config import Config
from vb.errors import Conflict, NotAvailable, NotFound
from vb.server import Server, open_server

pytestmark = pytest.mark.integration

PROVIDERS = ("deepgram", "deepgram_flux", "elevenlabs", "azure")
_TONES = {word: hz for hz, word in WORDS.items()}


def with_service(config: Config, service: SttService) -> Config:
    """Settings with which every provider is the service."""
    key = SecretStr(KEY)
    return config.model_copy(
        update={
            name: getattr(config, name).model_copy(update={"api_key": key, "base_url": service.url})
            for name in ("deepgram", "elevenlabs", "azure")
        }
    )


async def speak(program: Program, words: str, *, pause_s: float = 0.5) -> None:
    """Say words in real time, 160 ms each, and be silent after them."""
    rate_hz = program.rate_hz
    pcm = b"".join(tone(_TONES[word], rate_hz, 0.16) for word in words.split())
    pcm += bytes(2 * round(rate_hz * pause_s))
    size = rate_hz // 50 * 2
    begun = trio.current_time()
    for number, start in enumerate(range(0, len(pcm), size)):
        await trio.sleep_until(begun + number * 0.02)
        await program.say(pcm[start : start + size])


class Scene:
    """A server, a service and what the server tells."""

    def __init__(self, server: Server, service: SttService, events: Events, nursery: trio.Nursery) -> None:
        self.server = server
        self.service = service
        self.events = events
        self._nursery = nursery

    async def leg(self, query: str = "", *, rate_hz: int = 16000) -> tuple[Program, str]:
        """A program that is a leg."""

        async def keep(*, task_status: trio.TaskStatus[Program]) -> None:
            url = f"{self.server.url}/v1/legs/websocket?{query}&sample_rate={rate_hz}"
            async with open_program(url, rate_hz=rate_hz) as program:
                task_status.started(program)
                await program.closed.wait()

        program: Program = await self._nursery.start(keep)
        welcome = await program.frame("connected")
        await wait_for(self.events, "leg.connected", leg_id=welcome["leg_id"])
        return program, welcome["leg_id"]

    async def hang_up(self, program: Program, leg_id: str) -> list[dict[str, Any]]:
        """End a leg; returns what is told up to its end."""
        await self.server.call("delete_leg", id=leg_id)
        found: list[dict[str, Any]] = []
        with trio.fail_after(5):
            while True:
                found.append((await self.events.get()).as_dict())
                if found[-1]["type"] == "leg.disconnected" and found[-1]["leg_id"] == leg_id:
                    return found


@asynccontextmanager
async def scene(config: Config) -> AsyncIterator[Scene]:
    async with open_stt_service() as service, open_server(with_service(config, service)) as server:
        with server.events() as events:
            async with trio.open_nursery() as nursery:
                yield Scene(server, service, events, nursery)
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_words_that_a_leg_says_are_told(config: Config, provider: str) -> None:
    async with scene(config) as at:
        program, leg_id = await at.leg()
        answer = await at.server.call(
            "leg_stt_start", id=leg_id, provider=provider, language="en", partial=True
        )
        assert dump(answer) == {"status": "stt_started", "leg_id": leg_id}
        await speak(program, "alpha bravo charlie")
        partial = await wait_for(at.events, "stt.text", leg_id=leg_id, is_final=False)
        assert "room_id" not in partial
        final = await wait_for(at.events, "stt.text", leg_id=leg_id, is_final=True)
        assert final["text"] == "alpha bravo charlie"
        if provider != "elevenlabs":
            assert final["audio_end_ms"] - final["audio_start_ms"] == pytest.approx(480, abs=60)
        await at.server.call("leg_stt_stop", id=leg_id)
        (heard,) = at.service.connections
        block = {"deepgram_flux": 2560, "elevenlabs": 3200}.get(provider, 1280)
        assert set(heard.sizes[1:-1]) == {block}
        assert heard.sizes[0] <= block
        await heard.closed.wait()
        with pytest.raises(NotFound):
            await at.server.call("leg_stt_stop", id=leg_id)


# -- rooms -------------------------------------------------------------------------------------------------


async def test_everybody_in_a_room_is_heard_apart(config: Config) -> None:
    async with scene(config) as at:
        (one, one_id), (other, other_id) = await at.leg("room_id=r"), await at.leg("room_id=r")
        answer = dump(await at.server.call("room_stt_start", id="r", provider="deepgram"))
        assert answer == {"status": "stt_started", "room_id": "r", "leg_ids": [one_id, other_id]}
        with pytest.raises(Conflict):
            await at.server.call("room_stt_start", id="r", provider="deepgram")
        late, late_id = await at.leg("room_id=r")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak, one, "alpha bravo")
            nursery.start_soon(speak, other, "charlie delta")
            nursery.start_soon(speak, late, "echo foxtrot")
        texts = [event for event in await rest_of(at.events) if event["type"] == "stt.text"]
        assert {(text["leg_id"], text["room_id"], text["text"]) for text in texts} == {
            (one_id, "r", "alpha bravo"),
            (other_id, "r", "charlie delta"),
            (late_id, "r", "echo foxtrot"),
        }
        assert len(texts) == 3
        await at.server.call("remove_leg_from_room", room_id="r", leg_id=one_id)
        await at.service.until_open(2)
        await speak(one, "golf hotel")
        assert "stt.text" not in {event["type"] for event in await rest_of(at.events)}
        await at.server.call("room_stt_stop", id="r")
        await at.service.until_open(0)
        with pytest.raises(NotFound):
            await at.server.call("room_stt_stop", id="r")
        await at.leg("room_id=r")
        assert len(at.service.connections) == 3


async def test_the_transcription_of_a_room_is_over_when_all_have_left(config: Config) -> None:
    async with scene(config) as at:
        await at.server.call("create_room", id="r")
        with pytest.raises(Conflict):
            await at.server.call("room_stt_start", id="r", provider="deepgram")
        program, leg_id = await at.leg("room_id=r")
        await at.server.call("room_stt_start", id="r", provider="deepgram")
        await at.service.connection(0)
        await at.hang_up(program, leg_id)
        await at.service.until_open(0)
        await at.leg("room_id=r")
        await rest_of(at.events)
        assert len(at.service.connections) == 1
        await at.server.call("room_stt_start", id="r", provider="deepgram")
        await at.service.connection(1)


async def test_the_deletion_of_a_room_tells_the_last_words_first(config: Config) -> None:
    async with scene(config) as at:
        program, _ = await at.leg("room_id=r")
        await at.server.call("room_stt_start", id="r", provider="deepgram")
        await speak(program, "alpha bravo", pause_s=0)
        await at.server.call("delete_room", id="r")
        told = [event["type"] for event in await rest_of(at.events)]
        assert told.index("stt.text") < told.index("room.deleted") < told.index("leg.disconnected")


# -- legs --------------------------------------------------------------------------------------------------


async def test_a_leg_is_heard_wherever_it_goes(config: Config) -> None:
    async with scene(config) as at:
        program, leg_id = await at.leg(rate_hz=8000)
        await at.server.call("create_room", id="wide", sample_rate=48000)
        await at.server.call("leg_stt_start", id=leg_id, provider="deepgram")
        await speak(program, "alpha")
        await at.server.call("add_leg_to_room", room_id="wide", leg_id=leg_id)
        await speak(program, "bravo")
        await at.server.call("add_leg_to_room", room_id="other", leg_id=leg_id)
        await speak(program, "charlie")
        await at.server.call("remove_leg_from_room", room_id="other", leg_id=leg_id)
        await speak(program, "delta")
        texts = [event for event in await rest_of(at.events) if event["type"] == "stt.text"]
        assert [text["text"] for text in texts] == ["alpha", "bravo", "charlie", "delta"]
        assert all("room_id" not in text for text in texts)
        assert len(at.service.connections) == 1


async def test_a_muted_leg_is_still_heard_by_its_transcription(config: Config) -> None:
    async with scene(config) as at:
        program, leg_id = await at.leg("room_id=r")
        await at.server.call("mute_leg", id=leg_id)
        await at.server.call("leg_stt_start", id=leg_id, provider="deepgram")
        await at.server.call("room_stt_start", id="r", provider="deepgram_flux")
        await speak(program, "alpha bravo")
        texts = [event for event in await rest_of(at.events) if event["type"] == "stt.text"]
        assert sorted((text.get("room_id") or "", text["text"]) for text in texts) == [
            ("", "alpha bravo"),
            ("r", "alpha bravo"),
        ]


async def test_a_phone_is_heard_and_its_last_word_comes_before_its_end(config: Config) -> None:
    async with scene(config) as at, open_phone(550) as phone:
        leg_id = await call_in(at.server, phone, at.events)
        await at.server.call("leg_stt_start", id=leg_id, provider="deepgram", partial=True)
        partial = await wait_for(at.events, "stt.text", leg_id=leg_id, is_final=False)
        assert partial["text"] == "bravo"
        await at.server.call("delete_leg", id=leg_id)
        final = await wait_for(at.events, "stt.text", leg_id=leg_id, is_final=True)
        assert final["text"] == "bravo"
        await wait_for(at.events, "leg.disconnected", leg_id=leg_id)


async def test_a_second_transcription_of_a_leg_is_refused(config: Config) -> None:
    async with scene(config) as at, open_phone(550) as phone:
        leg_id = await call_in(at.server, phone, at.events)
        await at.server.call("leg_stt_start", id=leg_id, provider="deepgram")
        with pytest.raises(Conflict, match="STT already running"):
            await at.server.call("leg_stt_start", id=leg_id, provider="azure")


@pytest.mark.parametrize("provider", ["deepgram", "deepgram_flux", "elevenlabs"])
async def test_finalize_makes_what_was_said_final_at_once(config: Config, provider: str) -> None:
    async with scene(config) as at:
        at.service.pause_ms = 60_000
        program, leg_id = await at.leg()
        with pytest.raises(NotFound):
            await at.server.call("leg_stt_finalize", id=leg_id)
        await at.server.call("leg_stt_start", id=leg_id, provider=provider, partial=True)
        await speak(program, "alpha bravo", pause_s=0.1)
        answer = await at.server.call("leg_stt_finalize", id=leg_id)
        assert dump(answer) == {"status": "stt_finalized"}
        final = await wait_for(at.events, "stt.text", leg_id=leg_id, is_final=True)
        assert final["text"] == "alpha bravo"


async def test_azure_cannot_finalize(config: Config) -> None:
    async with scene(config) as at:
        _, leg_id = await at.leg()
        await at.server.call("leg_stt_start", id=leg_id, provider="azure")
        with pytest.raises(NotAvailable):
            await at.server.call("leg_stt_finalize", id=leg_id)


async def test_turns_are_told(config: Config) -> None:
    async with scene(config) as at:
        program, leg_id = await at.leg()
        await at.server.call("leg_stt_start", id=leg_id, provider="deepgram_flux", eager_eot_threshold=0.4)
        await speak(program, "alpha bravo")
        events = await rest_of(at.events)
        turns = [event for event in events if event["type"] == "stt.turn"]
        assert [turn["event"] for turn in turns] == [
            "start_of_turn",
            "update",
            "update",
            "eager_end_of_turn",
            "end_of_turn",
        ]
        assert turns[-1]["text"] == "alpha bravo"
        assert [word["word"] for word in turns[-1]["words"]] == ["alpha", "bravo"]


# -- faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "category"),
    [
        (Plan(status=401), "permanent_auth"),
        (Plan(status=429), "rate_limited"),
        (Plan(fault="garbage", after_ms=0), "retryable"),
    ],
)
async def test_a_dead_provider_is_told_once_and_the_call_lives(
    config: Config, plan: Plan, category: str
) -> None:
    async with scene(config) as at:
        at.service.plans = [plan]
        program, leg_id = await at.leg("room_id=r")
        await at.server.call("room_stt_start", id="r", provider="deepgram")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(program.talk, 333, 3.0)
            error = await wait_for(at.events, "stt.error", leg_id=leg_id, room_id="r")
            nursery.cancel_scope.cancel()
        assert error["category"] == category
        assert error["provider"] == "deepgram"
        assert error["error"].startswith("deepgram: ")
        assert KEY not in str(error)
        assert "stt.error" not in {event["type"] for event in await rest_of(at.events)}
        with pytest.raises(NotFound):
            await at.server.call("room_stt_stop", id="r")
        assert dump(await at.server.call("get_leg", id=leg_id))["state"] == "connected"


@pytest.mark.parametrize(
    ("provider", "fault"),
    [
        ("deepgram", "close"),
        ("deepgram", "abort"),
        ("deepgram", "garbage"),
        ("deepgram_flux", "close"),
        ("elevenlabs", "abort"),
        ("azure", "close"),
    ],
)
async def test_a_connection_that_breaks_in_mid_sentence_loses_nothing(
    config: Config, provider: str, fault: Any
) -> None:
    async with scene(config) as at:
        at.service.plans = [Plan(fault=fault, after_ms=400), Plan()]
        program, leg_id = await at.leg()
        await at.server.call("leg_stt_start", id=leg_id, provider=provider)
        await speak(program, "alpha bravo charlie delta")
        texts = [event["text"] for event in await rest_of(at.events, 0.8) if event["type"] == "stt.text"]
        words = " ".join(texts).split()
        # The word in which it broke may be heard in each half.
        assert list(dict.fromkeys(words)) == ["alpha", "bravo", "charlie", "delta"]
        assert len(words) <= 5
        first, second = at.service.connections
        said = bytes(first.audio + second.audio)
        assert len(said) <= at.server.engine.plane.statistics.ticks * 640


async def test_audio_that_a_half_open_connection_swallowed_is_sent_again(config: Config) -> None:
    async with scene(config) as at:
        at.service.plans = [Plan(fault="freeze", after_ms=20), Plan()]
        program, leg_id = await at.leg()
        await at.server.call("leg_stt_start", id=leg_id, provider="deepgram")
        await at.service.connection(0)
        await speak(program, "alpha bravo charlie", pause_s=5.0)
        final = await wait_for(at.events, "stt.text", leg_id=leg_id, is_final=True)
        assert final["text"].split()[-2:] == ["bravo", "charlie"]


@pytest.mark.parametrize("fault", ["freeze", "mute", "slow"])
async def test_the_end_of_a_leg_does_not_wait_for_a_provider_that_hangs(config: Config, fault: Any) -> None:
    async with scene(config) as at:
        at.service.plans = [Plan(fault=fault, after_ms=20)]
        program, leg_id = await at.leg()
        await at.server.call("leg_stt_start", id=leg_id, provider="deepgram")
        await speak(program, "alpha")
        begun = trio.current_time()
        await at.hang_up(program, leg_id)
        assert trio.current_time() - begun < 2.0
        assert not at.server.engine.transcripts._transcribers


async def test_neither_keys_nor_words_reach_the_log(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "vb")
    async with scene(config) as at:
        at.service.plans = [Plan(fault="close", after_ms=400), Plan(status=401)]
        program, leg_id = await at.leg()
        await at.server.call("leg_stt_start", id=leg_id, provider="deepgram", partial=True)
        await speak(program, "alpha bravo charlie")
        await wait_for(at.events, "stt.error", leg_id=leg_id)
    assert "transcription ended" in caplog.text
    assert KEY not in caplog.text
    above_debug = [each.getMessage() for each in caplog.records if each.levelno > logging.DEBUG]
    assert not [line for line in above_debug if "alpha" in line]


async def test_a_browser_is_heard(config: Config) -> None:
    async with scene(config) as at, open_browser(550) as browser:
        leg_id = await browser.call(at.server)
        await wait_for(at.events, "leg.connected", leg_id=leg_id)
        await at.server.call("leg_stt_start", id=leg_id, provider="deepgram", partial=True)
        partial = await wait_for(at.events, "stt.text", leg_id=leg_id, is_final=False)
        assert set(partial["text"].split()) == {"bravo"}
        await at.server.call("leg_stt_stop", id=leg_id)
        final = await wait_for(at.events, "stt.text", leg_id=leg_id, is_final=True)
        assert set(final["text"].split()) == {"bravo"}
