"""Outbound calls: identity, codecs, early media, refusals, authentication, time-outs, cancelling."""

from __future__ import annotations

import time

import trio

from conformance.expect import ABSENT, Difference, between, check, containing, regex, require
from conformance.peers.digest import challenge, is_right, parameters_of
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import sdp_of
from conformance.peers.sip_message import SipMessage
from conformance.phones import GOOD_QUALITY, Phone, dialled, picked_up, refused
from conformance.registry import scenario
from conformance.scenarios.inbound import ALLOWED
from conformance.world import World, leg_view


def _invite(phone: Phone) -> SipMessage:
    assert phone.call.invite is not None
    return phone.call.invite


@scenario(
    "Outbound call: 100, 180, 183 with SDP, 200; early media both ways; the far end hangs up",
    needs=("hooks",),
)
async def out_full(world: World) -> None:
    phone, _ = await dialled(world)
    invite = _invite(phone)
    check("INVITE: User-Agent", invite.header("User-Agent"), "voiceblender")
    check("INVITE: Contact", invite.header("Contact"), containing(world.ua.server_host_port))
    check(
        "INVITE: Via",
        invite.header("Via"),
        containing("SIP/2.0/UDP", world.ua.server_host_port, "branch=z9hG4bK", "rport"),
    )
    require(invite.allow >= ALLOWED, "INVITE: Allow", ALLOWED, invite.allow)
    await world.leg_state(phone.leg_id, **leg_view(type="sip_outbound", state="ringing"))
    await phone.call.reply(invite, 100)
    await phone.call.reply(invite, 180)
    phone.rtp.talk(None)
    await phone.call.reply(invite, 183, sdp=audio_sdp(phone.rtp.port))
    await world.event("leg.early_media", leg_id=phone.leg_id, leg_type="sip_outbound")
    await world.leg_state(phone.leg_id, state="early_media")
    (await phone.hears()).is_steady()
    await phone.call.reply(invite, 183, sdp=audio_sdp(phone.rtp.port))
    await picked_up(phone)
    await world.leg_state(phone.leg_id, state="connected")
    (await phone.hears()).is_steady()
    await world.no_event("leg.early_media", for_s=0.0)
    await phone.call.bye()
    await world.disconnected(phone.leg_id, "remote_bye", answered=True, quality=GOOD_QUALITY)
    world.order(
        ("leg.ringing", phone.leg_id),
        ("leg.early_media", phone.leg_id),
        ("leg.connected", phone.leg_id),
        ("leg.disconnected", phone.leg_id),
    )
    for kind in ("leg.ringing", "leg.early_media", "leg.connected", "leg.disconnected"):
        await world.sink.delivery(kind, leg_id=phone.leg_id)


@scenario(
    "What the INVITE carries: from (bare, E.164, tel, full URI, display name), privacy, headers, app_id"
)
async def out_identity(world: World) -> None:
    tel = r"<(tel:\+15551234|sip:\+15551234@127\.0\.0\.1(;user=phone)?)>"
    cases: tuple[tuple[dict[str, object], str, str | None], ...] = (
        ({}, r'"?voiceblender"? <sip:voiceblender@127\.0\.0\.1>', None),
        ({"from": "alice"}, r"<sip:alice@127\.0\.0\.1>", r"<sip:alice@127\.0\.0\.1>"),
        ({"from": "+15551234"}, r"<sip:\+15551234@127\.0\.0\.1>", r"<sip:\+15551234@127\.0\.0\.1>"),
        ({"from": "tel:+15551234"}, tel, tel),
        ({"from": "sip:Al@EXAMPLE.com:5070;user=phone"}, r"<sip:Al@example\.com>", r"<sip:Al@example\.com>"),
        (
            {"from": '"Al Ice" <sip:al@example.com>'},
            r'"Al Ice" <sip:al@example\.com>',
            r'("Al Ice" )?<sip:al@example\.com>',
        ),
        (
            {"from": "alice", "privacy": "id"},
            r'"Anonymous" <sip:anonymous@anonymous\.invalid>',
            r"<sip:alice@127\.0\.0\.1>",
        ),
        ({"from": "alice", "privacy": "none"}, r"<sip:alice@127\.0\.0\.1>", r"<sip:alice@127\.0\.0\.1>"),
    )
    for body, sender, asserted in cases:
        phone, event = await dialled(world, body)
        invite = _invite(phone)
        check(f"{body}: From", invite.header("From"), regex(sender + r";tag=[^;]+"))
        check(
            f"{body}: P-Asserted-Identity",
            invite.header("P-Asserted-Identity"),
            regex(asserted) if asserted else None,
        )
        check(f"{body}: Privacy", invite.header("Privacy"), body.get("privacy"))
        check(f"{body}: To", invite.header("To"), f"<sip:bob@{world.ua.host_port}>")
        check("leg.ringing", event, {"from": body.get("from", ABSENT)})
        await refused(phone, 486, "busy")
    headers: dict[str, object] = {"X-One": "1", "P-Two": "two", "Subject": "hi"}
    phone, event = await dialled(world, {"headers": headers, "app_id": "shop"})
    for name, value in headers.items():
        check(f"INVITE: {name}", _invite(phone).header(name), value)
    check("leg.ringing", event, {"app_id": "shop", "sip_headers": headers})
    await world.leg_state(phone.leg_id, app_id="shop")
    await refused(phone, 486, "busy")


