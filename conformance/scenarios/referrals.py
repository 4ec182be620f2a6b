"""Transfers that the far end asks for: REFER to us, with the application deciding or by ourselves."""

from __future__ import annotations

import time

from conformance.expect import ABSENT, TEXT, between, check, containing, one_of, require
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import Call, sdp_of
from conformance.peers.sip_message import SipMessage
from conformance.phones import Phone, answered, ringing
from conformance.registry import scenario
from conformance.world import World

DAVE = "sip:dave@example.com"


async def requested(phone: Phone, target: str = DAVE, **fields: object) -> None:
    """Sends a REFER and waits for leg.transfer_requested."""
    await phone.call.refer(f"<{target}>")
    expected = {"kind": "blind", "target": target, "declined": False, "replaces_call_id": ABSENT, **fields}
    await phone.world.event("leg.transfer_requested", expected, leg_id=phone.leg_id)


async def notified(call: Call, fragment: str, state: str, within_s: float = 2.0) -> SipMessage:
    """Takes the server's next NOTIFY, checks what it tells, and answers it."""
    notify = await call.request("NOTIFY", within_s)
    check("NOTIFY: Event", notify.header("Event"), one_of("refer", f"refer;id={_refer_number(call)}"))
    check("NOTIFY: Content-Type", notify.header("Content-Type"), containing("message/sipfrag"))
    check("NOTIFY: body", notify.body.decode().splitlines()[0], f"SIP/2.0 {fragment}")
    told = notify.header("Subscription-State") or ""
    require(told.replace(" ", "").startswith(state), "NOTIFY: Subscription-State", state, told)
    await call.reply(notify, 200)
    return notify


def _refer_number(call: Call) -> int:
    sent = call.last_sent("REFER").decode()
    return int(sent.split("CSeq: ")[1].split(" ")[0])


@scenario("The far end sends REFER and nobody decides: 603 after 2 s; without Refer-To, with bad ones: 400")
async def refer_in(world: World) -> None:
    phone = await answered(world)
    start = time.monotonic()
    await requested(phone)
    await phone.call.response(603, "REFER", 3)
    check("seconds until the 603", time.monotonic() - start, between(1.8, 2.6))
    failed = {"status_code": 603, "reason": "Decline"}
    await world.event("leg.transfer_failed", failed, leg_id=phone.leg_id)
    await world.leg_state(phone.leg_id, state="connected")
    for value in (None, "<nonsense>", "<sip:>", "<http://x/>", "", "<sip:a@b>, <sip:c@d>"):
        await phone.call.refer(value)
        response = await phone.call.any_response("REFER")
        check(f"status for Refer-To {value}", response.status, 400)
    await world.no_event("leg.transfer_requested", for_s=0.1)
    await phone.hang_up()


@scenario("The application accepts: 202 and NOTIFY 100; progress; success: NOTIFY 200, completed, BYE")
async def refer_accepted(world: World) -> None:
    phone = await answered(world)
    await requested(phone)
    transfer = f"{phone.path}/transfer"
    for action, body in (("progress", {"status_code": 180}), ("complete", {"success": True})):
        await world.rest("POST", f"{transfer}/{action}", body, status=409)
    await world.rest("POST", f"{transfer}/accept", status=202)
    await phone.call.response(202, "REFER")
    await notified(phone.call, "100 Trying", "active;expires=")
    again = await world.http.ask("POST", f"{transfer}/accept")
    check("accepted twice", again.status, one_of(404, 409))
    await world.rest("POST", f"{transfer}/progress", {"status_code": 180}, status=202)
    await notified(phone.call, "180 Ringing", "active;expires=")
    await world.leg_state(phone.leg_id, state="connected")
    await world.rest("POST", f"{transfer}/complete", {"success": True}, status=202)
    await notified(phone.call, "200 OK", "terminated;reason=noresource")
    await world.event("leg.transfer_completed", leg_id=phone.leg_id, status_code=200)
    await phone.is_hung_up("transfer_completed")


@scenario(
    "The application fails or declines a transfer over VSI; the call goes on; late decisions are refused"
)
async def refer_declined(world: World) -> None:
    phone = await answered(world)
    leg: dict[str, object] = {"id": phone.leg_id}
    for command in ("accept_transfer", "decline_transfer"):
        await world.command_fails(command, leg, 404)
    await requested(phone)
    await world.command("decline_transfer", {**leg, "code": 486, "reason": "Not now"})
    response = await phone.call.response(486, "REFER")
    check("reason phrase", response.reason, "Not now")
    await world.event("leg.transfer_failed", leg_id=phone.leg_id, status_code=486, reason="Not now")
    await world.command_fails("accept_transfer", leg, 404)
    await requested(phone)
    await world.command("accept_transfer", leg)
    await phone.call.response(202, "REFER")
    await notified(phone.call, "100 Trying", "active;expires=")
    await world.command("progress_transfer", {**leg, "status_code": 183})
    await notified(phone.call, "183 Session Progress", "active;expires=")
    done = {**leg, "success": False, "status_code": 404, "reason": "No such one"}
    await world.command("complete_transfer", done)
    await notified(phone.call, "404 No such one", "terminated;reason=noresource")
    await world.event("leg.transfer_failed", leg_id=phone.leg_id, status_code=404)
    await world.leg_state(phone.leg_id, state="connected")
    (await phone.hears(200)).is_steady()
    await phone.hang_up()


