"""The server's own agents, with voices, ears and a language model of ours."""

from __future__ import annotations

import trio

from conformance.expect import ABSENT, TEXT, Difference, between, check
from conformance.peers import chat_service
from conformance.peers.chat_service import open_chat_service, tool_call
from conformance.peers.stt_service import KEY as EARS_KEY
from conformance.peers.stt_service import SttService, open_stt_service
from conformance.peers.stt_words import WORDS
from conformance.peers.trace_collector import open_trace_collector
from conformance.peers.voice_services import KEY as VOICE_KEY
from conformance.peers.voice_services import VoiceServices, open_voice_services
from conformance.peers.vsi import Frame
from conformance.phones import Phone, answered
from conformance.registry import scenario
from conformance.world import World

WORD_S = 0.3
_TONES = {word: hertz for hertz, word in WORDS.items()}
_PARTS: dict[str, object] = {
    "voice": "Joanna",
    "voice_provider": "aws",
    "transcript_provider": "deepgram",
    "detector": "loudness",  # the caller is a tone
}


def _settings(voices: VoiceServices, ears: SttService) -> dict[str, str]:
    """A server that speaks through Polly and listens through Deepgram."""
    return {
        "AWS_ACCESS_KEY_ID": "AKIDVOICE",
        "AWS_SECRET_ACCESS_KEY": VOICE_KEY,
        "AWS_REGION": "eu-west-3",
        "VB_AWS_BASE_URL": voices.url,
        "DEEPGRAM_API_KEY": EARS_KEY,
        "VB_DEEPGRAM_BASE_URL": ears.url,
        "VB_FETCH_ALLOW": "127.0.0.0/8",
    }


async def _says(phone: Phone, words: str) -> None:
    """Says words, and is silent after them."""
    for word in words.split():
        phone.rtp.talk(_TONES[word])
        await trio.sleep(WORD_S)
    phone.rtp.talk(None)


async def _said(there: World, kind: str, scope: dict[str, object], text: str) -> Frame:
    """Waits for words of the user or the agent, whatever was told before; returns the event."""
    seen: list[object] = []
    while len(seen) < 8:
        event = await there.event(kind, scope)
        if event["text"] == text and event["is_final"]:
            return event
        seen.append(event["text"])
    raise Difference(kind, text, seen)