@scenario("Headers from the API that must not get through: 400 naming the header, nothing sent, no leg")
async def out_header_injection(world: World) -> None:
    bad = {
        "X-Bad": "a\r\nX-Injected: yes",
        "X-Nul": "a\0b",
        "Call-ID": "mine",
        "Max-Forwards": "1",
        "Via": "SIP/2.0/UDP x",
        "CSeq": "1 INVITE",
        "From": "<sip:x@y>",
        "To": "<sip:x@y>",
        "Contact": "<sip:x@y>",
        "Content-Length": "0",
        "Content-Type": "text/plain",
        "": "x",
        "X Y": "z",
        "X-Colon:": "z",
        "v": "SIP/2.0/UDP x",
    }
    for name, value in bad.items():
        body: dict[str, object] = {
            "type": "sip",
            "to": f"sip:bob@{world.ua.host_port}",
            "headers": {name: value},
        }
        await world.rest("POST", "/v1/legs", body, status=400, expect={"error": containing(name)})
    await world.ua.no_call(0.5)
    await world.no_event("leg.ringing", for_s=0.0)
    await world.no_legs()


@scenario("Bad create bodies: no type, unknown type, bad URIs, wrong JSON types; nothing is sent")
async def out_bad_requests(world: World) -> None:
    uri = f"sip:bob@{world.ua.host_port}"
    bad: tuple[object, ...] = (
        {},
        {"to": uri},
        {"type": "smoke", "to": uri},
        {"type": "sip"},
        {"type": "sip", "to": ""},
        {"type": "sip", "to": "sip:"},
        {"type": "sip", "to": 5},
        {"type": "sip", "to": uri, "ring_timeout": "1"},
        {"type": "sip", "to": uri, "headers": []},
        {"type": "sip", "to": uri, "headers": {"X": 1}},
        {"type": "sip", "to": uri, "auth": "u:p"},
        {"type": "sip", "to": uri, "room_id": "a b"},
        [],
        "x",
        "{",
    )
    for body in bad:
        assert isinstance(body, dict | list | str)
        await world.rest("POST", "/v1/legs", body, status=400)
    await world.ua.no_call(0.4)
    await world.no_legs()
    check("rooms", await world.rest_list("/v1/rooms"), [])


async def _connect_fails(world: World, codecs: list[object], answer: bytes | None, reason: str) -> None:
    phone, _ = await dialled(world, {"codecs": codecs} if codecs else None)
    await phone.call.reply(_invite(phone), 200, sdp=answer)
    await phone.call.request("ACK")
    await phone.call.reply(await phone.call.request("BYE"), 200)
    await world.event("leg.disconnected", leg_id=phone.leg_id, cdr={"reason": reason})
    await world.leg_is_gone(phone.leg_id)
    check("leg.connected", world.count("leg.connected", leg_id=phone.leg_id), 0)


