"""Fields of requests about legs that no other scenario sends, and what each of them does."""

from __future__ import annotations

import time

import trio

from conformance.expect import ABSENT, between, check, containing, require
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.vsi import Frame
from conformance.phones import Phone, answered, dialled, picked_up, refused, ringing
from conformance.registry import scenario
from conformance.scenarios.holds import held, resumed
from conformance.world import World


@scenario("uri is another name of to, which wins where both are given; neither gets 400")
async def out_uri(world: World) -> None:
    uri = f"sip:alias@{world.ua.host_port}"
    bodies: tuple[tuple[dict[str, object], str], ...] = (
        ({"type": "sip", "uri": uri}, uri),
        ({"type": "sip", "uri": uri, "to": f"sip:to@{world.ua.host_port}"}, f"sip:to@{world.ua.host_port}"),
    )
    for body, target in bodies:
        view = await world.rest("POST", "/v1/legs", body, status=201)
        call = await world.ua.next_call()
        assert call.invite is not None
        check("INVITE", call.invite.start_line, f"INVITE {target} SIP/2.0")
        phone = Phone(world, call, await world.rtp("alias"), str(view["id"]), inbound=False)
        await world.event("leg.ringing", leg_id=phone.leg_id, uri=target)
        await refused(phone, 486, "busy")
    await world.rest("POST", "/v1/legs", {"type": "sip"}, status=400, expect={"error": containing("to")})


@scenario("ring_timeout 0 and max_duration 0 set no limit: a phone rings on, and talks on")
async def out_no_limits(world: World) -> None:
    phone, _ = await dialled(world, {"ring_timeout": 0, "max_duration": 0})
    assert phone.call.invite is not None
    await phone.call.reply(phone.call.invite, 180)
    await trio.sleep(1.5)
    await world.leg_state(phone.leg_id, state="ringing")
    await picked_up(phone, tone=500.0)
    await trio.sleep(1.5)
    await world.leg_state(phone.leg_id, state="connected")
    await phone.hang_up()


@scenario("answer, ring and early media of a call out get 400; ring and early media after early media 409")
async def in_wrong_commands(world: World) -> None:
    phone, _ = await dialled(world)
    for command in ("answer", "ring", "early-media"):
        await world.rest("POST", f"{phone.path}/{command}", status=400)
    await phone.call.silence(0.2)
    await refused(phone, 486, "busy")
    early = await ringing(world)
    await world.rest("POST", f"{early.path}/early-media", {"codec": "PCMU"}, status=202)
    await early.call.response(183)
    for command in ("ring", "early-media"):
        await world.rest("POST", f"{early.path}/{command}", status=409)
    await early.answer()
    for command in ("answer", "ring", "early-media"):
        await world.rest("POST", f"{early.path}/{command}", status=409)
    await early.hang_up()


@scenario(
    "The RTP time-out rests while we hold a leg, and goes on with the resume", env={"VB_RTP_TIMEOUT": "1s"}
)
async def rtp_timeout_on_hold(world: World) -> None:
    phone = await answered(world, tone=500.0)
    await held(phone)
    phone.rtp.stop_talking()
    await trio.sleep(2.0)
    await world.leg_state(phone.leg_id, state="held")
    await resumed(phone)
    start = time.monotonic()
    bye = await phone.call.request("BYE", 4)
    check("seconds of silence", time.monotonic() - start, between(0.5, 2.5))
    await phone.call.reply(bye, 200)
    await world.disconnected(phone.leg_id, "rtp_timeout", answered=True)