@scenario(
    "Agent of the server's own that follows rules: greeting, interruption, answer, times, stop, leg's end",
    needs=("servers",),
)
async def agent_own_leg(world: World) -> None:
    voices, ears = await world.open(open_voice_services()), await world.open(open_stt_service())
    async with world.server(_settings(voices, ears)) as there:
        phone = await answered(there)
        scope: dict[str, object] = {"leg_id": phone.leg_id, "room_id": ABSENT}
        started = {"status": "agent_started", "leg_id": phone.leg_id}
        path = f"{phone.path}/agent"
        body = {**_PARTS, "agent_id": "a1", "greeting": "{n} hz 4000 ms", "variables": {"n": "600"}}
        await there.rest("POST", f"{path}/local", {**body, "voice_provider": "nobody"}, status=400)
        await there.rest("POST", f"{path}/local", {**body, "voice": "default"}, status=400)
        await there.rest("POST", f"{path}/local", {**body, "model": "m"}, status=400)
        await there.rest("POST", f"{path}/local", {**body, "tools": ["fly"]}, status=400)
        await there.rest("POST", f"{path}/local", body, status=200, expect=started)
        await there.event("agent.connected", scope, provider="local", agent_id="a1", conversation_id=TEXT)
        await there.rest("POST", f"{path}/local", body, status=409)
        (await phone.rtp.listen(300, settle_ms=400)).has_tones(600)
        await _says(phone, "alpha bravo")
        await there.event("agent.interrupted", scope, turn=1, played_ms=between(300, 2500))
        await there.event("agent.turn", scope, turn=1, interrupted=True, text="600 hz 4000 ms")
        await _said(there, "agent.user_transcript", scope, "alpha bravo")
        await _said(there, "agent.agent_response", scope, "You said: alpha bravo.")
        await there.event(
            "agent.turn",
            scope,
            turn=2,
            interrupted=False,
            heard="You said: alpha bravo.",
            transcript_ms=between(0, 2600),
            endpointing_ms=between(300, 2600),
            first_words_ms=between(0, 2800),
            first_text_ms=between(300, 3000),
            first_audio_ms=between(300, 3500),
            first_heard_ms=between(300, 3500),
            policy_ms=between(300, 2500),
            provider_ms=between(0, 3000),
            server_ms=between(0, 1000),
            played_ms=between(480, 520),
        )
        check(
            "who spoke", {asked.text for asked in voices.asked}, {"600 hz 4000 ms", "You said: alpha bravo."}
        )
        await there.rest("POST", f"{path}/message", {"message": "charlie", "respond": True}, status=200)
        await _said(there, "agent.agent_response", scope, "You said: charlie.")
        await there.event("agent.turn", scope, turn=3)
        whole = {"message": "700 hz 1500 ms", "uninterruptible": True}
        await there.rest("POST", f"{path}/message", whole, status=400)
        await there.rest("POST", f"{path}/message", {**whole, "say": True, "respond": True}, status=400)
        await there.rest("POST", f"{path}/message", {**whole, "say": True}, status=200)
        (await phone.rtp.listen(200, settle_ms=300)).has_tones(700)
        await _says(phone, "delta")
        await there.event(
            "agent.turn",
            scope,
            turn=4,
            heard="700 hz 1500 ms",
            interrupted=False,
            played_ms=between(1480, 1520),
        )
        await _said(there, "agent.agent_response", scope, "You said: delta.")
        await there.rest("DELETE", path, status=200, expect={"status": "agent_stopped"})
        await there.event("agent.disconnected", scope, reason="stopped", provider="local")
        await ears.until_open(0)
        await there.command("leg_agent_local", {"id": phone.leg_id, **body}, started)
        await there.event("agent.connected", scope)
        await phone.hang_up()
        await there.event("agent.disconnected", scope, reason="leg_ended")
        twice = [("agent.disconnected", phone.leg_id)] * 2
        there.order(*twice, ("leg.disconnected", phone.leg_id))
        await ears.until_open(0)


@scenario(
    "Agent of the server's own in a room: all hear it, it hears all but itself, and goes with the last leg",
    needs=("servers",),
)
async def agent_own_room(world: World) -> None:
    voices, ears = await world.open(open_voice_services()), await world.open(open_stt_service())
    async with world.server(_settings(voices, ears)) as there:
        phones = [await answered(there, "call1"), await answered(there, "call2")]
        for phone in phones:
            await phone.join("sc-own")
        scope: dict[str, object] = {"room_id": "sc-own", "leg_id": ABSENT}
        started = {"status": "agent_started", "room_id": "sc-own"}
        body = {**_PARTS, "greeting": "700 hz 1500 ms", "greeting_guarded": True}
        await there.rest("POST", "/v1/rooms/sc-own/agent/local", body, status=200, expect=started)
        await there.event("agent.connected", scope, provider="local")
        await trio.sleep(0.4)
        for phone in phones:
            (await phone.hears(200)).has_tones(700)
        await there.event("agent.turn", scope, turn=1, interrupted=False, played_ms=between(1480, 1520))
        await _says(phones[1], "delta echo")
        await _said(there, "agent.agent_response", scope, "You said: delta echo.")
        await there.rest("DELETE", "/v1/rooms/sc-own/agent", status=200)
        await there.event("agent.disconnected", scope, reason="stopped")
        await there.command("room_agent_local", {"id": "sc-own", **body}, started)
        await there.event("agent.connected", scope)
        for phone in phones:
            await there.rest("DELETE", f"/v1/legs/{phone.leg_id}", status=202)
            await there.event("leg.disconnected", leg_id=phone.leg_id)
        await there.event("agent.disconnected", scope, reason="room_empty")
        await ears.until_open(0)


