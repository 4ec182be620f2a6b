"""An RTP peer: sends tones or silence at an exact pace and measures what comes back."""

from __future__ import annotations

import secrets
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import trio

from conformance.expect import Difference
from conformance.peers.measure import Heard, Pcm, level_db, lost_in, steps_of, tones_of
from conformance.peers.payload import PayloadCodec, make_codec
from conformance.peers.srtp import Protection

Address = tuple[str, int]
MAX_PACKETS = 20_000
NOTABLE_S = 0.002
"""Packets that are sent later than this are remembered."""
NAMES = {0: "PCMU", 8: "PCMA", 9: "G722", 111: "opus"}
DIGITS = "0123456789*#ABCD"


@dataclass(frozen=True)
class Packet:
    """One RTP packet as received."""

    at: float
    source: Address
    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


@dataclass(frozen=True)
class Late:
    """A packet that was sent `by_s` after it was due, at a time of the monotonic clock."""

    at: float
    by_s: float


def parse_rtp(data: bytes, at: float, source: Address) -> Packet | None:
    """Reads an RTP packet; None for RTCP and everything else."""
    if len(data) < 12 or data[0] >> 6 != 2 or 192 <= data[1] <= 223:
        return None
    first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
    start = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        start += 4 + 4 * int(struct.unpack_from("!H", data, start + 2)[0])
    end = len(data) - (data[-1] if first & 0x20 else 0)
    return Packet(at, source, bool(second & 0x80), second & 0x7F, sequence, timestamp, ssrc, data[start:end])


@dataclass(frozen=True)
class HeardDigit:
    """One RFC 4733 event as it arrived."""

    digit: str
    at: float
    ended_at: float
    timestamp: int
    durations: list[int]
    ends: int
    markers: list[bool]
    volume: int

    @classmethod
    def of(cls, packets: list[Packet]) -> HeardDigit:
        """Puts the packets of one event together."""
        events = [struct.unpack_from("!BBH", packet.payload) for packet in packets]
        return cls(
            digit=DIGITS[events[0][0]] if events[0][0] < len(DIGITS) else "?",
            at=packets[0].at,
            ended_at=packets[-1].at,
            timestamp=packets[0].timestamp,
            durations=[duration for _, _, duration in events],
            ends=sum(bool(flags & 0x80) for _, flags, _ in events),
            markers=[packet.marker for packet in packets],
            volume=events[0][1] & 0x3F,
        )


