"""Agents beside legs and in rooms, each provider's protocol spoken by a service of our own."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from conformance.expect import ABSENT, TEXT, check, require
from conformance.peers.agent_service import AgentService, Talk, agent_service, eleven_audio, speech
from conformance.phones import answered
from conformance.registry import scenario
from conformance.world import World

LOUD = 0.05
FAINT = 0.01


@asynccontextmanager
async def beside_service(
    world: World, keys: Mapping[str, str], *base_urls: str
) -> AsyncIterator[tuple[World, AgentService]]:
    """A server of one's own that takes a service of ours for the named provider."""
    async with agent_service() as service:
        urls = dict.fromkeys(base_urls, service.http)
        async with world.server({"VB_FETCH_ALLOW": "127.0.0.0/8", **urls, **keys}) as there:
            yield there, service


async def _metadata(talk: Talk, **formats: str) -> None:
    await talk.text("conversation_initiation_client_data")
    event = {"conversation_id": "conv-1", **formats}
    await talk.say(
        {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": event}
    )


@scenario(
    "Agent of ElevenLabs: signed URL, initiation data, both formats, interruption, message, stop",
    needs=("servers",),
)
async def agent_elevenlabs(world: World) -> None:
    keys = {"ELEVENLABS_API_KEY": "key-of-elevenlabs"}
    async with beside_service(world, keys, "VB_ELEVENLABS_BASE_URL") as (there, service):
        service.answers["GET /v1/convai/conversation/get-signed-url"] = (
            200,
            {"signed_url": "{ws}/signed?t=1"},
        )
        phone = await answered(there, tone=500.0)
        path = f"/v1/legs/{phone.leg_id}/agent"
        body = {"agent_id": "a1", "first_message": "Hi", "language": "de", "dynamic_variables": {"n": "Ann"}}
        started = {"status": "agent_started"}
        await there.rest("POST", f"{path}/elevenlabs", body, status=200, expect=started)
        asked = await service.request("GET /v1/convai")
        check("key", asked.headers.get("xi-api-key"), "key-of-elevenlabs")
        talk = await service.talk()
        check("target", talk.target, "/signed?t=1")
        opening = await talk.text("conversation_initiation_client_data")
        agent = {"first_message": "Hi", "language": "de"}
        check("override", opening["conversation_config_override"], {"agent": agent})
        check("variables", opening["dynamic_variables"], {"n": "Ann"})
        event = {
            "conversation_id": "conv-1",
            "agent_output_audio_format": "ulaw_8000",
            "user_input_audio_format": "pcm_8000",
        }
        await talk.say(
            {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": event}
        )
        scope = {"leg_id": phone.leg_id, "room_id": ABSENT}
        connected = {"conversation_id": "conv-1", "provider": "elevenlabs", "agent_id": "a1"}
        await there.event("agent.connected", {**scope, **connected})
        await talk.until(lambda: any("user_audio_chunk" in text for text in talk.texts), "audio")
        chunk = next(text["user_audio_chunk"] for text in talk.texts if "user_audio_chunk" in text)
        check("bytes of 60 ms", len(base64.b64decode(chunk)), 960)
        await talk.say(eleven_audio(bytes(range(256)) * 100, 1))
        await there.rest("POST", f"{path}/elevenlabs", body, status=409)
        await talk.say({"type": "interruption", "interruption_event": {"event_id": 1}})
        await there.event("agent.interrupted", scope)
        (await phone.hears(300)).is_quiet()
        correction = {"original_agent_response": "one two", "corrected_agent_response": "one"}
        await talk.say({"type": "agent_response_correction", "agent_response_correction_event": correction})
        await there.event("agent.response_corrected", {**scope, "original": "one two", "text": "one"})
        await there.rest("POST", f"{path}/message", {"message": ""}, status=400)
        await there.rest(
            "POST", f"{path}/message", {"message": "vip"}, status=200, expect={"status": "message_sent"}
        )
        check("injected", (await talk.text("contextual_update"))["text"], "vip")
        await there.rest("DELETE", path, status=200, expect={"status": "agent_stopped"})
        await there.event("agent.disconnected", {**scope, "reason": "stopped", "conversation_id": "conv-1"})
        await there.rest("DELETE", path, status=404)
        await there.rest("POST", f"{path}/message", {"message": "x"}, status=404)
        await there.rest("POST", f"{path}/elevenlabs", {}, status=400)


@scenario(
    "Agent of Deepgram: settings with our audio, ready when applied, barge-in, latency, error",
    needs=("servers",),
)
async def agent_deepgram(world: World) -> None:
    keys = {"DEEPGRAM_API_KEY": "key-of-deepgram"}
    async with beside_service(world, keys, "VB_DEEPGRAM_AGENT_BASE_URL") as (there, service):
        phone = await answered(there, tone=500.0)
        leg = {"id": phone.leg_id}
        await there.command(
            "leg_agent_deepgram",
            {**leg, "greeting": "Hi"},
            {"status": "agent_started", "leg_id": phone.leg_id},
        )
        talk = await service.talk()
        check("target", talk.target, "/v1/agent/converse")
        check("key", talk.headers.get("authorization"), "Token key-of-deepgram")
        settings = await talk.text("Settings")
        check("greeting", settings["agent"]["greeting"], "Hi")
        check(
            "rates", [settings["audio"][side]["sample_rate"] for side in ("input", "output")], [16000, 16000]
        )
        await talk.say({"type": "Welcome", "request_id": "req-1"})
        await talk.say({"type": "SettingsApplied"})
        await there.event("agent.connected", leg_id=phone.leg_id, conversation_id="req-1")
        level = await talk.hears(500)
        require(level > LOUD, "the caller at the provider", f"louder than {LOUD}", level)
        await talk.say(speech(900, 4000))
        (await phone.hears(500)).has_tones(900)
        await talk.say({"type": "UserStartedSpeaking"})
        await there.event("agent.interrupted", leg_id=phone.leg_id)
        (await phone.hears(300)).is_quiet()
        await talk.say({"type": "LatencyReport", "total_latency": 0.5})
        await there.event("agent.latency", leg_id=phone.leg_id, parts_ms={"total_latency": 500.0})
        await there.command("leg_agent_message", {**leg, "message": "say it"}, {"status": "message_sent"})
        check("behaviour", (await talk.text("InjectAgentMessage"))["behavior"], "queue")
        for role, kind in (("user", "agent.user_transcript"), ("assistant", "agent.agent_response")):
            await talk.say({"type": "ConversationText", "role": role, "content": "words"})
            await there.event(kind, leg_id=phone.leg_id, text="words", is_final=True)
        await talk.say({"type": "Error", "description": "over", "code": "X"})
        over = {"reason": "provider_error", "category": "unknown", "error": "deepgram: over"}
        await there.event("agent.disconnected", {"leg_id": phone.leg_id, **over})
        await there.rest("GET", f"/v1/legs/{phone.leg_id}", status=200, expect={"state": "connected"})


@scenario("Agent of VAPI: call, control URL, transcripts, and its end when the leg ends", needs=("servers",))
async def agent_vapi(world: World) -> None:
    keys = {"VAPI_API_KEY": "key-of-vapi"}
    async with beside_service(world, keys, "VB_VAPI_BASE_URL") as (there, service):
        transport = {"websocketCallUrl": "{ws}/call-9"}
        answer = {"id": "call-9", "transport": transport, "monitor": {"controlUrl": "<{http}/control>"}}
        service.answers["POST /call"] = (201, answer)
        service.answers["POST /control"] = (200, {})
        phone = await answered(there, tone=500.0)
        path = f"/v1/legs/{phone.leg_id}/agent"
        await there.rest("POST", f"{path}/vapi", {"assistant_id": "x"}, status=200)
        asked = await service.request("POST /call")
        check("key", asked.headers.get("authorization"), "Bearer key-of-vapi")
        check("assistant", asked.body["assistantId"], "x")
        talk = await service.talk()
        await there.event("agent.connected", leg_id=phone.leg_id, conversation_id="call-9")
        level = await talk.hears(500)
        require(level > LOUD, "the caller at the provider", f"louder than {LOUD}", level)
        said = {"type": "transcript", "role": "user", "transcript": "he", "transcriptType": "partial"}
        await talk.say(said)
        await there.event("agent.user_transcript", leg_id=phone.leg_id, text="he", is_final=False)
        await there.rest("POST", f"{path}/message", {"message": "vip"}, status=200)
        check("injected", (await service.request("POST /control")).body["message"]["content"], "vip")
        await there.rest("DELETE", f"/v1/legs/{phone.leg_id}", status=202)
        await there.event("agent.disconnected", leg_id=phone.leg_id, reason="leg_ended")
        await there.event("leg.disconnected", leg_id=phone.leg_id)
        check("the end", (await service.request("POST /control")).body, {"type": "end-call"})


@scenario("Agent of Ultravox in a room: sends ahead, takes back, goes with the last leg", needs=("servers",))
async def agent_ultravox(world: World) -> None:
    keys = {"ULTRAVOX_API_KEY": "key-of-ultravox"}
    async with beside_service(world, keys, "VB_ULTRAVOX_BASE_URL") as (there, service):
        service.answers["POST /api/calls"] = (201, {"callId": "u-1", "joinUrl": "{ws}/join"})
        first = await answered(there, "call1", tone=500.0)
        second = await answered(there, "call2", tone=700.0)
        for phone in (first, second):
            await phone.join("sc-agent")
        body: dict[str, object] = {"id": "sc-agent", "system_prompt": "Be kind."}
        await there.command("room_agent_ultravox", body, {"status": "agent_started", "room_id": "sc-agent"})
        asked = await service.request("POST /api/calls")
        check("prompt", asked.body["systemPrompt"], "Be kind.")
        check("buffer", asked.body["medium"]["serverWebSocket"]["clientBufferSizeMs"], 30000)
        talk = await service.talk()
        await talk.say({"type": "call_started", "callId": "u-1"})
        await there.event("agent.connected", room_id="sc-agent", leg_id=ABSENT, conversation_id="u-1")
        await talk.say(speech(1100, 20_000))
        (await first.hears(500)).has_tones(700, 1100)
        (await second.hears(500)).has_tones(500, 1100)
        talk.binaries.clear()
        levels = {hertz: await talk.hears(hertz) for hertz in (500, 700, 1100)}
        heard = {hertz: level > LOUD for hertz, level in levels.items()}
        check(f"the room without the agent {levels}", heard, {500: True, 700: True, 1100: False})
        require(levels[1100] < FAINT, "the agent to itself", f"less than {FAINT}", levels[1100])
        await talk.say({"type": "playback_clear_buffer"})
        await there.event("agent.interrupted", room_id="sc-agent")
        (await first.hears(300)).has_tones(700)
        await there.command(
            "room_agent_message", {"id": "sc-agent", "message": "vip"}, {"status": "message_sent"}
        )
        check("urgency", (await talk.text("user_text_message"))["urgency"], "later")
        for phone in (first, second):
            await there.rest("DELETE", f"/v1/legs/{phone.leg_id}", status=202)
            await there.event("leg.disconnected", leg_id=phone.leg_id)
        await there.event("agent.disconnected", room_id="sc-agent", reason="room_empty")


def _field(number: int, data: bytes) -> bytes:
    size, length = len(data), b""
    while size > 0x7F:
        length += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return bytes((number << 3 | 2,)) + length + bytes((size,)) + data


@scenario(
    "Agent made with Pipecat: protobuf both ways, bot-ready, interruption, busy, refused URL",
    needs=("servers",),
)
async def agent_pipecat(world: World) -> None:
    async with beside_service(world, {}) as (there, service):
        phone = await answered(there, tone=500.0)
        path = f"/v1/legs/{phone.leg_id}/agent"
        for url in ("", "http://127.0.0.1/", "ws://10.9.8.7/"):
            await there.rest("POST", f"{path}/pipecat", {"websocket_url": url}, status=400)
        body = {"websocket_url": f"{service.ws}/bot"}
        await there.rest("POST", f"{path}/pipecat", body, status=200)
        talk = await service.talk()
        await talk.until(lambda: any(b"client-ready" in data for data in talk.binaries), "client-ready")
        await talk.say(_field(4, _field(1, b'{"label":"rtvi-ai","type":"bot-ready","data":{}}')))
        await there.event("agent.connected", leg_id=phone.leg_id, conversation_id=f"{service.ws}/bot")
        audio = _field(3, speech(900, 2000, 24000)) + bytes((4 << 3,)) + b"\xc0\xbb\x01" + bytes((5 << 3, 1))
        await talk.say(_field(2, audio))
        (await phone.hears(500)).has_tones(900)
        await talk.say(_field(5, b""))
        await there.event("agent.interrupted", leg_id=phone.leg_id)
        (await phone.hears(300)).is_quiet()
        await talk.say(_field(3, _field(3, b"hello")))
        await there.event("agent.user_transcript", leg_id=phone.leg_id, text="hello")
        await there.rest("POST", f"{path}/message", {"message": "vip"}, status=200)
        await talk.until(
            lambda: any(b"send-text" in data and b"vip" in data for data in talk.binaries), "send-text"
        )
        await talk.say(b"\xff\xff\xff no protobuf")
        await talk.close(1013, "busy")
        await there.event("agent.disconnected", leg_id=phone.leg_id, reason="busy", category="rate_limited")
        service.refuse = 403
        await there.rest("POST", f"{path}/pipecat", body, status=200)
        await there.event(
            "agent.disconnected", leg_id=phone.leg_id, reason="failed", category="permanent_auth", error=TEXT
        )


@scenario("Every agent command works for legs and for rooms, by REST and VSI", needs=("servers",))
async def agent_twins(world: World) -> None:
    services = ("ELEVENLABS", "DEEPGRAM", "VAPI", "ULTRAVOX")
    keys = {f"{name}_API_KEY": "key" for name in services}
    urls = [f"VB_{name}_BASE_URL" for name in ("ELEVENLABS", "DEEPGRAM_AGENT", "VAPI", "ULTRAVOX")]
    async with beside_service(world, keys, *urls) as (there, service):
        service.answers["POST /call"] = (201, {"id": "v", "transport": {"websocketCallUrl": "{ws}/v"}})
        service.answers["POST /api/calls"] = (201, {"callId": "u", "joinUrl": "{ws}/u"})
        phone = await answered(there)
        await phone.join("sc-twins")
        bodies: dict[str, dict[str, object]] = {
            "elevenlabs": {"agent_id": "a"},
            "vapi": {"assistant_id": "a"},
            "pipecat": {"websocket_url": f"{service.ws}/bot"},
            "deepgram": {},
            "ultravox": {"system_prompt": "x"},
        }
        for owner, owner_id in (("leg", phone.leg_id), ("room", "sc-twins")):
            path = f"/v1/{owner}s/{owner_id}/agent"
            ids = {f"{owner}_id": owner_id}
            for number, (provider, body) in enumerate(bodies.items()):
                if number % 2:
                    await there.rest(
                        "POST", f"{path}/{provider}", body, status=200, expect={"status": "agent_started"}
                    )
                else:
                    started = {"status": "agent_started", **ids}
                    await there.command(f"{owner}_agent_{provider}", {"id": owner_id, **body}, started)
                talk = await service.talk()
                if provider == "elevenlabs":
                    await _metadata(talk)
                if provider == "deepgram":
                    await talk.say({"type": "SettingsApplied"})
                if provider == "ultravox":
                    await talk.say({"type": "call_started"})
                await there.event("agent.connected", {"provider": provider, **ids})
                if provider == "deepgram":
                    await there.rest("POST", f"{path}/message", {"message": "x"}, status=200)
                if number % 2:
                    await there.command(f"{owner}_agent_stop", {"id": owner_id}, {"status": "agent_stopped"})
                else:
                    await there.rest("DELETE", path, status=200)
                await there.event("agent.disconnected", {"reason": "stopped", **ids})
            for number, (provider, body) in enumerate(bodies.items()):
                if number % 2:
                    await there.command(f"{owner}_agent_{provider}", {"id": owner_id, **body})
                else:
                    await there.rest("POST", f"{path}/{provider}", body, status=200)
                await service.talk()
                await there.rest("DELETE", path, status=200)
                await there.event("agent.disconnected", ids)
        await there.command_fails("leg_agent_message", {"id": phone.leg_id, "message": "x"}, 404)
        await there.command_fails("leg_agent_elevenlabs", {"id": "nobody", "agent_id": "a"}, 404)
