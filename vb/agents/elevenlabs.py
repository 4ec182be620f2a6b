"""ElevenLabs Conversational AI as an agent."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from vb.agents.audio import AudioFormat, Encoding
from vb.agents.base import (
    Address,
    AgentEvent,
    Corrected,
    Heard,
    HttpCall,
    Interrupted,
    NotReady,
    Over,
    ProviderName,
    Responded,
    Spoke,
)
from vb.agents.codec import PlainCodec
from vb.agents.messages import number_at, object_at, parse_object, text_at, words_at
from vb.codecs.pcm import Pcm
from vb.providers.failure import ProviderFailed
from vb.providers.reading import read_base64
from vb.web.message import Message

_NOT_ENABLED: Final = 1008
"""Closes a conversation whose overrides the agent's settings do not allow."""
_OUT_OF_ORDER: Final = frozenset({1001, 1005, 1006, 1011, 1012, 1013, 1014})
"""With these a server goes away or has failed, whatever it was asked for."""
_ENCODINGS: Final[dict[str, Encoding]] = {"pcm": "s16le", "ulaw": "ulaw", "alaw": "alaw"}


@dataclass(frozen=True, slots=True)
class ElevenLabsOptions:
    """What a request may say about the conversation.

    Attributes:
        agent_id: the agent.
        key: opens private agents.
        base_url: of the API.
        first_message: what it says first, instead of its own.
        language: code such as `de`.
        dynamic_variables: values for the agent's prompt.
    """

    agent_id: str
    key: str
    base_url: str
    first_message: str | None = None
    language: str | None = None
    dynamic_variables: Mapping[str, Any] = field(default_factory=dict)


class ElevenLabsCodec(PlainCodec):
    """One conversation; the agent's turns are numbered by the event ids of its audio."""

    provider: ProviderName = "elevenlabs"

    def __init__(self, options: ElevenLabsOptions) -> None:
        super().__init__(options.agent_id, options.key)
        self._options = options

    @property
    def _socket_base(self) -> str:
        return self._options.base_url.replace("http", "ws", 1)

    @property
    def _socket_url(self) -> str:
        return f"{self._socket_base}/v1/convai/conversation?agent_id={quote(self.agent_id, safe='')}"

    def prepare(self) -> HttpCall | None:
        """Ask for a signed URL, which opens private agents."""
        if not self._options.key:
            return None
        url = f"{self._options.base_url}/v1/convai/conversation/get-signed-url"
        url += f"?agent_id={quote(self.agent_id, safe='')}"
        return HttpCall("GET", url, {"xi-api-key": self._options.key})

    def prepared(self, status: int, body: bytes) -> Address:
        """Take the signed URL; a server without that way gets the key in a header."""
        if status == 0:
            return Address(self._socket_url)
        if status == 404:
            return Address(self._socket_url, {"xi-api-key": self._options.key})
        url = text_at(self._answered(status, body, "when asked for a signed URL"), "signed_url")
        if not url:
            raise ProviderFailed("unknown", "elevenlabs: no signed URL in the answer")
        # The operator's server stands in for the real one wherever a base URL is set.
        return Address(url, foreign=not url.startswith(f"{self._socket_base}/"))

    def opened(self) -> Iterable[Message]:
        """Send the initiation data, for which the server may wait."""
        agent: dict[str, Any] = {}
        if self._options.first_message is not None:
            agent["first_message"] = self._options.first_message
        if self._options.language:
            agent["language"] = self._options.language
        yield _json(
            type="conversation_initiation_client_data",
            conversation_config_override={"agent": agent} if agent else {},
            custom_llm_extra_body={},
            dynamic_variables=dict(self._options.dynamic_variables),
            source_info={"source": "unknown", "version": "1"},
        )

    def audio(self, pcm: Pcm) -> Message:
        """Write a block."""
        return f'{{"user_audio_chunk":"{base64.b64encode(self.hears.encode(pcm)).decode()}"}}'

    def receive(self, message: Message) -> Iterable[AgentEvent]:
        """Read a message."""
        found = parse_object(message)
        kind = found.get("type")
        match kind:
            case "conversation_initiation_metadata":
                yield from self._begun(object_at(found, "conversation_initiation_metadata_event") or found)
            case "audio":
                event = object_at(found, "audio_event")
                self._turn = max(self._turn, number_at(event, "event_id") or self._turn)
                try:
                    audio = read_base64(text_at(event, "audio_base_64"))
                except ValueError:
                    return
                if audio:
                    yield Spoke(audio, number_at(event, "event_id") or self._turn)
            case "interruption":
                cut = number_at(object_at(found, "interruption_event"), "event_id")
                yield Interrupted(self._turn if cut is None else max(cut, 0))
            case "user_transcript":
                event = object_at(found, "user_transcription_event")
                yield from _heard(words_at(event, "user_transcript"), True)
            case "tentative_user_transcript":
                event = object_at(found, "tentative_user_transcription_event")
                yield from _heard(words_at(event, "user_transcript"), False)
            case "agent_response":
                text = words_at(object_at(found, "agent_response_event"), "agent_response")
                if text:
                    yield Responded(text)
            case "agent_response_correction":
                event = object_at(found, "agent_response_correction_event")
                yield Corrected(
                    words_at(event, "original_agent_response"), words_at(event, "corrected_agent_response")
                )
            case "ping":
                number = number_at(object_at(found, "ping_event"), "event_id")
                if number is not None:
                    self._replies.append(_json(type="pong", event_id=number))
            case "client_tool_call":
                call = object_at(found, "client_tool_call")
                self._replies.append(
                    _json(
                        type="client_tool_result",
                        tool_call_id=text_at(call, "tool_call_id"),
                        result="this client has no tools",
                        is_error=True,
                    )
                )
            case "client_error":
                text = words_at(object_at(found, "client_error_event"), "message") or words_at(
                    found, "message"
                )
                yield self._over("provider_error", "unknown", text or "client error")

    def _begun(self, event: Mapping[str, Any]) -> Iterable[AgentEvent]:
        try:
            self.says = _format(text_at(event, "agent_output_audio_format"))
            self.hears = _format(text_at(event, "user_input_audio_format"))
        except ValueError as error:
            yield Over("unsupported_format", "permanent_input", f"elevenlabs: {error}")
            return
        yield from self._begin(words_at(event, "conversation_id"))

    def inject(self, text: str, *, respond: bool) -> Iterable[Message] | HttpCall:
        """Let the agent know a text, or answer it."""
        if not self._ready:
            raise NotReady
        return [_json(type="user_message" if respond else "contextual_update", text=text)]

    def closed(self, code: int, reason: str) -> Over:
        """Tell a refusal of the overrides, and an end before the beginning, from an ordinary end."""
        if code != _NOT_ENABLED and (self._ready or code == 1000):
            return super().closed(code, reason)
        if code in _OUT_OF_ORDER:
            return self._broken_off("connection_lost", "retryable", code, reason)
        return self._broken_off("refused", "permanent_input", code, reason)


def _format(name: str) -> AudioFormat:
    """Read names such as pcm_16000 and ulaw_8000; no name stands for the usual one.

    Raises:
        ValueError: the server cannot read or write that.
    """
    if not name:
        return AudioFormat()
    encoding, _, rate = name.partition("_")
    if encoding not in _ENCODINGS or not rate.isdecimal():
        raise ValueError(f"no audio as {name[:40]}")
    return AudioFormat(int(rate[:6]), _ENCODINGS[encoding])


def _heard(text: str, is_final: bool) -> Iterable[AgentEvent]:
    if text:
        yield Heard(text, is_final)


def _json(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
