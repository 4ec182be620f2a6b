"""Requests inside and outside dialogs, and messages no proper peer would send."""

from __future__ import annotations

import trio

from conformance.expect import Difference, check, containing, one_of, require
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import sdp_of
from conformance.peers.sip_message import SipMessage, read_message
from conformance.peers.sip_stream import open_tcp
from conformance.peers.sip_ua import open_udp, plain_request
from conformance.phones import answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.world import World

NOTIFY = [("Event", "refer"), ("Subscription-State", "active"), ("Content-Type", "message/sipfrag")]


def _allows(response: SipMessage) -> None:
    require("INVITE" in response.allow, f"{response.start_line}: Allow", "at least INVITE", response.allow)


@scenario(
    "In-dialog INFO, MESSAGE, OPTIONS, SUBSCRIBE, NOTIFY, PUBLISH, FOO; a BYE with a wrong tag; BYE twice"
)
async def in_dialog_methods(world: World) -> None:
    phone = await answered(world)
    call = phone.call
    dtmf = [("Content-Type", "application/dtmf-relay")]
    for method, headers, body, status in (
        ("INFO", dtmf, b"Signal=5\r\nDuration=160\r\n", 405),
        ("MESSAGE", [("Content-Type", "text/plain")], b"hi", 405),
        ("OPTIONS", [], b"", 200),
        ("SUBSCRIBE", [("Event", "presence")], b"", 405),
        ("NOTIFY", NOTIFY, b"SIP/2.0 100 Trying\r\n", 481),
        ("PUBLISH", [], b"", 405),
        ("FOO", [], b"", 405),
    ):
        await call.send_request(method, headers=headers, body=body)
        response = await call.response(status, method)
        if status != 481:
            _allows(response)
    await world.leg_state(phone.leg_id, state="connected")
    await call.send_request("BYE", to_tag="nobody")
    await call.response(481, "BYE")
    await world.leg_state(phone.leg_id, state="connected")
    await phone.hang_up()
    await call.send_request("BYE")
    await call.response(481, "BYE")


@scenario(
    "Requests outside any dialog: OPTIONS, INFO, … REFER, REGISTER, UPDATE, CANCEL, an INVITE with a To tag"
)
async def sip_out_of_dialog(world: World) -> None:
    statuses: dict[str, tuple[int, ...]] = {
        "OPTIONS": (200,), "INFO": (405,), "MESSAGE": (405,), "SUBSCRIBE": (405,), "PUBLISH": (405,),
        "PRACK": (405, 481), "NOTIFY": (481,), "FOO": (405,), "BYE": (481,), "UPDATE": (481,),
        "CANCEL": (481,), "REFER": (603,), "REGISTER": (405,),
    }  # fmt: skip
    for method, allowed in statuses.items():
        headers = [("Refer-To", "<sip:x@127.0.0.1>")] if method == "REFER" else []
        call = await world.ua.outside_dialog(method, headers)
        response = await call.any_response(method)
        check(f"status of {method}", response.status, one_of(*allowed))
        if response.status in (200, 405):
            _allows(response)
    call = world.ua.new_call("stranger")
    call.remote_tag = "unknown"
    await call.send_invite(audio_sdp(40000), within_dialog=True)
    await call.ack(await call.response(481))
    await world.no_legs()
    await world.no_event("leg.ringing", for_s=0.1)


@scenario(
    "Odd requests: no Contact, unknown Require, a merged request, rubbish; the server answers and lives on"
)
async def sip_oddities(world: World) -> None:
    sdp = (("Content-Type", "application/sdp"),)
    data, call = plain_request(world.ua, "INVITE", omit=("Contact",), extra=sdp, body=audio_sdp(40000))
    await world.ua.send(data)
    check("INVITE without Contact", (await call.any_response("INVITE")).status, 400)

    data, call = plain_request(
        world.ua, "INVITE", extra=(*sdp, ("Require", "fantasy")), body=audio_sdp(40000)
    )
    await world.ua.send(data)
    response = await call.any_response("INVITE")
    check("INVITE with an unknown Require", response.status, 420)
    check("Unsupported", response.header("Unsupported"), "fantasy")

    for omitted in ("Call-ID", "CSeq", "From", "To", "Via"):
        data, _ = plain_request(world.ua, "OPTIONS", omit=(omitted,))
        await world.ua.send(data)
    for rubbish in (
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"rubbish",
        b"INVITE sip:x SIP/2.0\r\n",
        bytes(range(256)) * 4,
        b"SIP/2.0 200 OK\r\n\r\n",
    ):
        await world.ua.send(rubbish)

    phone = await ringing(world, "call1")
    sent = phone.call.last_sent("INVITE")
    branch = read_message(sent, ("", 0)).must("Via").split("branch=")[1].split(";")[0]
    await world.ua.send(sent.replace(branch.encode(), b"z9hG4bKmerged"))
    check("the same INVITE on another branch", (await phone.call.any_response("INVITE")).status, 482)
    check("legs", len(await world.rest_list("/v1/legs")), 1)
    await phone.answer()
    await phone.hang_up()


