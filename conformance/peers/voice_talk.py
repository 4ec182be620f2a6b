"""What services say that speak text while it is being written, without their sockets.

Every word is a tone whose pitch its first letter names, 100 ms long.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import numpy as np

Message = str | bytes
WORD_MS = 100
_LEAST_CHARS = 120
"""How much text a service that plans by itself waits for."""


def hertz_of(word: str) -> float:
    """The pitch of a word."""
    return 400.0 + 50 * (ord(word[0].lower()) % 32)


def spoken(text: str, rate_hz: int) -> bytes:
    """The audio of a text."""
    steps = np.arange(rate_hz * WORD_MS // 1000) / rate_hz
    waves = [8000 * np.sin(2 * np.pi * hertz_of(word) * steps) for word in text.split()]
    return np.concatenate([*waves, np.zeros(0)]).astype("<i2").tobytes()


class VoiceTalk:
    """One connection; subclasses speak one protocol each.

    Attributes:
        over: whether everything is said and the socket is to be closed.
        texts: what was to be spoken, portion by portion.
        cleared: how often the client has interrupted.
    """

    def __init__(self, query: Mapping[str, str]) -> None:
        self.query = query
        self.over = False
        self.texts: list[str] = []
        self.cleared = 0

    @staticmethod
    def knows(headers: Mapping[str, str], key: str) -> bool:
        """Whether a handshake brings the key."""
        raise NotImplementedError

    def greet(self) -> list[Message]:
        """What is said first."""
        return []

    def take(self, message: Message) -> list[Message]:
        """Takes a message; returns what is answered."""
        raise NotImplementedError


class DeepgramSpeak(VoiceTalk):
    """`/v1/speak`: sentences are spoken as they are complete, all of it at a flush."""

    def __init__(self, query: Mapping[str, str]) -> None:
        super().__init__(query)
        self._rate_hz = int(query["sample_rate"])
        self._buffer = ""
        self._sequence = 0
        assert query["encoding"] == "linear16", query

    @staticmethod
    def knows(headers: Mapping[str, str], key: str) -> bool:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "token" and value == key

    def greet(self) -> list[Message]:
        known = {"request_id": "0d2e8a9a-0000-4000-8000-000000000000", "model_name": self.query["model"]}
        about = {"model_version": "2026-01-01.0", "model_uuid": "0d2e8a9a-0000-4000-8000-000000000001"}
        return [json.dumps({"type": "Metadata", **known, **about})]

    def take(self, message: Message) -> list[Message]:
        found = json.loads(message)
        match found["type"]:
            case "Speak":
                self.texts.append(found["text"])
                self._buffer += found["text"]
                ended = max(self._buffer.rfind(mark) for mark in ".!?") + 1
                return self._say(ended)
            case "Flush":
                return [*self._say(len(self._buffer)), self._told("Flushed")]
            case "Clear":
                self.cleared += 1
                self._buffer = ""
                return [self._told("Cleared")]
            case kind:
                assert kind == "Close", message
                self.over = True
                return []

    def _say(self, end: int) -> list[Message]:
        text, self._buffer = self._buffer[:end], self._buffer[end:]
        sound = spoken(text, self._rate_hz)
        return [sound[at : at + 4801] for at in range(0, len(sound), 4801)]

    def _told(self, kind: str) -> str:
        self._sequence += 1
        return json.dumps({"type": kind, "sequence_id": self._sequence - 1})


class _Context:
    def __init__(self) -> None:
        self.buffer = ""
        self.flushed = False


class ElevenLabsMulti(VoiceTalk):
    """`/v1/text-to-speech/VOICE/multi-stream-input`: contexts, of which each has its own text."""

    def __init__(self, query: Mapping[str, str]) -> None:
        super().__init__(query)
        encoding, _, rate = query["output_format"].partition("_")
        assert encoding == "pcm", query
        self._rate_hz = int(rate)
        self._auto = query.get("auto_mode") == "true"
        self._contexts: dict[str, _Context] = {}

    @staticmethod
    def knows(headers: Mapping[str, str], key: str) -> bool:
        return headers.get("xi-api-key") == key

    def take(self, message: Message) -> list[Message]:
        found = json.loads(message)
        if found.get("close_socket"):
            self.over = True
            return []
        name = found.get("context_id")
        if name is None:
            assert found == {"text": ""}, message  # keeps the connection
            return []
        context = self._contexts.get(name)
        if context is None:
            assert found.get("text") == " ", "a context begins with a space"
            assert len(self._contexts) < 5, "five contexts at most"
            self._contexts[name] = _Context()
            return []
        assert "voice_settings" not in found, "only with the first message"
        told: list[Message] = []
        text = found.get("text") or ""
        if text.strip():
            self.texts.append(text)
        context.buffer += text
        if found.get("flush"):
            context.flushed = True
        if found.get("flush") or (self._auto and text.strip()) or len(context.buffer) > _LEAST_CHARS:
            told += self._say(name, context)
        if found.get("close_context"):
            self.cleared += not context.flushed
            del self._contexts[name]
            told.append(json.dumps({"audio": None, "isFinal": True, "contextId": name}))
        return told

    def _say(self, name: str, context: _Context) -> list[Message]:
        text, context.buffer = context.buffer, ""
        if not text.strip():
            return []
        told: list[Message] = []
        for word in text.split():
            letters = [*word, " "]
            step_ms = WORD_MS // len(letters)
            alignment = {
                "chars": letters,
                "charStartTimesMs": [number * step_ms for number in range(len(letters))],
                "charDurationsMs": [step_ms] * len(letters),
            }
            audio = base64.b64encode(spoken(word, self._rate_hz)).decode()
            told.append(
                json.dumps(
                    {
                        "audio": audio,
                        "isFinal": None,
                        "contextId": name,
                        "alignment": alignment,
                        "normalizedAlignment": alignment,
                    }
                )
            )
        return told


def talk_for(path: str) -> type[VoiceTalk] | None:
    """The protocol of a path."""
    if path == "/v1/speak":
        return DeepgramSpeak
    elevenlabs = path.startswith("/v1/text-to-speech/") and path.endswith("/multi-stream-input")
    return ElevenLabsMulti if elevenlabs else None
