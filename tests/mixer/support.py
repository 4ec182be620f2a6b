"""A network in memory and virtual time for the plane: phones that send and hear without sockets."""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tests.support.ids import SequentialIds
from vb.codecs.base import CODECS, Codec
from vb.codecs.g711 import ALAW_TO_PCM, PCM_TO_ALAW, PCM_TO_ULAW, ULAW_TO_PCM
from vb.mixer.batch import MAX_ROUNDS, Batch, Endpoint
from vb.mixer.frames import FrameSink, FrameSource
from vb.mixer.plan import Member, MixPlan
from vb.mixer.plane import Plane
from vb.mixer.port import Port, RtpPort
from vb.rtp.latching import Address
from vb.rtp.playout import PlayoutSettings
from vb.sdp import Agreed, MediaAddress

PCMU, PCMA, G722, OPUS = (CODECS[name] for name in ("PCMU", "PCMA", "G722", "opus"))
TONES = (400, 600, 900, 1300, 1700, 2200)
TICK_S = 0.02
START = 1000.0
WALL_OFFSET_S = 1_700_000_000.0
HEADER = struct.Struct("!BBHII")
Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class MemoryEndpoint:
    """Stands for a leg's sockets."""

    rtp_port: int = 0


@dataclass(slots=True)
class Queued:
    at: float
    data: bytes
    source: Address


class MemoryIo:
    """An Io whose packets are queued with the time at which they arrive."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        self.now = START
        self.wall_offset_s = WALL_OFFSET_S
        self.queues: dict[int, list[Queued]] = {}
        self.rtcp: list[tuple[int, bytes, Address, int]] = []
        self.sent: dict[int, deque[bytes]] = {}
        self.targets: dict[int, Address | None] = {}
        self.locked: dict[int, Address | None] = {}

    def attach(self, slot: int, endpoint: Endpoint) -> None:
        self.queues[slot] = []
        self.sent[slot] = deque()
        self.targets[slot] = self.locked[slot] = None

    def detach(self, slot: int) -> None:
        del self.queues[slot]
        del self.targets[slot]

    def aim(self, slot: int, address: Address | None) -> None:
        self.targets[slot] = address
        self.locked[slot] = None

    def lock(self, slot: int, address: Address) -> None:
        self.targets[slot] = self.locked[slot] = address

    def listen(self, slot: int) -> None:
        self.locked[slot] = None

    def arrive(self, slot: int, data: bytes, source: Address, at: float) -> None:
        self.queues[slot].append(Queued(at, data, source))

    def drain(self, batch: Batch) -> int:
        count = 0
        batch.rounds = []
        batch.rtcp = self.rtcp
        self.rtcp = []
        sources: list[Address] = []
        for _ in range(MAX_ROUNDS):
            begun = count
            for slot, queue in self.queues.items():
                queue.sort(key=lambda queued: queued.at)
                while queue and queue[0].at <= self.now:
                    packet = queue.pop(0)
                    only = self.locked.get(slot)
                    if only is not None and packet.source != only:
                        continue
                    batch.matrix[count, : len(packet.data)] = np.frombuffer(packet.data, np.uint8)
                    batch.lengths[count] = len(packet.data)
                    batch.slots[count] = slot
                    batch.stamps_ns[count] = round((packet.at + self.wall_offset_s) * 1e9)
                    sources.append(packet.source)
                    count += 1
                    break
            if count == begun:
                break
            batch.rounds.append(count)
        batch.sources = sources
        batch.wall_offset_s = self.wall_offset_s
        return count

    def send(self, slots: list[int], packets: list[memoryview]) -> None:
        for slot, packet in zip(slots, packets, strict=True):
            self.sent[slot].append(bytes(packet))


def agreed(
    port: int = 4000,
    *,
    host: str = "192.0.2.1",
    codec: Codec = PCMU,
    payload_type: int | None = None,
    receive: Mapping[int, Codec] | None = None,
    events: int | None = None,
    direction: Literal["sendrecv", "sendonly", "recvonly", "inactive"] = "sendrecv",
    remote_held: bool = False,
    ptime_ms: int = 20,
    has_address: bool = True,
) -> Agreed:
    """Return a description of one leg's audio, PCMU both ways unless said otherwise."""
    clock_hz = codec.clock_rate_hz
    return Agreed(
        remote_rtp=MediaAddress(host, port) if has_address else None,
        remote_rtcp=MediaAddress(host, port + 1) if has_address else None,
        rtcp_mux=False,
        send_codec=codec,
        send_payload_type=codec.payload_type if payload_type is None else payload_type,
        receive={codec.payload_type: codec} if receive is None else receive,
        telephone_event_send=None if events is None else (events, clock_hz),
        telephone_event_receive={} if events is None else {events: clock_hz},
        direction=direction,
        remote_held=remote_held,
        ptime_ms=ptime_ms,
    )


