"""WebSocket legs, in and out, and WebSockets that hear a room."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import trio

from conformance.expect import ABSENT, UUID, Difference, between, check, regex, require
from conformance.peers.audio_socket import AudioHost, AudioSocket, Frame, Headers, open_audio, open_host, tone
from conformance.peers.http import HttpClient
from conformance.phones import Phone, answered
from conformance.registry import scenario
from conformance.scenarios.access import UPGRADE
from conformance.world import World, leg_view

LEG_PATH = "/v1/legs/websocket"


async def _open(
    world: World,
    path: str,
    name: str,
    *,
    rate_hz: int = 16000,
    in_json: bool = False,
    headers: Headers = (),
) -> AudioSocket:
    host, port = world.target.http
    return await world.open(
        open_audio(
            f"ws://{host}:{port}{path}",
            name,
            rate_hz=rate_hz,
            in_json=in_json,
            headers=(*world.target.headers, *headers),
        )
    )


async def open_leg(
    world: World,
    name: str = "ws1",
    query: str = "",
    *,
    rate_hz: int = 16000,
    in_json: bool = False,
    headers: Headers = (),
) -> tuple[AudioSocket, str]:
    """A program that is a leg, and the leg's id."""
    client = await _open(
        world, f"{LEG_PATH}?{query}", name, rate_hz=rate_hz, in_json=in_json, headers=headers
    )
    ringing = await world.event("leg.ringing", {"leg_type": "websocket_in", "leg_id": UUID})
    leg_id = str(ringing["leg_id"])
    await world.event("leg.connected", leg_id=leg_id, leg_type="websocket_in")
    welcome = {
        "type": "connected",
        "leg_id": leg_id,
        "participant_id": leg_id,
        "sample_rate": rate_hz,
        "format": "pcm_s16le",
    }
    first = await client.frame("connected")
    check("first frame", first, welcome)
    check("first frame: keys", sorted(first), sorted(welcome))
    world.worked("GET /v1/legs/websocket")
    world.notes.answered("GET /v1/legs/websocket", 101)
    world.notes.sent("GET /v1/legs/websocket", dict(parse_qsl(query)))
    return client, leg_id


async def _in_room(world: World, room: str, hertz: float = 500.0) -> Phone:
    """A phone in a room."""
    phone = await answered(world, tone=hertz)
    await phone.join(room)
    return phone


async def _phone_hears(phone: Phone, tones: list[int]) -> None:
    heard = await phone.hears()
    found = list(heard.tones)
    require(
        len(found) == len(tones) and all(abs(a - b) <= 10 for a, b in zip(found, tones, strict=True)),
        "tones at the phone",
        tones,
        found,
    )


async def _lost(world: World, leg_id: str, reason: str, direction: str) -> Frame:
    """The event of a loss; others of the same leg may come before."""
    while True:
        found = await world.event("leg.audio_dropped", leg_id=leg_id, within_s=8.0)
        if found["reason"] == reason:
            check("leg.audio_dropped", found, {"direction": direction, "count": between(1, 10_000)})
            return found


