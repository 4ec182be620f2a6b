"""Ultravox as an agent: a call whose medium is a WebSocket between servers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from vb.agents.base import Address, AgentEvent, Heard, HttpCall, NotReady, ProviderName, Responded, Spoke
from vb.agents.codec import PlainCodec
from vb.agents.messages import flag_at, number_at, parse_object, text_at, words_at
from vb.providers.failure import ProviderFailed
from vb.providers.reading import MAX_TEXT_CHARS, words
from vb.web.message import Message

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


class UltravoxCodec(PlainCodec):
    """One call; a turn ends when the provider says that its audio is to be forgotten."""

    provider: ProviderName = "ultravox"

    def __init__(self, options: UltravoxOptions) -> None:
        super().__init__(options.agent_id or "", options.key)
        self._options = options
        self._call_id = ""
        self._parts: dict[int, str] = {}

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
        found = self._answered(status, body, "for the call")
        self._call_id = words_at(found, "callId")
        url = text_at(found, "joinUrl")
        if not url:
            raise ProviderFailed("unknown", "ultravox: no joinUrl in the answer")
        return Address(url, foreign=True)

    def ready_within_s(self) -> tuple[float, bool]:
        """Wait for call_started; a server that does not say it has taken the socket all the same."""
        return 5.0, True

    def timed_out(self) -> Iterable[AgentEvent]:
        """The socket is open, so the call is joined."""
        yield from self._begin(self._call_id)

    def receive(self, message: Message) -> Iterable[AgentEvent]:
        """Read a message."""
        if isinstance(message, bytes):
            yield from self._begin(self._call_id)
            if message:
                yield Spoke(message, self._turn)
            return
        found = parse_object(message)
        match found.get("type"):
            case "call_started":
                self._call_id = words_at(found, "callId") or self._call_id
                yield from self._begin(self._call_id)
            case "playback_clear_buffer":
                yield from self._interrupted()
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

    def inject(self, text: str, *, respond: bool) -> Iterable[Message] | HttpCall:
        """Put a text into the conversation; what is only to be known is read with the next turn."""
        if not self._ready:
            raise NotReady
        urgency = "soon" if respond else "later"
        return [
            json.dumps({"type": "user_text_message", "text": text, "urgency": urgency}, ensure_ascii=False)
        ]

    def goodbye(self) -> tuple[Iterable[Message], HttpCall | None]:
        """End the call."""
        return ['{"type":"hang_up"}'], None
