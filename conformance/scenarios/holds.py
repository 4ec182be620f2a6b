"""Hold: from our side, from the far end, from both, in rooms, and what can go wrong with it."""

from __future__ import annotations

import time

import trio

from conformance.expect import ABSENT, TEXT, between, check, one_of, require
from conformance.peers.measure import Heard
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import sdp_of
from conformance.peers.sip_message import SipMessage
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.world import World

MIRROR = {"sendonly": "recvonly", "sendrecv": "sendrecv", "inactive": "inactive"}


async def _offered(phone: Phone, direction: str, *, answer: str | None = None) -> SipMessage:
    """Takes the server's re-INVITE, checks its direction, answers it and takes the ACK."""
    offer = await phone.call.request("INVITE")
    check("direction of the re-INVITE", sdp_of(offer).audio.direction or "sendrecv", direction)
    require(offer.to_tag != "", "re-INVITE: To", "a tag", offer.header("To"))
    await phone.call.reply(
        offer, 200, sdp=audio_sdp(phone.rtp.port, direction=answer or MIRROR[direction], version=2)
    )
    await phone.call.request("ACK")
    return offer


async def held(phone: Phone) -> SipMessage:
    """Puts a leg on hold from our side: 202, the re-INVITE, leg.hold."""
    world = phone.world
    await world.rest("POST", f"{phone.path}/hold", status=202, expect={"status": "holding"})
    offer = await _offered(phone, "sendonly")
    await world.event("leg.hold", leg_id=phone.leg_id, leg_type=_type(phone))
    await world.leg_state(phone.leg_id, state="held", held=True)
    return offer


async def resumed(phone: Phone) -> SipMessage:
    """Takes a leg off hold from our side: 202, the re-INVITE, leg.unhold."""
    world = phone.world
    await world.rest("DELETE", f"{phone.path}/hold", status=202, expect={"status": "unholding"})
    offer = await _offered(phone, "sendrecv")
    await world.event("leg.unhold", leg_id=phone.leg_id, leg_type=_type(phone))
    await world.leg_state(phone.leg_id, state="connected", held=False)
    return offer


def _type(phone: Phone) -> str:
    return "sip_inbound" if phone.inbound else "sip_outbound"


async def _up(world: World) -> Phone:
    phone, _ = await dialled(world, {"codecs": ["PCMU"]})
    await picked_up(phone, tone=500.0)
    return phone


@scenario("hold and unhold by API: re-INVITE, events, silence while held; twice; refused; hang-up while held")
async def out_hold(world: World) -> None:
    phone = await _up(world)
    first = await held(phone)
    silence = await phone.hears(300)
    silence.is_steady()
    silence.is_quiet()
    await world.rest("POST", f"{phone.path}/hold", status=202, expect={"status": "holding"})
    await phone.call.silence(0.3)
    await world.no_event("leg.hold", for_s=0.0)
    second = await resumed(phone)
    check("o= id of the second offer", sdp_of(second).session_id, sdp_of(first).session_id)
    check("o= version of the second offer", sdp_of(second).version, sdp_of(first).version + 1)
    await world.rest("DELETE", f"{phone.path}/hold", status=202, expect={"status": "unholding"})
    await phone.call.silence(0.3)
    (await phone.hears(300)).is_steady()

    await world.rest("POST", f"{phone.path}/hold", status=202)
    refused = await phone.call.request("INVITE")
    await phone.call.reply(refused, 488)
    await phone.call.request("ACK")
    await world.event("leg.command_failed", leg_id=phone.leg_id, command="hold", error=TEXT)
    await world.leg_state(phone.leg_id, state="connected", held=False)
    (await phone.hears(200)).is_steady()

    for command, status, direction in (
        ("hold_leg", "holding", "sendonly"),
        ("unhold_leg", "unholding", "sendrecv"),
        ("hold_leg", "holding", "sendonly"),
    ):
        await world.command(command, {"id": phone.leg_id}, {"status": status})
        await _offered(phone, direction)
        await world.event(f"leg.{command.removesuffix('_leg')}", leg_id=phone.leg_id)
    await phone.hang_up()
    world.order(("leg.hold", phone.leg_id), ("leg.unhold", phone.leg_id), ("leg.disconnected", phone.leg_id))


