"""Every field of a request for an agent, and what its provider is asked because of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from conformance.expect import ABSENT, check
from conformance.peers.agent_service import AgentService, Talk
from conformance.phones import answered
from conformance.registry import scenario
from conformance.scenarios.agents import beside_service
from conformance.world import World

KEY = "key-of-the-request"
Check = Callable[[AgentService], Awaitable[Talk]]


async def _elevenlabs(service: AgentService) -> Talk:
    asked = await service.request("GET /v1/convai")
    check("key", asked.headers.get("xi-api-key"), KEY)
    check("agent", asked.line.split(" ")[1].partition("?")[2], "agent_id=ag%2F1")
    talk = await service.talk()
    opening = await talk.text("conversation_initiation_client_data")
    agent = {"first_message": "Guten Tag", "language": "de"}
    check("override", opening["conversation_config_override"], {"agent": agent})
    check("variables", opening["dynamic_variables"], {"name": "Ann", "count": 2})
    await talk.say(
        {
            "type": "conversation_initiation_metadata",
            "conversation_initiation_metadata_event": {"conversation_id": "conv-1"},
        }
    )
    return talk


async def _vapi(service: AgentService) -> Talk:
    asked = await service.request("POST /call")
    check("key", asked.headers.get("authorization"), f"Bearer {KEY}")
    overrides = {"firstMessage": "Hello", "variableValues": {"name": "Ann"}}
    check("call", asked.body, {"assistantId": "as-1", "assistantOverrides": overrides})
    return await service.talk()


async def _pipecat(service: AgentService) -> Talk:
    talk = await service.talk()
    check("target", talk.target, "/bot?room=1")
    return talk


async def _deepgram(service: AgentService) -> Talk:
    talk = await service.talk()
    check("key", talk.headers.get("authorization"), f"Token {KEY}")
    settings = await talk.text("Settings")
    agent = {"think": {"provider": {"type": "own"}}, "greeting": "Hi", "language": "es"}
    check("settings", settings, {"agent": agent, "tags": ["x"]})
    await talk.say({"type": "SettingsApplied"})
    return talk


async def _deepgram_stored(service: AgentService) -> Talk:
    talk = await service.talk()
    check("settings", await talk.text("Settings"), {"agent": "stored-1"})
    await talk.say({"type": "SettingsApplied"})
    return talk


async def _deepgram_usual(service: AgentService) -> Talk:
    talk = await service.talk()
    agent = (await talk.text("Settings"))["agent"]
    for part, model in (("listen", "nova-3"), ("think", "gpt-4o-mini"), ("speak", "aura-2-asteria-en")):
        check(part, agent[part]["provider"]["model"], model)
    await talk.say({"type": "SettingsApplied"})
    return talk


async def _ultravox(service: AgentService) -> Talk:
    asked = await service.request("POST /api/calls")
    check("key", asked.headers.get("x-api-key"), KEY)
    speaker = {"agent": {"text": "Hello"}}
    call = {"systemPrompt": "Be kind.", "voice": "Mark", "model": "ultravox-v0.7", "languageHint": "de"}
    check("call", asked.body, {**call, "firstSpeakerSettings": speaker, "maxDuration": "60s"})
    talk = await service.talk()
    await talk.say({"type": "call_started"})
    return talk


async def _ultravox_stored(service: AgentService) -> Talk:
    asked = await service.request("POST /api/agents/ag-1/calls")
    check("context", asked.body, {"templateContext": {"name": "Ann"}, "languageHint": ABSENT})
    talk = await service.talk()
    await talk.say({"type": "call_started"})
    return talk


def _requests(service: AgentService) -> tuple[tuple[str, dict[str, object], Check], ...]:
    """Provider, body, and how what it is asked is looked at."""
    key: dict[str, object] = {"api_key": KEY}
    first = {"first_message": "Hello"}
    own = {"agent": {"think": {"provider": {"type": "own"}}}, "tags": ["x"]}
    described = {"system_prompt": "Be kind.", "voice": "Mark", "model": "ultravox-v0.7", "language": "de"}
    german = {"first_message": "Guten Tag", "language": "de"}
    return (
        (
            "elevenlabs",
            {**key, **german, "agent_id": "ag/1", "dynamic_variables": {"name": "Ann", "count": 2}},
            _elevenlabs,
        ),
        ("vapi", {**key, **first, "assistant_id": "as-1", "variable_values": {"name": "Ann"}}, _vapi),
        ("pipecat", {"websocket_url": f"{service.ws}/bot?room=1"}, _pipecat),
        ("deepgram", {**key, "settings": own, "greeting": "Hi", "language": "es"}, _deepgram),
        ("deepgram", {**key, "settings": "stored-1"}, _deepgram_stored),
        ("deepgram", {**key}, _deepgram_usual),
        ("ultravox", {**key, **first, **described, "settings": {"maxDuration": "60s"}}, _ultravox),
        (
            "ultravox",
            {**key, "agent_id": "ag-1", "language": "de", "dynamic_variables": {"name": "Ann"}},
            _ultravox_stored,
        ),
    )


@scenario(
    "Each field of a request for an agent reaches its provider, from legs and from rooms",
    needs=("servers",),
    timeout_s=60.0,
)
async def agent_fields(world: World) -> None:
    urls = [f"VB_{name}_BASE_URL" for name in ("ELEVENLABS", "DEEPGRAM_AGENT", "VAPI", "ULTRAVOX")]
    async with beside_service(world, {}, *urls) as (there, service):
        service.answers["GET /v1/convai/conversation/get-signed-url"] = (200, {"signed_url": "{ws}/signed"})
        service.answers["POST /call"] = (201, {"id": "v", "transport": {"websocketCallUrl": "{ws}/v"}})
        for path in ("/api/calls", "/api/agents/ag-1/calls"):
            service.answers[f"POST {path}"] = (201, {"callId": "u", "joinUrl": "{ws}/u"})
        phone = await answered(there, headers=[("X-App-ID", "shop")])
        await there.rest("POST", "/v1/rooms", {"id": "sc-fields", "app_id": "shop"}, status=201)
        await phone.join("sc-fields")
        for owner, owner_id in (("leg", phone.leg_id), ("room", "sc-fields")):
            path = f"/v1/{owner}s/{owner_id}/agent"
            ids = {f"{owner}_id": owner_id}
            for provider, body, asked_right in _requests(service):
                started = {"status": "agent_started", **ids}
                await there.rest("POST", f"{path}/{provider}", body, status=200, expect=started)
                talk = await asked_right(service)
                if provider != "pipecat":
                    await there.event("agent.connected", {"provider": provider, "app_id": "shop", **ids})
                if provider == "ultravox":
                    message = {"message": "vip", "respond": True}
                    await there.rest("POST", f"{path}/message", message, status=200)
                    check("urgency", (await talk.text("user_text_message"))["urgency"], "soon")
                await there.rest("DELETE", path, status=200, expect={"status": "agent_stopped"})
                await there.event("agent.disconnected", {"reason": "stopped", "app_id": "shop", **ids})
        check("key in the log", KEY.encode() in bytes(there.target.log), False)
        await phone.hang_up()
