"""A leg for tests that meet other software: a session on a real socket, with a tone out and a pitch heard."""

from __future__ import annotations

import datetime
import os
import struct
from dataclasses import dataclass, field

import numpy as np
import trio
from numpy.typing import NDArray

from vb.codecs.base import CODECS, make_decoder, make_encoder
from vb.rtp.packet import PacketKind, classify
from vb.webrtc.candidate import local_candidate
from vb.webrtc.certificate import make_identity
from vb.webrtc.dtls import PROFILES, DtlsContext, SrtpProfile
from vb.webrtc.negotiation import WebRtcNegotiation
from vb.webrtc.session import Connected, Session, SessionEvent
from vb.webrtc.srtp import Rows, Srtp, protect_rows, unprotect_rows

RATE_HZ = 48_000
FRAME = 960
SSRC = 0x1234567


@dataclass
class Leg:
    """A session with its socket.

    Attributes:
        pitch_hz: of the tone that it sends.
        heard: frames that it received.
        has_heard: set after a second of them.
        quiet: whether the tone pauses.
        sequence: of its next packet.
        event_type: payload type of telephone-events, None without.
        events: those that it received.
    """

    socket: trio.socket.SocketType
    session: Session
    pitch_hz: float
    told: list[SessionEvent] = field(default_factory=list)
    heard: list[NDArray[np.int16]] = field(default_factory=list)
    srtp: Srtp | None = None
    reports: int = 0
    changed: trio.Event = field(default_factory=trio.Event)
    has_heard: trio.Event = field(default_factory=trio.Event)
    quiet: bool = False
    sequence: int = 0
    event_type: int | None = None
    events: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.talk = WebRtcNegotiation(codecs=[CODECS["opus"]], session_id=1, ssrc=SSRC, cname="vb")
        self.base = self.socket.getsockname()[:2]
        self.candidate = local_candidate("host", self.base)
        self.session.add_local(self.candidate, self.base)
        self._wake = trio.Event()
        self._rows = Rows(np.zeros((2, 2048), np.uint8))
        self._decoder = make_decoder(CODECS["opus"])

    async def run(self) -> None:
        """Serve the socket and the tone until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive)
            nursery.start_soon(self._send_tone)
            while True:
                deadline = self.session.deadline()
                with trio.move_on_at(float("inf") if deadline is None else deadline):
                    await self._wake.wait()
                self._wake = trio.Event()
                self.session.expire(trio.current_time())
                await self.flush()

    async def flush(self) -> None:
        """Send what is to be sent and note what has happened."""
        for data, _, destination in self.session.outgoing():
            await self.socket.sendto(data, destination)
        for event in self.session.events():
            self.told.append(event)
            if isinstance(event, Connected):
                self.srtp = Srtp(event.keys)
            self._notify()

    def _notify(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, kind: type[SessionEvent]) -> None:
        """Wait for an event of a kind."""
        while not any(isinstance(event, kind) for event in self.told):
            await self.changed.wait()

    async def step(self) -> None:
        """Carry on after a command to the session."""
        await self.flush()
        self._wake.set()

    async def _receive(self) -> None:
        while True:
            data, source = await self.socket.recvfrom(2048)
            kind = classify(data)
            if kind in (PacketKind.STUN, PacketKind.DTLS):
                self.session.receive(data, source[:2], self.base, trio.current_time())
                await self.step()
            elif self.srtp is not None and kind is PacketKind.RTCP:
                self.reports += self.srtp.unprotect_rtcp(data) is not None
            elif self.srtp is not None:
                self._hear(self.srtp, data)

    def _hear(self, srtp: Srtp, data: bytes) -> None:
        row = self._rows.array[0]
        row[: len(data)] = np.frombuffer(data, np.uint8)
        lengths = np.array([len(data)], np.int64)
        unprotect_rows([srtp], self._rows, [0], lengths)
        if lengths[0]:
            start = 12 + 4 * int(row[0] & 15)
            if row[0] & 16:
                start += 4 + 4 * int.from_bytes(row[start + 2 : start + 4].tobytes())
            payload = row[start : lengths[0]].tobytes()
            if row[1] & 127 == self.event_type:
                self.events.append(payload)
                self._notify()
                return
            self.heard.append(self._decoder.decode(payload))
            self._notify()
            if len(self.heard) == 50:
                self.has_heard.set()

    async def _send_tone(self) -> None:
        encoder = make_encoder(CODECS["opus"])
        began = trio.current_time()
        at = 0
        while True:
            await trio.sleep_until(began + at / RATE_HZ)
            angles = 2 * np.pi * self.pitch_hz * (np.arange(FRAME) + at) / RATE_HZ
            payload = encoder.encode((8000 * np.sin(angles)).astype(np.int16))
            at += FRAME
            route = self.session.ice.route
            if self.srtp is None or route is None or self.talk.agreed is None or self.quiet:
                continue
            number = self.talk.agreed.audio.send_payload_type
            packet = struct.pack("!BBHII", 0x80, number, self.sequence & 0xFFFF, at, SSRC) + payload
            self.sequence += 1
            row = self._rows.array[1]
            row[: len(packet)] = np.frombuffer(packet, np.uint8)
            lengths = np.array([len(packet)], np.int64)
            protect_rows([self.srtp], self._rows, [1], lengths)
            await self.socket.sendto(row[: lengths[0]].tobytes(), route[1])

    def heard_pitch_hz(self) -> float:
        """Return the strongest frequency of the last half second."""
        sound = np.concatenate([np.zeros(1), *self.heard[-25:]])
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size)))
        return float(np.argmax(spectrum)) * RATE_HZ / sound.size


async def open_leg(
    *,
    controlling: bool,
    pitch_hz: float,
    profiles: tuple[SrtpProfile, ...] = PROFILES,
    lite: bool = False,
    host: str = "127.0.0.1",
) -> Leg:
    """Return a leg on a free loopback port."""
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    socket = trio.socket.socket(family, trio.socket.SOCK_DGRAM)
    await socket.bind((host, 0))
    context = DtlsContext(make_identity(datetime.datetime.now(datetime.UTC), 1), profiles)
    session = Session(controlling=controlling, context=context, random_bytes=os.urandom, lite=lite)
    return Leg(socket, session, pitch_hz)
