"""WhatsApp legs against a stand-in for the provider's edge: calls out and in, and what may go wrong."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import trio

from conformance.expect import ABSENT, check, containing, require
from conformance.peers.digest import challenge
from conformance.peers.sip_call import sdp_of
from conformance.peers.webrtc_peer import open_webrtc
from conformance.peers.whatsapp_edge import DOMAIN, THEM, US, Edge, open_edge
from conformance.phones import Phone, answered
from conformance.registry import scenario
from conformance.scenarios.webrtc import hears
from conformance.world import World

USER_HZ, PHONE_HZ = 440.0, 1000.0
FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["A5"] * 32)


def _without(sdp: str, *starts: str) -> str:
    return "".join(f"{line}\r\n" for line in sdp.splitlines() if not line.startswith(starts))


async def _hears_user(phone: Phone) -> None:
    heard = await phone.hears(600)
    tones = list(heard.tones)
    require(len(tones) == 1 and abs(tones[0] - USER_HZ) < 15, "tones of the phone", [USER_HZ], tones)


def open_whatsapp(world: World, **settings: str) -> AbstractAsyncContextManager[Edge]:
    """An edge, and a server that calls it and is called by it."""
    return open_edge(world, "VB_WHATSAPP_EDGE", {"VB_WHATSAPP_DOMAIN": DOMAIN, **settings})


@scenario(
    "WhatsApp out: the whole INVITE, a digest, early media in a room, connected, heard both ways, BYE",
    needs=("servers",),
)
async def wa_out(world: World) -> None:
    async with open_whatsapp(world) as edge:
        there = edge.world
        phone = await answered(there, tone=PHONE_HZ)
        await phone.join("wa")
        call, leg_id = await edge.dialled(room_id="wa", app_id="shop", headers={"X-Order": "7"})
        invite = call.invite
        assert invite is not None
        check("request URI", invite.request_uri, f"sip:+{THEM}@{edge.ua.host_port};transport=tls")
        check("From", invite.must("From"), containing(f"sip:+{US}@"))
        check("header of the request", invite.header("X-Order"), "7")
        audio = sdp_of(invite).audio
        check("protocol", audio.protocol, "UDP/TLS/RTP/SAVPF")
        check("formats", audio.rtpmaps, {111: "opus/48000/2", 126: "telephone-event/8000"})
        check("our part in the handshake", audio.attribute("setup"), "actpass")
        candidates = [line for line in audio.attributes if line.startswith("candidate:")]
        require(bool(candidates) and "end-of-candidates" in audio.attributes, "candidates", "all", candidates)
        check("what ICE is to do beside", audio.attribute("ice-options"), None)
        peer = await world.open(open_webrtc(USER_HZ, answers=True))
        sdp = await peer.answer(invite.body.decode())
        await call.reply(invite, 180)
        await call.reply(invite, 183, sdp=sdp.encode())
        await there.event("leg.early_media", leg_id=leg_id, leg_type="whatsapp_out")
        await there.event("leg.joined_room", leg_id=leg_id, room_id="wa")
        await call.reply(invite, 200, sdp=sdp.encode())
        await call.request("ACK")
        await there.event("leg.connected", {"srtp": "dtls", "app_id": "shop"}, leg_id=leg_id)
        await trio.sleep(0.4)
        await _hears_user(phone)
        await hears(peer, PHONE_HZ)
        view = await there.leg_state(leg_id, type="whatsapp_out", state="connected", srtp="dtls")
        check("room", view["room_id"], "wa")
        for path, body in (("hold", None), ("transfer", {"target": "sip:x@127.0.0.1"})):
            await there.rest("POST", f"/v1/legs/{leg_id}/{path}", body, status=409)
        await call.bye()
        await there.disconnected(leg_id, "remote_bye", answered=True, quality=ABSENT)
        await phone.hang_up()


@scenario(
    "WhatsApp in: 180 at once, an answer that begins the handshake, heard both ways, hung up by us",
    needs=("servers",),
)
async def wa_in(world: World) -> None:
    async with open_whatsapp(world) as edge:
        there = edge.world
        phone = await answered(there, tone=PHONE_HZ)
        await phone.join("wa")
        peer = await world.open(open_webrtc(USER_HZ))
        async with edge.calling() as call:
            await call.send_invite(peer.offer.encode(), headers=[("X-Campaign", "spring")])
            await call.response(180)
            told = await there.event("leg.ringing", {"from": f"+{THEM}", "to": US, "leg_type": "whatsapp_in"})
            leg_id = str(told["leg_id"])
            view = await there.leg_state(leg_id, type="whatsapp_in", state="ringing")
            check("headers", view["sip_headers"], {"X-Campaign": "spring"})
            path = f"/v1/legs/{leg_id}"
            reply = await there.rest("POST", f"{path}/answer", {"codec": "opus"}, status=400)
            check("error for a codec", reply["error"], containing("codec"))
            await there.rest("POST", f"{path}/answer", status=202)
            answer = await call.response(200)
            audio = sdp_of(answer).audio
            check("our part in the handshake", audio.attribute("setup"), "active")
            require("end-of-candidates" in audio.attributes, "candidates", "all", audio.attributes)
            await call.ack(answer)
            await peer.say(answer=answer.body.decode())
            await there.event("leg.connected", {"leg_type": "whatsapp_in", "srtp": "dtls"}, leg_id=leg_id)
            await there.rest("POST", "/v1/rooms/wa/legs", {"leg_id": leg_id}, status=200)
            await trio.sleep(0.4)
            await _hears_user(phone)
            await hears(peer, PHONE_HZ)
            await there.rest("POST", f"{path}/answer", status=409)
            await there.rest("POST", f"{path}/hold", status=409)
            await there.rest("DELETE", path, status=202)
            await call.reply(await call.request("BYE"), 200)
            await there.disconnected(leg_id, "api_hangup", answered=True, quality=ABSENT)
        await phone.hang_up()


@scenario(
    "WhatsApp in: offers that cannot be used get 400; refusals, early media, a caller who gives up or leaves",
    needs=("servers",),
)
async def wa_in_refused(world: World) -> None:
    async with open_whatsapp(world) as edge:
        there = edge.world
        peer = await world.open(open_webrtc(USER_HZ))
        for name, sdp in {
            "no offer": None,
            "no SDP": "hello",
            "no Opus": peer.offer.replace("opus/48000/2", "speex/16000"),
            "no ICE": _without(peer.offer, "a=ice-"),
            "no certificate": _without(peer.offer, "a=fingerprint"),
            "plain audio": peer.offer.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
        }.items():
            async with edge.calling() as call:
                await call.send_invite(None if sdp is None else sdp.encode())
                refusal = await call.any_response("INVITE")
                check(f"{name}: status and reason", refusal.start_line, "SIP/2.0 400 Bad SDP Offer")
                await call.ack(refusal)
        await there.no_event("leg.ringing", for_s=0.1)
        await there.no_legs()
        async with edge.calling() as call:
            await call.send_invite(peer.offer.encode())
            await call.response(180)
            leg_id = str((await there.event("leg.ringing", leg_type="whatsapp_in"))["leg_id"])
            await there.rest("DELETE", f"/v1/legs/{leg_id}", {"reason": "busy"}, status=202)
            refusal = await call.response(486)
            await call.ack(refusal)
            await there.disconnected(leg_id, "busy")
        async with edge.calling() as call:
            await call.send_invite(peer.offer.encode())
            await call.response(180)
            leg_id = str((await there.event("leg.ringing", leg_type="whatsapp_in"))["leg_id"])
            await there.rest("POST", f"/v1/legs/{leg_id}/ring", status=202)
            await there.rest("POST", f"/v1/legs/{leg_id}/early-media", status=202)
            progress = await call.response(183)
            await peer.say(answer=progress.body.decode())
            await there.event("leg.early_media", leg_id=leg_id, leg_type="whatsapp_in")
            await call.cancel()
            await call.ack(await call.response(487))
            await there.disconnected(leg_id, "caller_cancel")
        async with edge.calling() as call:
            await call.send_invite(peer.offer.encode())
            await call.response(180)
            leg_id = str((await there.event("leg.ringing", leg_type="whatsapp_in"))["leg_id"])
        await there.disconnected(leg_id, "caller_cancel")  # its connection has ended


@scenario(
    "WhatsApp out: answers that cannot be used, every refusal, a wrong digest, silence",
    needs=("servers",),
    timeout_s=60,
)
async def wa_out_refused(world: World) -> None:
    async with open_whatsapp(world) as edge:
        there = edge.world
        for status, reason in {
            403: "forbidden",
            404: "not_found",
            408: "timeout",
            480: "unavailable",
            486: "busy",
            487: "cancelled",
            488: "not_acceptable",
            500: "sip_500",
            503: "service_unavailable",
            600: "sip_600",
            603: "declined",
            302: "invite_failed",
        }.items():
            call, leg_id = await edge.dialled()
            assert call.invite is not None
            await call.reply(call.invite, status)
            await call.request("ACK")
            await there.disconnected(leg_id, reason)
        call, leg_id = await edge.dialled()
        assert call.invite is not None
        await call.reply(call.invite, 407, headers=[("Proxy-Authenticate", challenge("n2"))])
        await call.request("ACK")
        await there.disconnected(leg_id, "unauthorized")
        call, leg_id = await edge.unchallenged(ring_timeout=1)
        await there.disconnected(leg_id, "ring_timeout", within_s=4)
        for name in ("no SDP", "no ICE", "no certificate", "plain", "nothing"):
            await _bad_answer(world, edge, name)


async def _bad_answer(world: World, edge: Edge, name: str) -> None:
    """Answers with something that cannot be used; the call ends with a BYE."""
    call, leg_id = await edge.dialled()
    assert call.invite is not None
    peer = await world.open(open_webrtc(USER_HZ, answers=True))
    sdp = await peer.answer(call.invite.body.decode())
    broken = {
        "no SDP": "hello",
        "no ICE": _without(sdp, "a=ice-"),
        "no certificate": _without(sdp, "a=fingerprint"),
        "plain": sdp.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
        "nothing": None,
    }[name]
    await call.reply(call.invite, 200, sdp=None if broken is None else broken.encode())
    await call.request("ACK")
    await call.reply(await call.request("BYE"), 200)
    await edge.world.disconnected(leg_id, "bad_answer")


@scenario(
    "WhatsApp: an edge that says nothing; a wrong certificate, media that never comes, leaves, falls silent",
    needs=("servers",),
    timeout_s=90,
)
async def wa_media_lost(world: World) -> None:
    async with open_whatsapp(world) as edge:
        there = edge.world
        ended: dict[str, tuple[str, str, bool]] = {}
        _, unheard = await edge.unchallenged()
        for name, reason in (
            ("wrong certificate", "connect_failed"),
            ("never there", "ice_failed"),
            ("says goodbye", "ice_disconnected"),
            ("falls silent", "ice_disconnected"),
        ):
            call, leg_id = await edge.dialled()
            assert call.invite is not None
            peer = await world.open(open_webrtc(USER_HZ, answers=True))
            sdp = await peer.answer(call.invite.body.decode())
            if name == "wrong certificate":
                lines = [
                    FINGERPRINT if line.startswith("a=fingerprint") else line for line in sdp.splitlines()
                ]
                sdp = "".join(f"{line}\r\n" for line in dict.fromkeys(lines))
            elif name == "never there":
                peer.vanish()
            await call.reply(call.invite, 200, sdp=sdp.encode())
            await call.request("ACK")
            if name == "falls silent":
                await there.event("leg.connected", leg_id=leg_id)
                peer.vanish()
            elif name == "says goodbye":
                await there.event("leg.connected", leg_id=leg_id)
                await peer.say(close=True)
                await call.reply(await call.request("BYE", 6.0), 200)
                await there.disconnected(leg_id, reason, answered=True)
            ended[name] = (leg_id, reason, name == "falls silent")
            if name == "wrong certificate":
                await call.reply(await call.request("BYE", 10.0), 200)
                await there.disconnected(leg_id, reason)
        for name in ("never there", "falls silent"):
            leg_id, reason, was_up = ended[name]
            await there.disconnected(leg_id, reason, answered=was_up, within_s=40)
        await there.disconnected(unheard, "invite_failed", within_s=40)


@scenario("WhatsApp: without TLS 503; fields that are missing or of no use 400; nothing starts")
async def wa_refused(world: World) -> None:
    good: dict[str, object] = {"type": "whatsapp", "to": f"+{THEM}", "from": US, "auth": {"password": "x"}}
    for field, value in {
        "to": "",
        "from": "nobody",
        "auth": {"password": ""},
        "codecs": ["PCMU"],
        "rtt": True,
        "srtp": "required",
    }.items():
        reply = await world.rest("POST", "/v1/legs", {**good, field: value}, status=400)
        check(f"error for {field}", reply["error"], containing(field))
    await world.rest("POST", "/v1/legs", good, status=503)
    await world.command_fails("create_leg", good, 503, containing("SIP_TLS_PORT"))
    await world.no_legs()
