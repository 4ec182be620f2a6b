"""SRTP on SIP calls: keys in descriptions, taken and given, changed within a call, refused when broken."""

from __future__ import annotations

from conformance.expect import check, require
from conformance.peers.rtp_peer import RtpPeer
from conformance.peers.sdp_text import Media, audio_sdp
from conformance.peers.sip_call import sdp_of
from conformance.peers.sip_message import SipMessage
from conformance.peers.srtp import CM_32, CM_80, GCM_128, GCM_256, SUITES, Key, Protection, new_key, read_key
from conformance.phones import Phone, dialled, picked_up, refused, ringing
from conformance.registry import scenario
from conformance.world import World

TONE_HZ = 600
SAVP = "RTP/SAVP"


def _keys(audio: Media) -> list[Key]:
    return [read_key(line) for line in audio.attributes if line.startswith("crypto:")]


def _accepted(message: SipMessage, ours: Key, protocol: str) -> Key:
    """The server's key in its answer to ours."""
    audio = sdp_of(message).audio
    check("protocol of the answer", audio.protocol, protocol)
    keys = _keys(audio)
    check("tags and suites of the answer", [(key.tag, key.suite) for key in keys], [(ours.tag, ours.suite)])
    require(keys[0].value != ours.value, "key of the answer", "its own", "ours")
    return keys[0]


def _sdp(
    rtp: RtpPeer, *keys: Key, protocol: str = SAVP, version: int = 1, direction: str = "sendrecv"
) -> bytes:
    lines = [key.line for key in keys]
    return audio_sdp(rtp.port, protocol=protocol, extra=lines, version=version, direction=direction)


async def _called(world: World, ours: Key, protocol: str = SAVP) -> tuple[Phone, Key]:
    """A call of ours with a key, answered; returns it and the server's key."""
    rtp = await world.rtp("call1")
    phone = await ringing(world, rtp=rtp, sdp=_sdp(rtp, ours, protocol=protocol), tone=TONE_HZ)
    rtp.stop_talking()
    theirs = _accepted(await phone.answer(), ours, protocol)
    rtp.protection = Protection(ours, theirs)
    rtp.talk(TONE_HZ)
    return phone, theirs


async def ends_as(phone: Phone, keying: str) -> None:
    """Hangs up a call; from its connection to its end everything says how its keys were agreed on."""
    world = phone.world
    told = [
        f for f in world.vsi.frames.items() if (f["type"], f.get("leg_id")) == ("leg.connected", phone.leg_id)
    ]
    check("leg.connected", [world.notes.reading("leg.connected", f).get("srtp") for f in told], [keying])
    await world.leg_state(phone.leg_id, srtp=keying)
    await phone.call.bye()
    phone.rtp.stop_talking()
    await world.disconnected(phone.leg_id, "remote_bye", answered=True, quality={"srtp": keying})


async def _talks_both_ways(phone: Phone, what: str) -> None:
    """The server's packets can be opened, and are what they should be inside."""
    refused = phone.rtp.refused
    heard = await phone.hears()
    heard.is_steady()
    check(f"{what}: bytes of a payload", heard.payload_bytes, [160])
    check(f"{what}: packets of the server that could not be opened", phone.rtp.refused, refused)


@scenario("SRTP with a key in the offer: every suite, the answer's transport and key, audio either way, RTCP")
async def srtp_in(world: World) -> None:
    for suite in SUITES:
        phone, _ = await _called(world, new_key(suite, tag=3))
        other_rtp = await world.rtp("call2")
        other = await ringing(world, "call2", rtp=other_rtp)
        await other.answer()
        await phone.join("safe")
        await other.join("safe")
        (await other.hears(600)).has_tones(TONE_HZ)
        await _talks_both_ways(phone, suite)
        await ends_as(phone, "sdes")
        await other.hang_up()


@scenario("SRTP: SAVPF and keys beside plain audio are answered alike; nothing in the clear is heard or sent")
async def srtp_transports(world: World) -> None:
    for protocol in ("RTP/SAVPF", "RTP/AVP"):
        phone, _ = await _called(world, new_key(), protocol)
        await _talks_both_ways(phone, protocol)
        await phone.hang_up()