@scenario("WebSocket leg in: binary audio with a SIP call in a room, refusals, ping, junk, DELETE closes it")
async def ws_leg(world: World) -> None:
    phone = await _in_room(world, "sc-ws")
    client, leg_id = await open_leg(
        world, query="room_id=sc-ws&app_id=shop", headers=(("x-key", "k"), ("X-Key", "l"), ("Other", "o"))
    )
    await world.event("leg.joined_room", leg_id=leg_id, room_id="sc-ws", app_id="shop")
    await world.leg_state(
        leg_id,
        **leg_view(type="websocket_in", state="connected", room_id="sc-ws", app_id="shop"),
        headers={"X-Key": "k"},
    )
    world.order(("leg.ringing", leg_id), ("leg.connected", leg_id), ("leg.joined_room", leg_id))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.talk, 900.0)
        await client.hears([500])
        await _phone_hears(phone, [900])
        nursery.cancel_scope.cancel()
    await client.send({"type": "ping", "event_id": 7})
    pong = await client.frame("pong")
    check("pong", pong, {"type": "pong", "event_id": 7})
    for ignored in ("text", "nonsense"):
        await client.send({"type": ignored, "text": "x"})
    for junk in ("no json", b"x", '{"audio": "AAAA"}'):
        await client.send(junk)
    path = f"/v1/legs/{leg_id}"
    await world.rest("POST", f"{path}/rtt", {"text": "x"}, status=409)
    await world.rest("POST", f"{path}/dtmf", {"digits": "1"}, status=500, expect={"error": regex(".*DTMF.*")})
    await world.rest("POST", f"{path}/hold", status=400)
    await world.rest("POST", f"{path}/answer", status=400)
    await world.rest("POST", f"{path}/transfer", {"target": "sip:x@example.com"}, status=409)
    await world.rest("POST", f"{path}/amd", {}, status=400)
    lost = await _lost(world, leg_id, "malformed", "in")
    check("messages of no use", lost["count"], 3)
    await world.no_event("rtt.received", leg_id=leg_id)
    await world.rest("POST", f"{path}/deaf", status=200)
    await trio.sleep(0.1)
    await client.hears_nothing()
    await world.rest("DELETE", path, status=202, expect={"status": "hanging_up"})
    await world.event("leg.left_room", leg_id=leg_id, room_id="sc-ws")
    await world.disconnected(leg_id, "api_hangup", answered=True)
    check("close code", await client.wait_closed(), 1000)
    await world.leg_is_gone(leg_id)


@scenario(
    "WebSocket leg in: JSON at 8 kHz, text both ways, playback on the leg alone, recording, stop",
    needs=("recordings",),
)
async def ws_leg_json(world: World) -> None:
    client, leg_id = await open_leg(
        world, query="wire_format=json_base64&sample_rate=8000&rtt=1", rate_hz=8000, in_json=True
    )
    path = f"/v1/legs/{leg_id}"
    await client.hears_nothing()
    play = await world.rest("POST", f"{path}/play", {"tone": "de_dial"}, status=200)
    await world.event("playback.started", leg_id=leg_id, playback_id=str(play["playback_id"]))
    await client.hears([425], framing="json", level=0)
    await client.send({"type": "text", "text": "héllo"})
    await world.event("rtt.received", {"text": "héllo", "seq": 1}, leg_id=leg_id)
    await world.rest("POST", f"{path}/rtt", {"text": "yo"}, status=200, expect={"status": "sent"})
    check("text", await client.frame("text"), {"type": "text", "text": "yo"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.talk, 700.0)
        await trio.sleep(0.1)
        await world.rest("POST", f"{path}/record", status=200, expect={"status": "recording"})
        await world.event("recording.started", leg_id=leg_id)
        await trio.sleep(0.6)
        await world.rest("DELETE", f"{path}/record", status=200)
        await world.event("recording.finished", leg_id=leg_id)
        nursery.cancel_scope.cancel()
    await client.send({"type": "stop"})
    await world.disconnected(leg_id, "hangup", answered=True)
    check("close code", await client.wait_closed(), 1000)
    world.order(("playback.started", leg_id), ("rtt.received", leg_id), ("leg.disconnected", leg_id))


@scenario(
    "WebSocket leg out: handshake headers, audio both ways, both ends of it, refusals, wrong parameters"
)
async def ws_leg_out(world: World) -> None:
    host = await world.open(open_host())
    body: Frame = {
        "type": "websocket",
        "url": host.url(),
        "headers": {"X-Key": "k", "Other": "o"},
        "room_id": "sc-wo",
        "app_id": "shop",
    }
    view = await world.rest(
        "POST", "/v1/legs", body, status=201, expect={"type": "websocket_out", "state": "ringing"}
    )
    leg_id = str(view["id"])
    await world.event("room.created", room_id="sc-wo", app_id="shop")
    await world.event(
        "leg.ringing",
        {"uri": host.url(), "sip_headers": {"X-Key": "k", "Other": "o"}},
        leg_id=leg_id,
        leg_type="websocket_out",
    )
    await world.event("leg.connected", leg_id=leg_id, leg_type="websocket_out")
    await world.event("leg.joined_room", leg_id=leg_id, room_id="sc-wo")
    path, headers = await host.request()
    check("path", path, "/agent")
    check("headers", {key: headers.get(key) for key in ("x-key", "other")}, {"x-key": "k", "other": "o"})
    check("extensions", "sec-websocket-extensions" in headers, False)
    client = await host.called()
    await world.leg_state(
        leg_id, **leg_view(type="websocket_out", state="connected", room_id="sc-wo", app_id="shop")
    )
    phone = await _in_room(world, "sc-wo")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.talk, 900.0)
        await client.hears([500])
        await _phone_hears(phone, [900])
        nursery.cancel_scope.cancel()
    await client.leave()
    await world.event("leg.left_room", leg_id=leg_id, room_id="sc-wo")
    await world.disconnected(leg_id, "hangup", answered=True)
    second, leg_id = await _called(world, host, {})
    await world.command("delete_leg", {"id": leg_id})
    await world.disconnected(leg_id, "api_hangup", answered=True)
    check("close code", await second.wait_closed(), 1000)
    _, leg_id = await _called(world, host, {"max_duration": 1})
    await world.disconnected(leg_id, "max_duration", answered=True)
    await _ends(world, {"url": "ws://127.0.0.1:1/x"}, "service_unavailable")
    for status, reason in (
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (500, "ws_dial_failed"),
    ):
        host.refuse_with = status
        await _ends(world, {"url": host.url()}, reason)
    for wrong, field in (
        ({}, "url"),
        ({"url": "http://x/"}, "url"),
        ({"url": "ws://10.1.1.1/"}, "url"),
        ({"url": "ws://x/", "sample_rate": 11025}, "sample_rate"),
        ({"url": "ws://x/", "wire_format": "mp3"}, "wire_format"),
        ({"url": "ws://x/", "sample_format": "f32"}, "sample_format"),
        ({"url": "ws://x/", "headers": {"X-A": "a\r\nX-B: b"}}, "headers"),
        ({"url": "ws://x/", "headers": {"Upgrade": "h2c"}}, "headers"),
    ):
        await world.rest(
            "POST",
            "/v1/legs",
            {"type": "websocket", **wrong},
            status=400,
            expect={"error": regex(f"{field}: .*")},
        )


