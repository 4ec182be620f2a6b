"""The text of our SDP line by line, apart from ids and ports."""

from __future__ import annotations

import re

from conformance.expect import ANY, check
from conformance.peers.sdp_text import audio_lines, audio_sdp, session
from conformance.peers.sip_call import sdp_of
from conformance.peers.sip_message import SipMessage
from conformance.peers.text_peer import text_lines
from conformance.phones import dialled, picked_up, refused, ringing
from conformance.registry import scenario
from conformance.world import World

HEAD = ["v=0", "o=- <id> <v> IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
PCMU = ["a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16"]
OPUS = "a=fmtp:111 minptime=20; useinbandfec=1; stereo=0; sprop-stereo=0"
M_TEXT = "m=text <port> RTP/AVP 98 99"
TEXT = ["a=rtpmap:98 red/1000", "a=rtpmap:99 t140/1000", "a=fmtp:98 99/99/99"]


def _layout(message: SipMessage) -> list[str]:
    """The lines of its SDP with ids, version and ports as words; RTCP lines are free."""
    text = "\n".join(line for line in sdp_of(message).lines if not line.startswith("a=rtcp:"))
    text = re.sub(r"^o=- \d+ \d+", "o=- <id> <v>", text, flags=re.MULTILINE)
    text = re.sub(r"^(m=\w+) [1-9]\d*", r"\1 <port>", text, flags=re.MULTILINE)
    return text.split("\n")


@scenario("Our offers line by line: G.711 alone, every codec, hold, with text")
async def sdp_offers(world: World) -> None:
    phone, _ = await dialled(world, {"codecs": ["PCMU"]})
    assert phone.call.invite is not None
    ending = ["a=ptime:20", "a=sendrecv", "a=rtcp-mux"]
    plain = [*HEAD, "m=audio <port> RTP/AVP 0 101", *PCMU, *ending]
    check("offer", _layout(phone.call.invite), plain)
    await picked_up(phone)
    await world.rest("POST", f"{phone.path}/hold", status=202)
    hold = await phone.call.request("INVITE")
    check("hold", [line for line in _layout(hold) if line.startswith("a=send")], ["a=sendonly"])
    await phone.call.reply(hold, 200, sdp=audio_sdp(phone.rtp.port, direction="recvonly", version=2))
    await phone.call.request("ACK")
    await world.event("leg.hold", leg_id=phone.leg_id)
    await phone.hang_up()
    phone, _ = await dialled(world)
    assert phone.call.invite is not None
    codecs = [
        "m=audio <port> RTP/AVP 111 9 0 8 100 101",
        "a=rtpmap:111 opus/48000/2",
        OPUS,
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
    ]
    events = [
        line
        for number, rate in ((100, 48000), (101, 8000))
        for line in (f"a=rtpmap:{number} telephone-event/{rate}", f"a=fmtp:{number} 0-16")
    ]
    check("every codec", _layout(phone.call.invite), [*HEAD, *codecs, *events, *ending])
    await refused(phone, 486, "busy")
    phone, _ = await dialled(world, {"codecs": ["PCMU"], "rtt": True})
    assert phone.call.invite is not None
    lines = _layout(phone.call.invite)
    check("with text", lines[: len(plain)], plain)
    text = lines[len(plain) :]
    check("its text", [text[0], *sorted(text[1:4])], [M_TEXT, *sorted(TEXT)])
    await refused(phone, 486, "busy")


@scenario("Our answers line by line: plain, opus, text, refused text, video")
async def sdp_answers(world: World) -> None:
    rtp, text = await world.rtp("call1"), await world.text("call1")
    ending = ["a=ptime:20", "a=sendrecv"]
    plain = [*HEAD, "m=audio <port> RTP/AVP 0 101", *PCMU, *ending]
    opus = ["m=audio <port> RTP/AVP 111 101", "a=rtpmap:111 opus/48000/2", OPUS, *PCMU[1:], *ending]
    audio = audio_lines(rtp.port)
    video = ["m=video 40002 RTP/AVP 96", "a=rtpmap:96 H264/90000"]
    cases: tuple[tuple[str, list[str], list[str], list[str]], ...] = (
        ("plain", audio, plain, []),
        ("opus", audio_lines(rtp.port, codecs=["opus"]), [*HEAD, *opus], []),
        ("text", [*audio, *text_lines(text.port)], plain, [M_TEXT, *TEXT]),
        ("refused text", [*audio, "m=text 0 RTP/AVP 98"], plain, ["m=text 0 RTP/AVP 0"]),
        ("video", [*audio, *video], plain, ["m=video 0 RTP/AVP 96"]),
    )
    for name, offer, expected, rest in cases:
        phone = await ringing(world, "call1", rtp=rtp, sdp=session(offer), offered=ANY)
        lines = _layout(await phone.answer())
        check(name, lines[: len(expected)], expected)
        check(f"{name}: what follows", sorted(lines[len(expected) :][: len(rest)]), sorted(rest))
        if not rest:
            check(f"{name}: nothing follows", lines[len(expected) :], [])
        await phone.hang_up()


@scenario(
    "SIP_SDP_STRICT_MLINE_ANSWER changes nothing: every m-line is answered anyway",
    env={"SIP_SDP_STRICT_MLINE_ANSWER": "true"},
)
async def strict_m_lines(world: World) -> None:
    rtp = await world.rtp("call1")
    offer = session([*audio_lines(rtp.port), "m=video 40002 RTP/AVP 96", "a=rtpmap:96 H264/90000"])
    phone = await ringing(world, rtp=rtp, sdp=offer)
    answer = sdp_of(await phone.answer())
    check("ports", [media.port > 0 for media in answer.media], [True, False])
    await phone.hang_up()
