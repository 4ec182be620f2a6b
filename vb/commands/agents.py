"""Commands that attach agents to legs and rooms."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field, SecretStr

from vb.agents.base import AgentCodec
from vb.agents.deepgram import DeepgramCodec, DeepgramOptions
from vb.agents.elevenlabs import ElevenLabsCodec, ElevenLabsOptions
from vb.agents.pipecat import PipecatCodec
from vb.agents.ultravox import UltravoxCodec, UltravoxOptions
from vb.agents.vapi import VapiCodec, VapiOptions
from vb.commands.owners import owner_command
from vb.commands.params import OwnerRef
from vb.commands.registry import Route
from vb.commands.views import AgentStart, Status
from vb.engine import Engine
from vb.errors import BadRequest, InvalidField, Unavailable
from vb.owner import Owner
from vb.parameters import Url, shown_as_required
from vb.providers.reading import is_key
from vb.web.errors import UrlRefused
from vb.web.policy import WEBSOCKET

MAX_TEXT_CHARS: Final = 16_384
MAX_SETTINGS_BYTES: Final = 262_144


def _check_size(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value)) > MAX_SETTINGS_BYTES:
        raise ValueError(f"longer than {MAX_SETTINGS_BYTES} bytes")
    return value


Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
Name = Annotated[str, Field(max_length=256)]
Object = Annotated[dict[str, Any], AfterValidator(_check_size)]
Key = Annotated[SecretStr, Field(max_length=1024)]


class ElevenLabsAgent(OwnerRef):
    """An agent of ElevenLabs."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("id", "agent_id"))

    agent_id: Name = Field(default="", description="agent id")
    first_message: Text | None = Field(default=None, description="what it says first, instead of its own")
    language: Name | None = Field(default=None, description="language that it speaks, such as de")
    dynamic_variables: Object = Field(default_factory=dict, description="values for its prompt")
    api_key: Key = Field(default=SecretStr(""), description="key, else ELEVENLABS_API_KEY")


class VapiAgent(OwnerRef):
    """An assistant of VAPI."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("id", "assistant_id"))

    assistant_id: Name = Field(default="", description="assistant id")
    first_message: Text | None = Field(default=None, description="what it says first, instead of its own")
    variable_values: Object = Field(default_factory=dict, description="values for its prompt")
    api_key: Key = Field(default=SecretStr(""), description="key, else VAPI_API_KEY")


class PipecatAgent(OwnerRef):
    """A bot made with Pipecat."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("id", "websocket_url"))

    websocket_url: Url = Field(default="", description="where the bot listens, ws or wss")
    interruption_ms: Annotated[int, Field(ge=0, le=60_000)] = Field(
        default=0, description="speech that interrupts the bot from here; 0 = the bot judges itself"
    )


class DeepgramAgent(OwnerRef):
    """A voice agent of Deepgram."""

    settings: Object | Name | None = Field(
        default=None,
        description="all settings of the agent, or the id of an agent that is stored at Deepgram",
    )
    greeting: Text | None = Field(default=None, description="what it says first")
    language: Name | None = Field(default=None, description="language that it speaks")
    api_key: Key = Field(default=SecretStr(""), description="key, else DEEPGRAM_API_KEY")


class UltravoxAgent(OwnerRef):
    """An agent of Ultravox."""

    agent_id: Name | None = Field(default=None, description="agent id; a call is described otherwise")
    system_prompt: Text | None = Field(default=None, description="what the agent is told to be")
    first_message: Text | None = Field(default=None, description="what it says first")
    language: Name | None = Field(default=None, description="language that is spoken, such as de")
    voice: Name | None = Field(default=None, description="voice")
    model: Name | None = Field(default=None, description="model")
    dynamic_variables: Object = Field(default_factory=dict, description="values for a stored agent's prompt")
    settings: Object = Field(
        default_factory=dict, description="more fields of Ultravox's own request, such as selectedTools"
    )
    api_key: Key = Field(default=SecretStr(""), description="key, else ULTRAVOX_API_KEY")


