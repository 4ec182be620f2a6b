"""Azure AI Speech: voices by HTTP and SSML.

Spec: Azure AI Speech, "Text to speech REST API"; SSML 1.0.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from vb.config.providers import AzureSpeechConfig
from vb.providers.failure import ProviderFailed
from vb.tts.base import Capabilities, Voice
from vb.tts.http import RATE_HZ, HttpAnswer, HttpRequest, Outside, PlainBody, refused, with_key

NAME: Final = "azure"
DEFAULT_LANGUAGE: Final = "en-US"
_VOICE = re.compile(r"([a-z]{2,3}-[A-Z]{2,4}|[a-z]{2,3}-[A-Z][a-z]{3}-[A-Z]{2})-(?:[a-z]+-)?[A-Za-z0-9:]+")
"""A voice's language, and a dialect that some have before the name, as in zh-CN-sichuan-YunxiNeural."""
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FORMAT: Final = f"raw-{RATE_HZ // 1000}khz-16bit-mono-pcm"


class AzureVoices:
    """The codec.

    Args:
        config: key, region and base URL.
    """

    name = NAME
    capabilities = Capabilities(max_text=3_000)

    def __init__(self, config: AzureSpeechConfig) -> None:
        self._config = config
        self._base_url = config.base_url or f"https://{config.region}.tts.speech.microsoft.com"

    def check(self, voice: Voice) -> Voice:
        """Fill in the key and the language; a voice is its own model."""
        voice = with_key(voice, self._config.api_key, "Azure")
        return replace(voice, model_id="", language=voice.language or language_of(voice.voice))

    async def request(self, text: str, voice: Voice, outside: Outside) -> HttpRequest:
        """Return the request for a text, in which nothing of the text is markup."""
        return HttpRequest(
            "POST",
            f"{self._base_url}/cognitiveservices/v1",
            {
                "Ocp-Apim-Subscription-Key": voice.api_key.get_secret_value(),
                "X-Microsoft-OutputFormat": _FORMAT,
                "Content-Type": "application/ssml+xml",
            },
            ssml(text, voice.voice, voice.language).encode(),
        )

    def body(self) -> PlainBody:
        """Return what reads an answer: it is audio as it comes."""
        return PlainBody()

    def failure(self, answer: HttpAnswer) -> ProviderFailed:
        """Return what an answer without success means; it says no more than its status."""
        return refused(NAME, answer.status)


def language_of(voice: str) -> str:
    """Return the language that a voice's name begins with."""
    match = _VOICE.fullmatch(voice)
    return match[1] if match else DEFAULT_LANGUAGE


def ssml(text: str, voice: str, language: str) -> str:
    """Return a document that has a text spoken; characters that XML cannot carry are left out."""
    spoken, name, code = (_NOT_XML.sub("", part) for part in (text, voice, language))
    return (
        '<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" '
        f"xml:lang={quoteattr(code)}><voice name={quoteattr(name)}>{escape(spoken)}</voice></speak>"
    )
