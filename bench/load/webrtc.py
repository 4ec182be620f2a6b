"""WebRTC callers as a load: ICE, DTLS and SRTP for each, in one process on one thread.

Started with the address of the server's REST, the number of legs, the level of their tones, how many of them
talk, how many share a room, and what those send who do not talk: silence in packets that tell their level, or
pauses, which the server must have asked for (Opus DTX). It says `up` when all are connected, and at a byte of
standard input what it has counted and heard; ends then.
"""

from __future__ import annotations

import datetime
import json
import secrets
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.codecs import Sound, Speaker, payloads_of
from bench.host import raise_open_files
from bench.load.talking import KEPT, post, talk, wait_until
from bench.tones import tone_frequencies
from vb.codecs.base import OPUS
from vb.rtp.packet import PacketKind, classify
from vb.webrtc.agreement import AgreedWebRtc
from vb.webrtc.candidate import local_candidate
from vb.webrtc.certificate import make_identity
from vb.webrtc.dtls import DtlsContext
from vb.webrtc.local_description import LocalTransport
from vb.webrtc.negotiation import WebRtcNegotiation
from vb.webrtc.session import Connected, Session
from vb.webrtc.srtp import Rows, Srtp, protect_rows, unprotect_rows

ROW_BYTES: Final = 1500
PER_S: Final = 50
_CYCLE: Final = 2 * PER_S
"""Ticks after which everybody begins again: whole seconds of tones, and whole pauses."""
CLOCK_STEP: Final = 960
ONE_BYTE_FORM: Final = b"\xbe\xde\x00\x01"
TALKING_LEVEL: Final = 20
SILENT_LEVEL: Final = 127
HEADER: Final = struct.Struct("!BBHII")


class Leg:
    """One caller, who is called where he does not call.

    Args:
        number: tells him from others.
        context: his certificate.
        talks: whether his packets say so.
        calls: whether he makes the offer.

    Attributes:
        payloads: what he says, again and again.
    """

    def __init__(
        self,
        number: int,
        context: DtlsContext,
        *,
        talks: bool = True,
        calls: bool = True,
    ) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(("127.0.0.1", 0))
        self.base = self.socket.getsockname()
        self.session = Session(controlling=calls, context=context, random_bytes=secrets.token_bytes)
        self._candidate = local_candidate("host", self.base)
        self.session.add_local(self._candidate, self.base)
        self.ssrc = number + 1
        self.talk = WebRtcNegotiation(codecs=[OPUS], session_id=1, ssrc=self.ssrc, cname="load")
        self.payloads: list[bytes | None] = []
        self.level = TALKING_LEVEL if talks else SILENT_LEVEL
        self.srtp: Srtp | None = None
        self.remote = ("", 0)
        self.received = self.lost = 0
        self.last: int | None = None
        self.kept: deque[bytes] = deque(maxlen=KEPT)

    def _transport(self) -> LocalTransport:
        return self.session.local_transport([self._candidate], complete=True)

    def offer(self) -> bytes:
        """Return the offer of a call, which is complete."""
        return self.talk.offer(self._transport())

    def answered(self, answer: bytes) -> None:
        """Take the answer to it, and connect."""
        self._connect(self.talk.read_answer(answer))

    def answer(self, offer: bytes) -> bytes:
        """Take the offer of a call, and connect; returns the answer, which is complete."""
        answer = self.talk.answer(self.talk.read_offer(offer), self._transport())
        assert self.talk.agreed is not None
        self._connect(self.talk.agreed)
        return answer

    def _connect(self, agreed: AgreedWebRtc) -> None:
        self.session.set_peer(agreed.transport, agreed.role, time.monotonic())
        self.flush()

    def flush(self) -> None:
        """Send what is to be sent, and take the keys."""
        for data, _, destination in self.session.outgoing():
            self.socket.sendto(data, destination)
        for event in self.session.events():
            if isinstance(event, Connected):
                self.srtp, self.remote = Srtp(event.keys), event.remote

    @property
    def may_pause(self) -> bool:
        """Whether the server asks for pauses in silence (RFC 7587 §6.1)."""
        agreed = self.talk.agreed
        return agreed is not None and "usedtx=1" in (agreed.audio.send_fmtp or "")

    @property
    def wide_band(self) -> bool:
        """Whether the server asks for nothing above 8 kHz; Chromium keeps to it (RFC 7587 §6.1)."""
        agreed = self.talk.agreed
        return agreed is not None and "maxplaybackrate=16000" in (agreed.audio.send_fmtp or "")

    @property
    def head(self) -> bytes:
        """What its RTP packets begin with, with numbers of zero."""
        agreed = self.talk.agreed
        assert agreed is not None
        kind = agreed.audio.send_payload_type
        if agreed.audio_level_id is None:
            return HEADER.pack(0x80, kind, 0, 0, self.ssrc)
        level = bytes([agreed.audio_level_id << 4, self.level, 0, 0])
        return HEADER.pack(0x90, kind, 0, 0, self.ssrc) + ONE_BYTE_FORM + level

    def take(self, packet: bytes) -> None:
        """Count a packet, and keep it as it came: taking off its protection can wait until the end."""
        sequence = int.from_bytes(packet[2:4])
        self.received += 1
        if self.last is not None:
            self.lost += (sequence - self.last - 1) & 0xFFFF
        self.last = sequence
        self.kept.append(packet)

    def heard(self) -> list[tuple[int, str]]:
        """Return timestamps and payloads of the last packets."""
        rows = Rows(np.zeros((1, ROW_BYTES), np.uint8))
        found = []
        for packet in self.kept:
            rows.array[0, : len(packet)] = np.frombuffer(packet, np.uint8)
            lengths = np.array([len(packet)], np.int64)
            unprotect_rows([self.srtp], rows, [0], lengths)
            plain = rows.array[0, : int(lengths[0])].tobytes()
            found.append((int.from_bytes(plain[4:8]), plain[12:].hex()))
        return found


