"""Inbound calls: ring, answer, reject, cancel, headers, early media, retransmission, deletion."""

from __future__ import annotations

import trio

from conformance.expect import ABSENT, PLAYBACK_ID, Difference, check, containing, require
from conformance.peers.sip_call import sdp_of
from conformance.phones import GOOD_QUALITY, answered, check_answer, ringing
from conformance.registry import scenario
from conformance.world import World, leg_view

ALLOWED = {"INVITE", "ACK", "CANCEL", "BYE", "UPDATE", "REFER", "NOTIFY", "OPTIONS"}


@scenario("Inbound call: ring and answer over REST, media both ways, DELETE hangs up", needs=("hooks",))
async def in_rest(world: World) -> None:
    phone = await ringing(world)
    trying = next(m for m in phone.call.inbox.items() if m.status == 100)
    check("100: Server", trying.header("Server"), "voiceblender")
    await world.leg_state(phone.leg_id, **leg_view(type="sip_inbound", state="ringing"))
    for _ in range(2):
        await world.rest("POST", f"{phone.path}/ring", status=202, expect={"status": "ringing"})
    provisional = await phone.call.response(180)
    await phone.call.wait_for_copies(provisional, 2)
    answer = await phone.answer({})
    sdp = check_answer(answer, payload_types=["0", "101"])
    check("rtcp-mux was not offered", sdp.audio.attribute("rtcp-mux"), None)
    for message in (provisional, answer):
        where = message.start_line
        check(f"{where}: To tag", message.to_tag, trying.to_tag)
        check(f"{where}: Server", message.header("Server"), "voiceblender")
        check(f"{where}: Contact", message.header("Contact"), containing(world.ua.server_host_port))
        require(message.allow >= ALLOWED, f"{where}: Allow", ALLOWED, message.allow)
        require("REGISTER" not in message.allow, f"{where}: Allow", "no REGISTER", message.allow)
    await world.leg_state(phone.leg_id, **leg_view(type="sip_inbound", state="connected"))
    heard = await phone.hears(600)
    heard.is_steady()
    heard.is_quiet()
    for action in ("answer", "ring", "early-media"):
        await world.rest("POST", f"{phone.path}/{action}", status=409)
    await world.rest("DELETE", phone.path, status=202, expect={"status": "hanging_up"})
    bye = await phone.call.request("BYE")
    await phone.call.reply(bye, 200)
    await world.disconnected(phone.leg_id, "api_hangup", answered=True, quality=GOOD_QUALITY)
    await world.leg_is_gone(phone.leg_id)
    await world.rest("DELETE", phone.path, status=404, expect={"error": "leg not found"})
    await world.no_legs()
    world.order(
        ("leg.ringing", phone.leg_id), ("leg.connected", phone.leg_id), ("leg.disconnected", phone.leg_id)
    )
    for kind in ("leg.ringing", "leg.connected", "leg.disconnected"):
        delivery = await world.sink.delivery(kind, leg_id=phone.leg_id)
        require(
            delivery.is_signed_with(world.target.webhook_secret or ""),
            kind,
            "a right signature",
            "a wrong one",
        )


@scenario("Inbound call: leg_ring, answer_leg, get_leg, list_legs over VSI, the caller hangs up")
async def in_vsi(world: World) -> None:
    phone = await ringing(world)
    view = leg_view(id=phone.leg_id, type="sip_inbound", state="ringing")
    await world.command("get_leg", {"id": phone.leg_id}, view)
    await world.command("leg_ring", {"id": phone.leg_id}, {"status": "ringing"})
    await phone.call.response(180)
    await world.command("answer_leg", {"id": phone.leg_id}, {"status": "answering"})
    check_answer(await phone.take_answer(), payload_types=["0", "101"])
    await world.command("list_legs", {}, [{**view, "state": "connected"}])
    await world.command_fails("answer_leg", {"id": phone.leg_id}, 409)
    await trio.sleep(0.3)
    await phone.call.bye()
    await world.disconnected(phone.leg_id, "remote_bye", answered=True, quality=GOOD_QUALITY)
    await world.command_fails("get_leg", {"id": phone.leg_id}, 404, "leg not found")


