"""Deepgram: voices over a WebSocket, which speak text while it is being written.

Spec: Deepgram API, "Speak" version 1, streaming.
"""

from __future__ import annotations

import json
from typing import Any, Final

from vb.providers.failure import FailureCategory, ProviderFailed
from vb.providers.reading import (
    NONSENSE,
    ODD,
    category_of_close,
    closing_words,
    read_object,
    websocket_url,
)
from vb.tts.answer import AnswerAudio
from vb.tts.base import Done, Spoken, Voice
from vb.tts.http import HttpRequest
from vb.tts.stream import failed_with, one_line, rate_for
from vb.tts.text import split_text
from vb.web.websocket import Message

MAX_MESSAGE_CHARS: Final = 2_000


class DeepgramStream:
    """One connection. Audio says nothing of its utterance, but comes in the order of what was sent.

    Args:
        name: of the provider, for failures.
        base_url: an http or https URL.
        voice: whose.
    """

    def __init__(self, name: str, base_url: str, voice: Voice) -> None:
        self._name = name
        self._base_url = base_url
        self._voice = voice
        self._key = voice.api_key.get_secret_value()
        self._rate_hz = rate_for(voice)
        self._out: list[str] = []
        self._clearing = 0
        self._flushing = 0
        self._audio: AnswerAudio | None = None

    def dial(self) -> HttpRequest:
        """Return the handshake."""
        query = [("model", self._voice.voice), ("encoding", "linear16"), ("sample_rate", self._rate_hz)]
        url = websocket_url(self._base_url, "/v1/speak", query)
        return HttpRequest("GET", url, {"Authorization": f"Token {self._key}"})

    def feed(self, text: str) -> None:
        """Have a portion spoken, once there is enough of it or it is flushed."""
        line = one_line(text)
        if len(line) <= MAX_MESSAGE_CHARS:
            self._put(type="Speak", text=line)
            return
        for piece in split_text(line, MAX_MESSAGE_CHARS - 1):
            self._put(type="Speak", text=f"{piece} ")

    def finalize(self) -> None:
        """Have everything spoken; `Flushed` follows its audio."""
        self._flushing += 1
        self._put(type="Flush")

    def clear(self) -> None:
        """Drop everything; whatever comes before `Cleared` is of the past."""
        self._out.clear()
        self._clearing += 1
        self._flushing = 0
        self._audio = None
        self._put(type="Clear")

    def keep_alive(self) -> None:
        """Do nothing: an idle connection stays open."""

    def close(self) -> None:
        """End the connection."""
        self._put(type="Close")

    def _put(self, **message: str) -> None:
        self._out.append(_json(message))

    def take(self) -> list[Message]:
        """Return what is to be sent now."""
        out, self._out = self._out, []
        return [*out]

    def receive(self, message: Message) -> list[Spoken]:
        """Read a message: binary ones are audio."""
        if isinstance(message, bytes):
            return self._hear(message)
        try:
            return self._read(read_object(message))
        except ODD:
            raise ProviderFailed("retryable", f"{self._name}: {NONSENSE}") from None

    def _hear(self, data: bytes) -> list[Spoken]:
        if self._clearing:
            return []
        if self._audio is None:
            self._audio = AnswerAudio(self._name, "", self._rate_hz)
        return [*self._audio.feed(data)]

    def _read(self, message: dict[str, Any]) -> list[Spoken]:
        kind = message["type"]
        if kind == "Cleared":
            self._clearing = max(0, self._clearing - 1)
        elif kind == "Flushed" and not self._clearing and self._flushing:
            self._flushing -= 1
            audio, self._audio = self._audio, None
            return [*(audio.finish() if audio is not None else []), Done()]
        elif kind == "Warning" and "flush" in str(message.get("description", "")).lower():
            # Its end would never be told.
            raise self._failed("rate_limited", "too many utterances", message.get("code"))
        elif kind == "Error":
            raise self._failed("retryable", "failed", message.get("code"))
        return []

    def closed(self, code: int, reason: str) -> ProviderFailed:
        """Judge a close frame."""
        return self._failed(category_of_close(code), closing_words(code, ""), reason.strip())

    def _failed(self, category: FailureCategory, what: str, code: object) -> ProviderFailed:
        return failed_with(self._name, category, what, code, self._key)


def _json(message: dict[str, str]) -> str:
    return json.dumps(message, separators=(",", ":"))
