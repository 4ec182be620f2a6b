"""The command that attaches one of the server's own agents to a leg or room."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from vb.agents.runtime.arguments import check_schema
from vb.agents.runtime.brain import Tool, ToolCall
from vb.agents.runtime.chat import ChatSettings
from vb.agents.runtime.decisions import Timing
from vb.agents.runtime.options import AgentOptions, Parts
from vb.commands.agents import started
from vb.commands.owners import owner_command
from vb.commands.params import OwnerRef
from vb.commands.registry import Route
from vb.commands.registry import call as run_command
from vb.commands.views import AgentStart
from vb.engine import Engine
from vb.errors import InvalidField, NotFound, VbError
from vb.owner import Owner
from vb.parameters import Params, Url
from vb.stt.base import Options as Listening
from vb.tts.base import Voice
from vb.tts.local import DEFAULT as DEFAULT_VOICE
from vb.tts.local import NAME as LOCAL_VOICES
from vb.tts.speech import check_voice
from vb.web.errors import UrlRefused, WebError

MAX_TEXT_CHARS: Final = 16_384
TOOL_S: Final = 10.0
SURE_MS: Final = 300
UNSURE_MS: Final = 400
"""Silence after which a turn may be over: where something tells that it is, and where nothing does."""
MAX_RESULT_BYTES: Final = 65_536
_PLACE: Final = re.compile(r"\{([^{}]{1,256})\}")
BuiltIn = Literal["hangup", "transfer", "send_dtmf", "play"]
Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
Word = Annotated[str, Field(max_length=256)]
Ms = Annotated[int, Field(ge=0, le=60_000)]


class HttpTool(Params):
    """Something that an agent can ask of a server of the application's."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,64}$")] = Field(description="as the model calls it")
    description: Text = Field(default="", description="what it does, for the model")
    parameters: dict[str, Any] = Field(default_factory=dict, description="JSON schema of its arguments")
    url: Url = Field(description="where the arguments are POSTed to, as JSON; the answer is the result")


class OwnAgentStart(OwnerRef):
    """An agent of the server's own: a voice, ears, and what answers."""

    agent_id: Word = Field(default="", description="what the application calls it")
    greeting: Text = Field(default="", description="what it says first; empty = it waits")
    greeting_guarded: bool = Field(default=False, description="whether the greeting cannot be interrupted")
    instructions: Text = Field(default="", description="what the model is told to be; {name} is replaced")
    variables: dict[str, str] = Field(default_factory=dict, description="values for {name} in texts")
    model: Word = Field(default="", description="model of OPENAI_BASE_URL, else VB_AGENT_MODEL")
    language: Word = Field(default="", description="language of voice and ears, such as en")
    voice: Word = Field(default=DEFAULT_VOICE, description="voice of its provider; only local has a default")
    voice_provider: Word = Field(default=LOCAL_VOICES, description="who speaks, as for tts")
    transcript_provider: Word = Field(default="local", description="who listens, as for stt")
    idle_timeout_ms: Ms = Field(
        default=0, description="silence after which it asks whether anybody is there; 0 = never"
    )
    idle_prompt: Text = Field(default="Are you still there?", description="what it asks then")
    apology: Text = Field(
        default="Sorry, I cannot answer that now.",
        description="what it says when its model fails; empty = nothing",
    )
    tools: Annotated[list[BuiltIn | HttpTool], Field(max_length=32)] = Field(
        default_factory=list, description="what it can do: words for what is built in, or HTTP tools"
    )
    detector: Literal["auto", "loudness"] = Field(
        default="auto",
        description="what tells when the user speaks: the detector of local speech, if any, or loudness",
    )
    preemptive: bool = Field(
        default=True,
        description="whether its model begins before it is certain that the user has finished",
    )
    min_endpointing_ms: Ms | None = Field(
        default=None,
        description="silence after which a turn may be over; 400, or 300 with a turn model or a provider of "
        "transcripts that tells turns",
    )
    max_endpointing_ms: Ms = Field(default=2500, description="silence after which it is")
    interruption_ms: Ms = Field(default=200, description="speech that interrupts the agent")
    interruption_words: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="words that it must have besides"
    )
    false_interruption_ms: Ms = Field(
        default=1500, description="silence after which an agent that was stopped by no words goes on"
    )

    def timing(self, *, turn_model: bool, provider_turns: bool) -> Timing:
        """Return how patient it is."""
        told = SURE_MS if turn_model or provider_turns else UNSURE_MS
        least_ms = told if self.min_endpointing_ms is None else self.min_endpointing_ms
        return Timing(
            turn_model=turn_model and not provider_turns,
            provider_turns=provider_turns,
            min_endpointing_s=least_ms / 1000,
            unsure_endpointing_s=max(least_ms, UNSURE_MS if self.min_endpointing_ms is None else 0) / 1000,
            max_endpointing_s=self.max_endpointing_ms / 1000,
            interruption_s=self.interruption_ms / 1000,
            interruption_words=self.interruption_words,
            false_interruption_s=self.false_interruption_ms / 1000,
        )


