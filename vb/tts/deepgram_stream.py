"""Deepgram: voices over a WebSocket, which speak text while it is being written.

Spec: Deepgram API, "Speak" version 1, streaming.
"""

from __future__ import annotations

from typing import Final

from vb.providers.reading import read_object, websocket_url
from vb.tts.base import Done, Spoken, Voice
from vb.tts.http import HttpRequest
from vb.tts.stream import JsonStream, one_line
from vb.tts.text import split_text
from vb.web.message import Message

MAX_MESSAGE_CHARS: Final = 2_000


class DeepgramStream(JsonStream):
    """One connection. Audio says nothing of its utterance, but comes in the order of what was sent.

    Args:
        name: of the provider, for failures.
        base_url: an http or https URL.
        voice: whose.
    """

    def __init__(self, name: str, base_url: str, voice: Voice) -> None:
        super().__init__(name, base_url, voice)
        self._clearing = 0
        self._flushing = 0

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

    def _read(self, message: Message) -> list[Spoken]:
        if isinstance(message, bytes):
            return [] if self._clearing else [*self._hear(message)]
        found = read_object(message)
        kind = found["type"]
        if kind == "Cleared":
            self._clearing = max(0, self._clearing - 1)
        elif kind == "Flushed" and not self._clearing and self._flushing:
            self._flushing -= 1
            audio, self._audio = self._audio, None
            return [*(audio.finish() if audio is not None else []), Done()]
        elif kind == "Warning" and "flush" in str(found.get("description", "")).lower():
            # Its end would never be told.
            raise self._failed("rate_limited", "too many utterances", found.get("code"))
        elif kind == "Error":
            raise self._failed("retryable", "failed", found.get("code"))
        return []