@scenario("Early media over VSI, with the codec named; the answer keeps it")
async def in_vsi_early_media(world: World) -> None:
    phone = await ringing(world)
    await world.command_fails("leg_early_media", {"id": phone.leg_id, "codec": "opus"}, 400)
    payload: dict[str, object] = {"id": phone.leg_id, "codec": "PCMU"}
    await world.command("leg_early_media", payload, {"status": "early_media"})
    early = check_answer(await phone.call.response(183), payload_types=["0", "101"])
    phone.media_to(early)
    await world.event("leg.early_media", leg_id=phone.leg_id)
    check("SDP of the 200", sdp_of(await phone.answer()).lines, early.lines)
    await phone.hang_up()


@scenario("Nobody answers: no 180 by itself, the caller CANCELs, before and after a 180")
async def in_cancel(world: World) -> None:
    for ring in (False, True):
        phone = await ringing(world, f"call{1 + ring}")
        if ring:
            await world.rest("POST", f"{phone.path}/ring", status=202)
            await phone.call.response(180)
        else:
            await phone.call.silence(0.5)
        await phone.call.cancel()
        done = await phone.call.response(200, "CANCEL")
        ended = await phone.call.response(487)
        check("To tag of the 200 and the 487", done.to_tag, ended.to_tag)
        await phone.call.ack(ended)
        await world.disconnected(phone.leg_id, "caller_cancel")
        await world.leg_is_gone(phone.leg_id)
        await phone.call.silence(0.7)


@scenario("DELETE of an unanswered inbound leg with every reason")
async def in_reject(world: World) -> None:
    reasons = {
        "busy": 486,
        "declined": 603,
        "rejected": 603,
        "unavailable": 480,
        "not_found": 404,
        "forbidden": 403,
        "server_error": 500,
    }
    for number, (reason, status) in enumerate(reasons.items(), 1):
        phone = await ringing(world, f"call{number}")
        await world.rest(
            "DELETE", phone.path, {"reason": reason}, status=202, expect={"status": "hanging_up"}
        )
        await phone.call.ack(await phone.call.response(status))
        frame = await world.disconnected(phone.leg_id, reason)
        check("quality of a call without media", frame, {"quality": ABSENT})


@scenario("X- and P- headers in any case, X-App-ID: what the leg shows and what its events carry")
async def in_headers(world: World) -> None:
    phone = await ringing(
        world,
        headers=[
            ("X-App-ID", "shop"),
            ("X-Custom", "one"),
            ("X-Custom", "two"),
            ("x-lower", "low"),
            ("P-Asserted-Identity", "<sip:pai@example.com>"),
            ("X-Empty", ""),
            ("Subject", "hello"),
        ],
    )
    view = await world.leg_state(phone.leg_id, app_id="shop")
    for name in ("sip_headers", "headers"):
        shown = view[name]
        assert isinstance(shown, dict)
        lowered = {key.lower(): value for key, value in shown.items()}
        check(
            name,
            lowered,
            {
                "x-app-id": "shop",
                "x-custom": "two",
                "x-lower": "low",
                "x-empty": "",
                "p-asserted-identity": "<sip:pai@example.com>",
                "subject": ABSENT,
                "via": ABSENT,
            },
        )
    event = next(f for f in world.vsi.frames.items() if f.get("type") == "leg.ringing")
    check("leg.ringing", event, {"app_id": "shop", "sip_headers": view["sip_headers"]})
    await world.command("get_leg", {"id": phone.leg_id}, {"app_id": "shop", "headers": view["headers"]})
    await phone.answer()
    await phone.hang_up()
    for kind in ("leg.connected", "leg.disconnected"):
        frame = next(f for f in world.vsi.frames.items() if f.get("type") == kind)
        check(kind, frame, {"app_id": "shop"})


