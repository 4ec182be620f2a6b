"""Deepgram's transcripts: `/v1/listen`, one socket for each leg."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from vb.config.providers import DeepgramConfig
from vb.providers.failure import FailureCategory
from vb.providers.reading import read_object, text_of, websocket_url
from vb.stt.base import (
    RATE_HZ,
    Capabilities,
    Dial,
    FinalText,
    Options,
    PartialText,
    Range,
    Read,
    Service,
    Stamps,
    Turn,
)
from vb.stt.codec import PlainCodec, to_ms
from vb.web.message import Message

NAME: Final = "deepgram"
DEFAULT_MODEL: Final = "nova-3"
DEFAULT_LANGUAGE: Final = "en"
CAPABILITIES: Final = Capabilities(
    block_ms=40,
    finalize=True,
    options=frozenset({"model", "keyterms", "endpointing_ms", "utterance_end_ms"}),
    ranges={"endpointing_ms": Range(0, 60_000), "utterance_end_ms": Range(1000, 60_000)},
)


class DeepgramCodec(PlainCodec):
    """One connection to `/v1/listen`.

    Interim results are asked for even when nobody wants to see them: when a connection breaks they are the
    words that would be lost. Of its close codes 1008 is for audio that cannot be decoded, 1011 for time-outs.
    """

    name = NAME

    def __init__(self, base_url: str, options: Options, key: str, stamps: Stamps) -> None:
        super().__init__(base_url, options, key, stamps)
        self._finishing = False

    def dial(self) -> Dial:
        """Return where to connect to."""
        options = self._options
        query: list[tuple[str, object]] = [
            ("encoding", "linear16"),
            ("sample_rate", RATE_HZ),
            ("channels", 1),
            ("model", options.model or DEFAULT_MODEL),
            ("language", options.language or DEFAULT_LANGUAGE),
            ("interim_results", True),
        ]
        if options.endpointing_ms is not None:
            query.append(("endpointing", options.endpointing_ms))
        if options.utterance_end_ms is not None:
            query.append(("utterance_end_ms", options.utterance_end_ms))
        query += [("keyterm", term) for term in options.keyterms]
        return Dial(
            websocket_url(self._base_url, "/v1/listen", query), {"Authorization": f"Token {self._key}"}
        )

    def finalize(self) -> list[Message]:
        """Ask for what was heard as final."""
        return ['{"type":"Finalize"}']

    def keep_alive(self) -> list[Message]:
        """Keep the connection from being closed after ten seconds without audio."""
        return ['{"type":"KeepAlive"}']

    def finish(self) -> list[Message]:
        """Say that no audio will come."""
        self._finishing = True
        return ['{"type":"CloseStream"}']

    def _read(self, message: Message) -> list[Read]:
        found = read_object(message)
        kind = found["type"]
        if kind == "Results":
            return self._results(found)
        if kind == "UtteranceEnd":
            end = found["last_word_end"]  # -1 where the provider does not know it
            return [Turn("utterance_end", last_word_end_ms=None if end == -1 else to_ms(end))]
        if kind == "Error":
            text = found.get("description") or found.get("message") or found.get("variant")
            return [self._failed(category_of_code(str(found.get("code") or text)), text)]
        if kind == "Metadata":  # what it says last, after the end of audio; before that it ends nothing
            self.over = self._finishing
        return []

    def _results(self, message: dict[str, Any]) -> list[Read]:
        alternatives = message["channel"]["alternatives"]
        text = text_of(alternatives[0]["transcript"]) if alternatives else ""
        start_ms, length_ms = to_ms(message["start"]), to_ms(message["duration"])
        end_ms = start_ms + length_ms if start_ms is not None and length_ms is not None else None
        if message.get("is_final"):
            speech_final = message.get("speech_final")
            return [FinalText(text, None if speech_final is None else bool(speech_final), start_ms, end_ms)]
        return [PartialText(text, start_ms, end_ms)] if text else []


def category_of_code(words: str) -> FailureCategory:
    """Return the category of an error that Deepgram names in its messages."""
    upper = words.upper()
    if any(word in upper for word in ("AUTH", "FORBIDDEN", "CREDENTIAL")):
        return "permanent_auth"
    if any(word in upper for word in ("DATA-", "INVALID", "SCHEMA", "UNPARSABLE", "BAD_REQUEST")):
        return "permanent_input"
    if any(word in upper for word in ("RATE", "LIMIT", "TOO_MANY", "PAYMENT")):
        return "rate_limited"
    return "service_unavailable"


def deepgram(config: DeepgramConfig) -> Service:
    """Return Deepgram as its settings say."""
    return Service(NAME, CAPABILITIES, config.api_key, partial(DeepgramCodec, config.base_url))