@scenario(
    "codecs: order kept, unknown refused, all by default; answers with something not offered or no media"
)
async def out_codecs(world: World) -> None:
    offers: tuple[tuple[list[object], list[str]], ...] = (
        (["PCMA", "PCMU"], ["8", "0"]),
        (["pcma"], ["8"]),
        (["G722", "opus", "PCMU"], ["9", "111", "0"]),
        ([], ["111", "9", "0", "8"]),
    )
    for codecs, payload_types in offers:
        phone, _ = await dialled(world, {"codecs": codecs})
        audio = sdp_of(_invite(phone)).audio
        check(f"codecs {codecs}", audio.formats[: len(payload_types)], payload_types)
        events = {audio.rtpmaps[int(n)] for n in audio.formats[len(payload_types) :]}
        wanted = {"telephone-event/8000"} | ({"telephone-event/48000"} if "111" in payload_types else set())
        check(f"codecs {codecs}: events", sorted(events), sorted(wanted))
        check("rtcp-mux", audio.attribute("rtcp-mux"), "")
        check("ptime", audio.attribute("ptime"), "20")
        await refused(phone, 486, "busy")
    uri = f"sip:bob@{world.ua.host_port}"
    for wrong in (["FOO"], ["PCMU", "FOO"], "PCMU", [1]):
        await world.rest("POST", "/v1/legs", {"type": "sip", "to": uri, "codecs": wrong}, status=400)
    await _connect_fails(world, ["PCMU"], audio_sdp(40000, codecs=["PCMA"]), "connect_failed")
    await _connect_fails(
        world, ["PCMU"], audio_sdp(40000, codecs=["GSM"], telephone_event=None), "connect_failed"
    )
    await _connect_fails(world, [], None, "invite_failed")
    for direction in ("inactive", "sendonly"):
        phone, _ = await dialled(world, {"codecs": ["PCMU"]})
        await picked_up(phone, audio_sdp(phone.rtp.port, direction=direction))
        await world.event("leg.hold", leg_id=phone.leg_id)
        (await phone.hears(300)).is_nothing()
        await world.rest("DELETE", phone.path, status=202)
        await phone.is_hung_up("api_hangup")
    phone, _ = await dialled(world)
    await phone.call.reply(_invite(phone), 180, sdp=audio_sdp(phone.rtp.port))
    await world.event("leg.early_media", leg_id=phone.leg_id)
    await phone.call.reply(_invite(phone), 200)
    await phone.call.request("ACK")
    bye = await phone.call.inbox.take(lambda m: m.method == "BYE", 0.6)
    if bye is not None:
        await phone.call.reply(bye, 200)
        await world.event("leg.disconnected", leg_id=phone.leg_id, cdr={"reason": "invite_failed"})
    else:
        await world.event("leg.connected", leg_id=phone.leg_id)


@scenario(
    "Outbound call refused with every final status that has a reason of its own, and some that have none"
)
async def out_refused(world: World) -> None:
    reasons = {
        486: "busy",
        603: "declined",
        404: "not_found",
        480: "unavailable",
        403: "forbidden",
        408: "timeout",
        487: "cancelled",
        488: "not_acceptable",
        503: "service_unavailable",
        500: "sip_500",
        484: "sip_484",
        600: "sip_600",
    }
    for status, reason in reasons.items():
        phone, _ = await dialled(world)
        await refused(phone, status, reason, [("Reason", f"SIP;cause={status}"), ("Retry-After", "10")])
        await world.leg_is_gone(phone.leg_id)
    await world.ua.no_call(0.3)


@scenario("Outbound call redirected with 302 and Contact: ended, not followed")
async def out_redirect(world: World) -> None:
    phone, _ = await dialled(world)
    await refused(phone, 302, "invite_failed")
    await world.ua.no_call(0.4)


async def _challenged(phone: Phone, status: int, nonce: str) -> SipMessage:
    """Challenges the INVITE, takes the ACK and the second INVITE."""
    first = _invite(phone)
    header = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    await phone.call.reply(first, status, headers=[(header, challenge(nonce))])
    ack = await phone.call.request("ACK")
    check(
        "branch of the ACK",
        ack.must("Via").split("branch=")[1].split(";")[0],
        first.must("Via").split("branch=")[1].split(";")[0],
    )
    second = await phone.call.request("INVITE")
    check("CSeq of the second INVITE", second.cseq[0], first.cseq[0] + 1)
    require(second.to_tag == "", "To of the second INVITE", "no tag", second.header("To"))
    return second


