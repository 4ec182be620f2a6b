"""ElevenLabs: voices over a WebSocket, which speak text while it is being written.

Each utterance is a context of its own. It is flushed and closed when it is complete, which leaves what was
flushed to be spoken, and closed without that when it is to be silent. One context is open at a time, so audio
comes in order, and what is fed meanwhile waits here.

Spec: ElevenLabs API, "Multi-Context WebSocket".
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from vb.providers.failure import FailureCategory, ProviderFailed
from vb.providers.reading import (
    category_of_close,
    closing_words,
    read_base64,
    read_object,
    websocket_url,
)
from vb.tts.base import Audio, Done, Mark, Spoken, Voice
from vb.tts.http import HttpRequest
from vb.tts.stream import JsonStream, one_line
from vb.web.message import Message

INACTIVITY_S: Final = 60
"""A context to which nothing is said for so long is closed by the provider."""
BY_CODE: Final[dict[str, FailureCategory]] = {
    "quota_exceeded": "rate_limited",
    "rate_limit_exceeded": "rate_limited",
    "too_many_concurrent_requests": "rate_limited",
    "system_busy": "service_unavailable",
    "invalid_api_key": "permanent_auth",
    "missing_permissions": "permanent_auth",
    "input_timeout_exceeded": "retryable",
}
"""What the provider's names of errors mean where their status does not say it."""


class _Words:
    """Puts the letters of the provider's timings together to words."""

    def __init__(self) -> None:
        self._letters = ""
        self._begin_ms = self._end_ms = 0

    def feed(self, alignment: dict[str, Any], base_ms: int) -> list[Mark]:
        """Return the words that are complete.

        Args:
            alignment: letters with times since the chunk of audio that they came with.
            base_ms: when that chunk begins in its utterance.
        """
        marks: list[Mark] = []
        columns = (alignment["chars"], alignment["charStartTimesMs"], alignment["charDurationsMs"])
        for letter, start_ms, length_ms in zip(*columns, strict=False):
            if str(letter).isspace():
                marks += self.end()
                continue
            if not self._letters:
                self._begin_ms = base_ms + int(start_ms)
            self._letters += str(letter)
            self._end_ms = base_ms + int(start_ms) + int(length_ms)
        return marks

    def end(self) -> list[Mark]:
        """Return the word that is left."""
        word, self._letters = self._letters, ""
        return [Mark(word, self._begin_ms, self._end_ms)] if word else []


class ElevenLabsStream(JsonStream):
    """One connection.

    Args:
        name: of the provider, for failures.
        base_url: an http or https URL.
        voice_id: the provider's id of the voice, fit for a URL.
        voice: how it speaks.
    """

    def __init__(self, name: str, base_url: str, voice_id: str, voice: Voice) -> None:
        super().__init__(name, base_url, voice)
        self._voice_id = voice_id
        self._number = 0
        self._open = False
        """Whether the provider has a context of ours."""
        self._complete = False
        self._waiting: deque[str | None] = deque()
        """Text for later contexts; None ends one."""
        self._last = ""
        self._begin()

    def _begin(self) -> None:
        self._open = self._complete = False
        self._last = ""
        self._audio = None
        self._samples = 0
        self._words = _Words()

    @property
    def _context(self) -> str:
        return f"u{self._number}"

    def dial(self) -> HttpRequest:
        """Return the handshake."""
        voice = self._voice
        query: list[tuple[str, object]] = [
            ("model_id", voice.model_id),
            ("output_format", f"pcm_{self._rate_hz}"),
            ("auto_mode", True),
            ("sync_alignment", True),
            ("inactivity_timeout", INACTIVITY_S),
        ]
        if voice.language:
            query.append(("language_code", voice.language.partition("-")[0].lower()))
        path = f"/v1/text-to-speech/{self._voice_id}/multi-stream-input"
        return HttpRequest("GET", websocket_url(self._base_url, path, query), {"xi-api-key": self._key})

    def feed(self, text: str) -> None:
        """Have a portion spoken; the provider takes each for whole phrases."""
        line = one_line(text)
        if self._complete:
            self._waiting.append(line)
        elif line:
            if not self._open:
                self._open = True
                self._put(text=" ", context_id=self._context)
            self._last = line
            self._put(text=line, context_id=self._context)

    def finalize(self) -> None:
        """Have everything spoken; the last message of its context follows its audio."""
        if self._complete:
            self._waiting.append(None)
            return
        self._complete = True
        if not self._open:
            self._open = True
            self._put(text=" ", context_id=self._context)
        self._put(text="" if self._last.endswith(" ") else " ", context_id=self._context, flush=True)
        self._put(context_id=self._context, close_context=True)

    def clear(self) -> None:
        """Drop everything; what still comes of the context is known by its name."""
        self._waiting.clear()
        if self._open:
            if not self._complete:  # otherwise it is closed already
                self._put(context_id=self._context, close_context=True)
            self._number += 1
        self._begin()

    def keep_alive(self) -> None:
        """Keep the connection, and the context if there is one."""
        if self._open and not self._complete:
            self._put(text="", context_id=self._context)
        else:
            self._put(text="")

    def close(self) -> None:
        """End the connection."""
        self._put(close_socket=True)

    def _read(self, message: Message) -> list[Spoken]:
        read = read_object(message)
        if read.get("error"):
            code = read["error"]
            found = BY_CODE.get(code) if isinstance(code, str) else None
            raise self._failed(found or category_of_close(int(read.get("code") or 0)), "failed", code)
        if read.get("contextId") not in (None, self._context) or not self._open:
            return []  # of what was cleared
        spoken: list[Spoken] = []
        base_ms = self._samples * 1000 // self._rate_hz
        alignment = read.get("alignment")
        if isinstance(alignment, dict):
            spoken += self._words.feed(alignment, base_ms)
        if read.get("audio"):
            spoken += self._hear(read_base64(read["audio"]))
        if read.get("isFinal") is not True:
            return spoken
        if not self._complete:  # nothing was said to it for too long
            raise self._failed("retryable", "ended an utterance that was not complete", "")
        return [*spoken, *self._end()]

    def _hear(self, data: bytes) -> list[Audio]:
        pieces = super()._hear(data)
        self._samples += sum(piece.pcm.size * self._rate_hz // piece.rate_hz for piece in pieces)
        return pieces

    def _end(self) -> list[Spoken]:
        """End the utterance, and begin the next one if it waits."""
        rest: list[Spoken] = [*self._words.end(), *(self._audio.finish() if self._audio else []), Done()]
        self._number += 1
        self._begin()
        while self._waiting and not self._complete:
            text = self._waiting.popleft()
            if text is None:
                self.finalize()
            else:
                self.feed(text)
        return rest

    def closed(self, code: int, reason: str) -> ProviderFailed:
        """Judge a close frame, whose reason may be the name of an error."""
        found = BY_CODE.get(reason.strip(), category_of_close(code))
        return self._failed(found, closing_words(code, ""), reason.strip())
