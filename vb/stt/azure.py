"""Azure's transcripts: the conversation endpoint of Azure AI Speech, one socket for each leg.

Messages have headers of their own: text ones as in HTTP, binary ones behind the length of their headers. A
turn of the service has an id and begins with a RIFF header; after the service has ended one the next begins.
"""

from __future__ import annotations

import json
import struct
from functools import partial
from typing import Any, Final

from vb.codecs.pcm import Pcm, pcm_bytes
from vb.config.providers import AzureSpeechConfig
from vb.providers.reading import number_of, text_of, websocket_url
from vb.stt.base import (
    RATE_HZ,
    Capabilities,
    Dial,
    FinalText,
    Options,
    PartialText,
    Read,
    Service,
    Stamps,
)
from vb.stt.codec import PlainCodec
from vb.web.message import Message

NAME: Final = "azure"
PATH: Final = "/speech/recognition/conversation/cognitiveservices/v1"
DEFAULT_LANGUAGE: Final = "en-US"
CAPABILITIES: Final = Capabilities(block_ms=40, options=frozenset({"keyterms"}))
_REGIONS: Final = {
    "ar": "EG",
    "cs": "CZ",
    "da": "DK",
    "el": "GR",
    "en": "US",
    "he": "IL",
    "hi": "IN",
    "ja": "JP",
    "ko": "KR",
    "sv": "SE",
    "uk": "UA",
    "vi": "VN",
    "zh": "CN",
}
"""Regions of languages that are asked for without one; those of others are called like the language."""
_TICKS_PER_MS: Final = 10_000
_KEEP_ALIVE: Final = bytes(2 * RATE_HZ // 10)


def riff_header() -> bytes:
    """Return the header of audio without an end."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 0, b"WAVE", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16, b"data", 0
    )


def locale(language: str) -> str:
    """Return a language with its region, as the service wants it."""
    if not language:
        return DEFAULT_LANGUAGE
    if "-" in language:
        return language
    code = language.lower()
    return f"{code}-{_REGIONS.get(code, code.upper())}"


class AzureCodec(PlainCodec):
    """One connection to the conversation endpoint."""

    name = NAME

    def __init__(self, base_url: str, options: Options, key: str, stamps: Stamps) -> None:
        super().__init__(base_url, options, key, stamps)
        self._request_id = stamps.new_id()
        self._begun = False
        self._finishing = False
        self._sent_bytes = 0
        self._turn_start_ms = 0

    def dial(self) -> Dial:
        """Return where to connect to."""
        query = [("language", locale(self._options.language)), ("format", "detailed")]
        url = websocket_url(self._base_url, PATH, query)
        return Dial(url, {"Ocp-Apim-Subscription-Key": self._key, "X-ConnectionId": self._stamps.new_id()})

    def begin(self) -> list[Message]:
        """Say what speaks to the service."""
        audio = {"samplerate": RATE_HZ, "bitspersample": 16, "channelcount": 1, "type": "Stream"}
        config = {"context": {"system": {"name": "vb", "version": "1"}, "audio": {"source": audio}}}
        return [self._text("speech.config", config), self._context()]

    def audio(self, pcm: Pcm) -> list[Message]:
        """Return audio; in front of it what begins a turn, when the last one has ended."""
        data = pcm_bytes(pcm)
        self._sent_bytes += len(data)
        if self._begun:
            return [self._binary(data)]
        self._begun = True
        return [self._binary(riff_header() + data)]

    def finalize(self) -> list[Message]:
        """Return nothing; the service cannot be asked."""
        return []

    def keep_alive(self) -> list[Message]:
        """Return a little silence: there is no message for it."""
        self._sent_bytes += len(_KEEP_ALIVE)
        return [self._binary(_KEEP_ALIVE)] if self._begun else []

    def finish(self) -> list[Message]:
        """Say that no audio will come; without any the service has nothing to end."""
        self._finishing = True
        self.over = not self._begun
        return [self._binary(b"")] if self._begun else []

    def _read(self, message: Message) -> list[Read]:
        if not isinstance(message, str):
            return []
        head, _, body = message.partition("\r\n\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.split("\r\n"))
        }
        path = headers["path"].lower()
        if path == "turn.end":
            self._end_turn()
        elif path in ("speech.hypothesis", "speech.fragment"):
            return self._hypothesis(json.loads(body))
        elif path == "speech.phrase":
            return self._phrase(json.loads(body))
        return []

    def _end_turn(self) -> None:
        """Begin another turn with the next audio."""
        self.over = self._finishing
        self._request_id = self._stamps.new_id()
        self._begun = False
        self._turn_start_ms = self._sent_bytes * 1000 // (2 * RATE_HZ)

    def _hypothesis(self, body: dict[str, Any]) -> list[Read]:
        text = text_of(body["Text"])
        return [PartialText(text, *self._times(body))] if text else []

    def _phrase(self, body: dict[str, Any]) -> list[Read]:
        status = body["RecognitionStatus"]
        if status == "Error":
            return [self._failed("service_unavailable", "cannot recognize speech now")]
        text = ""
        if status == "Success":
            best = body.get("NBest")
            shown = body["DisplayText"] if "DisplayText" in body else best[0]["Display"] if best else ""
            text = text_of(shown)
        return [FinalText(text, None, *self._times(body))]

    def _times(self, body: dict[str, Any]) -> tuple[int | None, int | None]:
        if "Offset" not in body:
            return None, None
        start_ms = self._turn_start_ms + int(number_of(body["Offset"])) // _TICKS_PER_MS
        return start_ms, start_ms + int(number_of(body.get("Duration", 0))) // _TICKS_PER_MS

    def _context(self) -> str:
        terms = [{"Text": term} for term in self._options.keyterms]
        context = {"dgi": {"Groups": [{"Type": "Generic", "Items": terms}]}} if terms else {}
        return self._text("speech.context", context)

    def _text(self, path: str, body: object) -> str:
        head = self._head(path, "application/json; charset=utf-8")
        return head + "\r\n" + json.dumps(body, ensure_ascii=False, separators=(",", ":"))

    def _binary(self, data: bytes) -> bytes:
        head = self._head("audio", "audio/x-wav").encode("ascii")
        return struct.pack(">H", len(head)) + head + data

    def _head(self, path: str, content_type: str) -> str:
        return (
            f"Path: {path}\r\n"
            f"X-RequestId: {self._request_id}\r\n"
            f"X-Timestamp: {self._stamps.utc_now()}\r\n"
            f"Content-Type: {content_type}\r\n"
        )


def azure(config: AzureSpeechConfig) -> Service:
    """Return Azure AI Speech as its settings say."""
    base_url = config.base_url or f"https://{config.region}.stt.speech.microsoft.com"
    return Service(NAME, CAPABILITIES, config.api_key, partial(AzureCodec, base_url))