@scenario("How long a REFER waits is a setting", env={"SIP_REFER_CONSULT_TIMEOUT_MS": "1000"})
async def refer_timeout(world: World) -> None:
    phone = await answered(world)
    start = time.monotonic()
    await requested(phone)
    await phone.call.response(603, "REFER")
    check("seconds until the 603", time.monotonic() - start, between(0.95, 1.6))
    await world.event("leg.transfer_failed", leg_id=phone.leg_id, status_code=603)
    await requested(phone)
    await world.rest("POST", f"{phone.path}/transfer/decline", {"code": 480}, status=202)
    await phone.call.response(480, "REFER")
    await world.event("leg.transfer_failed", leg_id=phone.leg_id, status_code=480)
    await phone.hang_up()


async def _dialled_for(world: World, phone: Phone, user: str) -> tuple[Call, str]:
    """The REFER is carried out: 202, NOTIFY 100, and the new call; returns it and its leg."""
    target = f"sip:{user}@{world.ua.host_port}"
    await requested(phone, target)
    await phone.call.response(202, "REFER")
    await notified(phone.call, "100 Trying", "active;expires=60")
    call = await world.ua.next_call()
    event = await world.event("leg.ringing", leg_type="sip_outbound", uri=target)
    return call, str(event["leg_id"])


@scenario(
    "With SIP_REFER_AUTO_DIAL the server dials: NOTIFY 180 and 200, the referrer ends, the new leg stays",
    env={"SIP_REFER_AUTO_DIAL": "true"},
)
async def refer_auto_dial(world: World) -> None:
    phone = await answered(world)
    call, leg_id = await _dialled_for(world, phone, "dave")
    assert call.invite is not None
    rtp = await world.rtp("dave")
    await call.reply(call.invite, 180)
    await notified(phone.call, "180 Ringing", "active;expires=60")
    await call.reply(call.invite, 200, sdp=audio_sdp(rtp.port))
    await call.request("ACK")
    await world.event("leg.connected", leg_id=leg_id)
    await notified(phone.call, "200 OK", "terminated;reason=noresource")
    await world.event("leg.transfer_completed", leg_id=phone.leg_id, status_code=200)
    await phone.is_hung_up("transfer_completed")
    await world.leg_state(leg_id, state="connected")
    await call.bye()
    await world.disconnected(leg_id, "remote_bye", answered=True)
    await world.leg_is_gone(leg_id)


@scenario(
    "An auto-dialled transfer that fails: NOTIFY carries the real status and the referrer stays up",
    env={"SIP_REFER_AUTO_DIAL": "true"},
)
async def refer_auto_dial_fails(world: World) -> None:
    phone = await answered(world, headers=[("X-App-ID", "shop")])
    call, leg_id = await _dialled_for(world, phone, "dave")
    assert call.invite is not None
    await world.leg_state(leg_id, app_id="shop")
    await call.reply(call.invite, 486)
    await call.request("ACK")
    await world.disconnected(leg_id, "transfer_originate_failed")
    await notified(phone.call, "486 Busy Here", "terminated;reason=noresource")
    await world.event("leg.transfer_failed", leg_id=phone.leg_id, status_code=486)
    await world.leg_state(phone.leg_id, state="connected")
    await phone.hang_up()


@scenario(
    "An auto-dialled transfer joins the referrer's room, and carries the Replaces that it was given",
    env={"SIP_REFER_AUTO_DIAL": "true"},
)
async def refer_auto_dial_room(world: World) -> None:
    phone, mate = await answered(world), await answered(world, "call2", tone=800.0)
    for each in (phone, mate):
        await each.join("sc-refer")
    replaces = "abc%40example.com%3Bto-tag%3D1%3Bfrom-tag%3D2"
    await phone.call.refer(f"<sip:dave@{world.ua.host_port}?Replaces={replaces}>")
    await world.event(
        "leg.transfer_requested", leg_id=phone.leg_id, kind="attended", replaces_call_id="abc@example.com"
    )
    await phone.call.response(202, "REFER")
    await notified(phone.call, "100 Trying", "active;expires=60")
    call = await world.ua.next_call()
    assert call.invite is not None
    check("Replaces", call.invite.header("Replaces"), "abc@example.com;to-tag=1;from-tag=2")
    event = await world.event("leg.ringing", leg_type="sip_outbound")
    leg_id = str(event["leg_id"])
    rtp = await world.rtp("dave")
    await call.reply(call.invite, 200, sdp=audio_sdp(rtp.port))
    await call.request("ACK")
    await world.event("leg.joined_room", leg_id=leg_id, room_id="sc-refer")
    await notified(phone.call, "200 OK", "terminated;reason=noresource")
    await phone.is_hung_up("transfer_completed")
    (await rtp.listen(300)).has_tones(800, level=-18)
    await call.bye()
    await world.disconnected(leg_id, "remote_bye", answered=True)
    await mate.hang_up()


