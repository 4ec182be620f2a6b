"""Session timers (RFC 4028): what is agreed, who refreshes, and what happens when nobody does."""

from __future__ import annotations

import time

import trio

from conformance.expect import between, check, containing, regex, require
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import Headers
from conformance.peers.sip_message import SipMessage
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.world import World

TIMER: Headers = [("Supported", "timer")]


def _expires(value: str) -> Headers:
    return [*TIMER, ("Session-Expires", value)]


def _agreed(message: SipMessage, seconds: int, refresher: str) -> None:
    """Checks the Session-Expires of a response."""
    value = (message.header("Session-Expires") or "").replace(" ", "")
    check(f"{message.start_line}: Session-Expires", value, f"{seconds};refresher={refresher}")
    if refresher == "uac":
        check(f"{message.start_line}: Require", message.header("Require"), containing("timer"))
    check(f"{message.start_line}: Supported", message.header("Supported"), containing("timer"))


async def _answered(world: World, headers: Headers, name: str = "call1") -> tuple[Phone, SipMessage]:
    phone = await ringing(world, name, headers=headers)
    return phone, await phone.answer()


@scenario(
    "Session timers of incoming calls: taken as offered, too small ones refused with 422, none: no timer"
)
async def timer_offers(world: World) -> None:
    for value, seconds, refresher in (
        ("1800", 1800, "uac"),
        ("90;refresher=uac", 90, "uac"),
        ("600;refresher=uas", 600, "uas"),
    ):
        phone, answer = await _answered(world, _expires(value), f"call{seconds}")
        _agreed(answer, seconds, refresher)
        await phone.hang_up()
    call = world.ua.new_call("hasty")
    await call.send_invite(audio_sdp(40000), headers=_expires("30"))
    refused = await call.response(422)
    check("422: Min-SE", refused.header("Min-SE"), "90")
    await call.ack(refused)
    await world.no_event("leg.ringing", for_s=0.1)
    phone, answer = await _answered(world, [("Session-Expires", "600")], "call1")
    _agreed(answer, 600, "uas")
    await phone.hang_up()
    phone, answer = await _answered(world, [("Session-Expires", "30")], "call2")
    value = answer.header("Session-Expires") or "30"
    number = int(value.split(";")[0])
    require(number <= 30, "Session-Expires, never larger than offered", "at most 30, or none", value)
    await phone.hang_up()
    phone, answer = await _answered(world, (), "call3")
    check("Session-Expires without an offer", answer.header("Session-Expires"), None)
    await phone.hang_up()


@scenario(
    "Refreshes from the far end: UPDATE without body and re-INVITE repeat the interval; a small one: 422"
)
async def timer_refreshes(world: World) -> None:
    phone, answer = await _answered(world, _expires("300;refresher=uac"))
    _agreed(answer, 300, "uac")
    await phone.call.send_request("UPDATE", headers=_expires("300;refresher=uac"))
    updated = await phone.call.response(200, "UPDATE")
    _agreed(updated, 300, "uac")
    check("body of the answer to an UPDATE without one", updated.body, b"")
    await phone.call.send_request("UPDATE", headers=_expires("40;refresher=uac"))
    refused = await phone.call.response(422, "UPDATE")
    check("422: Min-SE", refused.header("Min-SE"), "90")
    headers = [*_expires("300;refresher=uac"), ("Content-Type", "application/sdp")]
    await phone.call.send_request("INVITE", headers=headers, body=audio_sdp(phone.rtp.port))
    again = await phone.call.response(200)
    _agreed(again, 300, "uac")
    await phone.call.ack(again)
    await world.leg_state(phone.leg_id, state="connected")
    await phone.hang_up()


