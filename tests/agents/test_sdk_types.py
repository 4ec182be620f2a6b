"""What agents' codecs and our services say is as the providers' own libraries describe it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from deepgram.agent.v1 import types as agent
from elevenlabs import types as eleven
from pydantic import BaseModel, ValidationError

from tests.agents.test_codecs import deepgram, elevenlabs
from vb.agents.base import Ready

SETTINGS: dict[str, Any] = {
    "agent": {
        "listen": {"provider": {"type": "deepgram", "version": "v1", "model": "nova-3"}},
        "think": {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}, "prompt": "Be kind."},
        "speak": {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}},
    },
    "tags": ["a"],
}


def judge(model: type[BaseModel], message: str | bytes) -> None:
    model.model_validate(json.loads(message), strict=False)


@pytest.mark.parametrize("options", [{}, {"settings": SETTINGS}, {"greeting": "Hi", "language": "de"}])
def test_settings_of_deepgram_are_as_its_library_has_them(options: dict[str, Any]) -> None:
    (sent,) = deepgram(**options).opened()
    judge(agent.AgentV1Settings, sent)


def test_what_else_deepgram_is_sent_is_as_its_library_has_it() -> None:
    codec = deepgram()
    for message in ('{"type": "Welcome", "request_id": "r"}', '{"type": "SettingsApplied"}'):
        judge(agent.AgentV1Welcome if "Welcome" in message else agent.AgentV1SettingsApplied, message)
        list(codec.receive(message))
    for respond, model in ((False, agent.AgentV1InjectAgentMessage), (True, agent.AgentV1InjectUserMessage)):
        (sent,) = codec.inject("x", respond=respond)  # type: ignore[misc]  # a message, no request
        judge(model, sent)
    (sent,) = codec.keep_alive()
    judge(agent.AgentV1KeepAlive, sent)
    call = {"id": "f", "name": "n", "arguments": "{}", "client_side": True}
    request = json.dumps({"type": "FunctionCallRequest", "functions": [call]})
    judge(agent.AgentV1FunctionCallRequest, request)
    list(codec.receive(request))
    (sent,) = codec.replies()
    judge(agent.AgentV1SendFunctionCallResponse, sent)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (agent.AgentV1ConversationText, {"type": "ConversationText", "role": "user", "content": "x"}),
        (agent.AgentV1UserStartedSpeaking, {"type": "UserStartedSpeaking"}),
        (agent.AgentV1LatencyReport, {"type": "LatencyReport", "total_latency": 0.5}),
        (agent.AgentV1Error, {"type": "Error", "description": "x", "code": "y"}),
    ],
)
def test_what_our_services_say_for_deepgram_is_as_its_library_has_it(
    model: type[BaseModel], message: dict[str, Any]
) -> None:
    judge(model, json.dumps(message))
    assert list(deepgram().receive(json.dumps(message)))


def test_the_library_refuses_what_deepgram_would_not_send() -> None:
    with pytest.raises(ValidationError):
        judge(agent.AgentV1Welcome, '{"type": "Welcome", "session_id": "s"}')


def test_the_override_for_elevenlabs_is_as_its_library_has_it() -> None:
    (sent,) = elevenlabs().opened()
    found = json.loads(sent)
    eleven.ConversationInitiationClientDataRequestInput.model_validate(
        {name: value for name, value in found.items() if name != "type"}
    )


def test_formats_that_elevenlabs_names_are_understood() -> None:
    audio = eleven.AsrInputFormat.__args__[0].__args__  # type: ignore[attr-defined]  # a union with a literal
    for name in audio:
        codec = elevenlabs()
        event = {"conversation_id": "c", "user_input_audio_format": name}
        message = {
            "type": "conversation_initiation_metadata",
            "conversation_initiation_metadata_event": event,
        }
        assert list(codec.receive(json.dumps(message))) == [Ready("c")], name
        assert codec.audio(np.zeros(codec.hears.rate_hz // 50, np.int16))
