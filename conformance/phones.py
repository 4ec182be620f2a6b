"""Phones: a SIP call, its media and its leg in one hand, with the steps that most scenarios share."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.expect import ABSENT, TEXT, UUID, Difference, between, check
from conformance.peers.measure import Heard
from conformance.peers.rtp_peer import RtpPeer
from conformance.peers.sdp_text import Sdp, audio_sdp
from conformance.peers.sip_call import Call, Headers, sdp_of
from conformance.peers.sip_message import SipMessage
from conformance.peers.sip_ua import SipUa
from conformance.world import World

PCMU_OFFERED = [{"name": "PCMU", "payload_type": 0, "clock_rate": 8000, "priority": 1}]
GOOD_QUALITY = {
    "mos_score": between(4.0, 4.5),
    "rtp_jitter_ms": between(0, 30),
    "rtp_packets_lost": 0,
    "rtp_packets_received": between(2, 100_000),
}


@dataclass
class Phone:
    """One call as a user has it in the hand."""

    world: World
    call: Call
    rtp: RtpPeer
    leg_id: str
    inbound: bool

    @property
    def path(self) -> str:
        return f"/v1/legs/{self.leg_id}"

    def media_to(self, sdp: Sdp) -> None:
        """Points our audio at what the server announced."""
        self.rtp.remote = (sdp.audio.connection.split(" ")[2], sdp.audio.port)

    async def hears(self, for_ms: int = 400) -> Heard:
        """What arrives within a window that begins a moment from now."""
        return await self.rtp.listen(for_ms)

    async def answer(self, body: dict[str, object] | None = None) -> SipMessage:
        """Has the server answer the inbound call and acknowledges; returns the 200."""
        await self.world.rest("POST", f"{self.path}/answer", body, status=202, expect={"status": "answering"})
        return await self.take_answer()

    async def take_answer(self) -> SipMessage:
        """Takes the 200 of the inbound call, acknowledges it and waits for leg.connected."""
        answer = await self.call.response(200)
        self.media_to(sdp_of(answer))
        await self.call.ack(answer)
        await self.world.event("leg.connected", leg_id=self.leg_id, leg_type="sip_inbound")
        return answer

    async def hang_up(self, reason: str = "remote_bye") -> None:
        """Hangs up from our side and waits for the leg's end."""
        await self.call.bye()
        self.rtp.stop_talking()
        await self.world.disconnected(self.leg_id, reason, answered=True)

    async def is_hung_up(self, reason: str, within_s: float = 3.0) -> None:
        """Takes the server's BYE, answers it and waits for the leg's end."""
        bye = await self.call.request("BYE", within_s)
        await self.call.reply(bye, 200)
        self.rtp.stop_talking()
        await self.world.disconnected(self.leg_id, reason, answered=True)

    async def join(self, room_id: str, **flags: object) -> None:
        """Puts the leg into a room."""
        await self.world.rest(
            "POST",
            f"/v1/rooms/{room_id}/legs",
            {"leg_id": self.leg_id, **flags},
            status=200,
            expect={"status": "added"},
        )
        await self.world.event("leg.joined_room", leg_id=self.leg_id, room_id=room_id)

    async def reinvite(self, sdp: bytes | None, status: int = 200) -> SipMessage:
        """Sends a re-INVITE, checks the status and acknowledges."""
        await self.call.send_invite(sdp, within_dialog=True)
        response = await self.call.response(status)
        await self.call.ack(response)
        return response


async def ringing(
    world: World,
    name: str = "call1",
    *,
    ua: SipUa | None = None,
    rtp: RtpPeer | None = None,
    sdp: bytes | None = None,
    headers: Headers = (),
    content_type: str = "application/sdp",
    offered: object = None,
    tone: float | None = None,
    host: str = "127.0.0.1",
) -> Phone:
    """Calls the server: INVITE, 100, leg.ringing. An ``sdp`` of one's own goes with the ``rtp`` it names."""
    ua = ua or world.ua
    rtp = rtp or await world.rtp(name, host)
    rtp.talk(tone)
    call = ua.new_call(name)
    await call.send_invite(
        sdp if sdp is not None else audio_sdp(rtp.port, host=host), headers=headers, content_type=content_type
    )
    await call.response(100)
    event = await world.event(
        "leg.ringing",
        {
            "from": name,
            "to": "room",
            "leg_type": "sip_inbound",
            "leg_id": UUID,
            "offered_codecs": PCMU_OFFERED if offered is None else offered,
        },
    )
    return Phone(world, call, rtp, str(event["leg_id"]), inbound=True)


