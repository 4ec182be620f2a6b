"""The RTP stream itself: strangers, moves, silence, jitter settings, other ways to send digits."""

from __future__ import annotations

import struct
import time

import trio

from conformance.expect import between, check, require
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import sdp_of
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.world import World


async def _pair(world: World, room_id: str) -> tuple[Phone, Phone]:
    first = await answered(world, "call1", tone=500.0)
    second = await answered(world, "call2", tone=800.0)
    for phone in (first, second):
        await phone.join(room_id)
    (await second.rtp.listen(200, settle_ms=400)).has_tones(500, level=-18)
    return first, second


@scenario("RTP, RTCP and BYE from a third address: not heard, not answered, the call is not led away")
async def rtp_strangers(world: World) -> None:
    first, second = await _pair(world, "sc-rtp")
    stranger = await world.rtp("stranger")
    assert first.rtp.remote is not None
    stranger.remote = first.rtp.remote
    stranger.talk(1200.0)
    heard = await second.hears(500)
    heard.is_steady()
    heard.has_tones(500, level=-18)
    (await first.hears(300)).has_tones(800, level=-18)
    stranger.stop_talking()
    goodbye = struct.pack("!BBHI", 0x81, 203, 1, 4711)
    for port in (stranger.remote[1], stranger.remote[1] + 1):
        await stranger.send_raw(goodbye, (stranger.remote[0], port))
    await trio.sleep(0.2)
    (await first.hears(200)).is_steady()
    check("packets at the stranger", len(stranger.received), 0)
    check("RTCP at the stranger", len(stranger.rtcp), 0)
    for phone in (first, second):
        await phone.hang_up()


async def _moved(first: Phone, second: Phone, within_s: float) -> bool:
    """The far end goes on from another address without a word; whether audio follows, both ways, in time."""
    await trio.sleep(0.3)
    first.rtp.stop_talking()
    moved = await first.world.rtp("moved")
    moved.remote = first.rtp.remote
    await trio.sleep(2.3)
    moved.talk(1300.0)
    with trio.move_on_after(within_s):
        while True:
            heard = await second.hears(300)
            if heard.tones and len(moved.received) > 10:
                return True
    return False


@scenario("A far end that fell silent and goes on from another address is followed", timeout_s=40)
async def rtp_relatch(world: World) -> None:
    first, second = await _pair(world, "sc-rtp")
    check("followed", await _moved(first, second, 3.0), True)
    for phone in (first, second):
        await phone.hang_up()


@scenario("With VB_RTP_RELATCH=false it is not followed", env={"VB_RTP_RELATCH": "false"})
async def rtp_relatch_off(world: World) -> None:
    first, second = await _pair(world, "sc-rtp")
    check("followed", await _moved(first, second, 1.2), False)
    for phone in (first, second):
        await phone.hang_up()


@scenario(
    "A far end that sends nothing ends as rtp_timeout; not while it holds us, not before the answer",
    env={"VB_RTP_TIMEOUT": "1s"},
)
async def rtp_timeout(world: World) -> None:
    waiting = await ringing(world, "early")
    await world.rest("POST", f"{waiting.path}/early-media", status=202)
    await waiting.call.response(183)
    holding = await answered(world, "holding", tone=500.0)
    await holding.reinvite(audio_sdp(holding.rtp.port, direction="inactive", version=2))
    await world.event("leg.hold", leg_id=holding.leg_id)
    holding.rtp.stop_talking()
    phone = await answered(world, tone=500.0)
    await trio.sleep(0.5)
    start = time.monotonic()
    phone.rtp.stop_talking()
    bye = await phone.call.request("BYE", 4)
    check("seconds of silence", time.monotonic() - start, between(0.8, 2.5))
    await phone.call.reply(bye, 200)
    await world.disconnected(phone.leg_id, "rtp_timeout", answered=True)
    await trio.sleep(0.5)
    await world.leg_state(waiting.leg_id, state="early_media")
    await world.leg_state(holding.leg_id, state="held")
    await holding.hang_up()
    await waiting.call.cancel()
    await waiting.call.ack(await waiting.call.response(487))


async def _crosses(world: World) -> None:
    """Audio gets through whole at 20 ms and at 60 ms a packet."""
    first, second = await _pair(world, "sc-jitter")
    first.rtp.talk(700.0, packet_ms=60)
    (await second.rtp.listen(400, settle_ms=400)).has_tones(700, level=-18)
    for phone in (first, second):
        await phone.hang_up()


@scenario("No play-out delay: packets are played as they come", env={"SIP_JITTER_BUFFER_MS": "0"})
async def jitter_none(world: World) -> None:
    await _crosses(world)