_BUILT_IN: Final[dict[str, Tool]] = {
    "hangup": Tool("hangup", "End the call, after what you say with it was heard."),
    "transfer": Tool(
        "transfer",
        "Transfer the call, after what you say with it was heard.",
        {
            "type": "object",
            "properties": {"target": {"type": "string", "description": "SIP URI"}},
            "required": ["target"],
        },
    ),
    "send_dtmf": Tool(
        "send_dtmf",
        "Press keys.",
        {"type": "object", "properties": {"digits": {"type": "string"}}, "required": ["digits"]},
    ),
    "play": Tool(
        "play",
        "Play a sound file.",
        {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]},
    ),
}


class Deeds:
    """Carries out the tools of one agent.

    Args:
        engine: the engine.
        owner: the leg or room.
        tools: those with a URL, by name.
    """

    def __init__(self, engine: Engine, owner: Owner, tools: dict[str, HttpTool], built_in: set[str]) -> None:
        self._engine = engine
        self._tools = tools
        self._built_in = built_in
        kind, _, self._id = owner.key.partition(" ")
        self._is_leg = kind == "leg"

    async def do(self, call: ToolCall) -> str:
        """Carry out a tool and return its result for the model."""
        try:
            if call.name in self._tools:
                return await self._ask(self._tools[call.name], call)
            if call.name in self._built_in:
                return await self._run(call)
            return f"error: there is no tool {call.name}"
        except VbError as error:
            return f"error: {error.message}"
        except WebError as error:
            return f"error: {error}"

    async def _run(self, call: ToolCall) -> str:
        target, digits, url = (str(call.arguments.get(name, "")) for name in ("target", "digits", "url"))
        play = "leg_play_start" if self._is_leg else "room_play_start"
        commands: dict[str, Callable[[], Awaitable[object]]] = {
            "hangup": lambda: run_command(self._engine, "delete_leg", {"id": self._id}),
            "transfer": lambda: run_command(self._engine, "leg_transfer", {"id": self._id, "target": target}),
            "send_dtmf": lambda: run_command(
                self._engine, "send_leg_dtmf", {"id": self._id, "digits": digits}
            ),
            "play": lambda: run_command(self._engine, play, {"id": self._id, "url": url}),
        }
        if not self._is_leg and call.name != "play":
            raise NotFound("a room has no call")
        await commands[call.name]()
        return "done"

    async def _ask(self, tool: HttpTool, call: ToolCall) -> str:
        status, body = await self._engine.web.ask(
            "POST",
            tool.url,
            within_s=TOOL_S,
            max_bytes=MAX_RESULT_BYTES,
            headers={"Content-Type": "application/json"},
            content=json.dumps(dict(call.arguments)).encode(),
        )
        text = body.decode("utf-8", "replace")
        return text if 200 <= status < 300 else f"error: status {status}: {text[:500]}"


