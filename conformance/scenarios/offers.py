"""Offers and answers on inbound calls: bad ones, late ones, re-INVITEs, codecs."""

from __future__ import annotations

from conformance.expect import ABSENT, ANY, Difference, check, one_of, require
from conformance.peers.sdp_text import audio_lines, audio_sdp, session
from conformance.peers.sip_call import Call, sdp_of
from conformance.peers.sip_message import SipMessage
from conformance.phones import Phone, answered, check_answer, ringing
from conformance.registry import scenario
from conformance.world import World


async def _refused(
    world: World, body: bytes, *statuses: int, content_type: str = "application/sdp"
) -> SipMessage:
    """Offers something the server cannot take: a final response at once, no leg, no event."""
    call: Call = world.ua.new_call("bad")
    await call.send_invite(body, content_type=content_type)
    response = await call.any_response("INVITE")
    await call.ack(response)
    check(f"status for {body[:80]!r}…", response.status, one_of(*statuses))
    await world.no_event("leg.ringing", for_s=0.1)
    return response


@scenario(
    "Offers the server cannot take: GSM, SAVP, refused audio, no audio, video, broken SDP, another body"
)
async def in_bad_offer(world: World) -> None:
    for name, body in {
        "GSM": audio_sdp(40000, codecs=["GSM"], telephone_event=None),
        "SAVP": audio_sdp(40000, protocol="RTP/SAVP"),
        "GSM and events": audio_sdp(40000, codecs=["GSM"]),
    }.items():
        response = await _refused(world, body, 488)
        warning = response.header("Warning") or ""
        require(warning[:2] == "30", f"{name}: Warning", "30x", warning)
    for body in (audio_sdp(0), session([]), session(["m=video 40000 RTP/AVP 96", "a=rtpmap:96 H264/90000"])):
        await _refused(world, body, 488, 400)
    await _refused(world, b"this is not sdp", 400)
    response = await _refused(world, b"<xml/>", 415, content_type="application/xml")
    require(
        "application/sdp" in (response.header("Accept") or ""),
        "415: Accept",
        "application/sdp",
        response.header("Accept"),
    )
    await world.no_legs()
    phone = await answered(world)
    await phone.hang_up()


@scenario("INVITE without SDP; in multipart bodies of both shapes; with SDP that lacks its last line end")
async def in_late_offer(world: World) -> None:
    rtp = await world.rtp("call1")
    call = world.ua.new_call("call1")
    await call.send_invite(None)
    await call.response(100)
    event = await world.event("leg.ringing", {"from": "call1", "offered_codecs": ABSENT})
    phone = Phone(world, call, rtp, str(event["leg_id"]), inbound=True)
    await world.rest("POST", f"{phone.path}/answer", status=202)
    answer = await call.response(200)
    offer = sdp_of(answer)
    require(
        "0" in offer.audio.formats, "offer in the 200", "PCMU among the payload types", offer.audio.formats
    )
    phone.media_to(offer)
    rtp.talk(None)
    await call.ack(answer, audio_sdp(rtp.port))
    await world.event("leg.connected", leg_id=phone.leg_id)
    (await phone.hears()).is_steady()
    await phone.hang_up()

    sdp = audio_sdp(40000)
    shapes = {
        "its own line end": b"--b1\r\nContent-Type: application/sdp\r\n\r\n"
        + sdp
        + b"\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b1--\r\n",
        "the boundary takes the line end": b"--b1\r\nContent-Type: application/sdp\r\n\r\n"
        + sdp
        + b"--b1\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b1--\r\n",
    }
    for name, body in shapes.items():
        phone = await ringing(world, "call2", sdp=body, content_type="multipart/mixed;boundary=b1")
        answer = await phone.answer()
        require(answer.status == 200, f"multipart, {name}", 200, answer.status)
        await phone.hang_up()
    phone = await ringing(world, "call4", sdp=sdp[:-2])
    await phone.answer()
    await phone.hang_up()


