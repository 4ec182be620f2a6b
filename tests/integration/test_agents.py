"""Agents beside legs and in rooms, with a stand-in for their providers over real sockets."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from tests.agents.provider import Conversation, Provider, loudness, open_provider, speech
from tests.support.phone import open_phone
from tests.support.world import call_in, rest_of, wait_for
from vb.agents.protobuf import read_fields, write_bytes, write_number
from vb.config import Config
from vb.errors import BadRequest, Conflict, NotFound, Unavailable
from vb.server import Server, open_server

pytestmark = pytest.mark.integration


def config_for(provider: Provider, folder: Path, **more: str) -> Config:
    return Config.from_env(
        {
            "HTTP_ADDR": "127.0.0.1:0",
            "SIP_PORT": "0",
            "RTP_PORT_MIN": "0",
            "RTP_PORT_MAX": "0",
            "RECORDING_DIR": str(folder / "recordings"),
            "VB_FETCH_ALLOW": "127.0.0.0/8",
            "VB_ELEVENLABS_BASE_URL": provider.http_url,
            "ELEVENLABS_API_KEY": "eleven-key",
            "VB_DEEPGRAM_AGENT_BASE_URL": provider.http_url,
            "DEEPGRAM_API_KEY": "deep-key",
            "VB_VAPI_BASE_URL": provider.http_url,
            "VAPI_API_KEY": "vapi-key",
            "VB_ULTRAVOX_BASE_URL": provider.http_url,
            "ULTRAVOX_API_KEY": "ultra-key",
            **more,
        }
    )


async def greet_elevenlabs(provider: Provider, **formats: str) -> Conversation:
    conversation = await provider.next()
    await conversation.text(type="conversation_initiation_client_data")
    event = {"conversation_id": "conv-1", **formats}
    await conversation.send(
        {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": event}
    )
    return conversation


def eleven_audio(pcm: bytes, number: int) -> dict[str, Any]:
    event = {"audio_base_64": base64.b64encode(pcm).decode(), "event_id": number}
    return {"type": "audio", "audio_event": event}


async def attach(server: Server, provider: str, leg_id: str, **fields: object) -> None:
    answer = await server.call(f"leg_agent_{provider}", id=leg_id, **fields)
    assert answer.model_dump(exclude_none=True) == {"status": "agent_started", "leg_id": leg_id}  # type: ignore[union-attr]


async def test_a_phone_and_an_elevenlabs_agent_hear_each_other(tmp_path: Path) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        provider.answers["GET /v1/convai/conversation/get-signed-url"] = (
            200,
            {"signed_url": "{ws}/v1/convai/conversation?agent_id=a1&token=t"},
        )
        with server.events() as events:
            async with open_phone(500) as phone:
                leg = await call_in(server, phone, events)
                await attach(
                    server,
                    "elevenlabs",
                    leg,
                    agent_id="a1",
                    first_message="Hi",
                    language="de",
                    dynamic_variables={"name": "Ann"},
                )
                line, head, _ = await provider.request("GET /v1/convai")
                assert "agent_id=a1" in line
                assert "xi-api-key: eleven-key" in head
                conversation = await provider.next()
                assert "token=t" in conversation.head
                assert "eleven-key" not in conversation.head
                opening = await conversation.text(type="conversation_initiation_client_data")
                assert opening["conversation_config_override"] == {
                    "agent": {"first_message": "Hi", "language": "de"}
                }
                assert opening["dynamic_variables"] == {"name": "Ann"}
                await conversation.send(
                    {
                        "type": "conversation_initiation_metadata",
                        "conversation_initiation_metadata_event": {
                            "conversation_id": "conv-1",
                            "agent_output_audio_format": "pcm_24000",
                            "user_input_audio_format": "ulaw_8000",
                        },
                    }
                )
                connected = await wait_for(events, "agent.connected", leg_id=leg)
                assert (connected["conversation_id"], connected["provider"]) == ("conv-1", "elevenlabs")
                assert connected["agent_id"] == "a1"
                heard = await conversation.text()
                assert len(base64.b64decode(heard["user_audio_chunk"])) == 480  # 60 ms of µ-law
                await conversation.send(eleven_audio(speech(900, 1.0, 24000), 1))
                await phone.hear(40)
                assert phone.tones(15) == {900}
                await conversation.send({"type": "ping", "ping_event": {"event_id": 7, "ping_ms": 5}})
                assert await conversation.text(type="pong") == {"type": "pong", "event_id": 7}
                await conversation.send(
                    {"type": "user_transcript", "user_transcription_event": {"user_transcript": "hello"}}
                )
                said = await wait_for(events, "agent.user_transcript", leg_id=leg)
                assert (said["text"], said["is_final"]) == ("hello", True)
                await conversation.send(
                    {"type": "agent_response", "agent_response_event": {"agent_response": "well"}}
                )
                assert (await wait_for(events, "agent.agent_response"))["text"] == "well"
                await server.call("leg_agent_message", id=leg, message="vip")
                assert (await conversation.text(type="contextual_update"))["text"] == "vip"
                await server.call("leg_agent_message", id=leg, message="now", respond=True)
                assert (await conversation.text(type="user_message"))["text"] == "now"
                await server.call("leg_agent_stop", id=leg)
                over = await wait_for(events, "agent.disconnected", leg_id=leg)
                assert (over["reason"], over["conversation_id"]) == ("stopped", "conv-1")
                with trio.fail_after(3):
                    await conversation.closed.wait()
                with pytest.raises(NotFound):
                    await server.call("leg_agent_stop", id=leg)


async def test_nothing_of_an_interrupted_turn_is_heard_however_late_it_comes(tmp_path: Path) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        with server.events() as events:
            async with open_phone(500) as phone:
                leg = await call_in(server, phone, events)
                await attach(server, "elevenlabs", leg, agent_id="a1")
                conversation = await greet_elevenlabs(provider)
                await wait_for(events, "agent.connected")
                await conversation.send(eleven_audio(speech(900, 5.0), 3))
                await phone.hear(30)
                assert phone.tones(10) == {900}
                await conversation.send({"type": "interruption", "interruption_event": {"event_id": 4}})
                cut = await wait_for(events, "agent.interrupted", leg_id=leg)
                assert 200 < cut["played_ms"] < 2000
                await conversation.send(eleven_audio(speech(900, 1.0), 4))
                await phone.hear(20)
                assert phone.tones(10) == set()
                await conversation.send(eleven_audio(speech(1300, 1.0), 5))
                await phone.hear(30)
                assert phone.tones(10) == {1300}


async def test_a_refused_a_silent_and_a_busy_provider_each_say_why_and_leave_the_call(tmp_path: Path) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        with server.events() as events:
            async with open_phone(500) as phone:
                leg = await call_in(server, phone, events)
                provider.refuse = 401
                await attach(server, "deepgram", leg)
                over = await wait_for(events, "agent.disconnected", leg_id=leg)
                assert (over["reason"], over["category"]) == ("failed", "permanent_auth")
                assert "deep-key" not in str(over)
                provider.refuse = 0
                await attach(server, "pipecat", leg, websocket_url=f"{provider.ws_url}/bot")
                conversation = await provider.next()
                await conversation.close(1013, b"busy")
                over = await wait_for(events, "agent.disconnected", leg_id=leg)
                assert (over["reason"], over["category"]) == ("busy", "rate_limited")
                provider.answers["POST /call"] = (402, {"message": "no credit"})
                await attach(server, "vapi", leg, assistant_id="x")
                over = await wait_for(events, "agent.disconnected", leg_id=leg)
                assert (over["reason"], over["category"]) == ("failed", "rate_limited")
                assert await rest_of(events) == []


async def test_a_deepgram_agent_gets_settings_with_our_audio_and_starts_when_they_are_applied(
    tmp_path: Path,
) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        with server.events() as events:
            async with open_phone(500) as phone:
                leg = await call_in(server, phone, events)
                settings = {"type": "x", "audio": {}, "agent": {"think": {"provider": {"type": "google"}}}}
                await attach(server, "deepgram", leg, settings=settings, greeting="Hi", language="de")
                conversation = await provider.next()
                assert "authorization: token deep-key" in conversation.head.lower()
                sent = await conversation.text(type="Settings")
                assert sent["agent"] == {
                    "think": {"provider": {"type": "google"}},
                    "greeting": "Hi",
                    "language": "de",
                }
                assert sent["audio"]["input"] == {"encoding": "linear16", "sample_rate": 16000}
                await conversation.send({"type": "Welcome", "request_id": "req-1"})
                await trio.sleep(0.2)
                assert conversation.heard == b""
                await conversation.send({"type": "SettingsApplied"})
                assert (await wait_for(events, "agent.connected"))["conversation_id"] == "req-1"
                assert loudness(await conversation.hear(0.5), 500) > 0.05
                await conversation.send(speech(900, 3.0))
                await phone.hear(30)
                assert phone.tones(10) == {900}
                await conversation.send({"type": "UserStartedSpeaking"})
                await wait_for(events, "agent.interrupted")
                await phone.hear(15)
                assert phone.tones(8) == set()
                await server.call("leg_agent_message", id=leg, message="say it")
                assert (await conversation.text(type="InjectAgentMessage"))["behavior"] == "queue"
                await conversation.send({"type": "ConversationText", "role": "user", "content": "yes"})
                assert (await wait_for(events, "agent.user_transcript"))["text"] == "yes"
                await conversation.send({"type": "Error", "description": "gone", "code": "X"})
                over = await wait_for(events, "agent.disconnected")
                assert (over["reason"], over["error"]) == ("provider_error", "deepgram: gone")


async def test_a_vapi_call_is_ended_at_the_provider_when_the_leg_hangs_up(tmp_path: Path) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        provider.answers["POST /call"] = (
            201,
            {
                "id": "call-9",
                "transport": {"websocketCallUrl": "{ws}/call-9"},
                "monitor": {"controlUrl": "<{http}/control>"},
            },
        )
        provider.answers["POST /control"] = (200, {})
        with server.events() as events:
            async with open_phone(500) as phone:
                leg = await call_in(server, phone, events)
                await attach(
                    server, "vapi", leg, assistant_id="x", first_message="Hi", variable_values={"a": 1}
                )
                _, head, body = await provider.request("POST /call")
                assert "authorization: bearer vapi-key" in head.lower()
                assert body["assistantOverrides"] == {"firstMessage": "Hi", "variableValues": {"a": 1}}
                conversation = await provider.next()
                assert (await wait_for(events, "agent.connected"))["conversation_id"] == "call-9"
                assert loudness(await conversation.hear(0.4), 500) > 0.05
                said = {"type": "transcript", "role": "user", "transcript": "he", "transcriptType": "partial"}
                await conversation.send(said)
                assert (await wait_for(events, "agent.user_transcript"))["is_final"] is False
                await server.call("leg_agent_message", id=leg, message="vip")
                _, _, body = await provider.request("POST /control")
                assert body["message"] == {"role": "system", "content": "vip"}
                await server.call("delete_leg", id=leg)
                over = await wait_for(events, "agent.disconnected", leg_id=leg)
                assert over["reason"] == "leg_ended"
                await wait_for(events, "leg.disconnected", leg_id=leg)
                _, _, body = await provider.request("POST /control")
                assert body == {"type": "end-call"}


async def test_an_ultravox_call_sends_ahead_and_takes_back(tmp_path: Path) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        provider.answers["POST /api/agents/ag/calls"] = (201, {"callId": "u-1", "joinUrl": "{ws}/join"})
        with server.events() as events:
            async with open_phone(500) as phone:
                leg = await call_in(server, phone, events)
                await attach(server, "ultravox", leg, agent_id="ag", dynamic_variables={"a": "b"})
                _, head, body = await provider.request("POST /api/agents")
                assert "x-api-key: ultra-key" in head.lower()
                assert body["templateContext"] == {"a": "b"}
                assert body["medium"]["serverWebSocket"]["clientBufferSizeMs"] == 30000
                conversation = await provider.next()
                await conversation.send({"type": "call_started", "callId": "u-1"})
                await wait_for(events, "agent.connected", conversation_id="u-1")
                await conversation.send(speech(900, 20.0))
                await phone.hear(25)
                assert phone.tones(10) == {900}
                await conversation.send({"type": "playback_clear_buffer"})
                await conversation.send(speech(1300, 1.0))
                await phone.hear(25)
                assert phone.tones(10) == {1300}
                part = {"type": "transcript", "role": "agent", "ordinal": 2, "delta": "Good ", "final": False}
                await conversation.send(part)
                assert (await wait_for(events, "agent.agent_response"))["is_final"] is False
                await conversation.send({**part, "delta": "day", "final": True})
                assert (await wait_for(events, "agent.agent_response", is_final=True))["text"] == "Good day"
                await conversation.send(
                    {"type": "client_tool_invocation", "toolName": "x", "invocationId": "i", "parameters": {}}
                )
                assert (await conversation.text(type="client_tool_result"))["invocationId"] == "i"
                await conversation.close(1000)
                assert (await wait_for(events, "agent.disconnected"))["reason"] == "provider_closed"


def pipecat_audio(pcm: bytes, rate_hz: int) -> bytes:
    return write_bytes(2, write_bytes(3, pcm) + write_number(4, rate_hz) + write_number(5, 1))


def pipecat_heard(conversation: Conversation, frames: int) -> np.ndarray:
    """What the last frames of audio hold that came to a bot."""
    raws = [raw for data in conversation.binaries for kind, raw in read_fields(data) if kind == 2]
    pieces = [dict(read_fields(raw))[3] for raw in raws[-frames:] if isinstance(raw, bytes)]
    return np.frombuffer(b"".join(piece for piece in pieces if isinstance(piece, bytes)), "<i2")


async def test_a_room_agent_hears_everybody_but_itself_and_goes_with_the_last_leg(tmp_path: Path) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        with server.events() as events:
            async with open_phone(500) as one, open_phone(700) as two:
                first = await call_in(server, one, events, room="r")
                second = await call_in(server, two, events, room="r")
                answer = await server.call(
                    "room_agent_pipecat", id="r", websocket_url=f"{provider.ws_url}/bot"
                )
                assert answer.model_dump(exclude_none=True) == {"status": "agent_started", "room_id": "r"}  # type: ignore[union-attr]
                with pytest.raises(Conflict):
                    await server.call("room_agent_pipecat", id="r", websocket_url=f"{provider.ws_url}/bot")
                conversation = await provider.next()
                ready = b'{"label":"rtvi-ai","type":"bot-ready","data":{}}'
                await conversation.send(write_bytes(4, write_bytes(1, ready)))
                connected = await wait_for(events, "agent.connected", room_id="r")
                assert "leg_id" not in connected
                await conversation.send(pipecat_audio(speech(1100, 1.5, 24000), 24000))
                await one.hear(40)
                assert one.tones(10) == {700, 1100}
                assert two.tones(10) == {500, 1100}
                heard = pipecat_heard(conversation, 20)
                assert loudness(heard, 500) > 0.05
                assert loudness(heard, 700) > 0.05
                assert loudness(heard, 1100) < 0.01
                await server.call("delete_leg", id=first)
                await wait_for(events, "leg.disconnected", leg_id=first)
                await server.call("delete_leg", id=second)
                over = await wait_for(events, "agent.disconnected", room_id="r")
                assert over["reason"] == "room_empty"


async def test_a_leg_agent_is_heard_by_the_room_its_leg_is_in_and_follows_it(tmp_path: Path) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        with server.events() as events:
            async with open_phone(500) as one, open_phone(700) as two:
                first = await call_in(server, one, events)
                await call_in(server, two, events, room="r")
                await attach(server, "elevenlabs", first, agent_id="a1")
                conversation = await greet_elevenlabs(provider)
                await wait_for(events, "agent.connected")
                await conversation.send(eleven_audio(speech(1100, 20.0), 1))
                await one.hear(25)
                assert one.tones(10) == {1100}
                assert two.tones(10) == set()
                await server.call("add_leg_to_room", room_id="r", leg_id=first)
                await one.hear(25)
                assert one.tones(10) == {700, 1100}
                assert two.tones(10) == {500, 1100}
                await server.call("remove_leg_from_room", room_id="r", leg_id=first)
                await two.hear(25)
                assert one.tones(10) == {1100}
                assert two.tones(10) == set()


async def test_wrong_requests_are_refused_with_one_clear_error(tmp_path: Path) -> None:
    async with open_provider() as provider:
        config = config_for(provider, tmp_path, DEEPGRAM_API_KEY="")
        async with open_server(config) as server:
            with server.events() as events:
                async with open_phone(500) as phone:
                    leg = await call_in(server, phone, events)
                    for name, fields, error in (
                        ("elevenlabs", {}, BadRequest),
                        ("vapi", {"assistant_id": ""}, BadRequest),
                        ("pipecat", {}, BadRequest),
                        ("pipecat", {"websocket_url": "http://127.0.0.1/"}, BadRequest),
                        ("pipecat", {"websocket_url": "ws://10.1.2.3/"}, BadRequest),
                        ("ultravox", {}, BadRequest),
                        ("deepgram", {}, Unavailable),
                    ):
                        with pytest.raises(error):
                            await server.call(f"leg_agent_{name}", id=leg, **fields)
                    for name, fields in (
                        ("elevenlabs", {"agent_id": "a"}),
                        ("vapi", {"assistant_id": "a"}),
                        ("deepgram", {}),
                        ("ultravox", {"agent_id": "a"}),
                    ):
                        for key in ("ключ", "a\r\nX-Evil: 1"):
                            with pytest.raises(BadRequest, match=r"^api_key: "):
                                await server.call(f"leg_agent_{name}", id=leg, api_key=key, **fields)
                    with pytest.raises(BadRequest):
                        await server.call("leg_agent_deepgram", id="")
                    with pytest.raises(NotFound):
                        await server.call("leg_agent_elevenlabs", id="nobody", agent_id="x")
                    with pytest.raises(NotFound):
                        await server.call("leg_agent_message", id=leg, message="x")
                    with pytest.raises(BadRequest):
                        await server.call("leg_agent_message", id=leg, message=" ")
                    assert await rest_of(events) == []


async def test_who_was_stopped_is_gone_at_once_and_makes_room_for_another(tmp_path: Path) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        with server.events() as events:
            async with open_phone(500) as phone:
                leg = await call_in(server, phone, events)
                await attach(server, "elevenlabs", leg, agent_id="a1")
                await greet_elevenlabs(provider)
                await wait_for(events, "agent.connected", agent_id="a1")
                await server.call("leg_agent_stop", id=leg)
                for name, fields in (("message", {"message": "x"}), ("stop", {})):
                    with pytest.raises(NotFound):
                        await server.call(f"leg_agent_{name}", id=leg, **fields)
                await attach(server, "elevenlabs", leg, agent_id="a2")
                await greet_elevenlabs(provider)
                assert (await wait_for(events, "agent.disconnected"))["reason"] == "stopped"
                await wait_for(events, "agent.connected", agent_id="a2")


async def test_an_address_that_is_none_ends_the_conversation_with_one_clear_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        with server.events() as events:
            async with open_phone(500) as phone:
                leg = await call_in(server, phone, events)
                for url in ("no URL", "https://127.0.0.1/s3cret", "wss://s3cret:x:y/"):
                    provider.answers["GET /v1/convai/conversation/get-signed-url"] = (
                        200,
                        {"signed_url": url},
                    )
                    await attach(server, "elevenlabs", leg, agent_id="a1")
                    over = await wait_for(events, "agent.disconnected", leg_id=leg)
                    assert (over["reason"], over["category"]) == ("failed", "permanent_input")
                    assert over["error"].startswith("elevenlabs: ")
                    assert "s3cret" not in over["error"]
                    await trio.sleep(0.05)
                assert "Traceback" not in caplog.text


async def test_a_provider_that_never_answers_ends_with_its_call_at_once(tmp_path: Path) -> None:
    async with open_provider() as provider, open_server(config_for(provider, tmp_path)) as server:
        provider.stall = True
        with server.events() as events:
            async with open_phone(500) as phone:
                leg = await call_in(server, phone, events)
                await attach(server, "elevenlabs", leg, agent_id="a1")
                await trio.sleep(0.1)
                begun = trio.current_time()
                await server.call("delete_leg", id=leg)
                assert (await wait_for(events, "agent.disconnected"))["reason"] == "leg_ended"
                await wait_for(events, "leg.disconnected", leg_id=leg)
                assert trio.current_time() - begun < 1