async def _called(world: World, host: AudioHost, body: Frame) -> tuple[AudioSocket, str]:
    data = await world.command("create_leg", {"type": "websocket", "url": host.url(), **body})
    assert isinstance(data, dict)
    leg_id = str(data["id"])
    await world.event("leg.connected", leg_id=leg_id)
    return await host.called(), leg_id


async def _ends(world: World, body: Frame, reason: str) -> None:
    view = await world.rest("POST", "/v1/legs", {"type": "websocket", **body}, status=201)
    leg_id = str(view["id"])
    await world.event("leg.ringing", leg_id=leg_id)
    await world.disconnected(leg_id, reason)


@scenario("WebSocket legs of four rates and both formats hear each other, and nobody himself")
async def ws_leg_rates(world: World) -> None:
    clients: list[AudioSocket] = []
    pitches = (400, 700, 1100, 1700)
    for number, rate_hz in enumerate((8000, 16000, 24000, 48000)):
        in_json = number % 2 == 1
        query = f"room_id=sc-rates&sample_rate={rate_hz}&wire_format={'json_base64' if in_json else 'binary'}"
        client, leg_id = await open_leg(world, f"ws{rate_hz}", query, rate_hz=rate_hz, in_json=in_json)
        await world.event("leg.joined_room", leg_id=leg_id)
        clients.append(client)
    async with trio.open_nursery() as nursery:
        for client, pitch in zip(clients, pitches, strict=True):
            nursery.start_soon(client.talk, float(pitch))
        for client, pitch in zip(clients, pitches, strict=True):
            await client.hears([other for other in pitches if other != pitch])
        nursery.cancel_scope.cancel()