@scenario(
    "Agent of the server's own with a language model: history, a tool, a failure, a trace, hanging up",
    needs=("servers",),
)
async def agent_own_model(world: World) -> None:
    voices, ears = await world.open(open_voice_services()), await world.open(open_stt_service())
    model, traces = await world.open(open_chat_service()), await world.open(open_trace_collector())
    thinking = {
        "OPENAI_BASE_URL": f"{model.url}/v1",
        "OPENAI_API_KEY": chat_service.KEY,
        "VB_AGENT_MODEL": "m-1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": traces.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "X-Key=k-1",
        "OTEL_SERVICE_NAME": "desk",
    }
    async with world.server({**_settings(voices, ears), **thinking}) as there:
        phone = await answered(there)
        scope: dict[str, object] = {"leg_id": phone.leg_id, "room_id": ABSENT}
        look = {"name": "look", "description": "tells a colour", "url": f"{model.url}/tool"}
        needs_at = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
        body = {**_PARTS, "instructions": "Be brief.", "tools": ["hangup", look]}
        away = {**body, "tools": [{**look, "url": "http://10.9.8.7/"}]}
        await there.rest("POST", f"{phone.path}/agent/local", away, status=400)
        odd = {**body, "tools": [{**look, "parameters": {"type": "text"}}]}
        await there.rest("POST", f"{phone.path}/agent/local", odd, status=400)
        body["tools"] = ["hangup", {**look, "parameters": needs_at}]
        await there.rest("POST", f"{phone.path}/agent/local", body, status=200)
        await there.event("agent.connected", scope, provider="local")
        model.answers += [chat_service.words("700 hz 300 ms")]
        await _says(phone, "alpha")
        await _said(there, "agent.agent_response", scope, "700 hz 300 ms")
        asked = model.asked[0]
        check("model", (asked["model"], asked["stream"]), ("m-1", True))
        check("tools", [tool["function"]["name"] for tool in asked["tools"]], ["hangup", "look"])
        system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "alpha"}
        check("first request", asked["messages"], [system, user])
        model.answers += [tool_call("c1", "look", {"at": "sky"}), chat_service.words("800 hz")]
        await there.event("agent.turn", scope, turn=1)
        await _says(phone, "bravo")
        await _said(there, "agent.agent_response", scope, "800 hz")
        check("tool", model.tool_asked, [{"at": "sky"}])
        check(
            "roles",
            [line["role"] for line in model.asked[2]["messages"]][2:],
            ["assistant", "user", "assistant", "tool"],
        )
        result = {"role": "tool", "content": '{"colour": "blue"}', "tool_call_id": "c1"}
        check("result", model.asked[2]["messages"][-1], result)
        model.answers += [tool_call("c9", "look", {"at": 9}), chat_service.words("900 hz")]
        await there.event("agent.turn", scope, turn=2)
        await _says(phone, "alpha")
        await there.event("agent.error", scope, part="tool", category="permanent_input", error=TEXT)
        await _said(there, "agent.agent_response", scope, "900 hz")
        check("told", model.asked[4]["messages"][-1]["content"], "error: look: at is not of type string")
        check("tool, not again", model.tool_asked, [{"at": "sky"}])
        model.answers += [401]
        await there.event("agent.turn", scope, turn=3)
        await _says(phone, "charlie")
        await there.event("agent.error", scope, part="model", category="permanent_auth", error=TEXT)
        await _said(there, "agent.agent_response", scope, "Sorry, I cannot answer that now.")
        model.answers += [chat_service.words("500 hz 400 ms. ") + tool_call("c2", "hangup", {})]
        await there.event("agent.turn", scope, turn=4)
        await _says(phone, "delta")
        await there.event("agent.disconnected", scope, reason="leg_ended")
        await phone.is_hung_up("api_hangup")
        there.order(("agent.disconnected", phone.leg_id), ("leg.disconnected", phone.leg_id))
        call, turn = await traces.until("call"), await traces.until("agent turn")
        check("trace", (turn["traceId"], turn["parentSpanId"]), (call["traceId"], call["spanId"]))
        check("collector", (call["service"], traces.keys), ("desk", {"k-1"}))
        check("key in the log", chat_service.KEY.encode() in bytes(there.target.log), False)