@scenario("Digest: 401 and 407 answered, wrong password (challenged again), no credentials")
async def out_auth(world: World) -> None:
    for status, header in ((401, "Authorization"), (407, "Proxy-Authorization")):
        phone, _ = await dialled(world, {"auth": {"username": "u1", "password": "pw"}})
        second = await _challenged(phone, status, "n1")
        proof = second.header(header) or ""
        require(is_right(proof, "INVITE", "pw"), f"digest after {status}", "right", proof)
        check("digest uri", parameters_of(proof).get("uri"), second.request_uri)
        await picked_up(phone)
        await trio.sleep(0.1)
        await phone.hang_up()
    phone, _ = await dialled(world, {"auth": {"username": "u1", "password": "bad"}})
    second = await _challenged(phone, 401, "n2")
    require(not is_right(second.header("Authorization") or "", "INVITE", "pw"), "digest", "wrong", "right")
    await phone.call.reply(second, 401, headers=[("WWW-Authenticate", challenge("n3"))])
    await phone.call.request("ACK")
    await world.disconnected(phone.leg_id, "unauthorized")
    await phone.call.silence(0.6)
    phone, _ = await dialled(world)
    await phone.call.reply(_invite(phone), 407, headers=[("Proxy-Authenticate", challenge("n4"))])
    await phone.call.request("ACK")
    await world.disconnected(phone.leg_id, "unauthorized")


async def _cancelled(phone: Phone) -> None:
    """Takes the CANCEL, answers it and the INVITE, and takes the ACK."""
    cancel = await phone.call.request("CANCEL")
    invite = _invite(phone)
    check("CSeq of the CANCEL", cancel.cseq[0], invite.cseq[0])
    check("Via of the CANCEL", cancel.header("Via"), invite.header("Via"))
    await phone.call.reply(cancel, 200)
    await phone.call.reply(invite, 487)
    await phone.call.request("ACK")


@scenario(
    "DELETE before any provisional, after 100, 180, 183; and a 200 that crosses the CANCEL", timeout_s=60
)
async def out_cancel(world: World) -> None:
    phone, _ = await dialled(world)
    await world.rest("DELETE", phone.path, status=202, expect={"status": "hanging_up"})
    await world.disconnected(phone.leg_id, "api_hangup", within_s=0.5)
    await phone.call.wait_for_copies(_invite(phone), 2)
    await phone.call.silence(0.3)
    await phone.call.reply(_invite(phone), 180)
    await _cancelled(phone)

    for status in (100, 180, 183):
        phone, _ = await dialled(world)
        await phone.call.reply(
            _invite(phone), status, sdp=audio_sdp(phone.rtp.port) if status == 183 else None
        )
        if status == 183:
            await world.event("leg.early_media", leg_id=phone.leg_id)
        await trio.sleep(0.1)
        await world.rest("DELETE", phone.path, status=202)
        await _cancelled(phone)
        await world.disconnected(phone.leg_id, "api_hangup")

    phone, _ = await dialled(world)
    await phone.call.reply(_invite(phone), 180)
    await trio.sleep(0.1)
    await world.rest("DELETE", phone.path, status=202)
    cancel = await phone.call.request("CANCEL")
    await phone.call.reply(cancel, 200)
    await phone.call.reply(_invite(phone), 200, sdp=audio_sdp(phone.rtp.port))
    await phone.call.request("ACK")
    await phone.call.reply(await phone.call.request("BYE"), 200)
    await world.disconnected(phone.leg_id, "api_hangup")
    check("leg.disconnected", world.count("leg.disconnected", leg_id=phone.leg_id), 1)


@scenario("ring_timeout 1 s while the far end rings, after a 100, and while it says nothing at all")
async def out_ring_timeout(world: World) -> None:
    for status in (180, 100, 0):
        start = time.monotonic()
        phone, _ = await dialled(world, {"ring_timeout": 1})
        if status:
            await phone.call.reply(_invite(phone), status)
            await _cancelled(phone)
        await world.disconnected(phone.leg_id, "ring_timeout")
        check(f"seconds to the end after {status}", time.monotonic() - start, between(0.9, 1.6))
        if not status:
            await phone.call.reply(_invite(phone), 180)
            await _cancelled(phone)