@scenario("An offer of the far end never lifts our hold; the directions of both holds together")
async def hold_both_sides(world: World) -> None:
    phone = await answered(world, tone=500.0)
    await held(phone)
    version = 2
    for offered, expected in (
        ("sendrecv", "sendonly"),
        (None, "sendonly"),
        ("recvonly", "sendonly"),
        ("sendonly", "inactive"),
        ("inactive", "inactive"),
        ("sendrecv", "sendonly"),
    ):
        version += 1
        answer = await phone.reinvite(audio_sdp(phone.rtp.port, direction=offered, version=version))
        check(f"answer to {offered} while we hold", sdp_of(answer).audio.direction, expected)
        await world.leg_state(phone.leg_id, state="held", held=True)
    await world.no_event("leg.unhold", for_s=0.1)
    await world.command("unhold_leg", {"id": phone.leg_id}, {"status": "unholding"})
    await _offered(phone, "sendrecv")
    await world.event("leg.unhold", leg_id=phone.leg_id)
    (await phone.hears(200)).is_steady()
    await phone.hang_up()


@scenario("Unholding a leg that the far end holds too: it stays held until the far end lets go")
async def hold_lifted_one_by_one(world: World) -> None:
    phone = await answered(world)
    await held(phone)
    await phone.reinvite(audio_sdp(phone.rtp.port, direction="sendonly", version=3))
    await world.rest("DELETE", f"{phone.path}/hold", status=202)
    offer = await phone.call.request("INVITE")
    direction = sdp_of(offer).audio.direction or "sendrecv"
    check("direction of our offer", direction, one_of("sendrecv", "recvonly"))
    await phone.call.reply(offer, 200, sdp=audio_sdp(phone.rtp.port, direction="sendonly", version=3))
    await phone.call.request("ACK")
    await trio.sleep(0.1)
    await world.leg_state(phone.leg_id, state="held", held=True)
    await world.no_event("leg.unhold", for_s=0.1)
    await phone.reinvite(audio_sdp(phone.rtp.port, version=4))
    await world.event("leg.unhold", leg_id=phone.leg_id)
    await world.leg_state(phone.leg_id, state="connected", held=False)
    await phone.hang_up()


async def _start(world: World, direction: str, connection: str | None) -> tuple[Phone, Heard]:
    rtp = await world.rtp("call1")
    sdp = audio_sdp(rtp.port, direction=direction, connection=connection)
    phone = await ringing(world, rtp=rtp, sdp=sdp)
    await world.rest("POST", f"{phone.path}/answer", status=202)
    answer = await phone.take_answer()
    expected = {"sendonly": "recvonly", "inactive": "inactive", "recvonly": "sendonly"}.get(direction)
    if expected:
        check("direction of the answer", sdp_of(answer).audio.direction, expected)
    start = time.monotonic()
    await trio.sleep(0.3)
    return phone, rtp.heard_since(start, 0.3)


@scenario("An INVITE whose offer holds us from the start: sendonly, inactive, 0.0.0.0; recvonly does not")
async def in_hold_offer(world: World) -> None:
    for direction, connection in (("sendonly", None), ("inactive", None), ("sendrecv", "0.0.0.0")):
        phone, heard = await _start(world, direction, connection)
        await world.event("leg.hold", leg_id=phone.leg_id, leg_type="sip_inbound")
        heard.is_nothing()
        await world.leg_state(phone.leg_id, state="held", held=True)
        world.order(("leg.connected", phone.leg_id), ("leg.hold", phone.leg_id))
        await phone.hang_up()
    phone, heard = await _start(world, "recvonly", None)
    heard.is_steady()
    await world.leg_state(phone.leg_id, state="connected", held=False)
    await world.no_event("leg.hold", leg_id=phone.leg_id, for_s=0.1)
    await phone.hang_up()