async def _says_everything(world: World, phone: Phone) -> None:
    """Has a leg that is connected tell nearly all that a leg can tell."""
    path, leg = phone.path, {"leg_id": phone.leg_id, "app_id": "shop"}
    await phone.rtp.send_digit("5")
    await world.event("dtmf.received", leg)
    phone.rtp.talk(500.0)
    await world.event("speaking.started", leg)
    phone.rtp.talk(None)
    await world.event("speaking.stopped", leg)
    for command, on, off in (("mute", "leg.muted", "leg.unmuted"), ("deaf", "leg.deaf", "leg.undeaf")):
        await world.rest("POST", f"{path}/{command}", status=200)
        await world.event(on, leg)
        await world.rest("DELETE", f"{path}/{command}", status=200)
        await world.event(off, leg)
    await world.rest("PATCH", f"{path}/role", {"role": "agent"}, status=200, expect={"app_id": "shop"})
    await world.event("leg.role_changed", leg)
    await world.rest("POST", f"{path}/record", status=200)
    for command in ("pause", "resume"):
        await world.rest("POST", f"{path}/record/{command}", status=200)
    await world.rest("DELETE", f"{path}/record", status=200)
    for kind in ("started", "paused", "resumed", "finished"):
        await world.event(f"recording.{kind}", leg)
    played = await world.rest("POST", f"{path}/play", {"tone": "us_dial"}, status=200)
    await world.event("playback.started", leg)
    await world.rest("DELETE", f"{path}/play/{played['playback_id']}", status=200)
    await world.event("playback.finished", leg)
    await world.rest("POST", f"{path}/play", {"tone": "mars_dial"}, status=200)
    await world.event("playback.error", leg)
    await world.rest("POST", f"{path}/amd", {"initial_silence_timeout": 300}, status=200)
    await world.event("amd.result", leg)


@scenario("app_id of a leg and of a room is in every event of theirs, and in no other")
async def app_id_everywhere(world: World) -> None:
    body: dict[str, object] = {"app_id": "shop", "speech_detection": True, "codecs": ["PCMU"]}
    phone, ringing_event = await dialled(world, body)
    leg = {"leg_id": phone.leg_id, "app_id": "shop"}
    check("leg.ringing", ringing_event, leg)
    assert phone.call.invite is not None
    await phone.call.reply(phone.call.invite, 183, sdp=audio_sdp(phone.rtp.port))
    await world.event("leg.early_media", leg)
    phone.rtp.talk(None)
    await phone.call.reply(phone.call.invite, 200, sdp=audio_sdp(phone.rtp.port))
    await phone.call.request("ACK")
    await world.event("leg.connected", leg)
    await _says_everything(world, phone)
    hall: Frame = {"room_id": "sc-app", "app_id": "hall"}
    await world.rest("POST", "/v1/rooms", {"id": "sc-app", "app_id": "hall"}, status=201)
    await world.event("room.created", hall)
    await phone.join("sc-app", role="agent")
    await world.rest("PUT", "/v1/rooms/sc-app/routing", {"matrix": {"agent": []}}, status=200)
    await world.event("room.routing_changed", hall)
    await world.rest("POST", "/v1/rooms/sc-app/record", status=200)
    await world.event("recording.started", hall)
    await world.rest("DELETE", "/v1/rooms/sc-app/record", status=200)
    await world.event("recording.finished", hall)
    played = await world.rest("POST", "/v1/rooms/sc-app/play", {"tone": "dial"}, status=200)
    await world.event("playback.started", hall)
    await world.rest("DELETE", f"/v1/rooms/sc-app/play/{played['playback_id']}", status=200)
    await world.event("playback.finished", hall)
    await world.rest("DELETE", f"/v1/rooms/sc-app/legs/{phone.leg_id}", status=200)
    await world.event("leg.left_room", leg)
    await held(phone)
    await resumed(phone)
    await world.rest("DELETE", "/v1/rooms/sc-app", status=200)
    await world.event("room.deleted", hall)
    other = await answered(world)
    await phone.hang_up()
    await other.hang_up()
    for frame in world.vsi.frames.items():
        wanted = "shop" if frame.get("leg_id") == phone.leg_id else ABSENT
        if frame.get("leg_id") is None and frame.get("room_id") == "sc-app":
            wanted = "hall"
        kind = str(frame.get("type"))
        check(kind, world.notes.reading(kind, frame), {"app_id": wanted})
    told = {str(f.get("type")) for f in world.vsi.frames.items() if f.get("leg_id") == phone.leg_id}
    require({"leg.hold", "leg.unhold", "leg.disconnected"} <= told, "events of the leg", "all of them", told)
