"""A Pipecat bot as an agent: protobuf frames over a WebSocket, with or without RTVI messages in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, Final

from vb.agents.audio import AudioFormat
from vb.agents.base import (
    Address,
    AgentEvent,
    Heard,
    HttpCall,
    NotReady,
    Over,
    ProviderName,
    Responded,
    Spoke,
)
from vb.agents.codec import PlainCodec
from vb.agents.messages import flag_at, object_at, parse_object, words_at
from vb.agents.protobuf import read_fields, write_bytes, write_number
from vb.codecs.pcm import Pcm
from vb.providers.reading import words
from vb.web.message import Message

_RTVI: Final = "rtvi-ai"
_BUSY: Final = 1013
_RIFF_BYTES: Final = 44
_INTERRUPTIONS: Final = frozenset({"bot-interrupted", "user-started-speaking"})


class _Frame(IntEnum):
    """The kinds of frames, by their field numbers."""

    TEXT = 1
    AUDIO = 2
    TRANSCRIPTION = 3
    MESSAGE = 4
    INTERRUPTION = 5


class PipecatCodec(PlainCodec):
    """One conversation with a bot at a URL; a turn ends with an interruption."""

    provider: ProviderName = "pipecat"
    block_ms = 20

    def __init__(self, url: str, *, interruption_ms: int = 0) -> None:
        super().__init__()
        self.interruption_ms = interruption_ms
        self._url = url
        self._open = False
        self._rtvi = False
        self._user_inputs = False
        self._bot_outputs = False

    def prepared(self, status: int, body: bytes) -> Address:
        """Connect to the URL of the request."""
        return Address(self._url, foreign=True)

    def opened(self) -> Iterable[Message]:
        """Say which RTVI we speak: without that a server answers in its oldest shapes."""
        self._open = True
        about = {"version": "2.0.0", "about": {"library": "vb"}}
        yield self._rtvi_message("client-ready", about)

    def ready_within_s(self) -> tuple[float, bool]:
        """Bots without RTVI never say that they are ready."""
        return 2.0, True

    def timed_out(self) -> Iterable[AgentEvent]:
        """A bot without RTVI is there as soon as its socket is."""
        yield from self._begin(self._url)

    def audio(self, pcm: Pcm) -> Message:
        """Write a block as AudioRawFrame."""
        raw = (
            write_bytes(3, self.hears.encode(pcm)) + write_number(4, self.hears.rate_hz) + write_number(5, 1)
        )
        return write_bytes(_Frame.AUDIO, raw)

    def receive(self, message: Message) -> Iterable[AgentEvent]:
        """Read a frame; other messages than binary ones are none."""
        if isinstance(message, str):
            return
        try:
            frames = [
                (kind, dict(read_fields(raw))) for kind, raw in read_fields(message) if isinstance(raw, bytes)
            ]
        except ValueError:
            return
        for kind, fields in frames:
            match kind:
                case _Frame.AUDIO:
                    yield from self._audio(fields)
                case _Frame.TEXT:
                    yield from _say(Responded, _text(fields.get(3)))
                case _Frame.TRANSCRIPTION:
                    yield from self._heard(_text(fields.get(3)), True)
                case _Frame.MESSAGE:
                    # One version has the JSON in field 1, an older one in field 3.
                    value = fields.get(1) if isinstance(fields.get(1), bytes) else fields.get(3)
                    yield from self._message(value)
                case _Frame.INTERRUPTION:
                    yield from self._interrupted()

    def _audio(self, fields: Mapping[int, int | bytes]) -> Iterable[AgentEvent]:
        audio, rate, channels = fields.get(3), fields.get(4), fields.get(5, 1)
        if not isinstance(audio, bytes):
            return
        if audio.startswith(b"RIFF") and len(audio) >= _RIFF_BYTES:
            audio = audio[_RIFF_BYTES:]  # some bots put a header before each piece
        try:
            said = AudioFormat(rate) if isinstance(rate, int) and rate else self.says
        except ValueError as error:
            yield Over("unsupported_format", "permanent_input", f"pipecat: {error}")
            return
        if channels == 2:
            audio = said.encode(said.decode(audio)[: len(audio) // 4 * 2 : 2])
        self.says = said
        yield from self._begin(self._url)
        if audio:
            yield Spoke(audio, self._turn)

    def _heard(self, text: str, is_final: bool) -> Iterable[AgentEvent]:
        if text:
            yield Heard(text, is_final)

    def _message(self, value: int | bytes | None) -> Iterable[AgentEvent]:
        found = parse_object(value) if isinstance(value, bytes) else {}
        kind, data = found.get("type"), object_at(found, "data")
        text = words_at(data, "text")
        match kind:
            case "bot-ready":
                self._rtvi = True
                yield from self._begin(self._url)
            case "user-input":
                # The bot says the same words in an older message too: the first kind that comes is taken.
                self._user_inputs = True
                if data.get("input_type") != "chat":  # that is what was injected here
                    yield from self._heard(text, flag_at(data, "final") is not False)
            case "user-transcription" | "user-transcript" if not self._user_inputs:
                yield from self._heard(text, flag_at(data, "final") is not False)
            case "bot-output":
                self._bot_outputs = True
                spoken = data.get("spoken_status") == "completed" or flag_at(data, "spoken") is True
                if spoken and text:
                    yield Responded(text)
            case "bot-transcription" | "bot-transcript" if not self._bot_outputs:
                yield from _say(Responded, text)
            case "error" if flag_at(data, "fatal") is True:
                told = words_at(data, "message") or words_at(data, "error") or "error"
                yield self._over("provider_error", "unknown", told)
            case str() if kind in _INTERRUPTIONS:
                yield from self._interrupted()

    def inject(self, text: str, *, respond: bool) -> Iterable[Message] | HttpCall:
        """Give the model a text; a bot without RTVI can only be made to say it."""
        if not self._open:
            raise NotReady
        if not self._rtvi:
            return [write_bytes(_Frame.TEXT, write_bytes(3, text.encode("utf-8", "replace")))]
        options = {"run_immediately": respond, "audio_response": True}
        return [self._rtvi_message("send-text", {"content": text, "options": options})]

    def _rtvi_message(self, kind: str, data: Mapping[str, Any]) -> bytes:
        text = json.dumps(
            {"label": _RTVI, "type": kind, "id": f"vb-{kind}", "data": data}, ensure_ascii=False
        )
        return write_bytes(_Frame.MESSAGE, write_bytes(1, text.encode("utf-8", "replace")))

    def clear(self, played_ms: int) -> Iterable[Message]:
        """Interrupt the bot."""
        self._turn += 1
        yield write_bytes(_Frame.INTERRUPTION, b"")

    def closed(self, code: int, reason: str) -> Over:
        """Say whether it was meant; a bot that talks to somebody else is busy."""
        if code == _BUSY:
            return Over("busy", "rate_limited", "pipecat: the bot talks to somebody else")
        return super().closed(code, reason)


def _text(value: int | bytes | None) -> str:
    return words(value.decode("utf-8", "replace")) if isinstance(value, bytes) else ""


def _say(kind: type[Responded], text: str) -> Iterable[AgentEvent]:
    if text:
        yield kind(text)
