"""Fields of requests about codecs, machines, transfers and WebSockets: each value, and what it does."""

from __future__ import annotations

import trio

from conformance.expect import ABSENT, between, check, require
from conformance.peers.audio_socket import AudioSocket, open_host
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import sdp_of
from conformance.peers.vsi import Frame
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.scenarios.access import UPGRADE
from conformance.scenarios.detection import verdict
from conformance.scenarios.referrals import notified, requested
from conformance.scenarios.websockets import open_leg
from conformance.world import World

_PAYLOAD_TYPES = {"PCMU": "0", "PCMA": "8", "G722": "9", "opus": "111"}
_LIMITS: dict[str, object] = {
    "initial_silence_timeout": 1200,
    "greeting_duration": 600,
    "after_greeting_silence": 300,
    "total_analysis_time": 3000,
    "minimum_word_length": 60,
    "beep_timeout": 2000,
}


@scenario("codec of an answer and of early media: each of the four, and the answer keeps that of early media")
async def codec_of_each(world: World) -> None:
    for number, (codec, payload_type) in enumerate(_PAYLOAD_TYPES.items()):
        for early in (True, False):
            name = f"call{number}{early:d}"
            rtp = await world.rtp(name)
            phone = await ringing(
                world,
                name,
                rtp=rtp,
                sdp=audio_sdp(rtp.port, codecs=tuple(_PAYLOAD_TYPES)),
                offered=_offered(),
            )
            if early:
                await world.rest("POST", f"{phone.path}/early-media", {"codec": codec}, status=202)
                progress = sdp_of(await phone.call.response(183)).audio.formats
                check(f"183 with {codec}", progress[0], payload_type)
            answer = sdp_of(await phone.answer(None if early else {"codec": codec})).audio.formats
            check(
                f"200 with {codec}", [one for one in answer if one in _PAYLOAD_TYPES.values()], [payload_type]
            )
            await phone.hang_up()


def _offered() -> list[Frame]:
    return [
        {
            "name": name,
            "payload_type": int(number),
            "clock_rate": 48000 if name == "opus" else 8000,
            "priority": at,
        }
        for at, (name, number) in enumerate(_PAYLOAD_TYPES.items(), 1)
    ]


async def _analysed(world: World, limits: dict[str, object], *, at_creation: bool) -> Phone:
    """A call that is looked at for a machine, asked for with the call or afterwards."""
    if at_creation:
        phone, _ = await dialled(world, {"codecs": ["PCMU"], "amd": limits, "app_id": "shop"})
        await picked_up(phone)
    else:
        phone = await answered(world, headers=[("X-App-ID", "shop")])
        await world.rest("POST", f"{phone.path}/amd", limits, status=200, expect={"status": "started"})
    return phone


@scenario("AMD: each limit acts, in the body of a new call and in that of a call that is up")
async def amd_limits(world: World) -> None:
    for at_creation in (True, False):
        phone = await _analysed(world, _LIMITS, at_creation=at_creation)
        await trio.sleep(0.2)
        phone.rtp.talk(400.0)
        await trio.sleep(0.3)
        phone.rtp.talk(None)
        await verdict(
            world,
            phone.leg_id,
            "human",
            greeting_duration_ms=between(280, 460),
            total_analysis_ms=between(700, 1300),
        )
        await phone.hang_up()
        phone = await _analysed(world, _LIMITS, at_creation=at_creation)
        phone.rtp.talk(400.0)
        await verdict(world, phone.leg_id, "machine", greeting_duration_ms=600)
        phone.rtp.talk(1000.0)
        await world.event("amd.beep", leg_id=phone.leg_id, app_id="shop")
        await phone.hang_up()
        words = {**_LIMITS, "minimum_word_length": 500}
        phone = await _analysed(world, words, at_creation=at_creation)
        phone.rtp.talk(400.0)
        await trio.sleep(0.2)
        phone.rtp.talk(None)
        await verdict(world, phone.leg_id, "no_speech", initial_silence_ms=between(1000, 1300))
        await phone.hang_up()
        times = {**_LIMITS, "total_analysis_time": 800, "greeting_duration": 3000}
        phone = await _analysed(world, times, at_creation=at_creation)
        phone.rtp.talk(400.0)
        await verdict(world, phone.leg_id, "not_sure", total_analysis_ms=800)
        await phone.hang_up()