async def _held(
    world: World, phone: Phone, direction: str | None, held: bool, changes: bool, answer: str
) -> None:
    """One re-INVITE: the answer's direction, the event if the state changes, the view, and the media."""
    sdp = audio_sdp(phone.rtp.port, direction=direction, version=2)
    response = await phone.reinvite(sdp)
    check_answer(response, payload_types=["0", "101"], direction=answer)
    kind, other = ("leg.hold", "leg.unhold") if held else ("leg.unhold", "leg.hold")
    if changes:
        await world.event(kind, leg_id=phone.leg_id, leg_type="sip_inbound")
    await world.no_event(kind, for_s=0.1)
    await world.no_event(other, for_s=0.0)
    await world.leg_state(phone.leg_id, state="held" if held else "connected", held=held)
    heard = await phone.hears(300)
    if held:
        heard.is_nothing()
    else:
        heard.is_steady()


@scenario("re-INVITEs: sendonly, sendrecv, inactive, recvonly, no direction, no SDP, bad SDP, another codec")
async def in_reinvite(world: World) -> None:
    phone = await answered(world)
    first = sdp_of(next(m for m in phone.call.inbox.items() if m.status == 200))
    await _held(world, phone, "sendonly", True, True, "recvonly")
    await _held(world, phone, "sendonly", True, False, "recvonly")
    await _held(world, phone, "sendrecv", False, True, "sendrecv")
    await _held(world, phone, "sendrecv", False, False, "sendrecv")
    await _held(world, phone, "inactive", True, True, "inactive")
    await _held(world, phone, "recvonly", False, True, "sendonly")
    await _held(world, phone, "sendonly", True, True, "recvonly")
    await _held(world, phone, None, False, True, "sendrecv")

    await phone.call.send_invite(None, within_dialog=True)
    offered = await phone.call.response(200)
    offer = sdp_of(offered)
    check("session id of the fresh offer", offer.session_id, first.session_id)
    require("0" in offer.audio.formats, "fresh offer", "PCMU", offer.audio.formats)
    await phone.call.ack(offered, audio_sdp(phone.rtp.port, version=3))
    (await phone.hears(300)).is_steady()

    await phone.call.send_invite(b"rubbish", within_dialog=True)
    refused = await phone.call.any_response("INVITE")
    check("status for rubbish", refused.status, 488)
    await phone.call.ack(refused)
    await world.leg_state(phone.leg_id, state="connected")

    response = await phone.reinvite(audio_sdp(phone.rtp.port, codecs=["PCMA"], version=5))
    second = check_answer(response, payload_types=["8", "101"])
    check("session id", second.session_id, first.session_id)
    require(second.version > first.version, "o= version", f"more than {first.version}", second.version)
    phone.rtp.talk(None, codec="PCMA")
    (await phone.hears(300)).is_steady(payload_type=8)
    await world.leg_state(phone.leg_id, state="connected")
    await phone.hang_up()


@scenario("re-INVITE that moves the media to another port: audio goes there at once, no hold events")
async def in_reinvite_move(world: World) -> None:
    phone = await answered(world)
    new = await world.rtp("call1, new port")
    new.remote = phone.rtp.remote
    phone.rtp.stop_talking()
    await phone.reinvite(audio_sdp(new.port, version=2))
    fresh, old = await new.listen(400), await phone.rtp.listen(400, settle_ms=0)
    fresh.is_steady()
    old.is_nothing()
    new.talk(None)
    (await new.listen(300)).is_steady()
    for kind in ("leg.hold", "leg.unhold"):
        await world.no_event(kind, for_s=0.0)
    await phone.hang_up()


