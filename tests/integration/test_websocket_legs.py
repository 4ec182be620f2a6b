"""WebSocket legs with real sockets: beside phones in rooms, alone, refused and lost."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from pydantic import SecretStr
from trio_websocket import ConnectionRejected

from tests.support.phone import open_phone
from tests.support.program import Program, open_program, tone
from tests.support.world import Events, call_in, rest_of, wait_for
from vb.commands import views
from vb.config import Config
from vb.errors import Conflict, InternalError, VbError
from vb.server import Server, open_server

pytestmark = pytest.mark.integration


async def test_a_program_and_a_phone_hear_each_other_in_a_room(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            await call_in(server, phone, events, room="r")
            url = f"{server.url}/v1/legs/websocket?room_id=r&app_id=shop"
            async with open_program(url) as program:
                ringing = await wait_for(events, "leg.ringing", leg_type="websocket_in", app_id="shop")
                leg_id = ringing["leg_id"]
                await wait_for(events, "leg.connected", leg_id=leg_id, leg_type="websocket_in")
                await wait_for(events, "leg.joined_room", leg_id=leg_id, room_id="r")
                assert await program.frame("connected") == {
                    "type": "connected",
                    "leg_id": leg_id,
                    "participant_id": leg_id,
                    "sample_rate": 16000,
                    "format": "pcm_s16le",
                }
                await program.talk(900, 1.0)
                assert set(program.sizes) == {640}
                assert program.level(500) > 0.05
                assert program.level(900) < 0.005
                assert phone.tones(20) == {900}
                await server.call("delete_leg", id=leg_id)
                with trio.fail_after(5):
                    await program.closed.wait()
                assert program.close_code == 1000
            await wait_for(events, "leg.disconnected", leg_id=leg_id)


@dataclass
class Joined:
    """A program that is a leg."""

    program: Program
    leg_id: str


@asynccontextmanager
async def joined(
    server: Server, events: Events, query: str = "", *, rate_hz: int = 16000, json_audio: bool = False
) -> AsyncIterator[Joined]:
    """A program that has been welcomed."""
    url = f"{server.url}/v1/legs/websocket?{query}"
    async with open_program(url, rate_hz=rate_hz, json_audio=json_audio) as program:
        welcome = await program.frame("connected")
        await wait_for(events, "leg.connected", leg_id=welcome["leg_id"])
        yield Joined(program, welcome["leg_id"])


async def end_of(events: Events, leg_id: str) -> str:
    return str((await wait_for(events, "leg.disconnected", leg_id=leg_id))["cdr"]["reason"])


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("wire_format", ["binary", "json_base64"])
async def test_each_rate_and_format_carries_tones_both_ways(
    config: Config, rate_hz: int, wire_format: str
) -> None:
    json_audio = wire_format == "json_base64"
    query = f"room_id=r&sample_rate={rate_hz}&wire_format={wire_format}"
    async with open_server(config) as server:
        with server.events() as events:
            async with (
                joined(server, events, query, rate_hz=rate_hz, json_audio=json_audio) as one,
                joined(server, events, "room_id=r") as other,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(one.program.talk, 700, 1.0)
                nursery.start_soon(other.program.talk, 1100, 1.0)
                await trio.sleep(0.8)
                assert set(one.program.sizes) == {rate_hz // 50 * 2}
                assert 0.15 < one.program.level(1100) < 0.35
                assert one.program.level(700) < 0.01
                assert 0.15 < other.program.level(700) < 0.35
                assert other.program.level(1100) < 0.01
                nursery.cancel_scope.cancel()


async def test_text_goes_both_ways_and_to_room_mates_only_where_it_was_asked_for(config: Config) -> None:
    async with open_server(config) as server:
        with server.events() as events:
            async with (
                joined(server, events, "room_id=r&rtt=true") as one,
                joined(server, events, "room_id=r&rtt=yes") as mate,
                joined(server, events, "room_id=r") as mute,
            ):
                await one.program.send({"type": "text", "text": "h\u00e9llo \ud83d\ude00"})
                received = await wait_for(events, "rtt.received", leg_id=one.leg_id)
                assert (received["text"], received["seq"]) == ("h\u00e9llo \U0001f600", 1)
                assert (await mate.program.frame("text"))["text"] == "h\u00e9llo \U0001f600"
                await server.call("send_leg_rtt", id=one.leg_id, text="yo")
                assert await one.program.frame("text") == {"type": "text", "text": "yo"}
                with pytest.raises(Conflict):
                    await server.call("send_leg_rtt", id=mute.leg_id, text="yo")
                await mute.program.send({"type": "text", "text": "nobody asked"})
                await mute.program.send({"type": "ping", "event_id": 7})
                assert await mute.program.frame("pong") == {"type": "pong", "event_id": 7}
                assert not [e for e in await rest_of(events) if e["type"] == "rtt.received"]


async def test_what_a_websocket_leg_cannot_do_is_refused_clearly(config: Config) -> None:
    async with open_server(config) as server:
        with server.events() as events:
            async with joined(server, events) as one:
                with pytest.raises(InternalError, match="DTMF over WebSocket"):
                    await server.call("send_leg_dtmf", id=one.leg_id, digits="1")
                for command in ("hold_leg", "answer_leg", "leg_amd_start", "transfer_leg"):
                    fields = {"target": "sip:x@y"} if command == "transfer_leg" else {}
                    with pytest.raises(VbError):
                        await server.call(command, id=one.leg_id, **fields)
                assert [leg.state for leg in await legs(server)] == ["connected"]


async def legs(server: Server) -> list[views.Leg]:
    found = await server.call("list_legs")
    assert isinstance(found, list)
    return [leg for leg in found if isinstance(leg, views.Leg)]


@pytest.mark.parametrize("word", ["hangup", "stop"])
async def test_a_program_hangs_up_and_is_told_goodbye(config: Config, word: str) -> None:
    async with open_server(config) as server:
        with server.events() as events:
            async with joined(server, events) as one:
                await one.program.send({"type": word})
                assert await end_of(events, one.leg_id) == "hangup"
                with trio.fail_after(3):
                    await one.program.closed.wait()
                assert one.program.close_code == 1000


async def test_the_end_of_the_program_s_side_is_a_hangup(config: Config) -> None:
    async with open_server(config) as server:
        with server.events() as events:
            async with joined(server, events) as one:
                await one.program.socket.aclose(4000, "bye")
                assert await end_of(events, one.leg_id) == "hangup"
            stream = await raw_leg(server)
            await stream.aclose()
            leg_id = (await wait_for(events, "leg.connected"))["leg_id"]
            assert await end_of(events, leg_id) == "hangup"
            stream = await raw_leg(server)
            stream.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: the end is a reset
            await stream.aclose()
            leg_id = (await wait_for(events, "leg.connected"))["leg_id"]
            assert await end_of(events, leg_id) == "connection_reset"
            assert await legs(server) == []


async def raw_leg(server: Server, query: str = "") -> trio.SocketStream:
    """An open WebSocket as bytes; the welcome is read."""
    assert server.url is not None
    host, _, port = server.url.removeprefix("http://").partition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    await stream.send_all(
        f"GET /v1/legs/websocket?{query} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    data = b""
    with trio.fail_after(5):
        while b'"pcm_s16le"}' not in data:
            data += await stream.receive_some(4096)
    assert data.startswith(b"HTTP/1.1 101")
    assert b"permessage-deflate" not in data
    return stream


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x82\x04abcd", 1002),  # without a mask
        (b"\x82\xff" + (2**30).to_bytes(8) + b"\0\0\0\0", 1009),
        (b"\x02\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 2000, 1009),
        (b"\xc2\x80\0\0\0\0", 1002),  # compressed
        (b"\x81\x82\0\0\0\0\xc3\x28", 1007),
    ],
    ids=["unmasked", "a gigabyte", "endless fragments", "compressed", "not UTF-8"],
)
async def test_a_program_that_breaks_the_protocol_is_told_why_and_ends_alone(
    config: Config, sent: bytes, code: int
) -> None:
    async with open_server(config) as server:
        with server.events() as events:
            async with joined(server, events, "room_id=r") as bystander:
                stream = await raw_leg(server)
                leg_id = (await wait_for(events, "leg.connected"))["leg_id"]
                await stream.send_all(sent)
                assert await end_of(events, leg_id) == "ws_error"
                data = b""
                with trio.fail_after(3):
                    while chunk := await stream.receive_some(4096):
                        data += chunk
                assert data.endswith(b"\x88\x02" + code.to_bytes(2))
                assert [leg.id for leg in await legs(server)] == [bystander.leg_id]
                await stream.aclose()


async def test_audio_that_comes_too_fast_or_is_broken_is_dropped_and_told(config: Config) -> None:
    async with open_server(config) as server:
        with server.events() as events:
            async with joined(server, events) as one:
                for _ in range(3):
                    await one.program.say(tone(700, 16000, 0.9))
                await one.program.send(b"x")
                await one.program.send("no json")
                await one.program.send({"audio": "AAAA"})
                overflow = await wait_for(events, "leg.audio_dropped", leg_id=one.leg_id, reason="overflow")
                assert (overflow["direction"], overflow["count"], overflow["duration_ms"]) == ("in", 2, 1800)
                broken = await wait_for(events, "leg.audio_dropped", leg_id=one.leg_id, reason="malformed")
                assert broken["count"] == 3
                assert (await one.program.frame("audio_dropped"))["reason"] == "overflow"
                text = server.engine.metrics.render().decode()
                assert 'voiceblender_ws_lost{direction="in",reason="overflow"} 2.0' in text


async def test_a_program_that_reads_nothing_is_cut_off_and_disturbs_nobody(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            await call_in(server, phone, events, room="r")
            stream = await raw_leg(server, "room_id=r&sample_rate=48000")
            stream.setsockopt(1, 8, struct.pack("i", 4096))
            leg_id = (await wait_for(events, "leg.connected", leg_type="websocket_in"))["leg_id"]
            async with joined(server, events, "room_id=r") as mate:
                with trio.fail_after(20):
                    lost = await wait_for(events, "leg.audio_dropped", leg_id=leg_id)
                    assert (lost["direction"], lost["reason"]) == ("out", "slow_reader")
                    while True:
                        found = (await events.get()).as_dict()
                        if found["type"] == "leg.disconnected":
                            assert (found["leg_id"], found["cdr"]["reason"]) == (leg_id, "peer_slow")
                            break
                assert mate.program.level(500) > 0.05
                await stream.aclose()


async def test_speaking_is_told_of_programs_too(config: Config) -> None:
    config = config.model_copy(update={"speech": config.speech.model_copy(update={"detection": True})})
    async with open_server(config) as server:
        with server.events() as events:
            async with joined(server, events, "room_id=r") as one:
                await one.program.talk(700, 0.3)
                await wait_for(events, "speaking.started", leg_id=one.leg_id, room_id="r")
                await wait_for(events, "speaking.stopped", leg_id=one.leg_id, room_id="r")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("sample_rate=11025", "sample_rate"),
        ("wire_format=mp3", "wire_format"),
        ("sample_format=f32", "sample_format"),
        ("rtt=maybe", "rtt"),
        ("room_id=a/b", "room_id"),
        ("webhook_url=http://10.0.0.1/", "webhook_url"),
        ("app_id=" + "x" * 300, "app_id"),
    ],
)
async def test_a_parameter_that_cannot_be_used_is_one_clear_400(
    config: Config, query: str, field: str
) -> None:
    async with open_server(config) as server:
        with server.events() as events:
            rejected = await refusal(f"{server.url}/v1/legs/websocket?{query}")
            assert rejected.status_code == 400
            assert rejected.body is not None
            assert json.loads(rejected.body)["error"].startswith(field + ":")
            assert await rest_of(events) == []


async def test_headers_are_kept_and_a_token_of_ours_is_not(config: Config) -> None:
    sent = {
        "x-custom": "1",
        "P-Asserted-Identity": "<sip:a@b>",
        "Authorization": "Bearer theirs",
        "Other": "o",
    }
    async with open_server(config) as server:
        with server.events() as events:
            url = f"{server.url}/v1/legs/websocket"
            async with open_program(url, headers=sent):
                ringing = await wait_for(events, "leg.ringing")
                kept = {
                    "X-Custom": "1", "P-Asserted-Identity": "<sip:a@b>", "Authorization": "Bearer theirs",
                }  # fmt: skip
                assert ringing["sip_headers"] == kept
                assert (await legs(server))[0].headers == kept
    token = "x" * 32
    http = config.http.model_copy(update={"api_tokens": (SecretStr(token),)})
    async with open_server(config.model_copy(update={"http": http})) as server:
        with server.events() as events:
            url = f"{server.url}/v1/legs/websocket"
            with pytest.raises(BaseExceptionGroup):
                async with open_program(url):
                    pass
            async with open_program(url, headers={"Authorization": f"Bearer {token}"}):
                assert token not in json.dumps(await wait_for(events, "leg.ringing"))
                assert (await legs(server))[0].headers is None


async def test_many_hang_up_while_the_server_stops_and_nothing_stays(config: Config) -> None:
    async with trio.open_nursery() as nursery:
        programs: list[Program] = []
        async with open_server(config) as server:
            all_here = trio.Event()

            async def stay() -> None:
                async with open_program(f"{server.url}/v1/legs/websocket?room_id=r") as program:
                    await program.frame("connected")
                    programs.append(program)
                    if len(programs) == 10:
                        all_here.set()
                    await program.closed.wait()

            for _ in range(10):
                nursery.start_soon(stay)
            with trio.fail_after(5):
                await all_here.wait()
            plane, kinds = server.engine.plane, server.engine.kinds
            assert kinds.get("websocket") is not None
            assert plane.ports == 10
    assert [program.close_code for program in programs] == [1001] * 10
    assert plane.ports == 0


async def test_beyond_the_cap_on_legs_an_upgrade_is_503(config: Config) -> None:
    capped = config.model_copy(update={"server": config.server.model_copy(update={"max_legs": 1})})
    async with open_server(capped) as server:
        with server.events() as events:
            async with joined(server, events) as one:
                rejected = await refusal(f"{server.url}/v1/legs/websocket?room_id=r")
                assert rejected.status_code == 503
                headers = {name.lower(): value for name, value in rejected.headers or ()}
                assert int(headers[b"retry-after"]) > 0
                assert [leg.id for leg in await legs(server)] == [one.leg_id]
                assert await server.call("list_rooms") == []


async def refusal(url: str) -> ConnectionRejected:
    """How a request to upgrade is refused."""
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_program(url):
            pass
    found: BaseException = caught.value
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, ConnectionRejected)
    return found


async def test_a_leg_moves_and_is_muted_like_any_other(config: Config) -> None:
    async with open_server(config) as server:
        with server.events() as events:
            async with (
                joined(server, events, "room_id=a") as one,
                joined(server, events, "room_id=a&sample_rate=8000", rate_hz=8000) as mate,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(one.program.talk, 700, 5.0)
                await trio.sleep(0.5)
                assert mate.program.level(700) > 0.15
                await server.call("mute_leg", id=one.leg_id)
                await trio.sleep(0.5)
                assert mate.program.level(700) < 0.005
                await server.call("unmute_leg", id=one.leg_id)
                await server.call("create_room", id="b", sample_rate=48000)
                await server.call("add_leg_to_room", room_id="b", leg_id=one.leg_id)
                await server.call("add_leg_to_room", room_id="b", leg_id=mate.leg_id)
                await trio.sleep(0.6)
                assert mate.program.level(700) > 0.15
                await server.call("remove_leg_from_room", room_id="b", leg_id=mate.leg_id)
                await trio.sleep(0.1)
                count = len(mate.program.sizes)
                await trio.sleep(0.2)
                assert len(mate.program.sizes) == count
                nursery.cancel_scope.cancel()
