"""Reliable provisional responses (RFC 3262), as callee and as caller."""

from __future__ import annotations

from conformance.expect import TEXT, check, containing, one_of, require
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import Headers, sdp_of
from conformance.peers.sip_message import SipMessage
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.world import World

SUPPORTED: Headers = [("Supported", "100rel")]
REQUIRED: Headers = [("Require", "100rel")]


async def _reliable(phone: Phone, status: int) -> SipMessage:
    """Takes a provisional response that asks for a PRACK."""
    response = await phone.call.response(status)
    check(f"{status}: Require", response.header("Require"), containing("100rel"))
    number = int(response.must("RSeq"))
    require(1 <= number < 2**31, f"{status}: RSeq", "1 to 2**31 - 1", number)
    return response


@scenario("100rel as callee: a 183 with SDP is repeated until its PRACK, and the 200 waits for it")
async def in_prack(world: World) -> None:
    for number, headers in enumerate((SUPPORTED, REQUIRED), 1):
        phone = await ringing(world, f"call{number}", headers=headers)
        await world.rest("POST", f"{phone.path}/early-media", status=202)
        progress = await _reliable(phone, 183)
        phone.media_to(sdp_of(progress))
        await world.event("leg.early_media", leg_id=phone.leg_id)
        await phone.call.wait_for_copies(progress, 2)
        await world.rest("POST", f"{phone.path}/answer", status=202)
        await phone.call.silence(0.3)
        await phone.call.prack(progress, rack=f"4711 {progress.must('CSeq')}")
        await phone.call.response(481, "PRACK")
        await phone.call.prack(progress)
        await phone.call.response(200, "PRACK")
        copies = phone.call.copies_of(progress)
        answer = await phone.call.response(200)
        if answer.body:
            check("SDP of the 200", sdp_of(answer).lines, sdp_of(progress).lines)
        await phone.call.ack(answer)
        await world.event("leg.connected", leg_id=phone.leg_id)
        phone.rtp.talk(None)
        (await phone.hears(200)).is_steady()
        check("copies of the 183 after its PRACK", phone.call.copies_of(progress), copies)
        await phone.call.prack(progress)
        await phone.call.response(481, "PRACK")
        await phone.hang_up()


@scenario("100rel required: a 180 is reliable too; only supported: a 180 without SDP is not; neither: never")
async def in_prack_ringing(world: World) -> None:
    phone = await ringing(world, "call1", headers=REQUIRED)
    await world.rest("POST", f"{phone.path}/ring", status=202)
    ring = await _reliable(phone, 180)
    await phone.call.prack(ring)
    await phone.call.response(200, "PRACK")
    await world.rest("POST", f"{phone.path}/early-media", status=202)
    progress = await _reliable(phone, 183)
    check("RSeq of the second", int(progress.must("RSeq")), int(ring.must("RSeq")) + 1)
    await phone.call.prack(progress)
    await phone.call.response(200, "PRACK")
    await phone.call.cancel()
    await phone.call.ack(await phone.call.response(487))
    await world.disconnected(phone.leg_id, "caller_cancel")
    for number, headers in enumerate((SUPPORTED, ()), 2):
        phone = await ringing(world, f"call{number}", headers=headers)
        await world.rest("POST", f"{phone.path}/ring", status=202)
        ring = await phone.call.response(180)
        check("180: RSeq", ring.header("RSeq"), None)
        if not headers:
            await world.rest("POST", f"{phone.path}/early-media", status=202)
            check("183: RSeq", (await phone.call.response(183)).header("RSeq"), None)
        await phone.call.cancel()
        await phone.call.ack(await phone.call.response(487))
        await world.disconnected(phone.leg_id, "caller_cancel")


async def _without_offer(world: World, headers: Headers) -> Phone:
    """A ringing call whose INVITE brought no SDP, with early media asked for."""
    rtp = await world.rtp("call1")
    call = world.ua.new_call("call1")
    await call.send_invite(None, headers=headers)
    event = await world.event("leg.ringing", {"from": "call1"})
    phone = Phone(world, call, rtp, str(event["leg_id"]), inbound=True)
    await world.rest("POST", f"{phone.path}/early-media", status=202)
    return phone


