"""Deepgram: voices by HTTP, and over a WebSocket in `vb.tts.deepgram_stream`.

Spec: Deepgram API, "Speak" version 1.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from vb.config.providers import DeepgramConfig
from vb.errors import InvalidField
from vb.providers.failure import ProviderFailed
from vb.providers.reading import ODD
from vb.tts.base import Capabilities, Voice
from vb.tts.deepgram_stream import DeepgramStream
from vb.tts.http import RATE_HZ, HttpAnswer, HttpRequest, Outside, PlainBody, refused, with_key

NAME: Final = "deepgram"
_LANGUAGE: Final = re.compile(r"-([a-z]{2,3})$")
"""A voice's name ends with what it speaks, as in aura-2-celeste-es."""


class DeepgramVoices:
    """The codec. A voice is a model here, and its language is in its name.

    Args:
        config: key and base URL.
    """

    name = NAME
    capabilities = Capabilities(streams_text=True, max_text=2_000)

    def __init__(self, config: DeepgramConfig) -> None:
        self._config = config

    def check(self, voice: Voice) -> Voice:
        """Fill in the key and see that the voice speaks the language; a voice is its own model.

        Raises:
            InvalidField: it speaks another, or its name does not say which.
            Unavailable: there is no key.
        """
        voice = with_key(voice, self._config.api_key, "Deepgram")
        _check_language(voice)
        return replace(voice, model_id="", language="")

    async def request(self, text: str, voice: Voice, outside: Outside) -> HttpRequest:
        """Return the request for a text."""
        query = urlencode(
            {"model": voice.voice, "encoding": "linear16", "sample_rate": RATE_HZ, "container": "none"}
        )
        return HttpRequest(
            "POST",
            f"{self._config.base_url}/v1/speak?{query}",
            {
                "Authorization": f"Token {voice.api_key.get_secret_value()}",
                "Content-Type": "application/json",
            },
            json.dumps({"text": text}).encode(),
        )

    async def stream(self, voice: Voice, outside: Outside) -> DeepgramStream:
        """Return the codec of a connection."""
        return DeepgramStream(NAME, self._config.base_url, voice)

    def body(self) -> PlainBody:
        """Return what reads an answer: it is audio as it comes."""
        return PlainBody()

    def failure(self, answer: HttpAnswer) -> ProviderFailed:
        """Return what an answer without success means."""
        try:
            code = json.loads(answer.body)["err_code"]
        except ODD:
            code = None
        return refused(NAME, answer.status, code)


def _check_language(voice: Voice) -> None:
    """Refuse a language that the voice does not speak: there is no other place to ask for one."""
    wanted = voice.language.replace("_", "-").partition("-")[0].lower()
    found = _LANGUAGE.search(voice.voice)
    if wanted == "multi":  # an agent's ears may be told so, and its voice with them
        return
    if wanted and found is None:
        raise InvalidField("language", "deepgram has it in the name of the voice, as in aura-2-thalia-en")
    if wanted and found is not None and found[1] != wanted:
        raise InvalidField("language", f"{voice.voice} speaks {found[1]}")