@scenario("leg.ringing lists the offered codecs; answer takes our preference, or the codec of the request")
async def codec_choice(world: World) -> None:
    everything = ("PCMU", "GSM", "G722", "PCMA", "opus")
    offered = [
        {"name": "PCMU", "payload_type": 0, "clock_rate": 8000, "priority": 1},
        {"name": "G722", "payload_type": 9, "clock_rate": 8000},
        {"name": "PCMA", "payload_type": 8, "clock_rate": 8000},
        {"name": "opus", "payload_type": 111, "clock_rate": 48000},
    ]
    cases: tuple[tuple[dict[str, object] | None, str], ...] = (
        (None, "111"),
        ({"codec": "PCMA"}, "8"),
        ({"codec": "PCMU"}, "0"),
        ({"codec": "g722"}, "9"),
    )
    for number, (body, payload_type) in enumerate(cases, 1):
        rtp = await world.rtp(f"call{number}")
        phone = await ringing(
            world, f"call{number}", rtp=rtp, sdp=audio_sdp(rtp.port, codecs=everything), offered=offered
        )
        event = next(f for f in reversed(world.vsi.frames.items()) if f.get("type") == "leg.ringing")
        listed = event["offered_codecs"]
        assert isinstance(listed, list)
        priorities = [item["priority"] for item in listed]
        require(priorities == sorted(set(priorities)), "priorities", "ascending from 1", priorities)
        answer = sdp_of(await phone.answer(body))
        check(f"chosen with {body}", answer.audio.formats[0], payload_type)
        check(f"audio codecs with {body}", [f for f in answer.audio.formats if f != "101"], [payload_type])
        await phone.hang_up()
    phone = await ringing(world, "call9")
    for codec in ("opus", "FOO", "GSM"):
        await world.rest("POST", f"{phone.path}/answer", {"codec": codec}, status=400)
        await world.rest("POST", f"{phone.path}/early-media", {"codec": codec}, status=400)
    await world.rest("POST", f"{phone.path}/answer", {"codec": 5}, status=400)
    await world.leg_state(phone.leg_id, state="ringing")
    await world.rest("DELETE", phone.path, status=202)


@scenario(
    "A codec that is offered but not enabled cannot be chosen: 400, the leg rings on, ours is answered",
    env={"SIP_CODECS": "PCMA,PCMU"},
)
async def codec_not_enabled(world: World) -> None:
    rtp = await world.rtp("call1")
    sdp = audio_sdp(rtp.port, codecs=("opus", "G722", "PCMU", "PCMA"))
    phone = await ringing(world, rtp=rtp, sdp=sdp, offered=ANY)
    for codec in ("G722", "opus"):
        for way in ("answer", "early-media"):
            await world.rest("POST", f"{phone.path}/{way}", {"codec": codec}, status=400)
        await world.command_fails("answer_leg", {"id": phone.leg_id, "codec": codec}, 400)
    await world.leg_state(phone.leg_id, state="ringing")
    check_answer(await phone.answer(), payload_types=["8", "101"])
    await phone.hang_up()


@scenario("A direction of the whole session holds where the media has none, and not where it has its own")
async def in_session_direction(world: World) -> None:
    for whole, own, answer in (
        ("sendonly", None, "recvonly"),
        ("inactive", None, "inactive"),
        ("sendonly", "sendrecv", "sendrecv"),
        ("sendrecv", "sendonly", "recvonly"),
    ):
        rtp = await world.rtp(f"{whole} {own}")
        sdp = session(audio_lines(rtp.port, direction=own), attributes=[whole])
        phone = await ringing(world, rtp=rtp, sdp=sdp)
        check_answer(await phone.answer(), payload_types=["0", "101"], direction=answer)
        if answer == "sendrecv":
            await world.no_event("leg.hold", leg_id=phone.leg_id, for_s=0.1)
            (await phone.hears(400)).is_steady()
        else:
            await world.event("leg.hold", leg_id=phone.leg_id)
            (await phone.hears(200)).is_nothing()
        await world.leg_state(phone.leg_id, held=answer != "sendrecv")
        await phone.hang_up()


