"""Voices with real codecs over real HTTP, and a listener."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from pydantic import SecretStr

from tests.media.support import inline
from tests.support.ids import SequentialIds
from tests.support.web import local_web
from tests.tts.listener import Listener
from tests.tts.mock import Mock, open_mock
from vb.config import Config
from vb.playback.players import Players
from vb.playback.tasks.fetch import Fetcher
from vb.providers.backoff import Backoff
from vb.tts.base import Provider, Voice
from vb.tts.speech import Speech
from vb.tts.tasks.asking import AskedProvider
from vb.tts.tasks.cache import SpeechCache
from vb.tts.tasks.catalog import asked_providers
from vb.tts.tasks.voices import StagingLimits, Voices

KEY = "sk-very-secret"
QUICK = Backoff(first_s=0.001, cap_s=0.002, budget_s=5.0)


def config_for(url: str, **more: object) -> Config:
    """All providers at one address, with keys."""
    return Config.model_validate(
        {
            "elevenlabs": {"api_key": KEY, "base_url": url},
            "deepgram": {"api_key": KEY, "base_url": url},
            "azure": {"api_key": KEY, "base_url": url},
            "aws": {"base_url": url, "region": "eu-west-1"},
            "google": {"base_url": url},
            "s3": {"access_key": "AKIDEXAMPLE", "secret_key": KEY},
            **more,
        }
    )


@dataclass
class Stage:
    """What a test works with."""

    mock: Mock
    voices: Voices
    players: Players
    listener: Listener
    providers: dict[str, Provider]

    def speech(self, text: str = "hello", provider: str = "elevenlabs", **more: Any) -> Speech:
        fields = {"voice": "21m00Tcm4TlvDq8ikWAM", **more}
        volume, overlap = fields.pop("volume", 0), fields.pop("overlap", False)
        key = fields.pop("api_key", "")
        voice = Voice(api_key=SecretStr(key), **fields)
        found = self.providers[provider]
        return Speech(found, found.check(voice), text, volume, overlap)

    def speak(self, text: str = "hello", provider: str = "elevenlabs", **more: Any) -> str:
        return self.voices.speak(self.listener, self.speech(text, provider, **more))


@asynccontextmanager
async def open_stage(
    *,
    cache_dir: Path | None = None,
    cache_bytes: int = 1 << 20,
    with_api_key: bool = False,
    limits: StagingLimits | None = None,
    config: Config | None = None,
) -> AsyncIterator[Stage]:
    async with open_mock() as mock, trio.open_nursery() as nursery:
        web = local_web(["127.0.0.1/32"])
        providers = asked_providers(config or config_for(mock.url), web, inline, lambda: 0.5)
        for provider in providers.values():
            assert isinstance(provider, AskedProvider)
            provider.backoff = QUICK
        ids = SequentialIds()
        cache = None
        if cache_dir is not None:
            cache = SpeechCache(str(cache_dir), cache_bytes, with_api_key=with_api_key, disk=inline, ids=ids)
        players = Players(ids, Fetcher(web, blocking=inline), inline)
        voices = Voices(providers, ids=ids, players=players, cache=cache, limits=limits)
        listener = Listener()
        listener.slots.open_in(nursery)
        try:
            yield Stage(mock, voices, players, listener, providers)
        finally:
            await listener.slots.end()
            await web.aclose()
            nursery.cancel_scope.cancel()