@scenario("Room WebSockets: welcome, audio of the others, ping, no leg of theirs, stop; 1001 with the room")
async def ws_room(world: World) -> None:
    await world.rest("POST", "/v1/rooms", {"id": "sc-wr", "sample_rate": 48000}, status=201)
    path = "/v1/rooms/sc-wr/ws"
    one = await _open(world, path, "ws1", rate_hz=48000, in_json=True)
    other = await _open(world, path, "ws2", rate_hz=48000, in_json=True)
    for client in (one, other):
        welcome = await client.frame("connected")
        check(
            "first frame",
            welcome,
            {
                "participant_id": regex("ws-[0-9a-f]{8}"),
                "sample_rate": 48000,
                "format": "pcm_s16le",
                "leg_id": ABSENT,
            },
        )
    world.worked("GET /v1/rooms/{id}/ws")
    world.notes.answered("GET /v1/rooms/{id}/ws", 101)
    await one.hears_nothing()
    phone = await _in_room(world, "sc-wr")
    leg, leg_id = await open_leg(world, "leg", "room_id=sc-wr&wire_format=json_base64", in_json=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.talk, 900.0)
        nursery.start_soon(leg.talk, 1300.0)
        await one.hears([500, 1300])
        await other.hears([500, 900, 1300])
        await leg.hears([500, 900])
        await _phone_hears(phone, [900, 1300])
        nursery.cancel_scope.cancel()
    room = await world.rest("GET", "/v1/rooms/sc-wr", status=200)
    members = room["participants"]
    assert isinstance(members, list)
    check("participants", len(members), 2)
    await one.send({"type": "ping", "event_id": "x"})
    check("pong", await one.frame("pong"), {"type": "pong", "event_id": "x"})
    await one.send(b"x")
    news = await one.frames.take(lambda frame: frame.get("reason") == "malformed", 8.0)
    check("news of what was lost", news, {"type": "audio_dropped", "direction": "in", "count": 1})
    await one.send({"type": "stop"})
    check("close code", await one.wait_closed(), 1000)
    await world.no_event("leg.disconnected", for_s=0.2)
    check("status without an upgrade", (await world.http.ask("GET", path)).status, 426)
    await world.rest("DELETE", "/v1/rooms/sc-wr", status=200)
    check("close code", await other.wait_closed(), 1001)
    await world.disconnected(leg_id, "room_deleted", answered=True)
    check("close code", await leg.wait_closed(), 1001)
    await phone.is_hung_up("room_deleted")
    reply = await world.http.ask("GET", path, None, UPGRADE)
    check("status without a room", reply.status, 404)
    reply = await world.http.ask("GET", LEG_PATH)
    check("status without an upgrade", reply.status, 426)


@scenario(
    "Programs that send too fast, garbage or huge frames, or read nothing: told, closed, nobody else harmed",
    timeout_s=60,
)
async def ws_hostile(world: World) -> None:
    phone = await _in_room(world, "sc-wh")
    fast, fast_id = await open_leg(world, "fast", "room_id=sc-wh")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fast.talk, 900.0)
        deaf = await _raw(world, "room_id=sc-wh&sample_rate=48000", buffer_bytes=4096)
        deaf_id = str((await world.event("leg.connected", {"leg_type": "websocket_in"}))["leg_id"])
        for sent, code in (
            (b"\x82\x04abcd", 1002),
            (b"\x82\xff" + (2**30).to_bytes(8, "big") + bytes(4), 1009),
            (b"\x02\x80" + bytes(4) + (b"\x00\x81" + bytes(5)) * 2000, 1009),
            (b"\xc2\x80" + bytes(4), 1002),
            (b"\x81\x82" + bytes(4) + b"\xc3\x28", 1007),
        ):
            raw = await _raw(world, "")
            leg_id = str((await world.event("leg.connected", {"leg_type": "websocket_in"}))["leg_id"])
            await raw.send_all(sent)
            await world.disconnected(leg_id, "ws_error", answered=True)
            check("close frame", await _last(raw), b"\x88\x02" + struct.pack("!H", code))
            await raw.aclose()
        await _phone_hears(phone, [900])
        nursery.cancel_scope.cancel()
    with trio.move_on_after(1.5):
        await fast.talk(900.0, speed=10.0)
    flood = await _lost(world, fast_id, "overflow", "in")
    require(int(str(flood["duration_ms"])) > 1000, "audio that was too much", "more than 1 s", flood)
    await trio.sleep(1.2)  # what was kept of it is heard
    with trio.move_on_after(1.0):
        await fast.talk(900.0, speed=0.5)
    await _lost(world, fast_id, "underflow", "in")
    await _lost(world, deaf_id, "slow_reader", "out")
    await world.disconnected(deaf_id, "peer_slow", answered=True, within_s=15.0)
    await deaf.aclose()
    await fast.hears([500])
    figures = await world.metrics()
    for direction, reason in (("in", "overflow"), ("in", "underflow"), ("out", "slow_reader")):
        count = figures.get("ws_lost", direction=direction, reason=reason)
        require(count > 0, f"voiceblender_ws_lost of {reason}", "more than 0", count)