class Outgoing:
    """The packets of all legs, built as columns.

    Args:
        legs: whose.
    """

    def __init__(self, legs: list[Leg]) -> None:
        self._rows = Rows(np.zeros((len(legs), ROW_BYTES), np.uint8))
        array = self._rows.array
        self._sequence = array[:, 2:4].view(">u2")[:, 0]
        self._stamp = array[:, 4:8].view(">u4")[:, 0]
        self._srtp = [leg.srtp for leg in legs]
        # All have agreed on the same extension. Protection leaves what is before the payload as it is.
        heads = [leg.head for leg in legs]
        (self._start,) = {len(head) for head in heads}
        for row, head in enumerate(heads):
            array[row, : len(head)] = np.frombuffer(head, np.uint8)
        cycle = [[leg.payloads[at % len(leg.payloads)] or b"" for leg in legs] for at in range(_CYCLE)]
        self._sizes = np.array([[len(payload) for payload in tick] for tick in cycle], np.int64)
        sent = self._sizes > 0
        self._due = [np.flatnonzero(row) for row in sent]
        self._a_cycle = np.count_nonzero(sent, axis=0)
        self._before: NDArray[np.int64] = np.cumsum(sent, axis=0) - sent
        self._payloads = np.zeros((_CYCLE, len(legs), int(self._sizes.max())), np.uint8)
        for at, tick in enumerate(cycle):
            for row, payload in enumerate(tick):
                self._payloads[at, row, : len(payload)] = np.frombuffer(payload, np.uint8)
        self._views = [array[row].data for row in range(len(legs))]
        self._senders = [leg.socket.send for leg in legs]
        for leg in legs:
            leg.socket.connect(leg.remote)

    def send(self, at: int) -> None:
        """Send the packets of a tick, one on every leg that does not pause."""
        cycle, tick = divmod(at, _CYCLE)
        array, start, due = self._rows.array, self._start, self._due[tick]
        self._sequence[due] = (cycle * self._a_cycle[due] + self._before[tick, due]) & 0xFFFF
        self._stamp[due] = at * CLOCK_STEP & 0xFFFF_FFFF
        array[due, start : start + self._payloads.shape[2]] = self._payloads[tick, due]
        lengths, legs = self._sizes[tick, due] + start, due.tolist()
        protect_rows([self._srtp[leg] for leg in legs], self._rows, legs, lengths)
        for leg, length in zip(legs, lengths.tolist(), strict=True):
            self._senders[leg](self._views[leg][:length])