@scenario("With SIP_AUTO_RINGING=true the 180 comes by itself", env={"SIP_AUTO_RINGING": "true"})
async def call_auto_ringing(world: World) -> None:
    phone = await ringing(world)
    await phone.call.response(180)
    await world.rest("POST", f"{phone.path}/ring", status=202)
    await phone.answer()
    await phone.hang_up()


@scenario(
    "With SIP_USE_SOURCE_SOCKET=true replies and BYE go to the packet's source",
    env={"SIP_USE_SOURCE_SOCKET": "true"},
)
async def call_source_socket(world: World) -> None:
    ua = world.ua
    real = ua.local
    ua.local = ("192.0.2.7", 5099)
    phone = await ringing(world)
    await phone.answer()
    await world.rest("DELETE", phone.path, status=202)
    await phone.is_hung_up("api_hangup")
    ua.local = real


@scenario("A call over TCP, hung up by the server", env={"SIP_TCP_ENABLED": "true"})
async def call_tcp(world: World) -> None:
    async with open_tcp(world.target.sip_address("tcp")) as ua:
        phone = await ringing(world, ua=ua)
        answer = await phone.answer()
        contact = answer.must("Contact").lower()
        require("transport=tcp" in contact, "Contact of a TCP dialog", "transport=tcp", contact)
        (await phone.hears(300)).is_steady()
        await world.rest("DELETE", phone.path, status=202)
        await phone.is_hung_up("api_hangup")


@scenario(
    "A call over TCP outlives what keeps its connection alive: one CRLF, one with a zero, a zero alone",
    env={"SIP_TCP_ENABLED": "true"},
    timeout_s=40,
)
async def tcp_keep_alives(world: World) -> None:
    async with open_tcp(world.target.sip_address("tcp")) as ua:
        phone = await ringing(world, ua=ua)
        for sent in (b"\r\n", b"\r\n\0", b"\0"):
            await ua.send(sent)
            await phone.call.send_request("OPTIONS", cseq=phone.call.cseq, to_tag="")
            await phone.call.response(200, "OPTIONS")
        await ua.send(b"\r\n")
        await trio.sleep(11)
        await phone.answer()
        await phone.hang_up()


@scenario(
    "Calls over IPv6 in both directions; an IPv4 caller of the same server gets IN IP4",
    env={"SIP_BIND_IPV6": "::1"},
)
async def call_ipv6(world: World) -> None:
    async with open_udp(world.target.sip_address("udp", ipv6=True)) as ua:
        phone = await ringing(world, "call6", ua=ua, host="::1")
        sdp = sdp_of(await phone.answer())
        check("c= of the answer", sdp.audio.connection, "IN IP6 ::1")
        (await phone.hears(300)).is_steady()
        await phone.hang_up()
        phone, _ = await dialled(world, {"codecs": ["PCMU"]}, ua=ua)
        invite = phone.call.invite
        assert invite is not None
        check("c= of the offer", sdp_of(invite).audio.connection, "IN IP6 ::1")
        for name in ("Contact", "Via"):
            check(name, invite.must(name), containing(ua.server_host_port))
        await picked_up(phone)
        (await phone.hears(300)).is_steady()
        await phone.rtp.send_digit("6")
        await world.event("dtmf.received", leg_id=phone.leg_id, digit="6", seq=1)
        await world.rest("DELETE", phone.path, status=202)
        await phone.is_hung_up("api_hangup")
    phone = await ringing(world, "call4")
    sdp = sdp_of(await phone.answer())
    check("c= of the answer", sdp.audio.connection, "IN IP4 127.0.0.1")
    await phone.hang_up()


@scenario(
    "SIGTERM: BYE to every call, leg.disconnected with server_shutdown everywhere, close 1001, exit 0",
    own_server=True,
)
async def call_shutdown(world: World) -> None:
    phone = await answered(world)
    waiting = await ringing(world, "call2")
    codes: list[int] = []

    async def stop() -> None:
        codes.append(await world.target.stop())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        bye = await phone.call.request("BYE", 5)
        await phone.call.reply(bye, 200)
        final = await waiting.call.any_response("INVITE", 5)
        await waiting.call.ack(final)
        for leg_id in (phone.leg_id, waiting.leg_id):
            await world.event(
                "leg.disconnected", leg_id=leg_id, within_s=5, cdr={"reason": "server_shutdown"}
            )
        check("close code of VSI", await world.vsi.wait_closed(8), 1001)
    if codes != [0]:
        raise Difference("exit code after SIGTERM", [0], codes)
    await world.sink.delivery("leg.disconnected", leg_id=phone.leg_id)