async def _raw(world: World, query: str, *, buffer_bytes: int = 0) -> trio.SocketStream:
    """An open WebSocket as bytes; what came with its opening is read."""
    host, port = world.target.http
    stream = await world.open(_connection(host, port, buffer_bytes))
    lines = [f"GET {LEG_PATH}?{query} HTTP/1.1", f"Host: {host}:{port}"]
    lines += [f"{key}: {value}" for key, value in (*UPGRADE, *world.target.headers)]
    await stream.send_all("\r\n".join([*lines, "", ""]).encode())
    data = b""
    while b'"pcm_s16le"}' not in data:
        part = await stream.receive_some(4096)
        if not part:
            raise Difference("ws raw", "an open connection", data[:200])
        data += part
    return stream


@asynccontextmanager
async def _connection(host: str, port: int, buffer_bytes: int) -> AsyncIterator[trio.SocketStream]:
    sock = trio.socket.socket()
    if buffer_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    await sock.connect((host, port))
    async with trio.SocketStream(sock) as stream:
        yield stream


async def _last(stream: trio.SocketStream) -> bytes:
    """The last four bytes before the end."""
    data = b""
    with trio.move_on_after(3):
        while part := await stream.receive_some(4096):
            data += part
    return data[-4:]


@scenario(
    "WebSockets obey VB_API_TOKENS and Origin, and a token of the server is not shown",
    env={"VB_API_TOKENS": "a-token-of-some-length-1"},
)
async def ws_access(world: World) -> None:
    right = ("Authorization", "Bearer a-token-of-some-length-1")
    host, port = world.target.http
    plain = world.http.ask
    for path in (LEG_PATH, "/v1/rooms/r/ws"):
        for headers, status in (
            ((), 401),
            ((("Authorization", "Bearer wrong"),), 401),
            ((right, ("Origin", "https://elsewhere.example")), 403),
        ):
            reply = await HttpClient(host, port).ask("GET", path, None, (*UPGRADE, *headers))
            check(f"{path} with {headers}", reply.status, status)
    reply = await plain("GET", LEG_PATH + "?sample_rate=1", None, UPGRADE)
    check("wrong parameter", reply.status, 400)
    client, leg_id = await open_leg(world, headers=(("X-Key", "k"),))
    await world.leg_state(leg_id, headers={"X-Key": "k"})
    await client.leave()
    await world.disconnected(leg_id, "hangup", answered=True)


@scenario(
    "WS_JITTER_BUFFER_MS holds audio back once and rides out a stall", env={"WS_JITTER_BUFFER_MS": "200"}
)
async def ws_jitter(world: World) -> None:
    one, _ = await open_leg(world, "ws1", "room_id=sc-wj")
    other, _ = await open_leg(world, "ws2", "room_id=sc-wj")
    await trio.sleep(0.2)
    begun = trio.current_time()
    await one.say(tone(900, 16000, 0.24))
    await trio.sleep(0.16)
    await one.say(tone(900, 16000, 0.24))
    await trio.sleep(0.5)
    loud = [at for at, pcm, _ in other.audio if at >= begun and max(pcm) > 0 and _peak(pcm) > 1000]
    require(bool(loud), "audio", "some", "none")
    check("audio in one piece", len(loud), between(22, 26))
    check("seconds from first to last", loud[-1] - loud[0], between(0.40, 0.56))


def _peak(pcm: bytes) -> int:
    return int(max(abs(value) for (value,) in struct.iter_unpack("<h", pcm)))
