"""The providers of voices of a server: a line for each of them."""

from __future__ import annotations

from collections.abc import Callable

from vb.blocking import Blocking
from vb.config import Config
from vb.tts.aws import PollyVoices
from vb.tts.azure import AzureVoices
from vb.tts.base import Provider
from vb.tts.deepgram import DeepgramVoices
from vb.tts.elevenlabs import ElevenLabsVoices
from vb.tts.google import GoogleVoices
from vb.tts.http import HttpVoices
from vb.tts.stream import StreamedVoices
from vb.tts.tasks.asking import AskedProvider
from vb.tts.tasks.outside import SystemOutside
from vb.tts.tasks.streaming import StreamedProvider
from vb.web.tasks.client import WebClient


def asked_providers(
    config: Config, web: WebClient, disk: Blocking, draw: Callable[[], float]
) -> dict[str, Provider]:
    """Return the providers by HTTP, by name.

    Args:
        config: their keys and base URLs.
        web: the way out.
        disk: runs what blocks.
        draw: gives numbers from 0 to 1 at random.
    """

    def asked(codec: HttpVoices) -> Provider:
        return AskedProvider(codec, web, SystemOutside(codec.name, web, disk), draw)

    def streamed(codec: StreamedVoices) -> Provider:
        return StreamedProvider(codec, web, SystemOutside(codec.name, web, disk), draw)

    providers = (
        streamed(ElevenLabsVoices(config.elevenlabs)),
        asked(PollyVoices(config.aws, config.s3)),
        asked(GoogleVoices(config.google)),
        streamed(DeepgramVoices(config.deepgram)),
        asked(AzureVoices(config.azure)),
    )
    return {provider.name: provider for provider in providers}