@scenario(
    "Inbound early media: 183 with SDP, a tone and digits before the answer, then 200 with the same SDP"
)
async def in_early_media(world: World) -> None:
    phone = await ringing(world)
    await world.rest("POST", f"{phone.path}/early-media", {}, status=202, expect={"status": "early_media"})
    progress = await phone.call.response(183)
    early = check_answer(progress, payload_types=["0", "101"])
    phone.media_to(early)
    await world.event("leg.early_media", leg_id=phone.leg_id, leg_type="sip_inbound")
    await world.leg_state(phone.leg_id, state="early_media")
    quiet = await phone.hears()
    quiet.is_steady()
    quiet.is_quiet()
    started = await world.rest(
        "POST",
        f"{phone.path}/play",
        {"tone": "us_dial"},
        status=200,
        expect={"playback_id": PLAYBACK_ID, "status": "playing"},
    )
    playback_id = str(started["playback_id"])
    await world.event("playback.started", leg_id=phone.leg_id, playback_id=playback_id)
    (await phone.hears(600)).has_tones(350, 440, level=-9)
    await phone.rtp.send_digit("5")
    await world.event("dtmf.received", leg_id=phone.leg_id, digit="5", seq=1)
    for action in ("early-media", "ring"):
        await world.rest("POST", f"{phone.path}/{action}", status=409)
    answer = await phone.answer()
    check("SDP of the 200", sdp_of(answer).lines, early.lines)
    (await phone.hears(300)).has_tones(350, 440)
    await phone.rtp.send_digit("6")
    await world.event("dtmf.received", leg_id=phone.leg_id, digit="6", seq=2)
    await phone.hang_up()
    world.order(("playback.finished", phone.leg_id), ("leg.disconnected", phone.leg_id))


@scenario("The same INVITE three times before and once after the 200; the 200 is not ACKed for a while")
async def in_retransmit(world: World) -> None:
    phone = await ringing(world)
    for _ in range(2):
        await phone.call.resend("INVITE")
    await trio.sleep(0.2)
    check("legs", len(await world.rest_list("/v1/legs")), 1)
    await world.rest("POST", f"{phone.path}/answer", status=202)
    answer = await phone.call.response(200)
    phone.media_to(sdp_of(answer))
    await phone.call.wait_for_copies(answer, 2)
    await phone.call.resend("INVITE")
    await phone.call.wait_for_copies(answer, 3)
    await world.leg_state(phone.leg_id, state="ringing")
    (await phone.hears(300)).is_steady()
    check("leg.connected before the ACK", world.count("leg.connected"), 0)
    await phone.call.ack(answer)
    await world.event("leg.connected", leg_id=phone.leg_id)
    await world.leg_state(phone.leg_id, state="connected")
    copies = phone.call.copies_of(answer)
    await trio.sleep(1.2)
    check("copies of the 200 after the ACK", phone.call.copies_of(answer), copies)
    await phone.hang_up()
    check("leg.ringing events", world.count("leg.ringing"), 1)


@scenario("DELETE of a connected inbound leg with a known and with an unknown reason, over REST and VSI")
async def in_delete_connected(world: World) -> None:
    for number, reason in enumerate(("busy", "nonsense"), 1):
        phone = await answered(world, f"call{number}")
        await world.rest(
            "DELETE", phone.path, {"reason": reason}, status=202, expect={"status": "hanging_up"}
        )
        await phone.is_hung_up("api_hangup")
    phone = await answered(world, "call3")
    await world.command("delete_leg", {"id": phone.leg_id}, {"status": "hanging_up"})
    await phone.is_hung_up("api_hangup")