@scenario("A leg that we hold stays in its room, says and hears nothing there, and comes back")
async def hold_in_room(world: World) -> None:
    phone, other = await answered(world, "call1", tone=500.0), await answered(world, "call2", tone=800.0)
    for each in (phone, other):
        await each.join("sc-hold")
    (await other.hears(300)).has_tones(500, level=-18)
    await held(phone)
    (await other.hears(300)).is_quiet()
    silence = await phone.hears(300)
    silence.is_steady()
    silence.is_quiet()
    participant = {"id": phone.leg_id, "state": "held", "held": True, "room_id": "sc-hold"}
    await world.rest("GET", "/v1/rooms/sc-hold", status=200, expect={"participants": [participant, {}]})
    await world.no_event("leg.left_room", for_s=0.0)
    await resumed(phone)
    (await other.hears(300)).has_tones(500, level=-18)
    (await phone.hears(300)).has_tones(800, level=-18)
    await held(phone)
    await world.rest("DELETE", f"/v1/rooms/sc-hold/legs/{phone.leg_id}", status=200)
    await phone.join("sc-hold")
    await phone.hang_up()
    await other.hang_up()


@scenario("hold where it cannot be: a ringing leg, an outgoing one before its answer, in early media")
async def hold_refused(world: World) -> None:
    phone = await ringing(world)
    for method in ("POST", "DELETE"):
        await world.rest(method, f"{phone.path}/hold", status=409)
    await world.command_fails("hold_leg", {"id": phone.leg_id}, 409)
    await world.rest("POST", f"{phone.path}/early-media", status=202)
    await phone.call.response(183)
    await world.rest("POST", f"{phone.path}/hold", status=409)
    await phone.call.cancel()
    await phone.call.ack(await phone.call.response(487))
    await world.disconnected(phone.leg_id, "caller_cancel")
    out, _ = await dialled(world)
    await world.rest("POST", f"{out.path}/hold", status=409)
    assert out.call.invite is not None
    await out.call.reply(out.call.invite, 486)
    await out.call.request("ACK")
    await world.disconnected(out.leg_id, "busy")
    await world.no_event("leg.command_failed", for_s=0.1)


@scenario(
    "Glare: a hold that meets 491 is tried again within 2 s, and our offer meets the far end's with 491"
)
async def hold_glare(world: World) -> None:
    phone = await answered(world)
    await world.rest("POST", f"{phone.path}/hold", status=202)
    first = await phone.call.request("INVITE")
    await phone.call.send_invite(audio_sdp(phone.rtp.port, version=2), within_dialog=True)
    crossed = await phone.call.response(491)
    await phone.call.ack(crossed)
    await phone.call.reply(first, 491)
    await phone.call.request("ACK")
    start = time.monotonic()
    again = await phone.call.request("INVITE", 3)
    check("seconds until it is tried again", time.monotonic() - start, between(0.0, 2.2))
    check("CSeq of the new attempt", again.cseq[0], first.cseq[0] + 1)
    await phone.call.reply(again, 200, sdp=audio_sdp(phone.rtp.port, direction="recvonly", version=2))
    await phone.call.request("ACK")
    await world.event("leg.hold", leg_id=phone.leg_id)
    check("leg.command_failed", world.count("leg.command_failed"), 0)
    retried = await phone.reinvite(audio_sdp(phone.rtp.port, direction="recvonly", version=3))
    check("answer to our own second attempt", sdp_of(retried).audio.direction, "sendonly")
    await phone.hang_up()


@scenario("A hold that meets 481: the dialog is lost, BYE, the leg ends, nothing follows its end")
async def hold_dialog_lost(world: World) -> None:
    phone = await answered(world)
    await world.rest("POST", f"{phone.path}/hold", status=202)
    await phone.call.reply(await phone.call.request("INVITE"), 481)
    await phone.call.request("ACK")
    await phone.call.reply(await phone.call.request("BYE"), 481)
    await world.event("leg.disconnected", leg_id=phone.leg_id, cdr={"reason": TEXT})
    check("leg.hold of a lost leg", world.count("leg.hold"), 0)
    last = [f for f in world.vsi.frames.items() if f.get("leg_id") == phone.leg_id][-1]
    check("last event of the leg", last, {"type": "leg.disconnected", "room_id": ABSENT})
    await world.leg_is_gone(phone.leg_id)