@scenario("INVITE without SDP and without 100rel: early media cannot be had, leg.command_failed")
async def early_media_without_offer(world: World) -> None:
    phone = await _without_offer(world, ())
    await world.event("leg.command_failed", leg_id=phone.leg_id, command="early_media", error=TEXT)
    await world.leg_state(phone.leg_id, state="ringing")
    await phone.call.cancel()
    await phone.call.response(200, "CANCEL")
    await phone.call.ack(await phone.call.response(487))


@scenario("INVITE without SDP but with 100rel: the 183 offers, the PRACK answers, media both ways")
async def in_prack_late_offer(world: World) -> None:
    phone = await _without_offer(world, SUPPORTED)
    progress = await _reliable(phone, 183)
    phone.media_to(sdp_of(progress))
    rack = f"{progress.must('RSeq')} {progress.must('CSeq')}"
    sdp: Headers = [("RAck", rack), ("Content-Type", "application/sdp")]
    phone.rtp.talk(None)
    await phone.call.send_request("PRACK", headers=sdp, body=audio_sdp(phone.rtp.port))
    await phone.call.response(200, "PRACK")
    await world.event("leg.early_media", leg_id=phone.leg_id)
    (await phone.hears(200)).is_steady()
    await world.rest("POST", f"{phone.path}/answer", status=202)
    answer = await phone.call.response(200)
    await phone.call.ack(answer)
    await world.event("leg.connected", leg_id=phone.leg_id)
    await phone.hang_up()


@scenario(
    "100rel as caller: offered in the INVITE; each reliable 1xx gets its PRACK, repeats and gaps do not"
)
async def out_prack(world: World) -> None:
    phone, _ = await dialled(world, {"codecs": ["PCMU"]})
    invite = phone.call.invite
    assert invite is not None
    check("INVITE: Supported", invite.header("Supported"), containing("100rel"))
    check("INVITE: Require", invite.header("Require"), None)

    async def ring(status: int, number: int, sdp: bytes | None = None) -> None:
        assert invite is not None
        await phone.call.reply(invite, status, sdp=sdp, headers=[*REQUIRED, ("RSeq", str(number))])

    await ring(180, 100)
    prack = await phone.call.request("PRACK")
    check("RAck", prack.header("RAck"), f"100 {invite.cseq[0]} INVITE")
    require(prack.cseq[0] > invite.cseq[0], "CSeq of the PRACK", f"above {invite.cseq[0]}", prack.cseq[0])
    await phone.call.reply(prack, 200)
    await ring(180, 100)
    await ring(183, 102, audio_sdp(phone.rtp.port))
    await phone.call.silence(0.3)
    await world.no_event("leg.early_media", for_s=0.0)
    phone.rtp.talk(None)
    await ring(183, 101, audio_sdp(phone.rtp.port))
    prack = await phone.call.request("PRACK")
    check("RAck", prack.header("RAck"), f"101 {invite.cseq[0]} INVITE")
    await phone.call.reply(prack, 200)
    await world.event("leg.early_media", leg_id=phone.leg_id)
    await picked_up(phone)
    await phone.hang_up()


@scenario("A PRACK out of the blue gets 481, a broken RAck 400; a plain call goes on")
async def in_prack_strays(world: World) -> None:
    phone = await answered(world)
    for rack, allowed in (("1 1 INVITE", (481,)), ("nonsense", (400, 481)), (None, (400, 481))):
        headers = [("RAck", rack)] if rack else []
        await phone.call.send_request("PRACK", headers=headers)
        response = await phone.call.any_response("PRACK")
        check(f"status for RAck {rack}", response.status, one_of(*allowed))
    await world.leg_state(phone.leg_id, state="connected")
    await phone.hang_up()
