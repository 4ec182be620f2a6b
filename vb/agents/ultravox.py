"""Ultravox as an agent: a call whose medium is a WebSocket between servers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from vb.agents.audio import AudioFormat
from vb.agents.base import (
    Address,
    AgentEvent,
    Heard,
    HttpCall,
    Interrupted,
    Message,
    NotReady,
    Over,
    ProviderName,
    Ready,
    Responded,
    Spoke,
    over_by_close,
)
from vb.agents.messages import flag_at, number_at, parse_object, text_at, words_at
from vb.codecs.pcm import Pcm
from vb.providers.failure import ProviderFailed, category_of_status
from vb.providers.reading import MAX_TEXT_CHARS, words

BUFFER_MS: Final = 30_000
"""How far the provider may be ahead: what it has sent and is not heard yet can be taken back here."""


@dataclass(frozen=True, slots=True)
class UltravoxOptions:
    """What a request may say about the conversation.

    Attributes:
        key: of the API.
        base_url: of the API.
        agent_id: an agent that is stored there; None for a call that is described by `call`.
        call: fields of the provider's request, such as systemPrompt, voice and languageHint.
        first_message: what the agent says first.
        language: that is spoken.
        template_context: values for a stored agent's prompt.
    """

    key: str
    base_url: str
    agent_id: str | None = None
    call: Mapping[str, Any] = field(default_factory=dict)
    first_message: str | None = None
    language: str | None = None
    template_context: Mapping[str, Any] = field(default_factory=dict)


class UltravoxCodec:
    """One call; a turn ends when the provider says that its audio is to be forgotten."""

    provider: ProviderName = "ultravox"
    block_ms = 60
    interruption_ms = 0
    keep_alive_s: float | None = None

    def __init__(self, options: UltravoxOptions) -> None:
        self.hears = self.says = AudioFormat()
        self.agent_id = options.agent_id or ""
        self._options = options
        self._call_id = ""
        self._ready = False
        self._turn = 0
        self._parts: dict[int, str] = {}
        self._replies: list[Message] = []

    def prepare(self) -> HttpCall | None:
        """Create the call."""
        options = self._options
        rate_hz = self.hears.rate_hz
        medium = {"inputSampleRate": rate_hz, "outputSampleRate": rate_hz, "clientBufferSizeMs": BUFFER_MS}
        body: dict[str, Any] = {**options.call, "medium": {"serverWebSocket": medium}}
        if options.first_message is not None:
            body["firstSpeakerSettings"] = {"agent": {"text": options.first_message}}
        if options.agent_id is None and options.language:
            body["languageHint"] = options.language
        if options.template_context:
            body["templateContext"] = dict(options.template_context)
        path = (
            "/api/calls"
            if options.agent_id is None
            else f"/api/agents/{quote(options.agent_id, safe='')}/calls"
        )
        headers = {"X-API-Key": options.key, "Content-Type": "application/json"}
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        return HttpCall("POST", f"{options.base_url}{path}", headers, content)

    def prepared(self, status: int, body: bytes) -> Address:
        """Take the URL at which the call is joined."""
        if not 200 <= status < 300:
            raise ProviderFailed(category_of_status(status), f"ultravox: status {status} for the call")
        found = parse_object(body)
        self._call_id = words_at(found, "callId")
        url = text_at(found, "joinUrl")
        if not url:
            raise ProviderFailed("unknown", "ultravox: no joinUrl in the answer")
        return Address(url, foreign=True)

    def opened(self) -> Iterable[Message]:
        """Say nothing: the call has been described."""
        return ()

    def ready_within_s(self) -> tuple[float, bool]:
        """Wait for call_started; a server that does not say it has taken the socket all the same."""
        return 5.0, True

    def timed_out(self) -> Iterable[AgentEvent]:
        """The socket is open, so the call is joined."""
        yield from self._begin()

    def _begin(self) -> Iterable[AgentEvent]:
        if not self._ready:
            self._ready = True
            yield Ready(self._call_id)

    def audio(self, pcm: Pcm) -> Message:
        """Write a block."""
        return self.hears.encode(pcm)

    def receive(self, message: Message) -> Iterable[AgentEvent]:
        """Read a message."""
        if isinstance(message, bytes):
            yield from self._begin()
            if message:
                yield Spoke(message, self._turn)
            return
        found = parse_object(message)
        match found.get("type"):
            case "call_started":
                self._call_id = words_at(found, "callId") or self._call_id
                yield from self._begin()
            case "playback_clear_buffer":
                yield Interrupted(self._turn)
                self._turn += 1
            case "transcript":
                yield from self._transcript(found)
            case "client_tool_invocation":
                self._replies.append(
                    json.dumps(
                        {
                            "type": "client_tool_result",
                            "invocationId": text_at(found, "invocationId"),
                            "errorType": "undefined",
                            "errorMessage": "this client has no tools",
                        }
                    )
                )

    def _transcript(self, found: Mapping[str, Any]) -> Iterable[AgentEvent]:
        """Read a transcript: a whole text, or what is added to one with the same number."""
        number = number_at(found, "ordinal") or 0
        is_final = flag_at(found, "final") is True
        text = text_at(found, "text") or self._parts.get(number, "") + text_at(found, "delta")
        if is_final:
            self._parts.pop(number, None)
        else:
            self._parts[number] = text[:MAX_TEXT_CHARS]
            while len(self._parts) > 16:
                del self._parts[next(iter(self._parts))]
        text = words(text)
        if not text:
            return
        role = found.get("role")
        if role == "user":
            yield Heard(text, is_final)
        elif role == "agent":
            yield Responded(text, is_final)

    def replies(self) -> list[Message]:
        """Return answers to tool calls."""
        found, self._replies = self._replies, []
        return found

    def inject(self, text: str, *, respond: bool) -> Iterable[Message] | HttpCall:
        """Put a text into the conversation; what is only to be known is read with the next turn."""
        if not self._ready:
            raise NotReady
        urgency = "soon" if respond else "later"
        return [
            json.dumps({"type": "user_text_message", "text": text, "urgency": urgency}, ensure_ascii=False)
        ]

    def clear(self, played_ms: int) -> Iterable[Message]:
        """It judges interruptions itself, and has no message for those of others."""
        return ()

    def keep_alive(self) -> Iterable[Message]:
        """It wants none."""
        return ()

    def goodbye(self) -> tuple[Iterable[Message], HttpCall | None]:
        """End the call."""
        return ['{"type":"hang_up"}'], None

    def closed(self, code: int, reason: str) -> Over:
        """Say whether it was meant."""
        return over_by_close(self.provider, code, reason)
