"""A call as a browser makes it: an offer over REST, then ICE, DTLS and Opus in SRTP over one socket."""

from __future__ import annotations

import datetime
import itertools
import secrets
from typing import Final

import httpx
import numpy as np
import trio

from vb.codecs.base import OPUS
from vb.codecs.opus import DTX_MAX_BYTES, OpusDecoder, OpusEncoder
from vb.codecs.pcm import Pcm
from vb.demo.problem import DemoFailed
from vb.demo.track import FRAME_S, FRAME_SAMPLES, RATE_HZ, HeardTrack, SpokenTrack
from vb.ids import SystemIds
from vb.rtp.packet import PacketKind, build_header, classify, parse_rtp
from vb.rtp.stats import Quality, ReceptionStatistics, quality
from vb.webrtc.candidate import local_candidate
from vb.webrtc.certificate import make_identity
from vb.webrtc.dtls import DtlsContext
from vb.webrtc.negotiation import WebRtcNegotiation
from vb.webrtc.session import Closed, Connected, Failed, Session
from vb.webrtc.srtp import Rows, Srtp, protect_rows, unprotect_rows
from vb.webrtc.stun import Address

LOOPBACK: Final = "127.0.0.1"
GOODBYE_S: Final = 1.0
REST_TIMEOUT_S: Final = 5.0
_MAX_DATAGRAM_BYTES: Final = 2048
_CLOCK_STEPS: Final = OPUS.clock_rate_hz // RATE_HZ
_IN, _OUT = 0, 1


