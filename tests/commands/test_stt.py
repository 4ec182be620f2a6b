"""Transcripts as clients ask for them: what is looked at first, and what is answered."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from pydantic import SecretStr
from trio.testing import MockClock

from tests.stt.scripted import Mouth, settle
from tests.support.engine import Client, Observed, open_engine
from vb.config import Config
from vb.config.providers import DeepgramConfig
from vb.errors import Conflict, NotFound

KEYED = Config(deepgram=DeepgramConfig(api_key=SecretStr("k")))


def speaking_leg(observed: Observed, leg_id: str) -> None:
    """A connected leg with a port that taps can be put on."""
    observed.leg(leg_id).port = Mouth()  # type: ignore[assignment]  # all that a transcriber needs of a port


@pytest.mark.parametrize("owner", ["legs", "rooms"])
@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (None, 503, "no elevenlabs API key provided"),
        ({}, 503, "no elevenlabs API key provided"),
        ({"eot_threshold": 5}, 503, "no elevenlabs API key provided"),
        ({"provider": "nope"}, 503, "no nope API key provided"),
        ({"provider": "nope", "api_key": "x"}, 400, "provider: knows"),
        ({"provider": "deepgram", "eot_threshold": 0.5}, 400, "eot_threshold: deepgram has no such option"),
        ({"provider": "deepgram_flux", "eot_threshold": 5}, 400, "eot_threshold: must be from 0 to 1"),
        ({"provider": "deepgram", "partial": "x"}, 400, "partial: "),
        ({"provider": 7}, 400, "provider: "),
        ({"provider": "deepgram"}, 404, ""),
    ],
)
async def test_keys_come_before_options_and_options_before_ids(
    owner: str, body: Any, status: int, error: str
) -> None:
    async with open_engine(KEYED) as observed:
        found, answer = await Client(observed).rest("POST", f"{owner}/x/stt", body)
        assert found == status
        assert answer["error"].startswith(error)


async def test_without_a_transcription_there_is_none_to_end() -> None:
    async with open_engine(KEYED) as observed:
        observed.leg("a")
        client = Client(observed)
        assert (await client.rest("DELETE", "legs/a/stt"))[0] == 404
        assert (await client.rest("POST", "legs/a/stt/finalize"))[0] == 404
        assert (await client.rest("DELETE", "rooms/r/stt"))[0] == 404


async def test_a_leg_without_media_or_on_hold_is_refused() -> None:
    async with open_engine(KEYED) as observed:
        leg = observed.leg("a")
        client = Client(observed)
        status, answer = await client.rest("POST", "legs/a/stt", {"provider": "deepgram"})
        assert (status, answer["error"]) == (409, "leg has no audio")
        leg.remote_hold = True
        status, answer = await client.rest("POST", "legs/a/stt", {"provider": "deepgram"})
        assert (status, answer["error"]) == (409, "leg must be connected, current state: held")


async def test_one_transcription_for_each_leg(autojump_clock: MockClock) -> None:
    async with open_engine(KEYED) as observed, trio.open_nursery() as nursery:
        speaking_leg(observed, "a")
        leg = observed.engine.legs.get("a")
        leg.slots.open_in(nursery)
        client = Client(observed)
        answer = await client.rest("POST", "legs/a/stt", {"provider": "deepgram"})
        assert answer == (200, {"status": "stt_started", "leg_id": "a"})
        with pytest.raises(Conflict, match="STT already running"):
            await client.command("leg_stt_start", id="a", provider="deepgram")
        await settle()
        assert await client.command("leg_stt_stop", id="a") == {"status": "stt_stopped"}
        with pytest.raises(NotFound):
            await client.command("leg_stt_stop", id="a")
        assert await client.command("leg_stt_start", id="a", provider="deepgram")
        await leg.slots.end()
        assert next(iter(observed.engine.transcripts.readings()))[2] == 0


async def test_an_empty_room_is_refused() -> None:
    async with open_engine(KEYED) as observed:
        client = Client(observed)
        await client.rest("POST", "rooms", {"id": "r"})
        status, answer = await client.rest("POST", "rooms/r/stt", {"provider": "deepgram"})
        assert (status, answer["error"]) == (409, "room has no participants")


async def test_who_names_nobody_learns_that_first() -> None:
    async with open_engine() as observed:
        client = Client(observed)
        for command in ("leg_stt_start", "room_stt_start"):
            with pytest.raises(NotFound):
                await client.command(command, id="")