class Load:
    """All callers of a run.

    Args:
        legs: how many.
        amplitude: of their tones.
        talkers: how many of them talk.
        calls: whether they call.
        listeners: what the others send.
    """

    def __init__(
        self,
        legs: int,
        amplitude: float,
        talkers: int,
        *,
        calls: bool = True,
        listeners: Sound = "silence",
    ) -> None:
        context = DtlsContext(make_identity(datetime.datetime.now(datetime.UTC), 1))
        self._frequencies, self._amplitude = tone_frequencies(legs), amplitude
        self._talkers, self._listeners = talkers, listeners
        self.legs = [Leg(number, context, talks=number < talkers, calls=calls) for number in range(legs)]
        self._by_fd = {leg.socket.fileno(): leg for leg in self.legs}
        self._epoll = select.epoll()
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN)
        self._room = memoryview(bytearray(ROW_BYTES))
        self._turn, self._turns = 0, 1

    def connect(self, room_size: int, connect: Callable[[Leg, str], None]) -> None:
        """Connect each leg with the server, one after the other.

        Args:
            room_size: how many share a room.
            connect: brings a leg into a room, but for what `serve` does.
        """
        for number, leg in enumerate(self.legs):
            connect(leg, f"room-{number // room_size}")
            leg.payloads = self._said(number, wide_band=leg.wide_band)
            self.serve(0.0)
        wait_until(lambda: self.is_up, self)

    def _said(self, number: int, *, wide_band: bool) -> list[bytes | None]:
        """Return what a leg says, as the server has asked for it."""
        sound: Sound = "tone" if number < self._talkers else self._listeners
        speaker = Speaker("opus", sound=sound, wide_band=wide_band)
        said = deque(payloads_of(speaker, int(self._frequencies[number]), self._amplitude))
        said.rotate(number)  # not everybody pauses at the same moments
        return list(said)

    @property
    def is_up(self) -> bool:
        """Whether every leg has its keys."""
        return all(leg.srtp is not None for leg in self.legs)

    def serve(self, wait_s: float) -> bool:
        """Take what has come, once something has or the time is up; False when nothing came."""
        ready = self._epoll.poll(wait_s)
        for fd, _ in ready:
            leg = self._by_fd[fd]
            try:
                size, source = leg.socket.recvfrom_into(self._room)
            except BlockingIOError:
                continue
            self._take(leg, bytes(self._room[:size]), source)
        return bool(ready)

    def _take(self, leg: Leg, data: bytes, source: tuple[str, int]) -> None:
        kind = classify(data[:2])
        if kind is PacketKind.RTP:
            if leg.srtp is not None:
                leg.take(data)
        elif kind in (PacketKind.STUN, PacketKind.DTLS):
            leg.session.receive(data, source, leg.base, time.monotonic())
            leg.flush()

    def settle(self) -> None:
        """Do from now on what each session has due once a second: all are up, and nothing of it is urgent."""
        self._turns = PER_S

    def expire(self) -> None:
        """Do what sessions have due: all of them, or those whose turn it is."""
        now = time.monotonic()
        self._turn = (self._turn + 1) % self._turns
        for leg in self.legs[self._turn :: self._turns]:
            deadline = leg.session.deadline()
            if deadline is not None and now >= deadline:
                leg.session.expire(now)
                leg.flush()


def talk_and_tell(load: Load) -> None:
    """Talk until told to stop, and tell what was counted and heard."""
    load.settle()
    told = talk(load, Outgoing(load.legs).send, once_a_tick=True)
    told |= {
        "received": [leg.received for leg in load.legs],
        "lost": [leg.lost for leg in load.legs],
        "heard": [leg.heard() for leg in load.legs],
    }
    print(json.dumps(told), flush=True)


def main() -> None:
    """Run until told to stop."""
    raise_open_files()
    url, legs, amplitude, talkers, room_size, listeners = sys.argv[1:]

    def call(leg: Leg, room: str) -> None:
        answer = post(url, "/webrtc/offer", {"sdp": leg.offer().decode()})
        post(url, f"/rooms/{room}/legs", {"leg_id": answer["leg_id"]})
        leg.answered(answer["sdp"].encode())
        if listeners == "pause" and not leg.may_pause:
            sys.exit("the server does not ask for pauses")

    pause: Sound = "pause" if listeners == "pause" else "silence"
    load = Load(int(legs), float(amplitude), int(talkers), listeners=pause)
    load.connect(int(room_size), call)
    talk_and_tell(load)


if __name__ == "__main__":
    main()
