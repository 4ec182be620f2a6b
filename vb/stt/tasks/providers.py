"""The providers of transcripts of a server over WebSockets: a line for each of them."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from vb.config import Config
from vb.stt.azure import azure
from vb.stt.base import Provider, Stamps
from vb.stt.deepgram import deepgram
from vb.stt.deepgram_flux import deepgram_flux
from vb.stt.elevenlabs import elevenlabs
from vb.stt.tasks.websocket import WebSocketProvider
from vb.web.tasks.client import WebClient


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def transcript_providers(config: Config, web: WebClient) -> list[Provider]:
    """Return the providers of transcripts over WebSockets, in the order of `vb.stt.names`."""
    stamps = Stamps(new_id=lambda: os.urandom(16).hex(), utc_now=_utc_now)
    services = (
        elevenlabs(config.elevenlabs),
        deepgram(config.deepgram),
        deepgram_flux(config.deepgram),
        azure(config.azure),
    )
    return [WebSocketProvider(service, web, stamps) for service in services]
