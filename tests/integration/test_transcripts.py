"""Transcripts with real sockets: a service that hears tones as words, legs that say them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from pydantic import SecretStr

from conformance.peers.stt_service import KEY, Plan, SttService, open_stt_service
from conformance.peers.stt_words import WORDS
from tests.support.phone import Phone, open_phone
from tests.support.program import Program, open_program, tone
from tests.support.world import Events, call_in, rest_of, wait_for
from vb.config import Config
from vb.errors import BadRequest, Conflict, NotAvailable, NotFound, Unavailable, VbError
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
        assert answer.model_dump() == {"status": "stt_started", "leg_id": leg_id}
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
