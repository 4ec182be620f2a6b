"""Deepgram's Voice Agent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vb.agents.base import (
    Address,
    AgentEvent,
    Heard,
    HttpCall,
    Latency,
    NotReady,
    ProviderName,
    Responded,
    Spoke,
)
from vb.agents.codec import PlainCodec
from vb.agents.messages import parse_object, text_at, words_at
from vb.providers.failure import FailureCategory
from vb.web.message import Message

_LISTEN: Final = {"provider": {"type": "deepgram", "model": "nova-3"}}
_THINK: Final = {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}}
_SPEAK: Final = {"provider": {"type": "deepgram", "model": "aura-2-asteria-en"}}
_LATENCIES: Final = tuple(
    f"{part}_latency" for part in ("stt", "ttt_token", "ttt_text", "ttt_tool", "ttt_thinking", "tts", "total")
)


@dataclass(frozen=True, slots=True)
class DeepgramOptions:
    """What a request may say about the conversation.

    Attributes:
        key: of the API.
        base_url: of the API for agents.
        settings: the whole of the provider's settings, or those of `agent`; None for usual ones.
        stored_agent: id of an agent that is stored at the provider, instead of settings of `agent`.
        greeting: what the agent says first.
        language: that is spoken.
    """

    key: str
    base_url: str
    settings: Mapping[str, Any] | None = None
    stored_agent: str | None = None
    greeting: str | None = None
    language: str | None = None


class DeepgramCodec(PlainCodec):
    """One conversation; a turn ends when the user starts to speak."""

    provider: ProviderName = "deepgram"
    keep_alive_s: float | None = 8.0

    def __init__(self, options: DeepgramOptions) -> None:
        super().__init__(options.stored_agent or "", options.key)
        self._options = options
        self._conversation_id = ""

    def prepared(self, status: int, body: bytes) -> Address:
        """Connect with the key."""
        url = f"{self._options.base_url.replace('http', 'ws', 1)}/v1/agent/converse"
        return Address(url, {"Authorization": f"Token {self._options.key}"})

    def opened(self) -> Iterable[Message]:
        """Send the settings: the request's own, with our audio."""
        options = self._options
        settings: dict[str, Any] = dict(options.settings or {})
        if options.stored_agent is not None:
            settings["agent"] = options.stored_agent
        elif "agent" not in settings:
            settings["agent"] = {"listen": _LISTEN, "think": _THINK, "speak": _SPEAK}
        agent = settings["agent"]
        if isinstance(agent, dict):
            agent = settings["agent"] = dict(agent)
            if options.language:
                agent["language"] = options.language
            if options.greeting:
                agent["greeting"] = options.greeting
        settings["type"] = "Settings"
        plain = {"encoding": "linear16", "sample_rate": self.hears.rate_hz}
        settings["audio"] = {"input": plain, "output": {**plain, "container": "none"}}
        yield json.dumps(settings, ensure_ascii=False)

    def receive(self, message: Message) -> Iterable[AgentEvent]:
        """Read a message."""
        if isinstance(message, bytes):
            if message:
                yield Spoke(message, self._turn)
            return
        found = parse_object(message)
        match found.get("type"):
            case "Welcome":
                self._conversation_id = words_at(found, "request_id") or words_at(found, "session_id")
            case "SettingsApplied":
                yield from self._begin(self._conversation_id)
            case "UserStartedSpeaking":
                yield from self._interrupted()
            case "ConversationText":
                text = words_at(found, "content")
                if text and found.get("role") == "user":
                    yield Heard(text)
                elif text and found.get("role") == "assistant":
                    yield Responded(text)
            case "AgentStartedSpeaking" | "LatencyReport":
                parts = {name: found[name] * 1000 for name in _LATENCIES if _is_number(found.get(name))}
                if parts:
                    yield Latency(parts)
            case "FunctionCallRequest":
                self._decline(found.get("functions"))
            case "Error":
                yield self._over("provider_error", _category(text_at(found, "code")), _told(found))

    def _decline(self, functions: object) -> None:
        """Answer calls of functions that the client should have, or the agent waits for them for ever."""
        for call in functions if isinstance(functions, list) else []:
            if isinstance(call, dict) and call.get("client_side") is True:
                answer = {"id": text_at(call, "id"), "name": text_at(call, "name")}
                answer |= {"type": "FunctionCallResponse", "content": "this client has no functions"}
                self._replies.append(json.dumps(answer))

    def inject(self, text: str, *, respond: bool) -> Iterable[Message] | HttpCall:
        """Let the agent say a text when it is its turn, or answer it as if the user had said it."""
        if not self._ready:
            raise NotReady
        if respond:
            return [json.dumps({"type": "InjectUserMessage", "content": text}, ensure_ascii=False)]
        fields = {"type": "InjectAgentMessage", "message": text, "behavior": "queue"}
        return [json.dumps(fields, ensure_ascii=False)]

    def keep_alive(self) -> Iterable[Message]:
        """Say that we are there."""
        return ['{"type":"KeepAlive"}']


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6


def _category(code: str) -> FailureCategory:
    word = code.upper()
    if "AUTH" in word or "PERMISSION" in word:
        return "permanent_auth"
    if "INVALID" in word or "UNPARSABLE" in word or "SETTINGS" in word:
        return "permanent_input"
    return "unknown"


def _told(found: Mapping[str, Any]) -> str:
    return words_at(found, "description") or words_at(found, "message") or "error"