@scenario("Decisions about a transfer: code, status and reason reach the far end; without a REFER 404")
async def refer_fields(world: World) -> None:
    phone = await answered(world)
    path = f"{phone.path}/transfer"
    bodies: dict[str, Frame | None] = {
        "accept": None,
        "progress": {"status_code": 180},
        "complete": {"success": True},
        "decline": None,
    }
    for decision, body in bodies.items():
        await world.rest("POST", f"{path}/{decision}", body, status=404)
    for decision, bad in (
        ("progress", {"status_code": 200}),
        ("complete", {"status_code": 99}),
        ("decline", {"code": 200}),
    ):
        await world.rest("POST", f"{path}/{decision}", bad, status=400)
    await requested(phone)
    await world.rest("POST", f"{path}/decline", {"code": 480, "reason": "Gone home"}, status=202)
    response = await phone.call.response(480, "REFER")
    check("reason of the refusal", response.reason, "Gone home")
    failed = await world.event(
        "leg.transfer_failed", leg_id=phone.leg_id, status_code=480, reason="Gone home"
    )
    check("error", failed, {"leg_id": phone.leg_id})
    await requested(phone)
    await world.rest("POST", f"{path}/accept", status=202)
    await phone.call.response(202, "REFER")
    await notified(phone.call, "100 Trying", "active;expires=")
    await world.rest("POST", f"{path}/decline", {"code": 480}, status=409)
    await world.rest("POST", f"{path}/progress", {"status_code": 183, "reason": "Hold on"}, status=202)
    await notified(phone.call, "183 Hold on", "active;expires=")
    body = {"success": False, "status_code": 486, "reason": "On the phone"}
    await world.rest("POST", f"{path}/complete", body, status=202)
    await notified(phone.call, "486 On the phone", "terminated;reason=noresource")
    await world.event("leg.transfer_failed", leg_id=phone.leg_id, status_code=486)
    await phone.hang_up()


async def _heard_both_ways(world: World, phone: Phone, client: AudioSocket) -> None:
    """A phone and a program hear each other, in frames of the program's rate and format."""
    phone.rtp.talk(500.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.talk, 900.0)
        with trio.move_on_after(2.0):
            await client.sounded.wait()
        await client.hears([500])
        (await phone.rtp.listen(300, settle_ms=150)).has_tones(900)
        nursery.cancel_scope.cancel()


@scenario("WebSocket legs out: each rate in each format, whatever the room's rate is")
async def ws_out_formats(world: World) -> None:
    host = await world.open(open_host())
    phone = await answered(world)
    await phone.join("sc-wof")
    for rate_hz in (8000, 16000, 24000, 48000):
        for wire_format in ("binary", "json_base64"):
            body: Frame = {
                "type": "websocket",
                "url": host.url(),
                "sample_rate": rate_hz,
                "wire_format": wire_format,
                "sample_format": "s16le",
                "room_id": "sc-wof",
                "rtt": True,
            }
            view = await world.rest("POST", "/v1/legs", body, status=201)
            leg_id = str(view["id"])
            await world.event("leg.joined_room", leg_id=leg_id, room_id="sc-wof")
            client = await host.called()
            client.rate_hz, client.in_json = rate_hz, wire_format == "json_base64"
            await _heard_both_ways(world, phone, client)
            await client.send({"type": "text", "text": "hello"})
            await world.event("rtt.received", leg_id=leg_id, text="hello")
            await client.send({"type": "hangup"})
            await world.disconnected(leg_id, "hangup", answered=True)
    await phone.hang_up()


@scenario("WebSocket leg in: each parameter of the query acts, the webhook too", needs=("hooks",))
async def ws_query(world: World) -> None:
    hook = world.sink.url("/of-the-leg")
    query = (
        "sample_rate=24000&wire_format=json_base64&sample_format=s16le&room_id=sc-wq&app_id=shop&rtt=true"
        f"&webhook_url={hook}&webhook_secret=s3cret"
    )
    phone = await answered(world)
    await phone.join("sc-wq")
    headers = (("X-One", "1"), ("P-Two", "2"), ("Authorization", "Bearer of-theirs"), ("Other", "3"))
    client, leg_id = await open_leg(world, "ws1", query, rate_hz=24000, in_json=True, headers=headers)
    view = await world.leg_state(
        leg_id, type="websocket_in", app_id="shop", room_id="sc-wq", state="connected"
    )
    shown = {"X-One": "1", "P-Two": "2", "Authorization": "Bearer of-theirs"}
    check("headers of the leg", view, {"headers": shown, "sip_headers": ABSENT})
    await _heard_both_ways(world, phone, client)
    await client.send({"type": "text", "text": "hello"})
    for kind in ("leg.ringing", "leg.connected", "leg.joined_room", "rtt.received"):
        delivery = await world.sink.delivery(kind, path="/of-the-leg", leg_id=leg_id)
        require(
            delivery.is_signed_with("s3cret"), f"{kind}: X-Signature-256", "that of the leg", delivery.headers
        )
        check(kind, delivery.event, {"app_id": "shop"})
    check("global hook", world.sink.order("/hook", leg_id=leg_id), [])
    await client.send({"type": "hangup"})
    await world.disconnected(leg_id, "hangup", answered=True)
    for wrong in ("sample_rate=1", "wire_format=mp3", "sample_format=f32", "webhook_url=x", "room_id=a%2Fb"):
        reply = await world.http.ask("GET", f"/v1/legs/websocket?{wrong}", None, UPGRADE)
        check(wrong, reply.status, 400)
    check("without an upgrade", (await world.http.ask("GET", "/v1/legs/websocket")).status, 426)
    await phone.hang_up()