@scenario("Our INVITE supports timers; an answer that sets one is followed; a 422 is answered with more")
async def timer_outbound(world: World) -> None:
    phone, _ = await dialled(world, {"codecs": ["PCMU"]})
    assert phone.call.invite is not None
    check("INVITE: Supported", phone.call.invite.header("Supported"), containing("timer"))
    await picked_up(phone)
    await phone.hang_up()
    phone, _ = await dialled(world, {"codecs": ["PCMU"]})
    first = phone.call.invite
    assert first is not None
    await phone.call.reply(first, 422, headers=[("Min-SE", "2400")])
    await phone.call.request("ACK")
    second = await phone.call.request("INVITE")
    check("CSeq of the second INVITE", second.cseq[0], first.cseq[0] + 1)
    check("Min-SE of the second INVITE", second.header("Min-SE"), "2400")
    check("Session-Expires", second.header("Session-Expires"), regex(r"(2[4-9]|[3-9]\d)\d\d(;.*)?"))
    phone.rtp.talk(None)
    await picked_up(phone)
    await phone.hang_up()


@scenario("How long a session outgoing calls ask for is a setting", env={"VB_SIP_SESSION_EXPIRES": "600"})
async def timer_asked(world: World) -> None:
    phone, _ = await dialled(world, {"codecs": ["PCMU"]})
    assert phone.call.invite is not None
    check("Session-Expires", phone.call.invite.header("Session-Expires"), regex(r"600(;.*)?"))
    await picked_up(phone)
    await phone.hang_up()


async def _keeps_up(world: World, phone: Phone) -> None:
    """We refresh as the far end asked: UPDATE without body at half of the interval."""
    start = time.monotonic()
    update = await phone.call.request("UPDATE", 50)
    check("seconds until our refresh", time.monotonic() - start, between(42, 47))
    check("refresh: body", update.body, b"")
    check("refresh: Session-Expires", update.header("Session-Expires"), containing("90", "refresher=uac"))
    check("refresh: Supported", update.header("Supported"), containing("timer"))
    answer = [("Session-Expires", "90;refresher=uac"), ("Require", "timer")]
    await phone.call.reply(update, 200, headers=answer)
    await world.leg_state(phone.leg_id, state="connected")


async def _refused(world: World, phone: Phone) -> None:
    """A refresh by re-INVITE, where UPDATE is not allowed, that the far end knows nothing of: BYE."""
    again = await phone.call.request("INVITE", 50)
    check("refresh by re-INVITE: Session-Expires", again.header("Session-Expires"), containing("90"))
    await phone.call.reply(again, 481)
    await phone.call.request("ACK")
    await phone.call.reply(await phone.call.request("BYE"), 481)
    phone.rtp.stop_talking()
    await world.disconnected(phone.leg_id, "session_expired", answered=True)


async def _expired(world: World, phone: Phone) -> None:
    """The far end was to refresh and does not: BYE at 90 - 30 s."""
    start = time.monotonic()
    bye = await phone.call.request("BYE", 66)
    check("seconds until the BYE", time.monotonic() - start, between(58, 63))
    await phone.call.reply(bye, 200)
    phone.rtp.stop_talking()
    await world.disconnected(phone.leg_id, "session_expired", answered=True)


@scenario(
    "In real time: our refresh at 45 s, a refused one ends the call, a far end that forgets it at 60 s too",
    timeout_s=90,
)
async def timer_runs(world: World) -> None:
    allows: Headers = [("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE")]
    ours, _ = await _answered(world, [*allows, *_expires("90;refresher=uas")], "ours")
    bare: Headers = [("Allow", "INVITE, ACK, BYE, CANCEL")]
    lost, _ = await _answered(world, [*bare, *_expires("90;refresher=uas")], "lost")
    theirs, answer = await _answered(world, _expires("90;refresher=uac"), "theirs")
    _agreed(answer, 90, "uac")
    plain = await answered(world, "plain")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keeps_up, world, ours)
        nursery.start_soon(_refused, world, lost)
        nursery.start_soon(_expired, world, theirs)
    ping = await world.vsi.frame("ping")
    check("ping of VSI", ping, {"type": "ping", "seq": 1, "event_id": 1})
    for phone in (ours, plain):
        await phone.hang_up()