class RtpPeer:
    """One media address of a peer. It is silent on the wire until it is told to talk."""

    def __init__(self, sock: trio.socket.SocketType, who: str) -> None:
        self.who = who
        self.host, self.port = sock.getsockname()[:2]
        self.remote: Address | None = None
        self.received: deque[Packet] = deque(maxlen=MAX_PACKETS)
        self.rtcp: deque[bytes] = deque(maxlen=1000)
        self.late: deque[Late] = deque(maxlen=MAX_PACKETS)
        self.codec: PayloadCodec = make_codec("PCMU")
        self.packet_ms = 20
        self.stamp_as: Callable[[int], int] | None = None
        """What to write as the timestamp of the n-th audio packet instead of the right one."""
        self.send_as: int | None = None
        """The payload type of audio, when it is not the usual one."""
        self.protection: Protection | None = None
        """What packets are protected with either way; what cannot be opened counts as refused."""
        self.refused = 0
        self._audio_packets = 0
        self._sock = sock
        self._heard = trio.Event()
        self._tones_hz: tuple[float, ...] = ()
        self._amplitude = 0.0
        self._phase = 0
        self._ssrc = int.from_bytes(secrets.token_bytes(4), "big")
        self._sequence = int.from_bytes(secrets.token_bytes(2), "big")
        self._timestamp = int.from_bytes(secrets.token_bytes(4), "big")
        self._marker = True
        self._talking = False
        self._digits_at_once = False

    # -- sending --------------------------------------------------------------------------------------

    def talk(
        self,
        tone_hz: float | tuple[float, ...] | None,
        *,
        level: float = -18.0,
        codec: str = "PCMU",
        packet_ms: int = 20,
    ) -> None:
        """Starts sending a tone of ``level`` dBFS RMS, several of it, or silence when there is none."""
        if codec != self.codec.name:
            self.codec = make_codec(codec)
        self.packet_ms = packet_ms
        self._tones_hz = tone_hz if isinstance(tone_hz, tuple) else () if tone_hz is None else (tone_hz,)
        self._amplitude = 32768 * 10 ** (level / 20) * 2**0.5
        self._talking = True

    def stop_talking(self) -> None:
        """Stops sending."""
        self._talking = False
        self._marker = True

    def become_another_source(self) -> None:
        """Goes on under another SSRC, with numbers of its own."""
        self._ssrc = int.from_bytes(secrets.token_bytes(4), "big")
        self._sequence = int.from_bytes(secrets.token_bytes(2), "big")

    def _frame(self) -> Pcm:
        count = self.codec.pcm_rate_hz * self.packet_ms // 1000
        if not self._tones_hz:
            return np.zeros(count, np.int16)
        t = (np.arange(count) + self._phase) / self.codec.pcm_rate_hz
        self._phase += count
        wave = sum(np.sin(2 * np.pi * hertz * t) for hertz in self._tones_hz)
        return np.round(self._amplitude * wave).astype(np.int16)

    async def _send(self, payload_type: int, timestamp: int, payload: bytes, marker: bool) -> None:
        if self.remote is None:
            return
        second = payload_type | (0x80 if marker else 0)
        header = struct.pack("!BBHII", 0x80, second, self._sequence, timestamp & 0xFFFFFFFF, self._ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        data = header + payload
        try:
            await self._sock.sendto(
                data if self.protection is None else self.protection.close(data), self.remote
            )
        except ConnectionRefusedError:
            pass

    async def send_raw(self, data: bytes, to: Address) -> None:
        """Sends any datagram anywhere."""
        await self._sock.sendto(data, to)

    async def send_payload(self, payload: bytes) -> None:
        """Sends one packet of any content in place of audio, now."""
        await self._send(self.codec.payload_type, self._timestamp, payload, False)

    async def pace(self) -> None:
        """Sends a packet whenever one is due, on an absolute grid; runs until cancelled."""
        due = trio.current_time()
        while True:
            due += self.packet_ms / 1000
            await trio.sleep_until(due)
            step = self.codec.clock_rate_hz * self.packet_ms // 1000
            self._timestamp = (self._timestamp + step) & 0xFFFFFFFF
            if self._talking and not self._digits_at_once:
                payload = self.codec.encode(self._frame())
                payload_type = self.codec.payload_type if self.send_as is None else self.send_as
                timestamp = self._timestamp
                if self.stamp_as is not None:
                    timestamp = self.stamp_as(self._audio_packets)
                self._audio_packets += 1
                late_s = trio.current_time() - due
                if late_s >= NOTABLE_S:
                    self.late.append(Late(time.monotonic(), late_s))
                await self._send(payload_type, timestamp, payload, self._marker)
                self._marker = False

    async def send_digit(
        self,
        digit: str,
        *,
        payload_type: int = 101,
        ends: int = 3,
        updates: int = 4,
        step: int = 160,
        stamp_as: Callable[[int, int], int] = lambda index, started: started,
    ) -> None:
        """Sends one RFC 4733 event: growing updates and then ``ends`` end packets, 20 ms apart.

        ``step`` is 20 ms in the clock of the event. ``stamp_as`` gives each packet's timestamp from its
        number and the right one.
        """
        self._digits_at_once = True
        started = self._timestamp
        try:
            for index in range(updates + ends):
                duration = step * min(index + 1, updates + 1)
                end = 0x80 if index >= updates else 0
                event = struct.pack("!BBH", DIGITS.index(digit.upper()), end | 10, duration)
                await self._send(payload_type, stamp_as(index, started), event, index == 0)
                await trio.sleep(0.02)
        finally:
            self._digits_at_once = False

    # -- digits that arrive ---------------------------------------------------------------------------

    def digits_heard(self, payload_type: int = 101) -> list[HeardDigit]:
        """The RFC 4733 events that arrived so far, in order."""
        events: dict[int, list[Packet]] = {}
        for packet in self.received:
            if packet.payload_type == payload_type and len(packet.payload) >= 4:
                events.setdefault(packet.timestamp, []).append(packet)
        return [HeardDigit.of(packets) for packets in events.values()]

    async def hears_digits(
        self, digits: str, *, payload_type: int = 101, within_s: float = 3.0
    ) -> list[HeardDigit]:
        """Waits until exactly these digits have come since the peer was opened.

        Raises:
            Difference: when others came, or fewer.
        """
        with trio.move_on_after(within_s):
            while sum(digit.ends >= 3 for digit in self.digits_heard(payload_type)) < len(digits):
                await self._heard.wait()
        heard = self.digits_heard(payload_type)
        got = "".join(digit.digit for digit in heard)
        if got != digits:
            raise Difference(f"digits at {self.who}", digits, got)
        return heard

    # -- receiving ------------------------------------------------------------------------------------

    async def collect(self) -> None:
        """Keeps everything that arrives; runs until cancelled."""
        while True:
            try:
                data, source = await self._sock.recvfrom(2048)
            except ConnectionRefusedError:
                continue
            if self.protection is not None:
                opened = self.protection.open(data)
                if opened is None:
                    self.refused += 1
                    continue
                data = opened
            packet = parse_rtp(data, time.monotonic(), (source[0], source[1]))
            if packet is None:
                self.rtcp.append(data)
            else:
                self.received.append(packet)
                self._heard.set()
                self._heard = trio.Event()

    async def listen(self, for_ms: int = 400, *, settle_ms: int = 120) -> Heard:
        """Waits ``settle_ms`` for the last change to reach us, then measures a window of ``for_ms``."""
        await trio.sleep(settle_ms / 1000)
        start = time.monotonic()
        await trio.sleep(for_ms / 1000)
        return self.heard_since(start, for_ms / 1000)

    def heard_since(self, start: float, seconds: float) -> Heard:
        """Measures what arrived since a time of the monotonic clock."""
        packets = [p for p in self.received if p.at >= start]
        audio = [p for p in packets if p.payload_type in NAMES]
        names = [NAMES[p.payload_type] for p in audio]
        codecs = {name: make_codec(name) for name in set(names)}
        rate = codecs[names[-1]].pcm_rate_hz if names else 8000
        ordered = sorted(audio, key=lambda p: (p.sequence - audio[0].sequence + 0x4000) & 0xFFFF)
        parts = [codecs[NAMES[p.payload_type]].decode(p.payload) for p in ordered]
        pcm = np.concatenate([np.zeros(0, np.int16), *parts])
        if "opus" in codecs or "G722" in codecs:
            pcm = pcm[rate // 25 :]
        sequences = [p.sequence for p in ordered]
        return Heard(
            who=self.who,
            packets=len(packets),
            seconds=seconds,
            payload_types=sorted({p.payload_type for p in packets}),
            payload_bytes=sorted({len(p.payload) for p in packets}),
            timestamp_steps=steps_of([p.timestamp for p in ordered], sequences),
            ssrcs=len({p.ssrc for p in packets}),
            lost=lost_in(sequences),
            level_db=level_db(pcm),
            tones=tones_of(pcm, rate),
            pcm=pcm,
            rate_hz=rate,
        )

    async def first_packet(self, within_s: float = 2.0) -> Packet:
        """Waits for the first packet ever.

        Raises:
            Difference: when none comes in time.
        """
        if not self.received:
            with trio.move_on_after(within_s):
                await self._heard.wait()
        if not self.received:
            raise Difference(f"media at {self.who}", "a packet", f"none within {within_s} s")
        return self.received[0]


@asynccontextmanager
async def open_rtp(who: str, host: str = "127.0.0.1") -> AsyncIterator[RtpPeer]:
    """A peer on a free even port, sending and receiving while the block runs."""
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    for _ in range(200):
        sock = trio.socket.socket(family, trio.socket.SOCK_DGRAM)
        await sock.bind((host, 0))
        if sock.getsockname()[1] % 2 == 0:
            break
        sock.close()
    else:
        raise OSError("no even port")
    peer = RtpPeer(sock, who)
    with sock:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.pace)
            nursery.start_soon(peer.collect)
            yield peer
            nursery.cancel_scope.cancel()