@scenario("Legs that cannot be reached: a port where nobody listens, an unresolvable name")
async def out_unreachable(world: World) -> None:
    body: dict[str, object] = {"type": "sip", "to": "sip:bob@127.0.0.1:9", "ring_timeout": 4}
    start = time.monotonic()
    view = await world.rest("POST", "/v1/legs", body, status=201)
    await world.disconnected(str(view["id"]), "invite_failed", within_s=3)
    require(
        time.monotonic() - start < 2, "a closed port", "an end at once", f"{time.monotonic() - start:.1f} s"
    )
    reply = await world.http.ask(
        "POST", "/v1/legs", {**body, "to": "sip:bob@host.invalid", "ring_timeout": 10}
    )
    if reply.status == 201:
        answer = world.json_of(reply)
        assert isinstance(answer, dict)
        await world.disconnected(str(answer["id"]), "invite_failed", within_s=12)
    elif reply.status != 400:
        raise Difference("an unresolvable name", "201 and invite_failed, or 400", reply.status)


@scenario("max_duration ends the call with BYE; 0 does not")
async def out_max_duration(world: World) -> None:
    phone, _ = await dialled(world, {"max_duration": 1})
    await picked_up(phone)
    start = time.monotonic()
    await phone.is_hung_up("max_duration")
    check("seconds connected", time.monotonic() - start, between(0.9, 1.6))
    phone, _ = await dialled(world, {"max_duration": 0})
    await picked_up(phone)
    await phone.call.silence(1.5)
    await phone.hang_up()


@scenario("room_id: joined at early media, once; at connect without it; the room is made when missing")
async def out_room(world: World) -> None:
    phone, _ = await dialled(world, {"room_id": "sc-out"})
    await world.event("room.created", room_id="sc-out")
    await phone.call.reply(_invite(phone), 183, sdp=audio_sdp(phone.rtp.port))
    await world.event("leg.joined_room", leg_id=phone.leg_id, room_id="sc-out")
    await picked_up(phone, tone=500.0)
    await world.no_event("leg.joined_room", leg_id=phone.leg_id)
    world.order(
        ("leg.early_media", phone.leg_id), ("leg.joined_room", phone.leg_id), ("leg.connected", phone.leg_id)
    )
    second, _ = await dialled(world, {"room_id": "sc-out"})
    await picked_up(second, tone=900.0)
    await world.event("leg.joined_room", leg_id=second.leg_id, room_id="sc-out")
    (await phone.hears()).has_tones(900, level=-18)
    (await second.hears()).has_tones(500, level=-18)
    await second.hang_up()
    await phone.hang_up()


NOT_BUILT: dict[str, dict[str, object]] = {
    "streams": {"streams": [{}]},
}


@scenario("A request that sets a field whose feature is not built gets 501 naming the field; nothing starts")
async def not_available(world: World) -> None:
    def missing(name: str) -> dict[str, object]:
        return {"error": containing("not available: ", name)}

    await world.rest("POST", "/v1/rooms", {"id": "sc-n"}, status=201)
    joins: dict[str, object] = {"leg_id": "x", "streams": [{}]}
    await world.rest("POST", "/v1/rooms/sc-n/legs", joins, status=501, expect=missing("streams"))
    record: dict[str, object] = {"storage": "gcs", "gcs_bucket": "b"}
    await world.rest("POST", "/v1/rooms/sc-n/record", record, status=501, expect=missing("gcs_bucket"))
    await world.rest("POST", "/v1/legs", {"type": "livekit_room", "to": "x"}, status=501)
    uri = f"sip:bob@{world.ua.host_port}"
    for name, fields in NOT_BUILT.items():
        body = {"type": "sip", "to": uri, **fields}
        await world.rest("POST", "/v1/legs", body, status=501, expect=missing(name))
        await world.command_fails("create_leg", body, 501, containing("not available: ", name))
    await world.ua.no_call(0.3)
    await world.no_legs()
