"""MoQ callers as a load: QUIC and a session for each, in one process on one thread.

Started with the address of the WebTransport listener, that of the server's REST, the number of legs, the
level of their tones, and how many share a room. It says `up` when all hear and are heard, and at a byte of
standard input what it has counted and heard; ends then.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import time
from collections import deque
from typing import Final

from aioquic.h3.connection import H3Connection
from aioquic.h3.events import HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from bench.codecs import Speaker, payloads_of
from bench.host import raise_open_files
from bench.load.talking import KEPT, talk, wait_until
from bench.tones import tone_frequencies
from vb.moq.objects import Object
from vb.moq.publication import GROUP_OBJECTS, Publication, Track
from vb.moq.session import MoqSession
from vb.moq.wire import Namespace

MOST_GREETING: Final = 8
CLOCK_STEP: Final = 960
READ_BYTES: Final = 65_536
WEBTRANSPORT_STREAM: Final = 0x41
MIX, MIC = (b"mix",), (b"mic",)
AUDIO: Final = b"audio"


class Caller:
    """One program: the transport, host and sink of its MoQ session."""

    def __init__(self, address: tuple[str, int], room: str, payloads: list[bytes | None]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(address)
        self.socket.setblocking(False)
        self.received = self.lost = 0
        self.kept: deque[tuple[int, str]] = deque(maxlen=KEPT)
        self._address = address
        self._room = room
        self._payloads = payloads
        self._last: int | None = None
        self._http: H3Connection | None = None
        self._session_id = -1
        self._publication: Publication | None = None
        self._moq = MoqSession(self, self, client=True)
        self._quic = QuicConnection(
            configuration=QuicConfiguration(
                is_client=True,
                alpn_protocols=["h3"],
                server_name="localhost",
                verify_mode=ssl.CERT_NONE,
                max_datagram_frame_size=READ_BYTES,
            )
        )
        self._quic.connect(address, time.monotonic())
        self.flush()

    @property
    def is_open(self) -> bool:
        """Whether it is heard."""
        return self._publication is not None

    @property
    def is_up(self) -> bool:
        """Whether it hears, too."""
        return self.received > 0 and self.is_open

    # -- QUIC ----------------------------------------------------------------------------------------------

    def take(self) -> None:
        """Take what has come."""
        now = time.monotonic()
        while True:
            try:
                data = self.socket.recv(READ_BYTES)
            except BlockingIOError:
                break
            self._quic.receive_datagram(data, self._address, now)
        self.flush()

    def expire(self, now: float) -> None:
        """Do what is due."""
        timer = self._quic.get_timer()
        if timer is not None and now >= timer:
            self._quic.handle_timer(now)
            self.flush()

    def flush(self) -> None:
        """Take events, and send what is to be sent."""
        while (event := self._quic.next_event()) is not None:
            if isinstance(event, events.HandshakeCompleted):
                self._open()
            if self._http is not None:
                for item in self._http.handle_event(event):
                    if isinstance(item, HeadersReceived):
                        self._moq.open()
                    elif isinstance(item, WebTransportStreamDataReceived):
                        self._moq.data(item.stream_id, item.data, fin=item.stream_ended)
        for data, _ in self._quic.datagrams_to_send(time.monotonic()):
            self.socket.send(data)

    def _open(self) -> None:
        self._http = H3Connection(self._quic, enable_webtransport=True)
        self._session_id = self._quic.get_next_available_stream_id()
        path = f"/v1/legs/moq?room_id={self._room}"
        pseudo = {":method": "CONNECT", ":scheme": "https", ":authority": "localhost", ":path": path}
        lines = [*pseudo.items(), (":protocol", "webtransport")]
        self._http.send_headers(self._session_id, [(name.encode(), value.encode()) for name, value in lines])

    # -- as a WebTransport session -------------------------------------------------------------------------

    def open_stream(self, *, bidirectional: bool) -> int:
        """Open a stream."""
        assert self._http is not None
        stream = self._http.create_webtransport_stream(self._session_id, is_unidirectional=not bidirectional)
        if bidirectional:
            with self._http._get_or_create_stream(stream) as found:
                found.frame_type, found.session_id = WEBTRANSPORT_STREAM, self._session_id
        return stream

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Send bytes of a stream."""
        self._quic.send_stream_data(stream, data, fin)

    def reset(self, stream: int, code: int) -> None:
        """Give a stream up."""
        self._quic.reset_stream(stream, code)

    def stop(self, stream: int, code: int) -> None:
        """Want no more of a stream."""
        self._quic.stop_stream(stream, code)

    def unsent(self, stream: int) -> int:
        """Count nothing: the server reads."""
        return 0

    def close(self, code: int = 0, reason: str = "") -> None:
        """End without a word."""

    # -- as the host of a MoQ session ----------------------------------------------------------------------

    def ready(self) -> None:
        """Say what there is, and ask for the mix."""
        self._moq.announce(MIC)
        self._moq.subscribe(Track(MIX, AUDIO), self)

    def refusal(self, track: Track) -> int | None:
        """Refuse nothing."""
        return None

    def subscribed(self, publication: Publication) -> None:
        """Begin to speak."""
        self._publication = publication

    def unsubscribed(self, publication: Publication) -> None:
        """Speak no more."""
        self._publication = None

    def uninterested(self, namespace: Namespace) -> int | None:
        """Refuse nothing."""
        return None

    def announced(self, namespace: Namespace) -> None:
        """It is known already."""

    def ended(self, code: int, reason: str) -> None:
        """Let the run fail: nothing is heard any more."""

    def object(self, group: int, item: Object) -> None:
        """Count a frame, and keep it."""
        number = group * GROUP_OBJECTS + item.id
        self.received += 1
        if self._last is not None:
            self.lost += number - self._last - 1
        self._last = number
        self.kept.append((number * CLOCK_STEP & 0xFFFF_FFFF, item.payload.hex()))

    def group_over(self, group: int, size: int = 0) -> None:
        """There is nothing to be done."""

    def unusable(self) -> None:
        """Count it as lost."""
        self.lost += 1

    def over(self, reason: str) -> None:
        """Let the run fail: nothing is heard any more."""

    def speak(self, at: int) -> None:
        """Send the frame of a tick."""
        payload = self._payloads[at % len(self._payloads)]
        if self._publication is not None and payload:
            self._publication.send(payload)
            self.flush()


