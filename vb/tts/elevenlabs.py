"""ElevenLabs: voices by HTTP, and over a WebSocket in `vb.tts.elevenlabs_stream`.

Spec: ElevenLabs API, "Stream speech" and "List voices".
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from vb.config.providers import ElevenLabsConfig
from vb.providers.failure import ProviderFailed
from vb.providers.reading import ODD, words
from vb.tts.base import Capabilities, Voice
from vb.tts.elevenlabs_stream import BY_CODE, ElevenLabsStream
from vb.tts.http import RATE_HZ, HttpAnswer, HttpRequest, Outside, PlainBody, refused, with_key

NAME: Final = "elevenlabs"
DEFAULT_MODEL: Final = "eleven_multilingual_v2"
LIVE_MODEL: Final = "eleven_flash_v2_5"
_ID = re.compile(r"[A-Za-z0-9]{20}")
"""How the provider writes the ids of voices; anything else may be a name."""
_NAMES_FOR: Final = timedelta(minutes=10)
_MAX_NAMES: Final = 1_000


class ElevenLabsVoices:
    """The codec.

    Args:
        config: key and base URL.
    """

    name = NAME
    capabilities = Capabilities(streams_text=True, marks=True, max_text=5_000, live_model=LIVE_MODEL)

    def __init__(self, config: ElevenLabsConfig) -> None:
        self._config = config
        self._ids: dict[tuple[str, str], tuple[str, datetime]] = {}

    def check(self, voice: Voice) -> Voice:
        """Fill in the key and the model."""
        voice = with_key(voice, self._config.api_key, "ElevenLabs")
        return replace(voice, model_id=voice.model_id or DEFAULT_MODEL)

    async def request(self, text: str, voice: Voice, outside: Outside) -> HttpRequest:
        """Return the request for a text; a voice that is called by its name is looked up before."""
        voice_id = await self._voice_id(voice, outside)
        body: dict[str, Any] = {"text": text, "model_id": voice.model_id}
        if voice.language:
            body["language_code"] = voice.language.partition("-")[0].lower()
        return HttpRequest(
            "POST",
            f"{self._config.base_url}/v1/text-to-speech/{voice_id}/stream?output_format=pcm_{RATE_HZ}",
            {**_headers(voice), "Content-Type": "application/json", "Accept": "audio/*"},
            json.dumps(body).encode(),
        )

    async def stream(self, voice: Voice, outside: Outside) -> ElevenLabsStream:
        """Return the codec of a connection; a voice that is called by its name is looked up before."""
        return ElevenLabsStream(NAME, self._config.base_url, await self._voice_id(voice, outside), voice)

    async def _voice_id(self, voice: Voice, outside: Outside) -> str:
        """Return the id of a voice, fit for a URL."""
        if _ID.fullmatch(voice.voice):
            return voice.voice
        owner = hashlib.sha256(voice.api_key.get_secret_value().encode()).hexdigest()
        known = (owner, voice.voice.lower())
        found, until = self._ids.get(known, ("", outside.now()))
        if until > outside.now():
            return quote(found, safe="")
        answer = await outside.ask(HttpRequest("GET", f"{self._config.base_url}/v1/voices", _headers(voice)))
        found = _id_of(voice.voice, answer)
        if len(self._ids) >= _MAX_NAMES:
            self._ids.clear()
        self._ids[known] = found, outside.now() + _NAMES_FOR
        return quote(found, safe="")

    def body(self) -> PlainBody:
        """Return what reads an answer: it is audio as it comes."""
        return PlainBody()

    def failure(self, answer: HttpAnswer) -> ProviderFailed:
        """Return what an answer without success means; an exhausted quota comes as 401."""
        try:
            detail = json.loads(answer.body)["detail"]
            code = detail.get("status") or detail.get("code")
        except ODD:
            code = None
        category = BY_CODE.get(code) if isinstance(code, str) else None
        return refused(NAME, answer.status, code, category)


def _headers(voice: Voice) -> dict[str, str]:
    return {"xi-api-key": voice.api_key.get_secret_value()}


def _id_of(name: str, answer: HttpAnswer) -> str:
    """Return the id of the voice with a name; the name itself, which may be an id, when none has it.

    A key need not have the right to list voices, so a refusal is no failure here: the request for speech
    will show whether it is one.
    """
    try:
        voices = json.loads(answer.body)["voices"] if answer.status == 200 else []
        for voice in voices:
            if str(voice["name"]).lower() == name.lower():
                return words(str(voice["voice_id"]))
    except ODD:
        pass
    return name