@scenario("DELETE of an unanswered inbound leg without, with unknown and bad reason; ringing; in early media")
async def in_delete_unanswered(world: World) -> None:
    phone = await ringing(world, "call1")
    bad: list[dict[str, object] | str] = [{"reason": "nonsense"}, '{"reason":', {"reason": 5}]
    for body in bad:
        await world.rest("DELETE", phone.path, body, status=400)
    await world.leg_state(phone.leg_id, state="ringing")
    await world.rest("DELETE", phone.path, status=202, expect={"status": "hanging_up"})
    await phone.call.ack(await phone.call.response(480))
    await world.disconnected(phone.leg_id, "caller_cancel")
    await world.leg_is_gone(phone.leg_id)

    phone = await ringing(world, "call2")
    await world.rest("POST", f"{phone.path}/ring", status=202)
    await phone.call.response(180)
    await world.rest("DELETE", phone.path, {"reason": "busy"}, status=202)
    await phone.call.ack(await phone.call.response(486))
    await world.disconnected(phone.leg_id, "busy")

    phone = await ringing(world, "call3")
    await world.rest("POST", f"{phone.path}/early-media", status=202)
    await phone.call.response(183)
    await world.rest("DELETE", phone.path, {"reason": "declined"}, status=202)
    await phone.call.ack(await phone.call.response(603))
    await world.disconnected(phone.leg_id, "declined")

    phone = await ringing(world, "call4")
    await world.command("delete_leg", {"id": phone.leg_id, "reason": "not_found"}, {"status": "hanging_up"})
    await phone.call.ack(await phone.call.response(404))
    await world.disconnected(phone.leg_id, "not_found")


@scenario("Two DELETEs of one leg at once: one 202, one 404, one BYE, one leg.disconnected")
async def in_delete_race(world: World) -> None:
    phone = await answered(world)
    statuses: list[int] = []

    async def delete() -> None:
        statuses.append((await world.http.ask("DELETE", phone.path)).status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(delete)
        nursery.start_soon(delete)
    if sorted(statuses) != [202, 404]:
        raise Difference("statuses of two DELETEs", [202, 404], sorted(statuses))
    await phone.is_hung_up("api_hangup")
    await world.no_event("leg.disconnected", leg_id=phone.leg_id)
    await phone.call.silence(0.7)


@scenario("Two DELETEs of a ringing leg at once: one final response, one leg.disconnected")
async def in_delete_race_ringing(world: World) -> None:
    phone = await ringing(world)
    statuses: list[int] = []

    async def delete() -> None:
        statuses.append((await world.http.ask("DELETE", phone.path, {"reason": "busy"})).status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(delete)
        nursery.start_soon(delete)
    check("statuses of two DELETEs", sorted(statuses), [202, 404])
    await phone.call.ack(await phone.call.response(486))
    await world.disconnected(phone.leg_id, "busy")
    await world.no_event("leg.disconnected", leg_id=phone.leg_id)
    await phone.call.silence(0.7)


@scenario("DELETE while the peer does not answer the BYE: the leg is gone at once, the BYE is repeated")
async def in_delete_silent_peer(world: World) -> None:
    phone = await answered(world)
    await world.rest("DELETE", phone.path, status=202)
    await world.leg_is_gone(phone.leg_id)
    bye = await phone.call.request("BYE")
    await phone.call.wait_for_copies(bye, 2)
    await phone.call.reply(bye, 200)
    await world.disconnected(phone.leg_id, "api_hangup", answered=True, within_s=8)


@scenario("DELETE between the 200 and the ACK: BYE after the ACK")
async def in_delete_before_ack(world: World) -> None:
    phone = await ringing(world)
    await world.rest("POST", f"{phone.path}/answer", status=202)
    answer = await phone.call.response(200)
    await world.rest("DELETE", phone.path, status=202)
    await phone.call.silence(0.3)
    await phone.call.ack(answer)
    await phone.call.reply(await phone.call.request("BYE"), 200)
    await world.event("leg.disconnected", leg_id=phone.leg_id, cdr={"reason": "api_hangup"})