class Load:
    """All callers of a run."""

    def __init__(self, address: tuple[str, int], legs: int, amplitude: float, room_size: int) -> None:
        frequencies = tone_frequencies(legs)
        speaker = Speaker("opus")
        self.callers: list[Caller] = []
        self._by_fd: dict[int, Caller] = {}
        self._epoll = select.epoll()
        for number in range(legs):
            payloads = payloads_of(speaker, int(frequencies[number]), amplitude)
            caller = Caller(address, f"moq-{number // room_size}", payloads)
            self.callers.append(caller)
            self._by_fd[caller.socket.fileno()] = caller
            self._epoll.register(caller.socket.fileno(), select.EPOLLIN)
            wait_until(self._few_are_greeting, self)

    def _few_are_greeting(self) -> bool:
        """Whether further ones may come: the server lets few of one address be on their way."""
        return sum(not caller.is_open for caller in self.callers) <= MOST_GREETING

    @property
    def is_up(self) -> bool:
        """Whether everybody hears and is heard."""
        return all(caller.is_up for caller in self.callers)

    def serve(self, wait_s: float) -> bool:
        """Take what has come, once something has or the time is up; False when nothing came."""
        ready = self._epoll.poll(max(0.0, wait_s))
        for fd, _ in ready:
            self._by_fd[fd].take()
        return bool(ready)

    def expire(self) -> None:
        """Do what connections have due."""
        now = time.monotonic()
        for caller in self.callers:
            caller.expire(now)

    def speak(self, at: int) -> None:
        """Send the frame of a tick of everybody."""
        for caller in self.callers:
            caller.speak(at)


def main() -> None:
    """Run until told to stop."""
    raise_open_files()
    host, port, _, legs, amplitude, room_size = sys.argv[1:]
    load = Load((host, int(port)), int(legs), float(amplitude), int(room_size))
    wait_until(lambda: load.is_up, load)
    told = talk(load, load.speak)
    told |= {
        "received": [caller.received for caller in load.callers],
        "lost": [caller.lost for caller in load.callers],
        "heard": [list(caller.kept) for caller in load.callers],
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
