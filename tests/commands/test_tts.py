"""Commands that speak: what they refuse, by which status, and that they do so alike everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.engine import Client, Observed, open_engine
from tests.tts.stage import config_for
from vb.errors import BadRequest

GOOD = {"text": "hello", "voice": "Rachel"}


@pytest.fixture
async def observed() -> AsyncIterator[Observed]:
    """An engine with keys, whose providers are not there."""
    async with open_engine(config_for("http://127.0.0.1:1")) as engine:
        yield engine


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"text": None}, "text"),
    ({"text": ""}, "text"),
    ({"text": " \n\x00"}, "text"),
    ({"text": 5}, "text"),
    ({"text": "a" * 20_001}, "text"),
    ({"voice": None}, "voice"),
    ({"voice": ""}, "voice"),
    ({"voice": "a\r\nb"}, "voice"),
    ({"voice": "a" * 257}, "voice"),
    ({"model_id": "a\0"}, "model_id"),
    ({"language": "en\n"}, "language"),
    ({"volume": 9}, "volume"),
    ({"volume": -9}, "volume"),
    ({"volume": "1"}, "volume"),
    ({"provider": "nobody"}, "provider"),
    ({"provider": 1}, "provider"),
    ({"prompt": "warmly"}, "prompt"),
    ({"provider": "google", "api_key": "k", "prompt": "a" * 4_001}, "prompt"),
    ({"provider": "aws", "model_id": "loud"}, "model_id"),
    ({"provider": "aws", "api_key": "AKID"}, "api_key"),
    ({"api_key": "a\r\nX: y"}, "api_key"),
    ({"api_key": "kéy"}, "api_key"),
    ({"overlap": "yes"}, "overlap"),
]


async def test_a_wrong_field_is_named_everywhere(observed: Observed) -> None:
    client = Client(observed)
    observed.leg("a")
    observed.engine.rooms.open("r")
    for change, field in REFUSED:
        for path in ("legs/a/tts", "legs/a/tts/preflight", "rooms/r/tts"):
            status, answer = await client.rest("POST", path, {**GOOD, **change})
            named = answer["error"].split(":")[0].split(" ")[0]
            assert (path, change, status, named) == (path, change, 400, field)
        for name, owner in (("leg_tts", "a"), ("room_tts", "r"), ("leg_tts_preflight", "a")):
            with pytest.raises(BadRequest):
                await client.command(name, id=owner, **{**GOOD, **change})


async def test_statuses_have_an_order(observed: Observed) -> None:
    client = Client(observed)
    observed.engine.rooms.open("r")
    assert (await client.rest("POST", "legs/x/tts", {"text": ""}))[0] == 400
    assert (await client.rest("POST", "legs/x/tts", GOOD))[0] == 404
    assert (await client.rest("POST", "rooms/x/tts", GOOD))[0] == 404
    assert (await client.rest("POST", "legs/x/tts/preflight", GOOD))[0] == 404
    assert (await client.rest("POST", "rooms/r/tts", {**GOOD, "provider": "google"}))[0] == 503
    assert (await client.rest("POST", "rooms/r/tts", GOOD))[0] == 409
    assert (await client.rest("POST", "legs/x/tts/tts-1/commit"))[0] == 404
    assert (await client.rest("DELETE", "legs/x/tts/tts-1"))[0] == 404
    observed.leg("a")
    assert (await client.rest("POST", "legs/a/tts/tts-1/commit"))[0] == 404
    assert (await client.rest("DELETE", "legs/a/tts/tts-1"))[0] == 404


async def test_without_keys_it_is_503_and_says_so() -> None:
    async with open_engine() as observed:
        observed.leg("a")
        client = Client(observed)
        for provider in ("elevenlabs", "deepgram", "azure", "google"):
            status, answer = await client.rest("POST", "legs/a/tts", {**GOOD, "provider": provider})
            assert status == 503
            assert "API key" in answer["error"]
