"""WebRTC callers as a load: ICE, DTLS and SRTP for each, in one process on one thread.

Started with the address of the server's REST, the number of legs and the level of their tones. Says `up`
when all legs talk, and at a byte of standard input what it has counted and heard; ends then.
"""

from __future__ import annotations

import datetime
import json
import os
import secrets
import select
import socket
import struct
import sys
import time
import urllib.request
from collections import deque
from typing import Final

import numpy as np

from bench.codecs import Speaker, payloads_of
from bench.host import raise_open_files
from bench.tones import tone_frequencies
from vb.codecs.base import OPUS
from vb.rtp.packet import PacketKind, classify
from vb.webrtc.candidate import local_candidate
from vb.webrtc.certificate import make_identity
from vb.webrtc.dtls import DtlsContext
from vb.webrtc.negotiation import WebRtcNegotiation
from vb.webrtc.session import Connected, Session
from vb.webrtc.srtp import Rows, Srtp, protect_rows, unprotect_rows

TICK_S: Final = 0.02
START_LIMIT_S: Final = 60.0
ROW_BYTES: Final = 1500
KEPT: Final = 75
CLOCK_STEP: Final = 960
HEADER: Final = struct.Struct("!BBHII")


class Leg:
    """One caller."""

    def __init__(self, number: int, context: DtlsContext, payloads: list[bytes | None]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(("127.0.0.1", 0))
        self.base = self.socket.getsockname()
        self.session = Session(controlling=True, context=context, random_bytes=secrets.token_bytes)
        candidate = local_candidate("host", self.base)
        self.session.add_local(candidate, self.base)
        self.ssrc = number + 1
        self.talk = WebRtcNegotiation(codecs=[OPUS], session_id=1, ssrc=self.ssrc, cname="load")
        self.offer = self.talk.offer(self.session.local_transport([candidate], complete=True))
        self.payloads = payloads
        self.srtp: Srtp | None = None
        self.remote = ("", 0)
        self.sent = self.received = self.lost = 0
        self.last: int | None = None
        self.heard: deque[tuple[int, bytes]] = deque(maxlen=KEPT)

    def flush(self) -> None:
        """Send what is to be sent, and take the keys."""
        for data, _, destination in self.session.outgoing():
            self.socket.sendto(data, destination)
        for event in self.session.events():
            if isinstance(event, Connected):
                self.srtp, self.remote = Srtp(event.keys), event.remote

    def packet(self, at: int) -> bytes:
        """Return the RTP packet of a tick."""
        agreed = self.talk.agreed
        assert agreed is not None
        payload = self.payloads[at % len(self.payloads)] or b""
        kind = agreed.audio.send_payload_type
        return HEADER.pack(0x80, kind, at & 0xFFFF, at * CLOCK_STEP & 0xFFFF_FFFF, self.ssrc) + payload


class Load:
    """All callers of a run."""

    def __init__(self, url: str, legs: int, amplitude: float) -> None:
        context = DtlsContext(make_identity(datetime.datetime.now(datetime.UTC), 1))
        frequencies = tone_frequencies(legs)
        speaker = Speaker("opus")
        self.legs = [
            Leg(number, context, payloads_of(speaker, int(frequencies[number]), amplitude))
            for number in range(legs)
        ]
        self._url = url
        self._by_fd = {leg.socket.fileno(): leg for leg in self.legs}
        self._epoll = select.epoll()
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN)
        self._out = Rows(np.zeros((legs, ROW_BYTES), np.uint8))
        self._in = Rows(np.zeros((1, ROW_BYTES), np.uint8))
        self._view = self._in.array[0].data
        self.lateness_ms: list[float] = []

    def call(self) -> None:
        """Offer each leg to the server and put it into its room."""
        for number, leg in enumerate(self.legs):
            answer = self._ask("/webrtc/offer", {"sdp": leg.offer.decode()})
            self._ask(f"/rooms/room-{number // 2}/legs", {"leg_id": answer["leg_id"]})
            agreed = leg.talk.read_answer(answer["sdp"].encode())
            leg.session.set_peer(agreed.transport, agreed.role, time.monotonic())
            leg.flush()
            self.serve(0.0)

    def _ask(self, path: str, body: dict[str, str]) -> dict[str, str]:
        request = urllib.request.Request(
            f"{self._url}/v1{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            found: dict[str, str] = json.loads(reply.read())
        return found

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
                size, source = leg.socket.recvfrom_into(self._view)
            except BlockingIOError:
                continue
            self._take(leg, size, source)
        return bool(ready)

    def _take(self, leg: Leg, size: int, source: tuple[str, int]) -> None:
        kind = classify(bytes(self._view[:2]))
        if kind in (PacketKind.STUN, PacketKind.DTLS):
            leg.session.receive(bytes(self._view[:size]), source, leg.base, time.monotonic())
            leg.flush()
        elif kind is PacketKind.RTP and leg.srtp is not None:
            lengths = np.array([size], np.int64)
            unprotect_rows([leg.srtp], self._in, [0], lengths)
            sequence = int.from_bytes(self._view[2:4])
            leg.received += 1
            if leg.last is not None:
                leg.lost += (sequence - leg.last - 1) & 0xFFFF
            leg.last = sequence
            stamp = int.from_bytes(self._view[4:8])
            leg.heard.append((stamp, bytes(self._view[12 : int(lengths[0])])))

    def expire(self) -> None:
        """Do what sessions have due."""
        now = time.monotonic()
        for leg in self.legs:
            deadline = leg.session.deadline()
            if deadline is not None and now >= deadline:
                leg.session.expire(now)
                leg.flush()

    def talk(self, at: int) -> None:
        """Send the packets of a tick."""
        lengths = np.zeros(len(self.legs), np.int64)
        array = self._out.array
        for row, leg in enumerate(self.legs):
            data = leg.packet(at)
            array[row, : len(data)] = np.frombuffer(data, np.uint8)
            lengths[row] = len(data)
        protect_rows([leg.srtp for leg in self.legs], self._out, range(len(self.legs)), lengths)
        for row, leg in enumerate(self.legs):
            leg.socket.sendto(array[row, : lengths[row]].data, leg.remote)
            leg.sent += 1


def main() -> None:
    """Run until told to stop."""
    raise_open_files()
    load = Load(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    load.call()
    deadline = time.monotonic() + START_LIMIT_S
    while not load.is_up:
        if time.monotonic() > deadline:
            sys.exit("not all legs have connected")
        load.serve(0.005)
        load.expire()
    print("up", flush=True)
    os.set_blocking(0, False)
    began, at = time.monotonic(), 0
    while not sys.stdin.buffer.read(1):
        load.lateness_ms.append((time.monotonic() - began - at * TICK_S) * 1000)
        load.talk(at)
        at += 1
        while load.serve(0.0):
            pass
        load.expire()
        while (left := began + at * TICK_S - time.monotonic()) > 0:
            load.serve(left)
    print(
        json.dumps(
            {
                "sent": [leg.sent for leg in load.legs],
                "received": [leg.received for leg in load.legs],
                "lost": [leg.lost for leg in load.legs],
                "lateness_ms": load.lateness_ms,
                "cpu_s": time.process_time(),
                "took_s": time.monotonic() - began,
                "heard": [[(stamp, data.hex()) for stamp, data in leg.heard] for leg in load.legs],
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