@scenario(
    "INVITE with Replaces: of nothing 481; of a live call the new one takes its place, the old gets BYE"
)
async def in_replaces(world: World) -> None:
    sdp = audio_sdp(40000)
    stray = world.ua.new_call("call0")
    await stray.send_invite(sdp, headers=[("Replaces", "nobody@example.com;to-tag=a;from-tag=b")])
    await stray.ack(await stray.response(481))
    await world.no_legs()

    old = await answered(world, "call1", tone=500.0)
    mate = await answered(world, "call2", tone=800.0)
    for each in (old, mate):
        await each.join("sc-replace")
    value = f"{old.call.call_id};to-tag={old.call.remote_tag};from-tag={old.call.local_tag}"
    rtp = await world.rtp("call3")
    rtp.talk(1100.0)
    new = world.ua.new_call("call3")
    await new.send_invite(audio_sdp(rtp.port), headers=[("Replaces", value), ("Require", "replaces")])
    answer = await new.response(200)
    await new.ack(answer)
    event = await world.event("leg.connected", leg_type="sip_inbound")
    phone = Phone(world, new, rtp, str(event["leg_id"]), inbound=True)
    phone.media_to(sdp_of(answer))
    await old.call.reply(await old.call.request("BYE"), 200)
    old.rtp.stop_talking()
    await world.event("leg.disconnected", leg_id=old.leg_id, cdr={"reason": TEXT})
    await world.leg_state(phone.leg_id, state="connected", room_id="sc-replace")
    (await mate.hears(300)).has_tones(1100, level=-18)
    again = world.ua.new_call("call4")
    await again.send_invite(sdp, headers=[("Replaces", value)])
    await again.ack(await again.any_response("INVITE"))
    for each in (phone, mate):
        await each.hang_up()


@scenario("INVITE with Replaces of a call that rings, early-only, and two Replaces: refused as RFC 3891 says")
async def in_replaces_refused(world: World) -> None:
    up, waiting = await answered(world, "call1"), await ringing(world, "call2")
    live = f"{up.call.call_id};to-tag={up.call.remote_tag};from-tag={up.call.local_tag}"
    early = f"{waiting.call.call_id};to-tag={waiting.call.remote_tag};from-tag={waiting.call.local_tag}"
    wrong = f"{up.call.call_id};to-tag={up.call.remote_tag};from-tag=other"
    cases = (
        ([("Replaces", f"{live};early-only")], 486),
        ([("Replaces", early)], 481),
        ([("Replaces", wrong)], 481),
        ([("Replaces", live), ("Replaces", live)], 400),
    )
    for number, (headers, status) in enumerate(cases):
        call = world.ua.new_call(f"new{number}")
        await call.send_invite(audio_sdp(40000), headers=headers)
        response = await call.any_response("INVITE")
        await call.ack(response)
        check(f"status for {headers}", response.status, status)
    await world.leg_state(up.leg_id, state="connected")
    await world.leg_state(waiting.leg_id, state="ringing")
    await up.hang_up()


@scenario(
    "An auto-dialled number goes to the gateway behind SIP_OUTBOUND_PROXY; without one it is declined",
    needs=("servers",),
)
async def refer_auto_dial_number(world: World) -> None:
    for proxy in (f"sip:{world.ua.host_port};lr", ""):
        settings = {"SIP_REFER_AUTO_DIAL": "true", "SIP_OUTBOUND_PROXY": proxy}
        async with world.server(settings) as there:
            caller = await there.another_ua()
            phone = await answered(there, ua=caller)
            await phone.call.refer("<tel:+49-30-1;phone-context=x.example>")
            await there.event("leg.transfer_requested", leg_id=phone.leg_id, kind="blind")
            if proxy:
                await phone.call.response(202, "REFER")
                call = await world.ua.next_call()
                assert call.invite is not None
                check("Request-URI", call.invite.request_uri, f"sip:+49301@{world.ua.host_port};user=phone")
                await call.reply(call.invite, 486)
                await call.request("ACK")
                await there.event("leg.transfer_failed", leg_id=phone.leg_id, status_code=486)
            else:
                await phone.call.response(400, "REFER")
                await there.event("leg.transfer_failed", leg_id=phone.leg_id, status_code=400)
            await phone.hang_up()
