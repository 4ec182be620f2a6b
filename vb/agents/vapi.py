"""VAPI as an agent: a call over its WebSocket transport."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vb.agents.base import (
    Address,
    AgentEvent,
    CannotInject,
    Heard,
    HttpCall,
    NotReady,
    Over,
    ProviderName,
    Responded,
    Spoke,
)
from vb.agents.codec import PlainCodec
from vb.agents.messages import object_at, parse_object, text_at, words_at
from vb.providers.failure import ProviderFailed
from vb.web.message import Message


@dataclass(frozen=True, slots=True)
class VapiOptions:
    """What a request may say about the conversation.

    Attributes:
        assistant_id: the assistant.
        key: of the API.
        base_url: of the API.
        first_message: what it says first, instead of its own.
        variable_values: values for its prompt.
    """

    assistant_id: str
    key: str
    base_url: str
    first_message: str | None = None
    variable_values: Mapping[str, Any] = field(default_factory=dict)


class VapiCodec(PlainCodec):
    """One call; a turn ends when the user interrupts it."""

    provider: ProviderName = "vapi"
    block_ms = 20

    def __init__(self, options: VapiOptions) -> None:
        super().__init__(options.assistant_id, options.key)
        self._options = options
        self._call_id = ""
        self._control_url = ""

    @property
    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._options.key}", "Content-Type": "application/json"}

    def prepare(self) -> HttpCall | None:
        """Create the call."""
        audio = {"format": "pcm_s16le", "container": "raw", "sampleRate": self.hears.rate_hz}
        body: dict[str, Any] = {
            "assistantId": self.agent_id,
            "transport": {"provider": "vapi.websocket", "audioFormat": audio},
        }
        overrides: dict[str, Any] = {}
        if self._options.first_message is not None:
            overrides["firstMessage"] = self._options.first_message
        if self._options.variable_values:
            overrides["variableValues"] = dict(self._options.variable_values)
        if overrides:
            body["assistantOverrides"] = overrides
        return HttpCall("POST", f"{self._options.base_url}/call", self._bearer, json.dumps(body).encode())

    def prepared(self, status: int, body: bytes) -> Address:
        """Take the URLs of the call, where old and new answers have them."""
        found = self._answered(status, body, "for the call")
        monitor = object_at(found, "monitor")
        url = (
            text_at(object_at(found, "transport"), "websocketCallUrl")
            or text_at(found, "listenUrl")
            or text_at(monitor, "listenUrl")
        )
        control = text_at(monitor, "controlUrl") or text_at(found, "controlUrl")
        self._call_id = words_at(found, "id")
        self._control_url = control.strip("<>")
        if not url:
            raise ProviderFailed("unknown", "vapi: no WebSocket in the answer")
        return Address(url, foreign=True)

    def ready_within_s(self) -> tuple[float, bool]:
        """There is no handshake beyond the socket's."""
        return 0.0, True

    def timed_out(self) -> Iterable[AgentEvent]:
        """The socket is open, so the call is."""
        yield from self._begin(self._call_id)

    def receive(self, message: Message) -> Iterable[AgentEvent]:
        """Read a message."""
        if isinstance(message, bytes):
            if message:
                yield Spoke(message, self._turn)
            return
        found = parse_object(message)
        role = found.get("role")
        match found.get("type"):
            case "transcript" | "transcript[transcriptType='final']":
                text = words_at(found, "transcript")
                is_final = found.get("transcriptType") != "partial"
                if text and role == "user":
                    yield Heard(text, is_final)
                elif text and role in ("assistant", "bot"):
                    yield Responded(text, is_final)
            case "user-interrupted":
                yield from self._interrupted()
            case "speech-update" if role == "user" and found.get("status") == "started":
                yield from self._interrupted()
            case "status-update" if found.get("status") == "ended":
                yield Over("provider_closed")
            case "hang" | "end-of-call-report":
                yield Over("provider_closed")

    def inject(self, text: str, *, respond: bool) -> Iterable[Message] | HttpCall:
        """Add a message to the conversation, through the URL that controls the call."""
        if not self._ready:
            raise NotReady
        if not self._control_url:
            raise CannotInject
        role = "user" if respond else "system"
        body = {"type": "add-message", "message": {"role": role, "content": text}}
        return self._control(body)

    def goodbye(self) -> tuple[Iterable[Message], HttpCall | None]:
        """End the call: its silence time-out is billed."""
        call = self._control({"type": "end-call"}) if self._control_url else None
        return ['{"type":"end-call"}'], call

    def _control(self, body: Mapping[str, Any]) -> HttpCall:
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        return HttpCall("POST", self._control_url, self._bearer, content, foreign=True)
