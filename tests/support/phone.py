"""A softphone for integration tests: our own SIP endpoint and one RTP socket, playing a tone."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import numpy as np
import trio

from vb.codecs.base import PCMU
from vb.codecs.g711 import PCM_TO_ULAW, ULAW_TO_PCM
from vb.ids import SystemIds
from vb.rtp.digits import EventPacket, TelephoneEventReceiver
from vb.rtp.dtmf import TelephoneEventSender
from vb.rtp.packet import build_header, parse_rtp
from vb.sdp.offer_answer import OfferAnswer
from vb.sip import call_events as sip
from vb.sip.tasks.endpoint import DialRequest, SipCall, SipEndpoint, SipSettings

AnyPhone = TypeVar("AnyPhone", bound="Phone")


class Phone:
    """One user agent on loopback; it calls or is called, plays a tone and hears."""

    def __init__(self, tone_hz: float, second_hz: float = 0.0, *, events: bool = True) -> None:
        self.loud = True
        self.tone_hz = tone_hz
        self.second_hz = second_hz
        self._takes_events = events
        self.endpoint = SipEndpoint(SipSettings(port=0), SystemIds(), self._incoming)
        self.port = 0
        self.calls: list[SipCall] = []
        self.arrived = trio.Event()
        self.heard: list[np.ndarray[Any, np.dtype[np.int16]]] = []
        self._socket = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._nursery: trio.Nursery | None = None
        self.negotiation: OfferAnswer | None = None
        self._endpoint_scope: trio.CancelScope | None = None
        self.digits = ""
        self._received = trio.Event()
        self._event_receiver = TelephoneEventReceiver()
        self._event_sender = TelephoneEventSender(8000)

    def _incoming(self, call: SipCall) -> None:
        self.calls.append(call)
        self.arrived.set()

    async def open(self, nursery: trio.Nursery) -> None:
        await self._socket.bind(("127.0.0.1", 0))
        bound = await nursery.start(self._run_endpoint)
        self.port = bound[0].port
        self._nursery = nursery
        self.negotiation = OfferAnswer(
            address="127.0.0.1", rtp_port=self._socket.getsockname()[1], codecs=[PCMU], session_id=1
        )

    async def _run_endpoint(self, *, task_status: trio.TaskStatus[Any]) -> None:
        with trio.CancelScope() as self._endpoint_scope:
            await self.endpoint.run(task_status=task_status)

    @property
    def uri(self) -> str:
        return f"sip:phone@127.0.0.1:{self.port}"

    def dial(self, uri: str, headers: dict[str, str] | None = None) -> SipCall:
        assert self.negotiation is not None
        call = self.endpoint.dial(
            DialRequest(to=uri, sdp=self._offer(), from_="tester", headers=headers or {})
        )
        self.calls.append(call)
        return call

    def _offer(self) -> bytes:
        assert self.negotiation is not None
        offer = self.negotiation.offer()
        if self._takes_events:
            return offer
        kept = [
            line for line in offer.split(b"\r\n") if not line.startswith((b"a=rtpmap:101", b"a=fmtp:101"))
        ]
        return b"\r\n".join(kept).replace(b"RTP/AVP 0 101", b"RTP/AVP 0")

    async def send_raw_invite(self, uri: str, *, from_uri: str) -> None:
        """Send an INVITE with a From of one's own choice; nobody waits for its answers."""
        assert self.negotiation is not None
        host, _, port = uri.partition("@")[2].partition(":")
        sdp = self.negotiation.offer().decode()
        token = SystemIds().token(8)
        text = (
            f"INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{token}\r\n"
            f"From: <{from_uri}>;tag=1\r\nTo: <{uri}>\r\nCall-ID: {token}\r\nCSeq: 1 INVITE\r\n"
            f"Contact: <sip:x@127.0.0.1:9>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {len(sdp)}\r\n\r\n{sdp}"
        )
        await self._socket.sendto(text.encode(), (host, int(port)))

    def go_silent(self) -> None:
        """Answer nothing any more."""
        assert self._endpoint_scope is not None
        self._endpoint_scope.cancel()

    async def wait_for(self, call: SipCall, kind: type[Any]) -> Any:
        with trio.fail_after(5):
            while True:
                event = await call.next_event()
                if isinstance(event, kind):
                    return event
                assert not isinstance(event, sip.Closed), f"closed while waiting for {kind.__name__}"

    def answer(self, call: SipCall) -> None:
        assert self.negotiation is not None
        assert call.offer is not None
        call.accept(self.negotiation.receive_offer(call.offer))
        self.talk()

    def use_answer(self, sdp: bytes) -> None:
        assert self.negotiation is not None
        self.negotiation.receive_answer(sdp)
        self.talk()

    def talk(self) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._send)
        self._nursery.start_soon(self._receive)

    async def _send(self) -> None:
        assert self.negotiation is not None
        agreed = self.negotiation.agreed
        assert agreed is not None
        assert agreed.remote_rtp is not None
        target = (agreed.remote_rtp.host, agreed.remote_rtp.port)
        due = trio.current_time()
        step = 2 * math.pi * self.tone_hz / 8000
        for index in range(10_000):
            samples = np.arange(index * 160, (index + 1) * 160)
            wave = (8000 if self.loud else 0) * np.sin(step * samples)
            if self.second_hz:
                wave += 8000 * np.sin(2 * math.pi * self.second_hz / 8000 * samples)
            pcm = wave.astype(np.int16)
            payload = PCM_TO_ULAW[pcm.view(np.uint16)].tobytes()
            event = self._event_sender.tick(index * 160)
            if event is not None:
                header = build_header(101, index & 0xFFFF, event.timestamp, 7, marker=event.marker)
                await self._socket.sendto(header + event.payload, target)
            else:
                await self._socket.sendto(build_header(0, index & 0xFFFF, index * 160, 7) + payload, target)
            due += 0.02
            await trio.sleep_until(due)

    async def _receive(self) -> None:
        while True:
            data, _ = await self._socket.recvfrom(2048)
            self._received.set()
            self._received = trio.Event()
            packet = parse_rtp(data)
            if packet is not None and packet.payload_type == 101:
                event = EventPacket(
                    packet.payload,
                    packet.timestamp,
                    trio.current_time(),
                    packet.sequence,
                    marker=packet.marker,
                    ssrc=packet.ssrc,
                )
                self.digits += self._event_receiver.receive(event)
            if packet is not None and packet.payload_type == 0:
                self.heard.append(ULAW_TO_PCM[np.frombuffer(packet.payload, np.uint8)])

    async def press(self, digits: str) -> None:
        """Send digits and wait until they are out."""
        assert self._event_sender.queue(digits)
        with trio.fail_after(5):
            while self._event_sender.active:
                await self._next_packet()

    def tones(self, last_frames: int = 40) -> set[int]:
        """Frequencies (on a 50 Hz grid) that stand out in what was heard last."""
        audio = np.concatenate(self.heard[-last_frames:]).astype(np.float64)
        spectrum = np.abs(np.fft.rfft(audio * np.hanning(audio.size)))
        peaks = np.flatnonzero(spectrum > max(spectrum.max() * 0.2, 1e5))
        return {int(50 * round(peak * 8000 / audio.size / 50)) for peak in peaks}

    async def hear(self, frames: int) -> None:
        """Wait until this many more frames have come in."""
        goal = len(self.heard) + frames
        with trio.fail_after(10):
            while len(self.heard) < goal:
                await self._next_packet()

    async def _next_packet(self) -> None:
        await self._received.wait()

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def in_use(phone: AnyPhone) -> AsyncIterator[AnyPhone]:
    """A phone that takes calls for as long as the block lasts; its calls end with it."""
    try:
        async with trio.open_nursery() as nursery:
            await phone.open(nursery)
            try:
                yield phone
            finally:
                for call in phone.calls:
                    call.hangup()
                with trio.move_on_after(1, shield=True):
                    for call in phone.calls:
                        await call.wait_closed()
                nursery.cancel_scope.cancel()
    finally:
        phone.close()  # once nobody reads its socket any more


def open_phone(
    tone_hz: float, second_hz: float = 0.0, *, events: bool = True
) -> AbstractAsyncContextManager[Phone]:
    """A phone for as long as the block lasts; it plays one tone or two."""
    return in_use(Phone(tone_hz, second_hz, events=events))
