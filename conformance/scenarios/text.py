"""Real-time text: T.140 with redundancy, in both directions, within rooms, and legs without it."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from conformance.expect import ABSENT, Difference, check, require
from conformance.peers.sdp_text import Media, Sdp, audio_lines, audio_sdp, session
from conformance.peers.sip_call import sdp_of
from conformance.peers.text_peer import INTERVAL_MS, RED, T140, TextPeer, text_lines
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.world import World

LOST = "\ufffd"


@dataclass
class TextPhone:
    """A phone that also types."""

    phone: Phone
    text: TextPeer

    @property
    def rtt(self) -> str:
        """The path of its text."""
        return f"{self.phone.path}/rtt"

    async def types(self, text: str, seq: int, **how: bool) -> None:
        """Sends text and waits for the event."""
        await self.text.send(text, **how)
        await self.told(text, seq)

    async def told(self, text: str, seq: int, loss_marker: object = ABSENT) -> None:
        """Waits for the event of received text."""
        expected = {"text": text, "seq": seq, "loss_marker": loss_marker}
        await self.phone.world.event("rtt.received", expected, leg_id=self.phone.leg_id)


def _text_of(sdp: Sdp) -> Media:
    found = [media for media in sdp.media if media.kind == "text"]
    if len(found) != 1:
        raise Difference("SDP", "one m=text", [media.kind for media in sdp.media])
    return found[0]


async def _typing(world: World, name: str = "call1", *, generations: int | None = 2) -> TextPhone:
    """An inbound call with text, connected."""
    rtp, text = await world.rtp(name), await world.text(name)
    offer = session([*audio_lines(rtp.port), *text_lines(text.port, generations=generations)])
    phone = await ringing(world, name, rtp=rtp, sdp=offer)
    answer = sdp_of(await phone.answer())
    agreed = _text_of(answer)
    check("kinds of the answer", [media.kind for media in answer.media], ["audio", "text"])
    require(agreed.port > 0, "port of the text", "not 0", agreed.port)
    text.remote = ("127.0.0.1", agreed.port)
    if generations is not None:
        check("formats of the text", agreed.formats, [str(RED), str(T140)])
        check("rtpmap of red", agreed.rtpmaps.get(RED), "red/1000")
        check("fmtp of red", agreed.fmtp(RED), "/".join([str(T140)] * (generations + 1)))
    check("rtpmap of t140", agreed.rtpmaps.get(T140), "t140/1000")
    return TextPhone(phone, text)


@scenario(
    "RTT: text in with redundancy and plain, lost text, text out with two generations; refused requests"
)
async def rtt(world: World) -> None:
    typing = await _typing(world)
    await typing.types("héllo", 1)
    await typing.types(" you", 2)
    await trio.sleep(3 * INTERVAL_MS / 1000)  # what begins a session is repeated twice
    await world.rest("POST", typing.rtt, {"text": "hi "}, status=200, expect={"status": "sent"})
    first = await typing.text.packet()
    check("payload type", first.payload_type, RED)
    check("marker after idle", first.marker, True)
    check("redundant blocks at the start", first.history, ["", ""])
    check("text", first.text, "hi ")
    await world.rest("POST", typing.rtt, {"text": "there"}, status=200)
    second = await typing.text.packet()
    check("marker in the flow", second.marker, False)
    check("redundant blocks", second.history, ["", "hi "])
    check("text", second.text, "there")
    check("sequence", second.sequence, (first.sequence + 1) & 0xFFFF)
    check("age of the old block", second.blocks[1].offset_ms, (second.timestamp - first.timestamp) & 0xFFFF)
    for history in (["hi ", "there"], ["there", ""]):
        trailer = await typing.text.packet()
        check("a trailer repeats", (trailer.history, trailer.text), (history, ""))
    for body in ({"text": ""}, {}, {"text": 5}, "{"):
        assert isinstance(body, dict | str)
        await world.rest("POST", typing.rtt, body, status=400)
    (await typing.phone.hears(200)).is_steady()
    await typing.phone.hang_up()
    check("malformed packets", typing.text.malformed, [])


@scenario(
    "RTT received: one or two lost packets are restored, three leave U+FFFD and say so; repeats, disorder"
)
async def rtt_loss(world: World) -> None:
    typing = await _typing(world)
    text = typing.text
    await typing.types("a", 1)
    await text.send("b", lost=True)
    await text.send("c")
    await typing.told("bc", 2)
    for letter in "de":
        await text.send(letter, lost=True)
    await text.send("f")
    await typing.told("def", 3)
    for letter in "ghi":
        await text.send(letter, lost=True)
    packet = await text.send("j")
    await typing.told(f"{LOST}hij", 4, loss_marker=True)
    await text.send_raw(packet)
    await world.no_event("rtt.received", for_s=0.3)
    late = await text.send("k", lost=True)
    await text.send("l")
    await typing.told("kl", 5)
    await text.send_raw(late)
    await world.no_event("rtt.received", for_s=0.3)
    for bad in (b"", b"\xe3", b"\xe3\xff\xff\xff", b"\xe3\x00\x03\xff\x63x"):
        await text.send_raw(text.pack(bad, RED))
    await world.leg_state(typing.phone.leg_id, state="connected")
    await typing.phone.hang_up()


@scenario("RTT reject and accept, by REST and VSI; send_leg_rtt; text in several pieces; emoji stay whole")
async def rtt_commands(world: World) -> None:
    typing = await _typing(world)
    leg: dict[str, object] = {"id": typing.phone.leg_id}
    await typing.types("1", 1)
    await world.rest("POST", f"{typing.rtt}/reject", status=200, expect={"status": "rtt_rejecting"})
    await typing.text.send("2")
    await world.no_event("rtt.received", for_s=0.3)
    await world.rest("POST", f"{typing.rtt}/accept", status=200, expect={"status": "rtt_accepting"})
    await typing.text.send("3")
    event = await world.event("rtt.received", leg_id=typing.phone.leg_id)
    check("text after accept", event["text"], "3")
    await world.command("reject_leg_rtt", leg, {"status": "rtt_rejecting"})
    await typing.text.send("4")
    await world.no_event("rtt.received", for_s=0.3)
    await world.command("accept_leg_rtt", leg, {"status": "rtt_accepting"})
    await typing.text.send("5\u0008\r\n\N{WAVING HAND SIGN}")
    event = await world.event("rtt.received", leg_id=typing.phone.leg_id)
    check("control characters and emoji", event["text"], "5\u0008\r\n\N{WAVING HAND SIGN}")
    wanted = "to \N{WAVING HAND SIGN} be"
    for piece in ("to ", "\N{WAVING HAND SIGN}", " be"):
        await world.command("send_leg_rtt", {**leg, "text": piece}, {"status": "sent"})
    await typing.text.text(wanted)
    long = "\N{GREEK SMALL LETTER OMEGA}" * 250
    await world.rest("POST", typing.rtt, {"text": long}, status=200)
    await typing.text.text(long, within_s=5)
    await typing.phone.hang_up()


@scenario("Plain T.140 without redundancy: text both ways, one block a packet, a loss is told")
async def rtt_plain(world: World) -> None:
    typing = await _typing(world, generations=None)
    await typing.types("plain", 1, redundant=False)
    await world.rest("POST", typing.rtt, {"text": "back"}, status=200)
    packet = await typing.text.packet()
    check("payload type", packet.payload_type, T140)
    check("text", packet.text, "back")
    await typing.text.send("lost", redundant=False, lost=True)
    await typing.text.send("!", redundant=False)
    await typing.told(f"{LOST}!", 2, loss_marker=True)
    await typing.phone.hang_up()


@scenario("A leg without text, and an m=text that is refused: audio is fine, sending text is 409 everywhere")
async def rtt_without(world: World) -> None:
    phone = await answered(world)
    await world.rest("POST", f"{phone.path}/rtt", {"text": "x"}, status=409)
    await world.command_fails("send_leg_rtt", {"id": phone.leg_id, "text": "x"}, 409)
    await world.rest("POST", f"{phone.path}/rtt/accept", status=200, expect={"status": "rtt_accepting"})
    await phone.hang_up()

    rtp = await world.rtp("call2")
    offer = session([*audio_lines(rtp.port), "m=text 0 RTP/AVP 98", "a=rtpmap:98 t140/1000"])
    phone = await ringing(world, "call2", rtp=rtp, sdp=offer)
    answer = sdp_of(await phone.answer())
    check("text that the caller refused", _text_of(answer).port, 0)
    await world.rest("POST", f"{phone.path}/rtt", {"text": "x"}, status=409)
    (await phone.hears(200)).is_steady()
    await phone.hang_up()


@scenario("rtt in the create body offers text with two generations; the far end takes it, or not")
async def rtt_outbound(world: World) -> None:
    phone, _ = await dialled(world, {"rtt": True, "codecs": ["PCMU"]})
    assert phone.call.invite is not None
    offered = _text_of(sdp_of(phone.call.invite))
    check("formats", offered.formats, [str(RED), str(T140)])
    check("fmtp of red", offered.fmtp(RED), "99/99/99")
    check("rtpmap", offered.rtpmaps, {RED: "red/1000", T140: "t140/1000"})
    text = await world.text("bob")
    text.remote = ("127.0.0.1", offered.port)
    await picked_up(phone, session([*audio_lines(phone.rtp.port), *text_lines(text.port)]))
    typing = TextPhone(phone, text)
    await typing.types("hello", 1)
    await world.rest("POST", typing.rtt, {"text": "yes?"}, status=200)
    await text.text("yes?")
    await phone.hang_up()

    phone, _ = await dialled(world, {"rtt": True, "codecs": ["PCMU"]})
    refused = session([*audio_lines(phone.rtp.port), "m=text 0 RTP/AVP 98"])
    await picked_up(phone, refused)
    await world.rest("POST", f"{phone.path}/rtt", {"text": "x"}, status=409)
    (await phone.hears(200)).is_steady()
    await phone.hang_up()
    phone, _ = await dialled(world, {"codecs": ["PCMU"]})
    assert phone.call.invite is not None
    check("m-lines without rtt", len(sdp_of(phone.call.invite).media), 1)
    await picked_up(phone)
    await phone.hang_up()


@scenario(
    "Text in a room goes to the other legs that have text and accept it, never back and never to others"
)
async def rtt_room(world: World) -> None:
    first, second = await _typing(world, "call1"), await _typing(world, "call2")
    deaf = await answered(world, "call3")
    for phone in (first.phone, second.phone, deaf):
        await phone.join("sc-text")
    await first.types("to you", 1)
    await second.text.text("to you")
    await first.text.silence(0.4)
    await world.rest("POST", f"{second.rtt}/reject", status=200)
    await first.types("unseen", 2)
    await second.text.silence(0.5)
    await second.text.send("neither is this")
    await world.no_event("rtt.received", for_s=0.2)
    await first.text.silence(0.4)
    await world.rest("POST", f"{second.rtt}/accept", status=200)
    await world.rest("DELETE", f"/v1/rooms/sc-text/legs/{second.phone.leg_id}", status=200)
    await first.types("alone", 3)
    await second.text.silence(0.5)
    for phone in (first.phone, second.phone, deaf):
        await phone.hang_up()


@scenario("A re-INVITE of a call with text: text goes on; text taken away by the far end: 409 from then on")
async def rtt_reinvite(world: World) -> None:
    typing = await _typing(world)
    phone, text = typing.phone, typing.text
    await typing.types("one", 1)
    both = session([*audio_lines(phone.rtp.port, direction="sendonly"), *text_lines(text.port)], version=2)
    answer = sdp_of(await phone.reinvite(both))
    check("text of the answer", _text_of(answer).port > 0, True)
    await world.event("leg.hold", leg_id=phone.leg_id)
    await typing.types("two", 2)
    less = [*audio_lines(phone.rtp.port), "m=text 0 RTP/AVP 98 99"]
    answer = sdp_of(await phone.reinvite(session(less, version=3)))
    check("text of the answer", _text_of(answer).port, 0)
    await world.event("leg.unhold", leg_id=phone.leg_id)
    await world.rest("POST", typing.rtt, {"text": "x"}, status=409)
    answer = sdp_of(await phone.reinvite(audio_sdp(phone.rtp.port, version=4)))
    check("audio of the answer", answer.audio.port > 0, True)
    await trio.sleep(0.1)
    await phone.hang_up()