async def answered(
    world: World,
    name: str = "call1",
    *,
    tone: float | None = None,
    ua: SipUa | None = None,
    headers: Headers = (),
) -> Phone:
    """An inbound call that is connected."""
    phone = await ringing(world, name, tone=tone, ua=ua, headers=headers)
    await phone.answer()
    return phone


async def dialled(
    world: World,
    body: dict[str, object] | None = None,
    *,
    ua: SipUa | None = None,
    user: str = "bob",
    uri: str | None = None,
) -> tuple[Phone, dict[str, object]]:
    """Has the server call us: 201, leg.ringing and the INVITE; returns the phone and the event."""
    ua = ua or world.ua
    uri = uri or f"sip:{user}@{ua.host_port}"
    request: dict[str, object] = {"type": "sip", "to": uri, **(body or {})}
    view = await world.rest(
        "POST",
        "/v1/legs",
        request,
        status=201,
        expect={"id": UUID, "type": "sip_outbound", "state": "ringing", "room_id": ABSENT},
    )
    leg_id = str(view["id"])
    call = await ua.next_call()
    event = await world.event(
        "leg.ringing", leg_id=leg_id, leg_type="sip_outbound", uri=uri, offered_codecs=ABSENT
    )
    rtp = await world.rtp(f"{user} of {leg_id[:8]}", "::1" if ":" in ua.local[0] else "127.0.0.1")
    phone = Phone(world, call, rtp, leg_id, inbound=False)
    assert call.invite is not None
    phone.media_to(sdp_of(call.invite))
    return phone, event


async def picked_up(phone: Phone, sdp: bytes | None = None, *, tone: float | None = None) -> SipMessage:
    """Answers a call that the server placed with 200 and takes the ACK."""
    assert phone.call.invite is not None
    phone.rtp.talk(tone)
    answer = sdp or audio_sdp(phone.rtp.port, host=phone.rtp.host)
    await phone.call.reply(phone.call.invite, 200, sdp=answer)
    ack = await phone.call.request("ACK")
    await phone.world.event("leg.connected", leg_id=phone.leg_id, leg_type="sip_outbound")
    return ack


async def refused(phone: Phone, status: int, reason: str, headers: Headers = ()) -> None:
    """Refuses a call that the server placed, takes the ACK and waits for the leg's end."""
    assert phone.call.invite is not None
    await phone.call.reply(phone.call.invite, status, headers=headers)
    ack = await phone.call.request("ACK")
    if ack.cseq[0] != phone.call.invite.cseq[0]:
        raise Difference("ACK of the refusal: CSeq", phone.call.invite.cseq[0], ack.cseq[0])
    await phone.world.disconnected(phone.leg_id, reason)


def check_answer(answer: SipMessage, *, payload_types: list[str], direction: str = "sendrecv") -> Sdp:
    """Checks an SDP answer of the server: one audio m-line, these payload types, this direction, 20 ms."""
    sdp = sdp_of(answer)
    where = f"SDP of {answer.start_line}"
    check(f"{where}: session name", sdp.lines[2][2:], TEXT)
    check(f"{where}: m-lines", len(sdp.media), 1)
    check(f"{where}: protocol", sdp.audio.protocol, "RTP/AVP")
    check(f"{where}: payload types", sdp.audio.formats, payload_types)
    check(f"{where}: direction", sdp.audio.direction or "sendrecv", direction)
    check(f"{where}: ptime", sdp.audio.attribute("ptime"), "20")
    check(f"{where}: port is even", sdp.audio.port % 2, 0)
    if "101" in payload_types:
        check(f"{where}: telephone-event", sdp.audio.rtpmaps.get(101), "telephone-event/8000")
        check(f"{where}: its events", sdp.audio.fmtp(101), "0-16")
    return sdp
