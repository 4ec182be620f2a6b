"""ElevenLabs' transcripts in real time: `/v1/speech-to-text/realtime`, one socket for each leg."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Final

from vb.codecs.pcm import Pcm, pcm_bytes
from vb.config.providers import ElevenLabsConfig
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
)
from vb.stt.codec import PlainCodec
from vb.web.message import Message

NAME: Final = "elevenlabs"
DEFAULT_MODEL: Final = "scribe_v2_realtime"
BLOCK_MS: Final = 100
CAPABILITIES: Final = Capabilities(
    block_ms=BLOCK_MS,
    finalize=True,
    options=frozenset({"model", "keyterms", "endpointing_ms", "language_hints"}),
    ranges={"endpointing_ms": Range(300, 3000)},
    max_keyterms=50,
    max_keyterm_chars=20,
)
_FAILURES: Final[dict[str, FailureCategory]] = {
    "error": "retryable",
    "auth_error": "permanent_auth",
    "unaccepted_terms": "permanent_auth",
    "quota_exceeded": "rate_limited",
    "rate_limited": "rate_limited",
    "queue_overflow": "service_unavailable",
    "resource_exhausted": "service_unavailable",
    "transcriber_error": "service_unavailable",
    "session_time_limit_exceeded": "retryable",
    "insufficient_audio_activity": "retryable",
    "input_error": "permanent_input",
    "invalid_request": "permanent_input",
    "chunk_size_exceeded": "permanent_input",
}
_SILENCE: Final = bytes(2 * RATE_HZ * BLOCK_MS // 1000)


class ElevenLabsCodec(PlainCodec):
    """One connection to the realtime endpoint; what was said becomes final when the speaker pauses."""

    name = NAME

    def __init__(self, base_url: str, options: Options, key: str, stamps: Stamps) -> None:
        super().__init__(base_url, options, key, stamps)
        self._finishing = False

    def dial(self) -> Dial:
        """Return where to connect to."""
        options = self._options
        query: list[tuple[str, object]] = [("model_id", options.model or DEFAULT_MODEL)]
        if options.language:
            query.append(("language_code", options.language.partition("-")[0].lower()))
        query += [("audio_format", f"pcm_{RATE_HZ}"), ("commit_strategy", "vad")]
        if options.endpointing_ms is not None:
            query.append(("vad_silence_threshold_secs", options.endpointing_ms / 1000))
        query += [("secondary_languages", language) for language in options.language_hints]
        query += [("keyterms", term) for term in options.keyterms]
        url = websocket_url(self._base_url, "/v1/speech-to-text/realtime", query)
        return Dial(url, {"xi-api-key": self._key})

    def audio(self, pcm: Pcm) -> list[Message]:
        """Return a chunk."""
        return [_chunk(pcm_bytes(pcm))]

    def finalize(self) -> list[Message]:
        """Commit what was heard."""
        return [_chunk(b"", commit=True)]

    def keep_alive(self) -> list[Message]:
        """Return a little silence: there is no message for it, and a session without audio is closed."""
        return [_chunk(_SILENCE)]

    def finish(self) -> list[Message]:
        """Commit for the last time; there is no message that ends a session."""
        self._finishing = True
        return [_chunk(b"", commit=True)]

    def _read(self, message: Message) -> list[Read]:
        found = read_object(message)
        kind = str(found["message_type"])
        if kind == "partial_transcript":
            text = text_of(found["text"])
            return [PartialText(text)] if text else []
        if kind == "committed_transcript":
            self.over = self._finishing
            return [FinalText(text_of(found["text"]))]
        if kind == "commit_throttled":  # there was nothing to commit, which is no failure
            self.over = self._finishing
            return []
        category = _FAILURES.get(kind)
        return [] if category is None else [self._failed(category, found.get("error") or kind)]


def _chunk(audio: bytes, *, commit: bool = False) -> str:
    return json.dumps(
        {
            "message_type": "input_audio_chunk",
            "audio_base_64": base64.b64encode(audio).decode("ascii"),
            "commit": commit,
            "sample_rate": RATE_HZ,
        },
        separators=(",", ":"),
    )


def elevenlabs(config: ElevenLabsConfig) -> Service:
    """Return ElevenLabs as its settings say."""
    return Service(NAME, CAPABILITIES, config.api_key, partial(ElevenLabsCodec, config.base_url))
