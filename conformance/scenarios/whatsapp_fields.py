"""WhatsApp legs: what a request for one may say, and digits both ways, against the stand-in for the edge."""

from __future__ import annotations

import trio

from conformance.expect import check, containing
from conformance.peers.webrtc_peer import open_webrtc
from conformance.peers.whatsapp_edge import DOMAIN, THEM, US, Edge
from conformance.phones import Phone, answered
from conformance.registry import scenario
from conformance.scenarios.webhooks import delivered
from conformance.scenarios.whatsapp import USER_HZ, open_whatsapp
from conformance.world import World

SECRET = "of the leg"


async def _digits_of(world: World, edge: Edge, leg_id: str, call_digits: str) -> None:
    """Checks the digits that were told of a leg so far."""
    for seq, digit in enumerate(call_digits, 1):
        await edge.world.event("dtmf.received", {"digit": digit, "seq": seq}, leg_id=leg_id)


async def _room_mate(world: World) -> Phone:
    phone = await answered(world)
    await phone.join("wa")
    return phone


@scenario(
    "WhatsApp out and in: digits of the user, by events and by INFO, digits for him, those of room mates",
    needs=("servers",),
)
async def wa_digits(world: World) -> None:
    async with open_whatsapp(world, VB_DTMF_INFO="true") as edge:
        there = edge.world
        phone = await _room_mate(there)
        peer = await world.open(open_webrtc(USER_HZ, answers=True, digits=True))
        call, leg_id = await edge.connected(peer, room_id="wa")
        path = f"/v1/legs/{leg_id}"
        await there.event("leg.joined_room", leg_id=leg_id)
        await peer.press("4#")
        await _digits_of(world, edge, leg_id, "4#")
        await phone.rtp.hears_digits("4#")
        for digit, seq in (("#", 0), ("6", 3)):  # the first has come already, by events
            body = f"Signal={digit}\r\nDuration=160\r\n".encode()
            await call.send_request("INFO", headers=[("Content-Type", "application/dtmf-relay")], body=body)
            await call.response(200, "INFO")
            if seq:
                await there.event("dtmf.received", {"digit": digit, "seq": seq}, leg_id=leg_id)
        await there.rest("POST", f"{path}/dtmf", {"digits": "19*"}, status=200)
        await peer.hears_digits("19*")
        await phone.rtp.send_digit("7")
        await peer.hears_digits("19*7")
        await there.rest("POST", f"{path}/dtmf/reject", status=200)
        await phone.rtp.send_digit("8")
        await trio.sleep(0.4)
        await peer.hears_digits("19*7")
        await there.rest("DELETE", path, status=202)
        await call.reply(await call.request("BYE"), 200)
        await there.disconnected(leg_id, "api_hangup", answered=True)

        peer = await world.open(open_webrtc(USER_HZ, digits=True))
        async with edge.calling() as incoming:
            incoming.local_uri = f"<sip:+{THEM}@WA.{DOMAIN.upper()}.>"  # names are the same in any case
            await incoming.send_invite(peer.offer.encode())
            await incoming.response(180)
            leg_id = str((await there.event("leg.ringing", leg_type="whatsapp_in"))["leg_id"])
            await there.rest("POST", f"/v1/legs/{leg_id}/answer", status=202)
            answer = await incoming.response(200)
            await incoming.ack(answer)
            await peer.say(answer=answer.body.decode())
            await there.event("leg.connected", leg_id=leg_id)
            await peer.press("5")
            await _digits_of(world, edge, leg_id, "5")
            await there.rest("POST", f"/v1/legs/{leg_id}/dtmf", {"digits": "D0"}, status=200)
            await peer.hears_digits("D0")
            await incoming.bye()
            await there.disconnected(leg_id, "remote_bye", answered=True)
        await phone.hang_up()


@scenario(
    "WhatsApp out: every field of the request acts: webhook, AMD, speaking, digits, headers, limits of time",
    needs=("servers", "hooks"),
)
async def wa_fields(world: World) -> None:
    async with open_whatsapp(world) as edge:
        there = edge.world
        phone = await _room_mate(there)
        peer = await world.open(open_webrtc(USER_HZ, answers=True, digits=True))
        call, leg_id = await edge.dialled(
            room_id="wa",
            app_id="shop",
            headers={"X-Order": "7", "P-Asserted-Identity": "<sip:shop@example.com>"},
            ring_timeout=20,
            max_duration=4,
            amd={"greeting_duration": 600},
            accept_dtmf=False,
            speech_detection=True,
            metadata={"order": "7"},
            retention_policy="auto_delete",
            webhook_url=there.sink.url("/hook/wa"),
            webhook_secret=SECRET,
        )
        assert call.invite is not None
        check("headers", call.invite.header("P-Asserted-Identity"), "<sip:shop@example.com>")
        check("header of the request", call.invite.header("X-Order"), "7")
        await there.leg_state(leg_id, accept_dtmf=False, app_id="shop")
        await edge.take(call, peer)
        await there.event("leg.connected", {"app_id": "shop"}, leg_id=leg_id)
        await there.event("leg.joined_room", leg_id=leg_id, room_id="wa")
        await there.event("speaking.started", {"room_id": "wa"}, leg_id=leg_id)
        await there.event("amd.result", {"app_id": "shop"}, leg_id=leg_id, result="machine")
        await phone.rtp.send_digit("3")
        await call.reply(await call.request("BYE", 6.0), 200)
        await there.disconnected(leg_id, "max_duration", answered=True)
        await peer.hears_digits("")
        for kind in ("leg.ringing", "leg.connected", "amd.result", "leg.disconnected"):
            await delivered(there, kind, "/hook/wa", SECRET, leg_id=leg_id)
        await phone.hang_up()


@scenario(
    "WhatsApp out: challenges of a proxy and of the callee, a user of one's own, a nonce that is stale",
    needs=("servers",),
)
async def wa_challenges(world: World) -> None:
    async with open_whatsapp(world) as edge:
        there = edge.world
        for number in ("4930654321", "+4930654321"):
            call, leg_id = await edge.unchallenged(**{"from": number})
            await edge.challenge(call, "n1", status=401, user=US)
            await edge.challenge(call, "n2", status=401, user=US, stale=True)
            assert call.invite is not None
            check("From", call.invite.must("From"), containing("sip:+4930654321@"))
            await call.reply(call.invite, 486)
            await call.request("ACK")
            await there.disconnected(leg_id, "busy")
        mine = {"username": "meta-7", "password": "open sesame"}
        call, leg_id = await edge.unchallenged(auth=mine)
        await edge.challenge(call, "n1", user="meta-7")
        await edge.challenge(call, "n2", status=401, user="meta-7")
        peer = await world.open(open_webrtc(USER_HZ, answers=True))
        await edge.take(call, peer)
        await there.event("leg.connected", leg_id=leg_id)
        await there.rest("DELETE", f"/v1/legs/{leg_id}", status=202)
        await call.reply(await call.request("BYE"), 200)
        await there.disconnected(leg_id, "api_hangup", answered=True)