class AgentMessage(OwnerRef):
    """A text for an agent."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("id", "message"))

    message: Text = Field(default="", description="context or instruction")
    respond: bool = Field(
        default=False, description="whether the agent is to answer it as if the user had said it"
    )
    say: bool = Field(
        default=False, description="whether an agent of the server's own is to say it, word for word"
    )
    uninterruptible: bool = Field(
        default=False, description="whether that is heard to its end, whatever the user does"
    )


def _needed(value: str | None, name: str) -> str:
    if not value:
        raise BadRequest(f"{name} is required")
    return value


def _key(given: SecretStr, own: SecretStr, whose: str, setting: str) -> str:
    key = given.get_secret_value() or own.get_secret_value()
    if not key:
        raise Unavailable(f"no {whose} API key provided (api_key or {setting})")
    if not is_key(key):
        raise InvalidField("api_key", "has letters that no key has")
    return key


def _elevenlabs(engine: Engine, p: ElevenLabsAgent) -> ElevenLabsCodec:
    settings = engine.config.elevenlabs
    return ElevenLabsCodec(
        ElevenLabsOptions(
            agent_id=_needed(p.agent_id, "agent_id"),
            key=_key(p.api_key, settings.api_key, "ElevenLabs", "ELEVENLABS_API_KEY"),
            base_url=settings.base_url,
            first_message=p.first_message,
            language=p.language,
            dynamic_variables=p.dynamic_variables,
        )
    )


def _vapi(engine: Engine, p: VapiAgent) -> VapiCodec:
    settings = engine.config.vapi
    return VapiCodec(
        VapiOptions(
            assistant_id=_needed(p.assistant_id, "assistant_id"),
            key=_key(p.api_key, settings.api_key, "VAPI", "VAPI_API_KEY"),
            base_url=settings.base_url,
            first_message=p.first_message,
            variable_values=p.variable_values,
        )
    )


def _pipecat(engine: Engine, p: PipecatAgent) -> PipecatCodec:
    url = _needed(p.websocket_url, "websocket_url")
    try:
        engine.web.policy.check(url, schemes=WEBSOCKET)
    except UrlRefused as exc:
        raise BadRequest(f"websocket_url: {exc}") from None
    return PipecatCodec(url, interruption_ms=p.interruption_ms)


def _deepgram(engine: Engine, p: DeepgramAgent) -> DeepgramCodec:
    _needed(p.id, "id")  # nothing else of the request has to be there
    settings = engine.config.deepgram
    return DeepgramCodec(
        DeepgramOptions(
            key=_key(p.api_key, settings.api_key, "Deepgram", "DEEPGRAM_API_KEY"),
            base_url=settings.agent_base_url,
            settings=p.settings if isinstance(p.settings, dict) else None,
            stored_agent=p.settings if isinstance(p.settings, str) and p.settings else None,
            greeting=p.greeting,
            language=p.language,
        )
    )


def _ultravox(engine: Engine, p: UltravoxAgent) -> UltravoxCodec:
    if not (p.agent_id or p.system_prompt or p.settings):
        raise BadRequest("agent_id, system_prompt or settings is required")
    settings = engine.config.ultravox
    own = {"systemPrompt": p.system_prompt, "voice": p.voice, "model": p.model}
    call = {**p.settings, **{name: value for name, value in own.items() if value is not None}}
    return UltravoxCodec(
        UltravoxOptions(
            key=_key(p.api_key, settings.api_key, "Ultravox", "ULTRAVOX_API_KEY"),
            base_url=settings.base_url,
            agent_id=p.agent_id or None,
            call=call,
            first_message=p.first_message,
            language=p.language,
            template_context=p.dynamic_variables,
        )
    )


_ERRORS: Final = (400, 404, 409, 503)


async def _start(engine: Engine, owner: Owner, codec: AgentCodec) -> AgentStart:
    await engine.agents.let_go(owner)
    engine.agents.start(owner, codec)
    return started(owner)


def started(owner: Owner) -> AgentStart:
    """Return the answer that says where an agent is being attached."""
    kind, _, name = owner.key.partition(" ")
    leg, room = (name, None) if kind == "leg" else (None, name)
    return AgentStart(status="agent_started", leg_id=leg, room_id=room)


@owner_command(
    "agent_elevenlabs",
    rest=Route("POST", "/v1/{owners}/{id}/agent/elevenlabs", body=True),
    errors=_ERRORS,
    check=_elevenlabs,
    leg="Attach an agent of ElevenLabs to a leg.\n\nIt hears the leg alone; the leg's whole room hears it.",
    room="Attach an agent of ElevenLabs to a room.\n\nIt hears everybody, and everybody hears it.",
)
async def agent_elevenlabs(engine: Engine, owner: Owner, p: ElevenLabsAgent) -> AgentStart:
    """Attach an agent of ElevenLabs."""
    return await _start(engine, owner, _elevenlabs(engine, p))


@owner_command(
    "agent_vapi",
    rest=Route("POST", "/v1/{owners}/{id}/agent/vapi", body=True),
    errors=_ERRORS,
    check=_vapi,
    leg="Attach an assistant of VAPI to a leg.",
    room="Attach an assistant of VAPI to a room.",
)
async def agent_vapi(engine: Engine, owner: Owner, p: VapiAgent) -> AgentStart:
    """Attach an assistant of VAPI."""
    return await _start(engine, owner, _vapi(engine, p))


@owner_command(
    "agent_pipecat",
    rest=Route("POST", "/v1/{owners}/{id}/agent/pipecat", body=True),
    errors=(400, 404, 409),
    check=_pipecat,
    leg="Attach a Pipecat bot to a leg.",
    room="Attach a Pipecat bot to a room.",
)
async def agent_pipecat(engine: Engine, owner: Owner, p: PipecatAgent) -> AgentStart:
    """Attach a Pipecat bot."""
    return await _start(engine, owner, _pipecat(engine, p))


@owner_command(
    "agent_deepgram",
    rest=Route("POST", "/v1/{owners}/{id}/agent/deepgram", body=True),
    errors=_ERRORS,
    check=_deepgram,
    leg="Attach a voice agent of Deepgram to a leg.",
    room="Attach a voice agent of Deepgram to a room.",
)
async def agent_deepgram(engine: Engine, owner: Owner, p: DeepgramAgent) -> AgentStart:
    """Attach a voice agent of Deepgram."""
    return await _start(engine, owner, _deepgram(engine, p))


@owner_command(
    "agent_ultravox",
    rest=Route("POST", "/v1/{owners}/{id}/agent/ultravox", body=True),
    errors=_ERRORS,
    check=_ultravox,
    leg="Attach an agent of Ultravox to a leg.",
    room="Attach an agent of Ultravox to a room.",
)
async def agent_ultravox(engine: Engine, owner: Owner, p: UltravoxAgent) -> AgentStart:
    """Attach an agent of Ultravox."""
    return await _start(engine, owner, _ultravox(engine, p))


def _check_message(engine: Engine, p: AgentMessage) -> None:
    _needed(p.message.strip(), "message")
    if p.say and p.respond:
        raise BadRequest("say and respond exclude each other")
    if p.uninterruptible and not p.say:
        raise BadRequest("uninterruptible goes with say")


@owner_command(
    "agent_message",
    rest=Route("POST", "/v1/{owners}/{id}/agent/message", body=True),
    errors=(400, 404, 409, 500, 501),
    check=_check_message,
    leg="Put a text into the conversation of a leg's agent.",
    room="Put a text into the conversation of a room's agent.",
)
async def agent_message(engine: Engine, owner: Owner, p: AgentMessage) -> Status:
    """Put a text into a conversation."""
    if p.say:
        await engine.agents.say(owner, p.message, uninterruptible=p.uninterruptible)
    else:
        await engine.agents.inject(owner, p.message, respond=p.respond)
    return Status(status="message_sent")


@owner_command(
    "agent_stop",
    rest=Route("DELETE", "/v1/{owners}/{id}/agent"),
    errors=(404,),
    leg="Detach the agent of a leg.",
    room="Detach the agent of a room.",
)
async def agent_stop(engine: Engine, owner: Owner, p: OwnerRef) -> Status:
    """Detach an agent."""
    engine.agents.stop(owner)
    return Status(status="agent_stopped")
