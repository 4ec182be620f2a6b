"""`VB_<PROVIDER>_BASE_URL` leads every request of a provider to another place, whatever it asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.media.support import inline
from tests.support.web import local_web
from tests.tts.codecs import FakeOutside, voice
from vb.config import Config
from vb.errors import ConfigError
from vb.storage.sigv4 import Credentials
from vb.stt.azure import azure
from vb.stt.base import Options, Stamps
from vb.stt.deepgram import deepgram
from vb.stt.deepgram_flux import deepgram_flux
from vb.stt.elevenlabs import elevenlabs
from vb.stt.tasks.providers import transcript_providers
from vb.tts.aws import PollyVoices
from vb.tts.azure import AzureVoices
from vb.tts.deepgram import DeepgramVoices
from vb.tts.elevenlabs import ElevenLabsVoices
from vb.tts.google import GoogleVoices
from vb.tts.http import HttpVoices
from vb.tts.stream import StreamedVoices
from vb.tts.tasks.catalog import asked_providers

NAMES = ("ELEVENLABS", "DEEPGRAM", "AZURE", "AWS", "GOOGLE")
PLACES = (
    ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ("https://speech.example/", "https://speech.example"),
    ("https://speech.example/a/b//", "https://speech.example/a/b"),
    ("HTTPS://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443/a"),
)
KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
KEY = "AKID:secret"  # as Amazon's has to be; others take any
VOICE = "21m00Tcm4TlvDq8ikWAM"
STAMPS = Stamps(new_id=lambda: "0" * 32, utc_now=lambda: "2026-01-01T00:00:00.000Z")


def config_at(place: str) -> Config:
    return Config.from_env({**KEYS, **{f"VB_{name}_BASE_URL": place for name in NAMES}})


def codecs(config: Config) -> list[HttpVoices]:
    return [
        ElevenLabsVoices(config.elevenlabs),
        PollyVoices(config.aws, config.s3),
        GoogleVoices(config.google),
        DeepgramVoices(config.deepgram),
        AzureVoices(config.azure),
    ]


@pytest.mark.parametrize(("given", "base"), PLACES)
async def test_voices_are_asked_where_the_setting_says(given: str, base: str) -> None:
    config = config_at(given)
    outside = FakeOutside(own=Credentials("AKID", "secret", ""))
    paths = {}
    for codec in codecs(config):
        asked = codec.check(voice(VOICE, api_key=KEY))
        request = await codec.request("hello", replace(asked, language="en-US"), outside)
        assert request.url.startswith(f"{base}/"), codec.name
        paths[codec.name] = request.url[len(base) :].partition("?")[0]
    assert paths == {
        "elevenlabs": f"/v1/text-to-speech/{VOICE}/stream",
        "aws": "/v1/speech",
        "google": "/v1/text:synthesize",
        "deepgram": "/v1/speak",
        "azure": "/cognitiveservices/v1",
    }
    assert {*paths, "local"} == {*asked_providers(config, local_web(), inline, lambda: 0.5), "local"}


@pytest.mark.parametrize(("given", "base"), PLACES)
async def test_sockets_are_opened_where_the_setting_says(given: str, base: str) -> None:
    config = config_at(given)
    place = base.replace("http", "ws", 1)
    streamed: list[StreamedVoices] = [ElevenLabsVoices(config.elevenlabs), DeepgramVoices(config.deepgram)]
    urls = [(await each.stream(each.check(voice(VOICE)), FakeOutside())).dial().url for each in streamed]
    services = [elevenlabs(config.elevenlabs), deepgram(config.deepgram), deepgram_flux(config.deepgram)]
    services.append(azure(config.azure))
    urls += [each.codec(Options(), "k", STAMPS).dial().url for each in services]
    assert [url.startswith(f"{place}/") for url in urls] == [True] * 6
    known = [provider.name for provider in transcript_providers(config, local_web())]
    assert known == [each.name for each in services]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "place", ["speech.example", "ftp://speech.example", "http://", "https://h/?a=b", "https://h#x"]
)
def test_what_is_no_base_url_ends_the_start(name: str, place: str) -> None:
    with pytest.raises(ConfigError, match=f"VB_{name}_BASE_URL"):
        Config.from_env({f"VB_{name}_BASE_URL": place})