@scenario("A tone goes through a room in every codec: PCMU, PCMA, G722, opus")
async def codec_tones(world: World) -> None:
    steps = {"PCMU": (0, 160), "PCMA": (8, 160), "G722": (9, 160), "opus": (111, 960)}
    listener = await answered(world, "listener", tone=700.0)
    await listener.join("sc-codec")
    for codec, (payload_type, step) in steps.items():
        rtp = await world.rtp(codec)
        phone = await ringing(
            world,
            codec,
            rtp=rtp,
            sdp=audio_sdp(rtp.port, codecs=[codec], telephone_event=None),
            offered=[{"name": codec}],
        )
        answer = await phone.answer()
        check(f"answer in {codec}", sdp_of(answer).audio.formats, [str(payload_type)])
        rtp.talk(440.0, codec=codec)
        await phone.join("sc-codec")
        heard = await phone.hears(500)
        heard.is_steady(payload_type, step)
        heard.has_tones(700, level=-18, within_db=3)
        (await listener.hears(400)).has_tones(440, level=-18, within_db=3)
        await phone.hang_up()
    await listener.hang_up()


@scenario("Packets of 10, 30, 40 and 60 ms are heard whole; the packet time we send follows a=ptime")
async def codec_packet_times(world: World) -> None:
    listener = await answered(world, "listener", tone=700.0)
    await listener.join("sc-ptime")
    for packet_ms, sent_ms in ((10, 20), (30, 20), (40, 40), (60, 60)):
        rtp = await world.rtp(f"{packet_ms} ms")
        phone = await ringing(world, f"p{packet_ms}", rtp=rtp, sdp=audio_sdp(rtp.port, ptime_ms=packet_ms))
        await phone.answer()
        rtp.talk(440.0, packet_ms=packet_ms)
        await phone.join("sc-ptime")
        (await listener.hears(500)).has_tones(440, level=-18, within_db=1.5)
        heard = await phone.hears(600)
        heard.is_steady(step=8 * sent_ms, packets_per_s=1000 / sent_ms)
        heard.has_tones(700, level=-18)
        await phone.hang_up()


@scenario(
    "Every m-line is answered: video and a second audio with port 0; a refused first audio is passed over"
)
async def codec_m_lines(world: World) -> None:
    rtp = await world.rtp("call1")
    video = ["m=video 40002 RTP/AVP 96", "a=rtpmap:96 H264/90000"]
    offers = {
        "audio, video, audio": ([*audio_lines(rtp.port), *video, *audio_lines(40004)], [1, 0, 0]),
        "video, audio": ([*video, *audio_lines(rtp.port)], [0, 1]),
        "refused audio, audio": ([*audio_lines(0), *audio_lines(rtp.port)], [0, 1]),
    }
    for name, (lines, live) in offers.items():
        phone = await ringing(world, rtp=rtp, sdp=session(lines))
        sdp = sdp_of(await phone.answer())
        got = [int(m.port > 0) for m in sdp.media]
        if got != live:
            raise Difference(f"{name}: m-lines in use", live, got)
        rtp.talk(None)
        (await phone.hears(300)).is_steady()
        await phone.hang_up()


@scenario(
    "telephone-event only if offered, with the offered payload type; rtcp-mux and mid answered as offered"
)
async def codec_attributes(world: World) -> None:
    rtp = await world.rtp("call1")
    phone = await ringing(world, rtp=rtp, sdp=audio_sdp(rtp.port, telephone_event=None))
    sdp = sdp_of(await phone.answer())
    check("payload types without events offered", sdp.audio.formats, ["0"])
    await phone.hang_up()
    phone = await ringing(
        world, rtp=rtp, sdp=audio_sdp(rtp.port, telephone_event=96, extra=["a=rtcp-mux", "a=mid:7"])
    )
    sdp = sdp_of(await phone.answer())
    check("payload types", sdp.audio.formats, ["0", "96"])
    check("events", sdp.audio.rtpmaps.get(96), "telephone-event/8000")
    check("rtcp-mux", sdp.audio.attribute("rtcp-mux"), "")
    check("mid", sdp.audio.attribute("mid"), "7")
    rtp.talk(None)
    await rtp.send_digit("9", payload_type=96)
    await world.event("dtmf.received", leg_id=phone.leg_id, digit="9", seq=1)
    await phone.hang_up()
