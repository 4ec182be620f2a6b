"""WebRTC callers that come and go at a rate: each connects and says goodbye.

Started with the address of the server's REST and the number of calls a second. At a byte of standard input it
says how many have connected, and ends.
"""

from __future__ import annotations

import datetime
import json
import os
import select
import sys
import time
from typing import Final

from bench.host import raise_open_files
from bench.load.talking import post
from bench.load.webrtc import ROW_BYTES, Leg
from vb.rtp.packet import PacketKind, classify
from vb.webrtc.certificate import make_identity
from vb.webrtc.dtls import DtlsContext

GIVEN_UP_S: Final = 5.0
STEP_S: Final = 0.005


class Callers:
    """Those that are on their way.

    Attributes:
        connected: how many have come up so far.
    """

    def __init__(self, url: str) -> None:
        self.connected = 0
        self._url = url
        self._context = DtlsContext(make_identity(datetime.datetime.now(datetime.UTC), 1))
        self._number = 0
        self._under_way: dict[int, tuple[Leg, float]] = {}
        self._epoll = select.epoll()
        self._room = memoryview(bytearray(ROW_BYTES))

    def call(self) -> None:
        """Offer another leg."""
        self._number += 1
        leg = Leg(self._number, self._context)
        leg.answered(post(self._url, "/webrtc/offer", {"sdp": leg.offer().decode()})["sdp"].encode())
        self._under_way[leg.socket.fileno()] = leg, time.monotonic()
        self._epoll.register(leg.socket, select.EPOLLIN)

    def serve(self, wait_s: float) -> None:
        """Take what has come once something has or the time is up; let go of those who are up."""
        for fd, _ in self._epoll.poll(wait_s):
            leg, _ = self._under_way[fd]
            size, source = leg.socket.recvfrom_into(self._room)
            if classify(bytes(self._room[:2])) in (PacketKind.STUN, PacketKind.DTLS):
                leg.session.receive(bytes(self._room[:size]), source, leg.base, time.monotonic())
                leg.flush()
        now = time.monotonic()
        for fd, (leg, begun) in list(self._under_way.items()):
            deadline = leg.session.deadline()
            if deadline is not None and now >= deadline:
                leg.session.expire(now)
                leg.flush()
            if leg.srtp is not None or now - begun > GIVEN_UP_S:
                self.connected += leg.srtp is not None
                leg.session.close()
                leg.flush()
                self._epoll.unregister(leg.socket)
                del self._under_way[fd]
                leg.socket.close()


def main() -> None:
    """Run until told to stop."""
    raise_open_files()
    callers, rate = Callers(sys.argv[1]), float(sys.argv[2])
    os.set_blocking(0, False)
    began, called = time.monotonic(), 0
    while not sys.stdin.buffer.read(1):
        if time.monotonic() - began >= called / rate:
            callers.call()
            called += 1
        callers.serve(STEP_S)
    print(json.dumps({"called": called, "connected": callers.connected}), flush=True)


if __name__ == "__main__":
    main()