def _chat(engine: Engine, p: OwnAgentStart) -> ChatSettings | None:
    settings = engine.config.agents
    if not settings.base_url:
        if p.model:
            raise InvalidField("model", "no language model is set up (OPENAI_BASE_URL)")
        return None
    model = p.model or settings.model
    if not model:
        raise InvalidField("model", "is required (or VB_AGENT_MODEL)")
    return ChatSettings(settings.base_url, model, settings.api_key)


def _filled(text: str, variables: dict[str, str]) -> str:
    """Fill in variables, once: what a value holds is not looked at."""
    return _PLACE.sub(lambda place: variables.get(place[1], place[0]), text)


def _options(p: OwnAgentStart, timing: Timing) -> AgentOptions:
    tools = [
        _BUILT_IN[tool]
        if isinstance(tool, str)
        else Tool(tool.name, tool.description, tool.parameters or {"type": "object", "properties": {}})
        for tool in p.tools
    ]
    return AgentOptions(
        agent_id=p.agent_id,
        instructions=_filled(p.instructions, p.variables),
        greeting=_filled(p.greeting, p.variables),
        guarded=p.greeting_guarded,
        idle_s=p.idle_timeout_ms / 1000 if p.idle_timeout_ms else None,
        idle_prompt=_filled(p.idle_prompt, p.variables),
        apology=_filled(p.apology, p.variables),
        preemptive=p.preemptive,
        detector=p.detector != "loudness",
        timing=timing,
        tools=tuple(tools),
    )


def _check(engine: Engine, p: OwnAgentStart) -> Callable[[Owner], Parts]:
    """Judge a request; returns what makes the parts of the agent for an owner.

    Raises:
        VbError: it cannot be carried out, and why.
    """
    voices = engine.voices.providers.get(p.voice_provider)
    if voices is None:
        raise InvalidField("voice_provider", f"must be one of {', '.join(engine.voices.providers)}")
    if p.voice == DEFAULT_VOICE and p.voice_provider != LOCAL_VOICES:
        raise InvalidField("voice", f"is required with voice_provider {p.voice_provider}")
    wanted = Voice(p.voice, voices.capabilities.live_model, p.language, rate_hz=24_000)
    check_voice(p.voice_provider, voices.capabilities, wanted)
    voice = voices.check(wanted)
    listening = Listening(language=p.language, partial=True)
    transcripts = engine.transcripts.choose(p.transcript_provider, listening)
    timing = p.timing(
        turn_model=engine.agents.turn_model is not None, provider_turns=transcripts.capabilities.turns
    )
    chat, options = _chat(engine, p), _options(p, timing)
    tools = {tool.name: tool for tool in p.tools if isinstance(tool, HttpTool)}
    built_in: set[str] = {tool for tool in p.tools if isinstance(tool, str)}
    for tool in tools.values():
        try:
            check_schema(tool.parameters)
        except ValueError as exc:
            raise InvalidField("tools", f"{tool.name}: {exc}") from None
        try:
            engine.web.policy.check(tool.url)
        except UrlRefused as exc:
            raise InvalidField("tools", f"{tool.name}: {exc}") from None
    return lambda owner: Parts(
        options, chat, voices, voice, transcripts, listening, Deeds(engine, owner, tools, built_in).do
    )


@owner_command(
    "agent_local",
    rest=Route("POST", "/v1/{owners}/{id}/agent/local", body=True),
    errors=(400, 404, 409, 501, 503),
    check=_check,
    leg="Attach an agent that runs in this server to a leg.\n\n"
    "With local voices and ears it needs neither key nor network; with OPENAI_BASE_URL a model answers.",
    room="Attach an agent that runs in this server to a room.",
)
async def agent_local(engine: Engine, owner: Owner, p: OwnAgentStart) -> AgentStart:
    """Attach an agent that runs here."""
    await engine.agents.let_go(owner)
    engine.agents.start_own(owner, _check(engine, p)(owner))
    return started(owner)
