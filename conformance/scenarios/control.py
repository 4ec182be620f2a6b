"""The HTTP and VSI surface itself: paths, methods, CORS, metrics, frames, filters, settings."""

from __future__ import annotations

from pathlib import Path

import trio

from conformance.expect import ABSENT, TEXT, Difference, check, containing, one_of, require
from conformance.peers.sip_call import sdp_of
from conformance.phones import answered, dialled, refused, ringing
from conformance.registry import scenario
from conformance.targets import run_to_end
from conformance.world import World


@scenario(
    "REST: unknown paths, wrong methods, trailing slash, CORS, HEAD, health; a plain GET of the VSI path"
)
async def rest_paths(world: World) -> None:
    for path in ("/v1", "/v1/nothing", "/v1/legs/", "/health", "//v1/legs", "/v1/legs/x/y/z"):
        reply = await world.http.ask("GET", path)
        check(f"GET {path}", reply.status, 404)
        check(f"GET {path}: type", reply.header("content-type"), containing("text/plain"))
    check("POST /v1/legs/x/mute/", (await world.http.ask("POST", "/v1/legs/x/mute/")).status, 404)
    for method, path, allowed in (
        ("PUT", "/v1/legs", {"GET", "POST"}),
        ("DELETE", "/v1/rooms", {"GET", "POST"}),
        ("HEAD", "/v1/legs", {"GET", "POST"}),
        ("GET", "/v1/legs/x/mute", {"DELETE", "POST"}),
    ):
        reply = await world.http.ask(method, path)
        check(f"{method} {path}", reply.status, 405)
        check(f"{method} {path}: body", reply.body, b"")
        listed = {item.strip() for item in (reply.header("allow") or "").split(",")}
        check(f"{method} {path}: Allow", sorted(listed), sorted(allowed))
    for path in ("/v1/legs", "/v1/nothing"):
        reply = await world.http.ask("OPTIONS", path)
        check(f"OPTIONS {path}", reply.status, 204)
    preflight = await world.http.ask("OPTIONS", "/v1/legs")
    for reply in (preflight, await world.http.ask("GET", "/v1/legs")):
        check("CORS origin", reply.header("access-control-allow-origin"), "*")
    methods = containing("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    check("CORS methods", preflight.header("access-control-allow-methods"), methods)
    headers = containing("Content-Type", "Authorization")
    check("CORS headers", preflight.header("access-control-allow-headers"), headers)
    for path in ("/healthz", "/readyz"):
        check(path, (await world.rest("GET", path, status=200))["status"], one_of("ok", "ready"))
    check("GET /v1/vsi", (await world.http.ask("GET", "/v1/vsi")).status, 426)
    check("GET /v1/legs?x=1", await world.rest_list("/v1/legs?x=1"), [])
    for path in ("/v1/legs/x", "/v1/rooms/x"):
        await world.rest("GET", path, status=404)
    async with world.http.connection() as connection:
        refused = await connection.ask("GET", "/v1/vsi")
        require(refused.status in (400, 426), "GET /v1/vsi", "400 or 426", refused.status)
        check("the next request on that connection", (await connection.ask("GET", "/v1/legs")).status, 200)


@scenario("REST: an empty line before a request or behind a body is passed over")
async def rest_empty_lines(world: World) -> None:
    async with world.http.connection() as connection:
        for number in range(2):
            await connection.empty_line()
            reply = await connection.ask("POST", "/v1/rooms", {"id": f"sc-{number}"})
            check("a POST behind an empty line", reply.status, 201)


def _error(code: int, message: object = TEXT, request_id: object = ABSENT) -> dict[str, object]:
    return {"type": "error", "request_id": request_id, "data": {"code": code, "message": message}}


def _result(kind: str, request_id: object = ABSENT) -> dict[str, object]:
    return {"type": f"{kind}.result", "request_id": request_id, "data": []}


@scenario("VSI: pong, unknown command, bad JSON, wrong shapes, binary, missing request_id, stop")
async def vsi_frames(world: World) -> None:
    vsi = world.vsi
    await vsi.send({"type": "pong"})
    bad_json = _error(400, containing("invalid JSON"))
    bad_payload = containing("invalid payload: ")
    cases: tuple[tuple[dict[str, object] | str, dict[str, object]], ...] = (
        ({"type": "fly", "request_id": "f"}, _error(400, "unknown command: fly", "f")),
        ({"type": "get_leg"}, _error(404, "leg not found")),
        ({"type": "get_leg", "request_id": "e", "payload": {}}, _error(404, "leg not found", "e")),
        ({"type": "get_leg", "request_id": "p", "payload": "x"}, _error(400, bad_payload, "p")),
        ({"type": "get_leg", "request_id": "q", "payload": {"id": 5}}, _error(400, bad_payload, "q")),
        ({"type": "get_leg", "request_id": 5, "payload": {"id": "x"}}, bad_json),
        ({}, _error(400, containing("unknown command: "))),
        ({"type": 5}, bad_json),
        ({"payload": {}}, _error(400, containing("unknown command: "))),
        ({"type": "list_rooms"}, _result("list_rooms")),
        ({"type": "list_legs", "request_id": "n", "payload": None}, _result("list_legs", "n")),
        ({"type": "list_legs", "request_id": "n", "extra": 1}, _result("list_legs", "n")),
        ({"type": "list_rooms", "request_id": "z" * 300}, _result("list_rooms", "z" * 300)),
        *((text, bad_json) for text in ("not json", "[]", "7", "", '{"type":"list_rooms"} trailing')),
    )
    for frame, expected in cases:
        await vsi.send(frame)
        found = await vsi.frames.take(lambda f: f.get("type") != "ping", 2)
        if found is None:
            raise Difference(f"reply to {frame!r}", expected, "none within 2 s")
        check(f"reply to {frame!r}", found, expected)
    await vsi.send(b'{"type":"list_rooms"}')
    await trio.sleep(0.3)
    check("reply to a binary frame", vsi.frames.unread(), [])
    await vsi.send({"type": "stop"})
    check("close code after stop", await vsi.wait_closed(), 1000)


@scenario(
    "VSI: app_id filters events, not results, by an unanchored expression; a bad one is refused with 400"
)
async def vsi_filter(world: World) -> None:
    shop = await world.another_vsi("shop", "?app_id=sho")
    none = await world.another_vsi("none", "?app_id=%5E%24")
    await world.rest("POST", "/v1/rooms", {"id": "sc-shop", "app_id": "my-shop"}, status=201)
    await world.rest("POST", "/v1/rooms", {"id": "sc-plain"}, status=201)
    for room_id in ("sc-shop", "sc-plain"):
        await world.event("room.created", room_id=room_id)
    await world.event("room.created", room_id="sc-shop", vsi=shop)
    await world.event("room.created", room_id="sc-plain", vsi=none)
    await world.no_event("room.created", vsi=shop, for_s=0.2)
    await world.no_event("room.created", vsi=none, for_s=0.0)
    reply = await shop.command("list_rooms")
    check("list_rooms of the filtered client", reply, {"data": [{"id": "sc-shop"}, {"id": "sc-plain"}]})
    phone = await ringing(world, headers=[("X-App-ID", "shop")])
    at_shop = await world.event("leg.ringing", leg_id=phone.leg_id, app_id="shop", vsi=shop)
    at_main = next(f for f in world.vsi.frames.items() if f.get("type") == "leg.ringing")
    check("the same event at two clients", at_shop, at_main)
    upgrade = (
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    )
    refused = await world.http.ask("GET", "/v1/vsi?app_id=%5B", None, upgrade)
    check("upgrade with a bad expression", refused.status, 400)
    answer = world.json_of(refused)
    check("its body", answer, {"error": containing("invalid app_id regex")})


@scenario("VSI: create_leg dials; every client sees all events, only the issuer its results")
async def vsi_create_leg(world: World) -> None:
    other = await world.another_vsi("other")
    uri = f"sip:bob@{world.ua.host_port}"
    data = await world.command(
        "create_leg",
        {"type": "sip", "to": uri, "ring_timeout": 5},
        {"type": "sip_outbound", "state": "ringing"},
    )
    assert isinstance(data, dict)
    leg_id = str(data["id"])
    call = await world.ua.next_call()
    for client in (world.vsi, other):
        await world.event("leg.ringing", leg_id=leg_id, vsi=client)
    assert call.invite is not None
    await call.reply(call.invite, 486)
    await call.request("ACK")
    for client in (world.vsi, other):
        await world.event("leg.disconnected", leg_id=leg_id, vsi=client)
    results = [f for f in other.frames.items() if str(f.get("type")).endswith(".result")]
    check("results at the other client", results, [])
    await world.command_fails("create_leg", {"type": "smoke"}, 400)


@scenario(
    "VSI: a client that stops reading loses events, learns how many, and slows nobody down",
    env={"VSI_EVENT_BUFFER_SIZE": "16"},
)
async def vsi_overflow(world: World) -> None:
    # Its connection is full after some of them, and has refused bytes for long enough after the pause.
    await stops_reading(world, events=180, pause_after=150)


@scenario(
    "VSI: a client that stops reading loses what goes beyond its bytes, however short that is",
    env={"VB_VSI_BUFFER_BYTES": "65536", "VSI_EVENT_BUFFER_SIZE": "1000000"},
)
async def vsi_overflow_bytes(world: World) -> None:
    await stops_reading(world, events=180)


@scenario("VSI: a client with a small buffer keeps its connection as long as it reads", timeout_s=60)
async def vsi_small_buffer(world: World) -> None:
    client = await small_buffer(world)
    await world.command("create_room", {"id": "sc-big"})
    for number in range(12):
        await large_event(world, number)
    # A kernel that counts how long such a client had no room for more gives it up after some ten seconds.
    read, began = 0, trio.current_time()
    while trio.current_time() - began < 14:
        await trio.sleep(0.75)
        chunk = b""
        with trio.move_on_after(5):
            chunk = await client.receive_some(65536)
        require(bool(chunk), f"the connection after {read} bytes", "further bytes", chunk)
        read += len(chunk)
    await trio.aclose_forcefully(client)


async def small_buffer(world: World) -> trio.SocketStream:
    """Return the connection of a VSI client for whom the system holds next to nothing."""
    sock = trio.socket.socket()
    sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
    await sock.connect(world.target.http)
    client = trio.SocketStream(sock)
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    host = f"Host: {world.target.http[0]}:{world.target.http[1]}\r\n"
    upgrade = f"GET /v1/vsi HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n{key}"
    await client.send_all(upgrade.encode())
    check("upgrade", (await client.receive_some(100))[:12], b"HTTP/1.1 101")
    return client


async def large_event(world: World, number: int) -> None:
    """Let an event of about 30 kB be published."""
    matrix = {"listener": [f"{number}-{index:-<120}" for index in range(250)]}
    await world.command("room_routing_set", {"room_id": "sc-big", "matrix": matrix})


async def stops_reading(world: World, events: int, pause_after: int | None = None) -> None:
    """Let a client read nothing while large events come, and then all that there is."""
    stuck = await small_buffer(world)
    await world.command("create_room", {"id": "sc-big"})
    with trio.fail_after(20):
        for number in range(events):
            if number == pause_after:
                await trio.sleep(1.5)
            await large_event(world, number)
    dropped = [frame for frame in world.vsi.frames.items() if frame.get("type") == "events_dropped"]
    check("events that the client who reads has missed", dropped, [])
    await world.no_legs()
    tail = b""
    with trio.move_on_after(10):
        while b'"events_dropped"' not in tail:
            chunk = await stuck.receive_some(65536)
            if not chunk:
                break
            tail = tail[-100:] + chunk
    require(b'"events_dropped"' in tail, "the stuck client, reading again", "events_dropped", tail[-200:])
    await trio.aclose_forcefully(stuck)


@scenario(
    "VSI: a room of many calls is deleted, and clients that read miss nothing however little may wait",
    env={"VSI_EVENT_BUFFER_SIZE": "16"},
    timeout_s=90,
)
async def vsi_burst(world: World) -> None:
    other = await world.another_vsi("other")
    phones = [await answered(world, f"call{number}") for number in range(40)]
    for phone in phones:
        await phone.join("sc-burst")
    await world.rest("DELETE", "/v1/rooms/sc-burst", status=200, expect={"status": "deleted"})
    for phone in phones:
        await phone.is_hung_up("room_deleted")
        await world.event("leg.disconnected", leg_id=phone.leg_id, vsi=other)
    for vsi in (world.vsi, other):
        for phone in phones:
            await world.event("leg.left_room", leg_id=phone.leg_id, vsi=vsi)
        dropped = [frame for frame in vsi.frames.items() if frame.get("type") == "events_dropped"]
        check("events that a client who reads has missed", dropped, [])


BAD_SETTINGS = {
    "SIP_PORT": "x",
    "RTP_PORT_MIN": "5000",
    "HTTP_ADDR": "nonsense",
    "DEFAULT_SAMPLE_RATE": "11025",
    "LOG_LEVEL": "loud",
    "VSI_EVENT_BUFFER_SIZE": "many",
    "COMFORT_NOISE_ENABLED": "perhaps",
    "SIP_CODECS": "PCMU,FOO",
    "SIP_JITTER_BUFFER_MAX_MS": "-1",
}


@scenario(
    "Every unparsable or out-of-range setting ends the start with exit 1 and a line that names it",
    own_server=True,
    timeout_s=90,
)
async def settings_refused(world: World) -> None:
    assert world.target.recording_dir is not None
    home = Path(world.target.recording_dir).parent / "refused"
    for name, value in BAD_SETTINGS.items():
        code, output = await run_to_end(home, {name: value})
        check(f"exit code with {name}={value}", code, 1)
        require(name in output, f"output with {name}={value}", f"a line naming {name}", output[-400:])
        require("Traceback" not in output, f"output with {name}={value}", "no trace", output[-400:])


@scenario(
    "Settings that show: codecs offered, room rate, RTP range, domain, comfort noise off",
    env={
        "SIP_CODECS": "PCMA,PCMU",
        "DEFAULT_SAMPLE_RATE": "48000",
        "RTP_PORT_MIN": "34000",
        "RTP_PORT_MAX": "34200",
        "SIP_DOMAIN": "pbx.example.com",
        "COMFORT_NOISE_ENABLED": "false",
        "INSTANCE_ID": "blue",
    },
)
async def settings_applied(world: World) -> None:
    view = await world.rest("POST", "/v1/rooms", {"id": "sc-s"}, status=201, expect={"sample_rate": 48000})
    check("instance_id", view["instance_id"], "blue")
    phone, _ = await dialled(world, {"from": "alice"})
    assert phone.call.invite is not None
    check("From", phone.call.invite.header("From"), containing("<sip:alice@pbx.example.com>"))
    check("Contact", phone.call.invite.header("Contact"), containing(world.ua.server_host_port))
    audio = sdp_of(phone.call.invite).audio
    check("codecs", audio.formats[:2], ["8", "0"])
    require(
        34000 <= audio.port <= 34200 and audio.port % 2 == 0, "RTP port", "even, 34000..34200", audio.port
    )
    await refused(phone, 486, "busy")
    phone = await answered(world)
    await phone.join("sc-s")
    heard = await phone.hears()
    require(
        heard.level_db < -75,
        "an empty room without comfort noise",
        "digital silence",
        f"{heard.level_db:.1f} dBFS",
    )
    await phone.hang_up()
    check("instance_id of an event", (await world.vsi.command("list_rooms")).get("type"), "list_rooms.result")
    created = next(f for f in world.vsi.frames.items() if f.get("type") == "room.created")
    check("room.created", created, {"instance_id": "blue", "room_id": TEXT})