@scenario("SRTP: offers without a key that can be used get 488 and leave nothing behind")
async def srtp_broken(world: World) -> None:
    key = new_key().line
    for name, line in {
        "no key": "a=x",
        "short key": key[:-4],
        "unknown suite": key.replace(CM_80, "F8_128_HMAC_SHA1_80"),
        "key with an identifier": key + "|2^20|1:4",
        "no encryption": key + " UNENCRYPTED_SRTP",
        "garbage": "a=crypto:1 " + CM_80 + " inline:*",
        "empty": "a=crypto:",
    }.items():
        call = world.ua.new_call("bad")
        await call.send_invite(audio_sdp(40000, protocol=SAVP, extra=[line]))
        response = await call.any_response("INVITE")
        await call.ack(response)
        check(f"{name}: status", response.status, 488)
        await world.no_event("leg.ringing", for_s=0.1)
    await world.no_legs()


@scenario(
    "SRTP: a re-INVITE with our key keeps the server's, one with a new key gets a new one; broken ones 488"
)
async def srtp_rekeyed(world: World) -> None:
    ours = new_key(GCM_128)
    phone, theirs = await _called(world, ours)
    rtp = phone.rtp
    await _talks_both_ways(phone, "first key")
    held = await phone.reinvite(_sdp(rtp, ours, version=2, direction="sendonly"))
    require(_accepted(held, ours, SAVP).value == theirs.value, "key in a hold", "as before", "a new one")
    resumed = await phone.reinvite(_sdp(rtp, ours, version=3))
    require(
        _accepted(resumed, ours, SAVP).value == theirs.value, "key after a hold", "as before", "a new one"
    )
    await _talks_both_ways(phone, "after a hold")
    rtp.stop_talking()
    fresh = new_key(CM_32)
    changed = _accepted(await phone.reinvite(_sdp(rtp, fresh, version=4)), fresh, SAVP)
    require(changed.value != theirs.value, "key after ours changed", "a new one", "as before")
    rtp.protection = Protection(fresh, changed)
    rtp.talk(TONE_HZ)
    await _talks_both_ways(phone, "second key")
    await phone.reinvite(audio_sdp(rtp.port, protocol=SAVP, version=5), 488)
    await _talks_both_ways(phone, "after a refused offer")
    await phone.hang_up()


@scenario("Calls with srtp: required offers SAVP and hears SRTP; a plain or wrong answer ends the call")
async def srtp_out(world: World) -> None:
    phone, _ = await dialled(world, {"srtp": "required"})
    assert phone.call.invite is not None
    offer = sdp_of(phone.call.invite).audio
    check("protocol of the offer", offer.protocol, SAVP)
    keys = _keys(offer)
    check("suites of the offer", [key.suite for key in keys], [GCM_128, GCM_256, CM_80])
    theirs = keys[2]
    ours = new_key(theirs.suite, theirs.tag)
    phone.rtp.protection = Protection(ours, theirs)
    await picked_up(phone, _sdp(phone.rtp, ours), tone=TONE_HZ)
    await _talks_both_ways(phone, "answered")
    await phone.hang_up()
    for name, answer in {
        "plain": audio_sdp(40000),
        "no key": audio_sdp(40000, protocol=SAVP),
        "unknown tag": audio_sdp(40000, protocol=SAVP, extra=[new_key(CM_80, 9).line]),
    }.items():
        phone, _ = await dialled(world, {"srtp": "required"}, user="mallory")
        assert phone.call.invite is not None
        await phone.call.reply(phone.call.invite, 200, sdp=answer)
        await phone.call.request("ACK")
        bye = await phone.call.request("BYE", 3.0)
        await phone.call.reply(bye, 200)
        await world.disconnected(phone.leg_id, "connect_failed")
        check(f"{name}: packets", len(phone.rtp.received), 0)


