"""SIP calls with DTLS-SRTP and ICE: aiortc as a phone, offers that are refused, and what we offer."""

from __future__ import annotations

from conformance.expect import check, require
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import sdp_of
from conformance.peers.webrtc_peer import open_webrtc
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.scenarios.srtp import ends_as
from conformance.scenarios.webrtc import hears
from conformance.world import World

PEER_HZ, PHONE_HZ = 440.0, 1000.0
DTLS = "UDP/TLS/RTP/SAVP"
FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["A5"] * 32)
OFFERED = [
    {"name": name, "payload_type": number, "clock_rate": 48000 if name == "opus" else 8000, "priority": rank}
    for rank, (name, number) in enumerate({"opus": 96, "G722": 9, "PCMU": 0, "PCMA": 8}.items(), 1)
]


@scenario(
    "SIP with DTLS-SRTP and ICE: a lite agent answers, either side begins, audio both ways, RTCP, the end"
)
async def dtls_ice(world: World) -> None:
    other = await answered(world, tone=PHONE_HZ)
    await other.join("safe")
    for asked, ours in {"actpass": "passive", "passive": "active"}.items():
        peer = await world.open(open_webrtc(PEER_HZ))
        offer = peer.offer.replace("a=setup:actpass", f"a=setup:{asked}")
        phone = await ringing(world, f"peer-{asked}", sdp=offer.encode(), offered=OFFERED)
        answer = await phone.answer()
        sdp = sdp_of(answer)
        check("protocol of the answer", sdp.audio.protocol, "UDP/TLS/RTP/SAVPF")
        check("our part in the handshake", sdp.audio.attribute("setup"), ours)
        require("a=ice-lite" in sdp.lines, "answer", "a=ice-lite", sdp.lines)
        candidates = [line for line in sdp.audio.attributes if line.startswith("candidate:")]
        check(
            "candidates", [line.split(" ")[5:] for line in candidates], [[str(sdp.audio.port), "typ", "host"]]
        )
        check("keys in the answer", sdp.audio.attribute("crypto"), None)
        await peer.say(answer=answer.body.decode())
        await peer.reaches("connected")
        await phone.join("safe")
        await hears(peer, PHONE_HZ)
        heard = await other.hears(600)
        tones = list(heard.tones)
        require(len(tones) == 1 and abs(tones[0] - PEER_HZ) < 15, "tones of the other", [PEER_HZ], tones)
        await ends_as(phone, "dtls")
        await peer.say(close=True)
    await other.hang_up()


@scenario("SIP with DTLS-SRTP: offers that bring no usable certificate get 488; a wrong one ends the call")
async def dtls_broken(world: World) -> None:
    for name, lines in {
        "no certificate": ["a=setup:actpass"],
        "short hash": ["a=fingerprint:sha-256 00:11", "a=setup:actpass"],
        "unknown hash": ["a=fingerprint:md2 00:11", "a=setup:actpass"],
        "no part": [FINGERPRINT, "a=setup:holdconn"],
        "garbage": ["a=fingerprint:", "a=setup:actpass"],
    }.items():
        call = world.ua.new_call("bad")
        await call.send_invite(audio_sdp(40000, protocol=DTLS, extra=lines))
        response = await call.any_response("INVITE")
        await call.ack(response)
        check(f"{name}: status", response.status, 488)
        await world.no_event("leg.ringing", for_s=0.1)
    await world.no_legs()
    peer = await world.open(open_webrtc(PEER_HZ))
    lines = [FINGERPRINT if line.startswith("a=fingerprint:") else line for line in peer.offer.splitlines()]
    forged = "".join(f"{line}\r\n" for line in dict.fromkeys(lines))
    phone = await ringing(world, "mallory", sdp=forged.encode(), offered=OFFERED)
    answer = await phone.answer()
    await peer.say(answer=answer.body.decode())
    bye = await phone.call.request("BYE", 10.0)
    await phone.call.reply(bye, 200)
    await world.disconnected(phone.leg_id, "connect_failed", answered=True)


@scenario(
    "Calls with srtp_keying: dtls offer a certificate; answers without one are refused or plain as asked"
)
async def dtls_out(world: World) -> None:
    for name, answer in {
        "plain": audio_sdp(40000),
        "no certificate": audio_sdp(40000, protocol=DTLS, extra=["a=setup:active"]),
        "no part": audio_sdp(40000, protocol=DTLS, extra=[FINGERPRINT, "a=setup:actpass"]),
    }.items():
        phone, _ = await dialled(world, {"srtp": "required", "srtp_keying": "dtls"}, user="mallory")
        check("protocol of the offer", _offered(phone), DTLS)
        assert phone.call.invite is not None
        await phone.call.reply(phone.call.invite, 200, sdp=answer)
        await phone.call.request("ACK")
        bye = await phone.call.request("BYE", 3.0)
        await phone.call.reply(bye, 200)
        await world.disconnected(phone.leg_id, "connect_failed")
        check(f"{name}: packets", len(phone.rtp.received), 0)
    phone, _ = await dialled(world, {"srtp": "preferred", "srtp_keying": "dtls"})
    check("protocol of the offer beside plain audio", _offered(phone), "RTP/AVP")
    await picked_up(phone, tone=PHONE_HZ)
    (await phone.hears()).is_steady()
    await phone.hang_up()


def _offered(phone: Phone) -> str:
    """The transport of our offer, which brings a certificate and no key."""
    assert phone.call.invite is not None
    audio = sdp_of(phone.call.invite).audio
    check("our part in the offer", audio.attribute("setup"), "actpass")
    require(audio.attribute("fingerprint") is not None, "offer", "a certificate", audio.attributes)
    check("keys in the offer", audio.attribute("crypto"), None)
    return audio.protocol


@scenario(
    "With VB_SIP_SRTP_KEYING=dtls and VB_SIP_SRTP=required calls out offer DTLS",
    env={"VB_SIP_SRTP": "required", "VB_SIP_SRTP_KEYING": "dtls"},
)
async def dtls_setting(world: World) -> None:
    phone, _ = await dialled(world)
    check("protocol of the offer", _offered(phone), DTLS)
    assert phone.call.invite is not None
    await phone.call.reply(phone.call.invite, 486)
    await phone.call.request("ACK")
    await world.disconnected(phone.leg_id, "busy")
