"""Speech, transcripts and agents that are refused: each status of each operation, and nothing is begun."""

from __future__ import annotations

from conformance.expect import check
from conformance.phones import Phone, answered, dialled, refused
from conformance.registry import scenario
from conformance.scenarios.agents import beside_service
from conformance.world import World

EMPTY = "/v1/rooms/sc-none"
_AGENTS: dict[str, dict[str, object]] = {
    "elevenlabs": {"agent_id": "a"},
    "vapi": {"assistant_id": "a"},
    "pipecat": {"websocket_url": "ws://127.0.0.1:9/"},
    "deepgram": {},
    "ultravox": {"system_prompt": "x"},
}
_NEEDS_NOTHING = ("deepgram",)
_KEYLESS = ("pipecat",)
_NO_KEYS = dict.fromkeys(
    ("ELEVENLABS_API_KEY", "DEEPGRAM_API_KEY", "VAPI_API_KEY", "ULTRAVOX_API_KEY", "AZURE_SPEECH_KEY"),
    "(unset)",
)


async def _early(world: World) -> Phone:
    """A call out that nobody has answered, and a room without anybody."""
    await world.rest("POST", "/v1/rooms", {"id": "sc-none"}, status=201)
    phone, _ = await dialled(world)
    return phone


@scenario(
    "Agents that are refused: no key, a field that is missing, nobody there, not connected, not ready",
    needs=("servers",),
    timeout_s=60.0,
)
async def agent_refused(world: World) -> None:
    urls = ("VB_DEEPGRAM_AGENT_BASE_URL",)
    async with beside_service(world, _NO_KEYS, *urls) as (there, service):
        early = await _early(there)
        for owner, nobody in ((early.path, "/v1/legs/nobody"), (EMPTY, "/v1/rooms/nobody")):
            for provider, body in _AGENTS.items():
                keyed = body if provider in _KEYLESS else {**body, "api_key": "k"}
                path = f"agent/{provider}"
                if provider not in _KEYLESS:
                    await there.rest("POST", f"{owner}/{path}", body, status=503)
                if provider not in _NEEDS_NOTHING:
                    await there.rest("POST", f"{owner}/{path}", {"api_key": "k"}, status=400)
                await there.rest("POST", f"{owner}/{path}", "{", status=400)
                await there.rest("POST", f"{nobody}/{path}", keyed, status=404)
                await there.rest("POST", f"{owner}/{path}", keyed, status=409)
            await there.rest("POST", f"{owner}/agent/message", {"message": ""}, status=400)
            await there.rest("POST", f"{owner}/agent/message", {"message": "x"}, status=404)
            await there.rest("DELETE", f"{owner}/agent", status=404)
        await refused(early, 486, "busy")
        phone = await answered(there)
        await phone.join("sc-none")
        for owner in (phone.path, EMPTY):
            await there.rest("POST", f"{owner}/agent/deepgram", {"api_key": "k"}, status=200)
            talk = await service.talk()
            await there.rest("POST", f"{owner}/agent/message", {"message": "x"}, status=409)
            await there.rest("DELETE", f"{owner}/agent", status=200)
            check("messages to an agent that is not ready", [m for m in talk.texts if "x" in m.values()], [])
        check("agents", there.count("agent.connected"), 0)
        await phone.hang_up()


@scenario(
    "Speech and transcripts that are refused: no key, bad fields, nobody there, not connected",
    needs=("servers",),
)
async def speech_refused(world: World) -> None:
    async with world.server(_NO_KEYS) as there:
        early = await _early(there)
        said: dict[str, object] = {"text": "x", "voice": "y"}
        for owner, nobody in ((early.path, "/v1/legs/nobody"), (EMPTY, "/v1/rooms/nobody")):
            for path in ("tts", "tts/preflight") if owner == early.path else ("tts",):
                keyed = {**said, "api_key": "k"}
                await there.rest("POST", f"{owner}/{path}", said, status=503)
                for bad in ({"text": ""}, {"voice": ""}, {"volume": 9}, {"provider": "x"}, {"text": 5}):
                    await there.rest("POST", f"{owner}/{path}", {**keyed, **bad}, status=400)
                await there.rest("POST", f"{nobody}/{path}", keyed, status=404)
                await there.rest("POST", f"{owner}/{path}", keyed, status=409)
            await there.rest("POST", f"{owner}/stt", {}, status=503)
            await there.rest("POST", f"{owner}/stt", {"api_key": "k", "endpointing": -1}, status=400)
            await there.rest("POST", f"{nobody}/stt", {"api_key": "k"}, status=404)
            await there.rest("POST", f"{owner}/stt", {"api_key": "k"}, status=409)
            await there.rest("DELETE", f"{owner}/stt", status=404)
        await there.rest("POST", f"{early.path}/tts/tts-00000000/commit", status=404)
        await there.rest("DELETE", f"{early.path}/tts/tts-00000000", status=404)
        await there.rest("POST", f"{early.path}/stt/finalize", status=404)
        for kind in ("tts.started", "tts.error", "stt.error"):
            check(kind, there.count(kind), 0)
        await refused(early, 486, "busy")