@scenario(
    "A fixed play-out delay and its limit: audio comes that much later, and whole",
    env={"SIP_JITTER_BUFFER_MS": "200", "SIP_JITTER_BUFFER_MAX_MS": "400"},
)
async def jitter_fixed(world: World) -> None:
    await _crosses(world)
    first, second = await _pair(world, "sc-delay")
    first.rtp.talk(None)
    await trio.sleep(0.8)
    start = time.monotonic()
    first.rtp.talk(730.0)
    await trio.sleep(0.6)
    loud = [p for p in second.rtp.received if p.at > start and len(set(p.payload)) > 30]
    delay_ms = (loud[0].at - start) * 1000 if loud else 0
    check("delay in ms", delay_ms, between(180, 320))
    for phone in (first, second):
        await phone.hang_up()


@scenario(
    "Two G.711 legs alone hear each other with and without pass-through", env={"VB_PASS_THROUGH": "false"}
)
async def no_pass_through(world: World) -> None:
    await _crosses(world)


@scenario("With VB_DTMF_INFO digits in INFO requests count, in both formats", env={"VB_DTMF_INFO": "true"})
async def dtmf_info(world: World) -> None:
    phone = await answered(world)
    bodies = (
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", "5"),
        ("application/dtmf-relay", b"Signal= #\r\nDuration= 100\r\n", "#"),
        ("application/dtmf-relay", b"Signal=7;Duration=160\0", "7"),
        ("application/dtmf", b"7", "7"),
    )
    for seq, (kind, body, digit) in enumerate(bodies, 1):
        await phone.call.send_request("INFO", headers=[("Content-Type", kind)], body=body)
        await phone.call.response(200, "INFO")
        await world.event("dtmf.received", leg_id=phone.leg_id, digit=digit, seq=seq)
    await phone.call.send_request("INFO", headers=[("Content-Type", "text/plain")], body=b"hello")
    status = (await phone.call.any_response("INFO")).status
    require(status in (200, 405, 415), "INFO of another type", "200, 405 or 415", status)
    await world.no_event("dtmf.received", for_s=0.2)
    await phone.hang_up()


@scenario(
    "With VB_DTMF_INBAND tones in the audio are digits where no telephone-events were agreed, and only there",
    env={"VB_DTMF_INBAND": "true"},
)
async def dtmf_inband(world: World) -> None:
    rtp = await world.rtp("call1")
    phone = await ringing(world, rtp=rtp, sdp=audio_sdp(rtp.port, telephone_event=None))
    await phone.answer()
    rtp.talk((770.0, 1336.0))
    await world.event("dtmf.received", leg_id=phone.leg_id, digit="5", seq=1)
    rtp.talk(None)
    await trio.sleep(0.2)
    rtp.talk((941.0, 1477.0))
    await world.event("dtmf.received", leg_id=phone.leg_id, digit="#", seq=2)
    await phone.hang_up()
    other = await answered(world, "call2")
    other.rtp.talk((770.0, 1336.0))
    await world.no_event("dtmf.received", for_s=0.4)
    await other.hang_up()


@scenario(
    "Addresses: one is bound, another is told in SDP, Contact and Via",
    env={"SIP_BIND_IP": "127.0.0.2", "SIP_LISTEN_IP": "127.0.0.1", "SIP_EXTERNAL_IP": "127.0.0.3"},
)
async def addresses_told(world: World) -> None:
    phone, _ = await dialled(world, {"codecs": ["PCMU"]})
    invite = phone.call.invite
    assert invite is not None
    for name in ("Contact", "Via"):
        require("127.0.0.3" in invite.must(name), name, "127.0.0.3", invite.header(name))
    check("c=", sdp_of(invite).audio.connection, "IN IP4 127.0.0.3")
    phone.rtp.remote = ("127.0.0.1", sdp_of(invite).audio.port)
    await picked_up(phone)
    (await phone.hears(200)).is_steady()
    await phone.hang_up()


@scenario(
    "An IPv6 address to bind beside the one to tell; SIP_DEBUG logs messages, at level debug",
    env={"SIP_BIND_IPV6": "::1", "SIP_LISTEN_IPV6": "::1", "SIP_DEBUG": "true", "LOG_LEVEL": "debug"},
)
async def debug_log(world: World) -> None:
    check("bound", world.target.sip_address("udp", ipv6=True)[0], "::1")
    phone = await answered(world)
    await phone.hang_up()
    require(b"INVITE sip:room@" in bytes(world.target.log), "the log", "the INVITE", "it is not there")


@scenario("Without SIP_DEBUG the log holds no SIP messages", env={"LOG_LEVEL": "warn"})
async def quiet_log(world: World) -> None:
    phone = await answered(world)
    await phone.hang_up()
    log = bytes(world.target.log)
    require(b"INVITE sip:" not in log, "the log", "no SIP messages", log[-300:])
    require(log.count(b"\n") < 5, "lines of the log at level warn", "hardly any", log[-600:])