def rtp(
    sequence: int,
    timestamp: int,
    payload: bytes,
    *,
    ssrc: int = 77,
    payload_type: int = 0,
    marker: bool = False,
) -> bytes:
    """Return one plain RTP packet."""
    second = payload_type | (0x80 if marker else 0)
    return HEADER.pack(0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


@dataclass(slots=True)
class Heard:
    """One packet that the plane sent."""

    first: int
    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse(data: bytes) -> Heard:
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
    return Heard(first, bool(second & 0x80), second & 0x7F, sequence, timestamp, ssrc, data[12:])


def to_ulaw(pcm: NDArray[np.int16]) -> bytes:
    return PCM_TO_ULAW.take(pcm.astype(np.int16).view(np.uint16)).tobytes()


def to_alaw(pcm: NDArray[np.int16]) -> bytes:
    return PCM_TO_ALAW.take(pcm.astype(np.int16).view(np.uint16)).tobytes()


def from_ulaw(payload: bytes) -> Pcm:
    return ULAW_TO_PCM.take(np.frombuffer(payload, np.uint8))


def from_alaw(payload: bytes) -> Pcm:
    return ALAW_TO_PCM.take(np.frombuffer(payload, np.uint8))


def tone(hz: float, samples: int, *, start: int = 0, rate_hz: int = 8000, amplitude: float = 8000) -> Pcm:
    """Return part of an endless sine."""
    time = (start + np.arange(samples)) / rate_hz
    return np.rint(amplitude * np.sin(2 * np.pi * hz * time)).astype(np.int16)


def level(pcm: Pcm) -> float:
    """Return the RMS."""
    return float(np.sqrt(np.mean(pcm.astype(np.float64) ** 2)))


def strength(pcm: Pcm, hz: float, rate_hz: int = 8000) -> float:
    """Return the amplitude of one frequency."""
    time = np.arange(pcm.size) / rate_hz
    return float(2 * abs(np.mean(pcm * np.exp(-2j * np.pi * hz * time))))


@dataclass(slots=True)
class Phone:
    """A phone that sends PCMU tones at its own phase, and remembers what it heard.

    Attributes:
        port: its leg.
        hz: its tone, None for silence, of `amplitude`.
        phase_s: how long before the tick its packets arrive.
        ppm: how much faster than ours its clock runs.
        shaken: by how many samples its timestamps are off at most.
    """

    io: MemoryIo
    port: RtpPort
    source: Address
    hz: float | None = None
    amplitude: float = 8000
    phase_s: float = 0.010
    ppm: float = 0.0
    shaken: int = 0
    samples: int = 160
    ssrc: int = 77
    sequence: int = 100
    timestamp: int = 5000
    sample: int = 0
    next_at: float | None = None
    sending: bool = True
    heard: list[Heard] = field(default_factory=list)

    def produce(self, until: float) -> None:
        """Queue the packets that arrive up to `until`."""
        if self.next_at is None:
            self.next_at = until - self.phase_s
        while self.next_at <= until:
            if self.sending:
                self.io.arrive(self.port.slot, self.packet(), self.source, self.next_at)
            else:
                self.skip()
            self.next_at += self.samples / 8000 / (1 + self.ppm * 1e-6)

    def audio(self) -> Pcm:
        if self.hz is None:
            return np.zeros(self.samples, np.int16)
        return tone(self.hz, self.samples, start=self.sample, amplitude=self.amplitude)

    def packet(self) -> bytes:
        off = self.sequence * 7919 % (2 * self.shaken + 1) - self.shaken
        data = rtp(self.sequence, self.timestamp + off, to_ulaw(self.audio()), ssrc=self.ssrc)
        self.sequence += 1
        self.skip()
        return data

    def skip(self) -> None:
        self.timestamp += self.samples
        self.sample += self.samples

    def listen(self) -> None:
        sent = self.io.sent[self.port.slot]
        while sent:
            self.heard.append(parse(sent.popleft()))

    def pcm(self, last: int | None = None) -> Pcm:
        """Return what was heard, the last so many packets of it."""
        packets = self.heard if last is None else self.heard[-last:]
        return from_ulaw(b"".join(packet.payload for packet in packets))


class World:
    """A plane in virtual time with its phones."""

    def __init__(
        self,
        *,
        playout: PlayoutSettings | None = None,
        pass_through: bool = False,
        capacity: int = 64,
        relearn: bool = True,
    ) -> None:
        self.io = MemoryIo()
        self.plane = Plane(
            self.io,
            SequentialIds(),
            capacity=capacity,
            batch_rows=512,
            playout=playout,
            pass_through=pass_through,
            relearn=relearn,
        )
        self.tick_at = START
        self.phones: list[Phone] = []
        self.plane.set_time(START)

    def phone(self, hz: float | None = None, *, configured: bool = True, **settings: Any) -> Phone:
        """Add a PCMU phone; `settings` are Phone's."""
        port = self.plane.open_port(MemoryEndpoint())
        number = 4000 + 2 * port.slot
        if configured:
            port.configure(agreed(number))
            port.sending = True
        phone = Phone(self.io, port, ("192.0.2.1", number), hz, ssrc=1000 + port.slot)
        for name, value in settings.items():
            setattr(phone, name, value)
        self.phones.append(phone)
        return phone

    def room(
        self,
        *phones: Phone | Port,
        room_id: str = "r",
        rate_hz: int = 16000,
        sources: tuple[FrameSource, ...] = (),
        taps: tuple[FrameSink, ...] = (),
        comfort_noise: bool = False,
        hears: NDArray[np.bool_] | None = None,
    ) -> MixPlan:
        """Publish a room of these participants."""
        ports = tuple(phone.port if isinstance(phone, Phone) else phone for phone in phones)
        members = tuple(Member(port) for port in ports)
        plan = MixPlan(room_id, rate_hz, members, sources, taps, comfort_noise, hears)
        self.plane.publish(plan)
        return plan

    def run(self, ticks: int, *, late_s: float = 0.0005) -> None:
        """Run ticks, phones sending and listening."""
        for _ in range(ticks):
            self.tick_at += TICK_S
            for phone in self.phones:
                if not phone.port.closed:
                    phone.produce(self.tick_at)
            self.io.now = self.tick_at + late_s
            self.plane.tick(self.io.now, self.tick_at)
            for phone in self.phones:
                if not phone.port.closed:
                    phone.listen()


class ListSource:
    """Gives frames from a list, then None."""

    def __init__(self, frames: list[Pcm]) -> None:
        self.frames = frames
        self.rates: list[int] = []

    @property
    def finished(self) -> bool:
        return not self.frames

    def take(self, rate_hz: int) -> Pcm | None:
        self.rates.append(rate_hz)
        return self.frames.pop(0) if self.frames else None


class ToneSource:
    """Plays a tone at whatever rate it is asked for."""

    def __init__(self, hz: float, amplitude: float = 8000) -> None:
        self.hz = hz
        self.amplitude = amplitude
        self.taken = 0
        self.finished = False

    def take(self, rate_hz: int) -> Pcm:
        width = rate_hz // 50
        frame = tone(self.hz, width, start=self.taken * width, rate_hz=rate_hz, amplitude=self.amplitude)
        self.taken += 1
        return frame


class ListSink:
    """Keeps a copy of each frame."""

    def __init__(self) -> None:
        self.frames: list[Pcm] = []
        self.rates: list[int] = []

    def push(self, frame: Pcm, rate_hz: int) -> None:
        self.frames.append(frame.copy())
        self.rates.append(rate_hz)

    def pcm(self, last: int = 10) -> Pcm:
        return np.concatenate(self.frames[-last:])


class Broken:
    """A source and sink that fails."""

    finished = False

    def take(self, rate_hz: int) -> Pcm | None:
        raise RuntimeError("broken source")

    def push(self, frame: Pcm, rate_hz: int) -> None:
        raise RuntimeError("broken sink")


def talkers(world: World, count: int) -> list[Phone]:
    """Phones that each send a tone of their own."""
    return [world.phone(TONES[i]) for i in range(count)]


def heard_tones(phone: Phone, last: int = 20) -> set[int]:
    """Which of the tones are in the last packets that a phone has heard."""
    pcm = phone.pcm(last)
    return {hz for hz in TONES if strength(pcm, hz) > 3000}
