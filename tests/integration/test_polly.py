"""Amazon Polly as a third party has it: moto, which checks signatures and fields."""

from __future__ import annotations

import pytest

from tests.integration.s3_server import Store, open_s3_server
from tests.media.support import inline
from tests.support.web import local_web
from tests.tts.stage import config_for
from vb.config import Config
from vb.providers.failure import ProviderFailed
from vb.tts.base import Audio, Voice
from vb.tts.tasks.catalog import asked_providers

pytestmark = pytest.mark.integration


async def _first(config: Config, voice: Voice) -> object:
    web = local_web(["127.0.0.1/32"])
    provider = asked_providers(config, web, inline, lambda: 0.5)["aws"]
    try:
        async with provider.open(provider.check(voice)) as session:
            await session.feed("hello")
            await session.finalize()
            return await session.receive()
    finally:
        await web.aclose()


def _config(store: Store, secret_key: str) -> Config:
    keys = {"access_key": store.access_key, "secret_key": secret_key}
    aws = {"base_url": store.endpoint, "region": "us-east-1"}
    return config_for(store.endpoint, s3=keys, aws=aws)


async def test_polly_answers_what_is_signed_and_refuses_what_is_not() -> None:
    async with open_s3_server() as store:
        said = await _first(_config(store, store.secret_key), Voice("Joanna", language="en-US"))
        assert isinstance(said, Audio)
        with pytest.raises(ProviderFailed) as failed:
            await _first(_config(store, "wrong"), Voice("Joanna"))
        assert failed.value.category == "permanent_auth"
        with pytest.raises(ProviderFailed) as failed:
            await _first(_config(store, store.secret_key), Voice("Nobody"))
        assert failed.value.category == "permanent_input"