@scenario(
    "Words of srtp and srtp_keying: off offers plain audio, sdes keys in the description, others get 400"
)
async def srtp_words(world: World) -> None:
    offers = (
        ({"srtp": "off"}, "RTP/AVP", 0),
        ({"srtp": "required", "srtp_keying": "sdes"}, SAVP, 3),
        ({"srtp": "preferred", "srtp_keying": "sdes"}, "RTP/AVP", 3),
    )
    for body, protocol, keys in offers:
        phone, _ = await dialled(world, {**body})
        assert phone.call.invite is not None
        offer = sdp_of(phone.call.invite).audio
        check(f"{body}: protocol", offer.protocol, protocol)
        check(f"{body}: keys", len(_keys(offer)), keys)
        await refused(phone, 486, "busy")
    uri = f"sip:bob@{world.ua.host_port}"
    for bad in ({"srtp": "maybe"}, {"srtp_keying": "mikey"}):
        await world.rest("POST", "/v1/legs", {"type": "sip", "to": uri, **bad}, status=400)


@scenario("Calls with srtp: preferred offer keys beside plain audio, and are plain where the answer is")
async def srtp_preferred(world: World) -> None:
    for secure in (True, False):
        phone, _ = await dialled(world, {"srtp": "preferred"})
        assert phone.call.invite is not None
        offer = sdp_of(phone.call.invite).audio
        check("protocol of the offer", offer.protocol, "RTP/AVP")
        theirs = _keys(offer)[0]
        ours = new_key(theirs.suite, theirs.tag)
        if secure:
            phone.rtp.protection = Protection(ours, theirs)
        sdp = _sdp(phone.rtp, *([ours] if secure else []), protocol="RTP/AVP")
        await picked_up(phone, sdp, tone=TONE_HZ)
        await _talks_both_ways(phone, f"secure: {secure}")
        await phone.hang_up()


@scenario(
    "With VB_SIP_SRTP=required plain calls get 488 and calls out are SAVP", env={"VB_SIP_SRTP": "required"}
)
async def srtp_required(world: World) -> None:
    call = world.ua.new_call("plain")
    await call.send_invite(audio_sdp(40000))
    response = await call.any_response("INVITE")
    await call.ack(response)
    check("status of a plain offer", response.status, 488)
    await world.no_event("leg.ringing", for_s=0.1)
    phone, _ = await _called(world, new_key())
    await _talks_both_ways(phone, "in")
    await phone.reinvite(audio_sdp(phone.rtp.port, version=2), 488)
    await _talks_both_ways(phone, "after a plain offer")
    await phone.hang_up()
    phone, _ = await dialled(world)
    assert phone.call.invite is not None
    check("protocol of the offer", sdp_of(phone.call.invite).audio.protocol, SAVP)
    await phone.call.reply(phone.call.invite, 486)
    await phone.call.request("ACK")
    await world.disconnected(phone.leg_id, "busy")


@scenario(
    "With VB_SIP_SRTP=required a call without an offer gets SAVP in the 200", env={"VB_SIP_SRTP": "required"}
)
async def srtp_late_offer(world: World) -> None:
    rtp = await world.rtp("call1")
    call = world.ua.new_call("call1")
    await call.send_invite(None)
    await call.response(100)
    event = await world.event("leg.ringing", {"from": "call1"})
    phone = Phone(world, call, rtp, str(event["leg_id"]), inbound=True)
    await world.rest("POST", f"{phone.path}/answer", status=202)
    answer = await call.response(200)
    offer = sdp_of(answer)
    check("protocol of the offer", offer.audio.protocol, SAVP)
    theirs = _keys(offer.audio)[1]
    ours = new_key(theirs.suite, theirs.tag)
    rtp.protection = Protection(ours, theirs)
    phone.media_to(offer)
    rtp.talk(TONE_HZ)
    await call.ack(answer, _sdp(rtp, ours))
    await world.event("leg.connected", leg_id=phone.leg_id)
    await _talks_both_ways(phone, "late offer")
    await phone.hang_up()
