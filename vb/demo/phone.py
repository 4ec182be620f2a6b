"""A softphone: one SIP call in PCMU, with a recording for a voice and an ear that keeps everything."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Final

import trio

from vb.codecs.base import CODECS, make_decoder
from vb.codecs.pcm import Pcm
from vb.demo.problem import DemoFailed
from vb.demo.track import FRAME_S, FRAME_SAMPLES, RATE_HZ, HeardTrack, SpokenTrack
from vb.ids import SystemIds
from vb.layers import open_layer
from vb.rtp.packet import PacketKind, build_header, classify, parse_rtp
from vb.rtp.stats import Quality, ReceptionStatistics, quality
from vb.sdp.errors import AnswerRejected
from vb.sdp.offer_answer import OfferAnswer
from vb.sip import call_events as sip
from vb.sip.tasks.endpoint import DialRequest, SipCall, SipEndpoint, SipSettings

LOOPBACK: Final = "127.0.0.1"
GOODBYE_S: Final = 1.0
"""How long a phone waits for the answer to its BYE."""
_PCMU: Final = CODECS["PCMU"]
_MAX_DATAGRAM_BYTES: Final = 2048

Address = tuple[str, int]


class Phone:
    """A phone for one call.

    Args:
        name: caller in SIP and word on the screen.
        speech: what it says once told to talk, at 8 kHz.
        may_be_ended: whether the far end may hang up.

    Attributes:
        said: its microphone.
        heard: its ear.
        sent: RTP packets sent.
        spoken: set once the whole speech was said.
    """

    def __init__(self, name: str, speech: Pcm, *, may_be_ended: bool = False) -> None:
        self.name = name
        self._may_be_ended = may_be_ended
        self.said = SpokenTrack(speech)
        self.heard = HeardTrack()
        self.sent = 0
        self.spoken = trio.Event()
        self._ids = SystemIds()
        self._reception = ReceptionStatistics(RATE_HZ)
        self._hung_up = trio.Event()

    def quality(self) -> Quality | None:
        """Return how well the phone hears so far, None before it heard anything."""
        return quality(self._reception.snapshot())

    def hang_up(self) -> None:
        """End the call, in whatever state it is."""
        self._hung_up.set()

    async def run(self, to: str) -> None:
        """Call a SIP URI and stay on the line until told to hang up.

        Cancellation: hangs up too.

        Raises:
            DemoFailed: the call was refused, failed, or was ended by the far end.
        """
        endpoint = SipEndpoint(
            SipSettings(bind_ip=LOOPBACK, port=0), self._ids, lambda call: call.reject(486)
        )
        with (
            _udp_socket() as rtp,
            _udp_socket() as rtcp,
        ):  # RTCP is not read: its port is only kept from others
            await rtp.bind((LOOPBACK, 0))
            await rtcp.bind((LOOPBACK, 0))
            session = OfferAnswer(
                address=LOOPBACK,
                rtp_port=rtp.getsockname()[1],
                rtcp_port=rtcp.getsockname()[1],
                codecs=(_PCMU,),
                session_id=self._ids.u32() >> 1,
            )
            async with open_layer() as signalling:
                await signalling.start(endpoint.run, name=f"SIP of phone {self.name}")
                call = endpoint.dial(DialRequest(to=to, from_=self.name, sdp=session.offer()))
                try:
                    await self._talk_on(call, session, rtp)
                finally:
                    with trio.move_on_after(GOODBYE_S, shield=True):
                        call.hangup()
                        await call.wait_closed()

    async def _talk_on(self, call: SipCall, session: OfferAnswer, rtp: trio.socket.SocketType) -> None:
        async with trio.open_nursery() as line:
            line.start_soon(self._follow, call, session, rtp, line)
            await self._hung_up.wait()
            line.cancel_scope.cancel()

    async def _follow(
        self, call: SipCall, session: OfferAnswer, rtp: trio.socket.SocketType, line: trio.Nursery
    ) -> None:
        """Follow the events of the call; media starts with the answer."""
        while True:
            match await call.next_event():
                case sip.Answered(sdp=sdp):
                    remote = self._accept(session, sdp)
                    line.start_soon(self._send, rtp, remote)
                    line.start_soon(self._receive, rtp, remote)
                case sip.Refused(status=status, reason=reason):
                    raise DemoFailed(f"the call of phone {self.name} was refused: {status} {reason}")
                case sip.DialFailed(kind=kind):
                    raise DemoFailed(f"the call of phone {self.name} failed: {kind}")
                case sip.RemoteHangup() if self._may_be_ended:
                    self.hang_up()
                    return
                case sip.RemoteHangup() | sip.DialogLost() | sip.Closed():
                    raise DemoFailed(f"the server ended the call of phone {self.name}")
                case _:
                    pass

    def _accept(self, session: OfferAnswer, sdp: bytes | None) -> Address:
        try:
            remote = session.receive_answer(sdp or b"").remote_rtp
        except AnswerRejected as exc:
            raise DemoFailed(f"phone {self.name} cannot use the answer to its call: {exc}") from None
        if remote is None:
            raise DemoFailed(f"phone {self.name} was given no address to send its audio to")
        return remote.host, remote.port

    async def _send(self, rtp: trio.socket.SocketType, remote: Address) -> None:
        """Send a frame every 20 ms, counted from the first one so that no delay adds up."""
        begun = trio.current_time()
        sequence, timestamp, ssrc = self._ids.u16(), self._ids.u32(), self._ids.u32()
        header = partial(build_header, _PCMU.payload_type, ssrc=ssrc)
        for number in itertools.count():
            await trio.sleep_until(begun + number * FRAME_S)
            head = header(
                sequence=(sequence + number) & 0xFFFF,
                timestamp=(timestamp + number * FRAME_SAMPLES) & 0xFFFF_FFFF,
                marker=number == 0,
            )
            await rtp.sendto(head + self.said.next_frame(), remote)
            self.sent += 1
            if self.said.finished:
                self.spoken.set()

    async def _receive(self, rtp: trio.socket.SocketType, remote: Address) -> None:
        decoder = make_decoder(_PCMU)
        while True:
            datagram, source = await rtp.recvfrom(_MAX_DATAGRAM_BYTES)
            if source != remote or classify(datagram) is not PacketKind.RTP:
                continue
            packet = parse_rtp(datagram)
            if packet is None or packet.payload_type != _PCMU.payload_type:
                continue
            self._reception.receive(packet.ssrc, packet.sequence, packet.timestamp, trio.current_time())
            self.heard.place(packet.timestamp, decoder.decode(packet.payload))


def _udp_socket() -> trio.socket.SocketType:
    return trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