class Browser:
    """A browser for one call; see `vb.demo.caller.Caller`.

    Args:
        name: its app_id, and word on the screen.
        speech: what it says once told to talk, at 8 kHz.
    """

    def __init__(self, name: str, speech: Pcm) -> None:
        self.name = name
        self.said = SpokenTrack(speech)
        self.heard = HeardTrack(OPUS.clock_rate_hz)
        self.sent = 0
        self.spoken = trio.Event()
        self._ids = SystemIds()
        self._ssrc = self._ids.u32()
        self._reception = ReceptionStatistics(OPUS.clock_rate_hz)
        self._rows = Rows(np.zeros((2, _MAX_DATAGRAM_BYTES), np.uint8))
        self._srtp: Srtp | None = None
        self._payload_type = OPUS.payload_type
        self._wake = trio.Event()
        self._hung_up = trio.Event()

    def quality(self) -> Quality | None:
        """Return how well it hears so far, None before it heard anything."""
        return quality(self._reception.snapshot())

    def hang_up(self) -> None:
        """End the call, in whatever state it is."""
        self._hung_up.set()

    async def run(self, url: str) -> None:
        """Call a server and stay until told to hang up.

        Args:
            url: base URL of the server.

        Cancellation: hangs up too.

        Raises:
            DemoFailed: the call failed, or was ended by the server.
        """
        identity = await trio.to_thread.run_sync(make_identity, datetime.datetime.now(datetime.UTC), 1)
        session = Session(controlling=True, context=DtlsContext(identity), random_bytes=secrets.token_bytes)
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as socket:
            await socket.bind((LOOPBACK, 0))
            base: Address = socket.getsockname()
            async with httpx.AsyncClient(base_url=url, timeout=REST_TIMEOUT_S, trust_env=False) as rest:
                leg_id = await self._offer(session, base, rest)
                try:
                    async with trio.open_nursery() as line:
                        line.start_soon(self._connect, socket, session)
                        line.start_soon(self._receive, socket, session, base)
                        line.start_soon(self._send, socket, session)
                        await self._hung_up.wait()
                        line.cancel_scope.cancel()
                finally:
                    with trio.move_on_after(GOODBYE_S, shield=True):
                        await rest.delete(f"/v1/legs/{leg_id}")

    async def _offer(self, session: Session, base: Address, rest: httpx.AsyncClient) -> str:
        """Exchange descriptions; returns the id of the leg."""
        negotiation = WebRtcNegotiation(
            codecs=[OPUS], session_id=self._ids.u32() >> 1, ssrc=self._ssrc, cname=self.name
        )
        candidate = local_candidate("host", base)
        session.add_local(candidate, base)
        offer = negotiation.offer(session.local_transport([candidate], complete=True))
        body = {"sdp": offer.decode(), "app_id": self.name}
        answer = (await rest.post("/v1/webrtc/offer", json=body)).raise_for_status().json()
        agreed = negotiation.read_answer(answer["sdp"].encode())
        session.set_peer(agreed.transport, agreed.role, trio.current_time())
        self._payload_type = agreed.audio.send_payload_type
        return str(answer["leg_id"])

    async def _connect(self, socket: trio.socket.SocketType, session: Session) -> None:
        """Do what the transport wants when it wants it."""
        while True:
            session.expire(trio.current_time())
            for data, _, destination in session.outgoing():
                await socket.sendto(data, destination)
            for event in session.events():
                if isinstance(event, Connected):
                    self._srtp = Srtp(event.keys)
                elif isinstance(event, Closed | Failed):
                    raise DemoFailed(f"the call of the {self.name} is over: {event}")
            deadline = session.deadline()
            with trio.move_on_at(float("inf") if deadline is None else deadline):
                await self._wake.wait()
            self._wake = trio.Event()

    async def _receive(self, socket: trio.socket.SocketType, session: Session, base: Address) -> None:
        decoder = OpusDecoder(RATE_HZ)
        while True:
            datagram, source = await socket.recvfrom(_MAX_DATAGRAM_BYTES)
            kind = classify(datagram)
            if kind is PacketKind.RTP and self._srtp is not None:
                self._hear(decoder, self._srtp, datagram)
            elif kind in (PacketKind.STUN, PacketKind.DTLS):
                session.receive(datagram, source, base, trio.current_time())
                self._wake.set()

    def _hear(self, decoder: OpusDecoder, srtp: Srtp, datagram: bytes) -> None:
        lengths = np.array([len(datagram)])
        self._rows.array[_IN, : len(datagram)] = np.frombuffer(datagram, np.uint8)
        unprotect_rows([srtp], self._rows, [_IN], lengths)
        packet = parse_rtp(self._rows.array[_IN, : lengths[0]].tobytes())
        if packet is None or packet.payload_type != self._payload_type:
            return
        self._reception.receive(packet.ssrc, packet.sequence, packet.timestamp, trio.current_time())
        if len(packet.payload) > DTX_MAX_BYTES:
            self.heard.place(packet.timestamp, decoder.decode(packet.payload))

    async def _send(self, socket: trio.socket.SocketType, session: Session) -> None:
        """Send a frame every 20 ms, counted from the first one so that no delay adds up."""
        encoder = OpusEncoder(RATE_HZ)
        begun = trio.current_time()
        sequence, timestamp = self._ids.u16(), self._ids.u32()
        for number in itertools.count():
            await trio.sleep_until(begun + number * FRAME_S)
            route = session.ice.route
            if self._srtp is None or route is None:
                continue
            head = build_header(
                self._payload_type,
                sequence=(sequence + self.sent) & 0xFFFF,
                timestamp=(timestamp + number * FRAME_SAMPLES * _CLOCK_STEPS) & 0xFFFF_FFFF,
                ssrc=self._ssrc,
                marker=self.sent == 0,
            )
            packet = head + encoder.encode(self.said.next_pcm())
            lengths = np.array([len(packet)])
            self._rows.array[_OUT, : len(packet)] = np.frombuffer(packet, np.uint8)
            protect_rows([self._srtp], self._rows, [_OUT], lengths)
            await socket.sendto(self._rows.array[_OUT, : lengths[0]].tobytes(), route[1])
            self.sent += 1
            if self.said.finished:
                self.spoken.set()
