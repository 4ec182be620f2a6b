"""An endpoint and clients made of aioquic on a virtual network with a virtual clock."""

from __future__ import annotations

import datetime
import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from vb.quic.capsules import Capsules, Close
from vb.quic.certificate import make_identity
from vb.quic.configuration import server_configuration
from vb.quic.connection import Address
from vb.quic.endpoint import Endpoint, Limits
from vb.quic.requests import Site
from vb.quic.session import Accept, Receiver, Refusal, Request, Session

SITE = Site("/v1/legs/moq", ("moq-00",), "an instance")
IDENTITY = make_identity(datetime.datetime(2026, 5, 4, tzinfo=datetime.UTC), 1)
SERVER: Address = ("192.0.2.1", 8443)
DELAY_S = 0.01


@dataclass
class Peer:
    """Whoever serves a session: it keeps what it is told."""

    session: Session
    request: Request
    told: list[tuple[object, ...]] = field(default_factory=list)
    fails_on: str = ""

    def _tell(self, *what: object) -> None:
        self.told.append(what)
        if what[0] == self.fails_on:
            raise RuntimeError("a fault")

    def data(self, stream: int, data: bytes, *, fin: bool) -> None:
        self._tell("data", stream, data, fin)

    def datagram(self, data: bytes) -> None:
        self._tell("datagram", data)

    def stream_reset(self, stream: int, code: int) -> None:
        self._tell("reset", stream, code)

    def stopped(self, stream: int, code: int) -> None:
        self._tell("stopped", stream, code)

    def closed(self, code: int, reason: str) -> None:
        self._tell("closed", code, reason)

    def received(self, stream: int) -> bytes:
        return b"".join(what[2] for what in self.told if what[:2] == ("data", stream))  # type: ignore[misc]


class Client:
    """Another implementation's end: aioquic with nothing of ours."""

    def __init__(self, world: World, address: Address, *, alpn: tuple[str, ...] = ("h3",)) -> None:
        self.world = world
        self.address = address
        self.told: list[events.QuicEvent] = []
        self.http_told: list[H3Event] = []
        self.http: H3Connection | None = None
        self.session_id: int | None = None
        self.ended: events.ConnectionTerminated | None = None
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=list(alpn), max_datagram_frame_size=65536, idle_timeout=30.0
        )
        configuration.verify_mode = 0
        self.quic = QuicConnection(configuration=configuration)
        self.quic.connect(SERVER, world.now)
        world.clients[address] = self
        self.flush()

    def receive(self, data: bytes) -> None:
        self.quic.receive_datagram(data, SERVER, self.world.now)
        self.flush()

    def expire(self) -> None:
        timer = self.quic.get_timer()
        if timer is not None and timer <= self.world.now:
            self.quic.handle_timer(self.world.now)
            self.flush()

    def flush(self) -> None:
        self._take_events()
        if self.quic.get_peer_address() is not None:
            for data, _ in self.quic.datagrams_to_send(self.world.now):
                self.world.send(data, self.address, to_server=True)

    def _take_events(self) -> None:
        while (event := self.quic.next_event()) is not None:
            self.told.append(event)
            if isinstance(event, events.HandshakeCompleted):
                self.http = H3Connection(self.quic, enable_webtransport=True)
            elif isinstance(event, events.ConnectionTerminated):
                self.ended = event
            if self.http is not None:
                self.http_told += self.http.handle_event(event)

    def ask(
        self, method: str = "GET", path: str = "/", *headers: tuple[bytes, bytes], protocol: str = ""
    ) -> int:
        """Send a request; returns its stream."""
        assert self.http is not None
        stream = self.quic.get_next_available_stream_id()
        pseudo = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", b"vb.test"),
            (b":path", path.encode()),
        ]
        if protocol:
            pseudo.append((b":protocol", protocol.encode()))
        self.http.send_headers(stream, [*pseudo, *headers], end_stream=method != "CONNECT")
        self.flush()
        return stream

    def connect(self, query: str = "", *headers: tuple[bytes, bytes]) -> int:
        """Ask for a session."""
        path = SITE.path + (f"?{query}" if query else "")
        self.session_id = self.ask("CONNECT", path, *headers, protocol="webtransport")
        return self.session_id

    def answer(self, stream: int) -> tuple[int | None, dict[str, str], bytes]:
        """Return status, headers and body of what a request got."""
        headers: dict[str, str] = {}
        body = b""
        for event in self.http_told:
            if isinstance(event, HeadersReceived) and event.stream_id == stream:
                headers |= {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, DataReceived) and event.stream_id == stream:
                body += event.data
        return int(headers[":status"]) if headers else None, headers, body

    def open(self, *, bidirectional: bool, first: bytes = b"", fin: bool = False) -> int:
        """Open a stream of the session."""
        assert self.http is not None
        assert self.session_id is not None
        stream = self.http.create_webtransport_stream(self.session_id, is_unidirectional=not bidirectional)
        if bidirectional:  # the same gap at this end
            with self.http._get_or_create_stream(stream) as found:
                found.frame_type, found.session_id = 0x41, self.session_id
        self.quic.send_stream_data(stream, first, fin)
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        self.quic.send_stream_data(stream, data, fin)
        self.flush()

    def received(self, stream: int | None = None) -> bytes:
        """Return what came on a stream of the session, or on all."""
        found = [item for item in self.http_told if isinstance(item, WebTransportStreamDataReceived)]
        return b"".join(item.data for item in found if stream in (None, item.stream_id))

    def end_code(self) -> int | None:
        """Return the error code with which the connection ended."""
        return None if self.ended is None else self.ended.error_code

    def close_capsule(self) -> Close | None:
        """Return the capsule that ended the session."""
        assert self.session_id is not None
        return Capsules().receive(self.answer(self.session_id)[2])


def bad_network(
    seed: int,
    *,
    loss: float = 0.05,
    doubled: float = 0.05,
    late: float = 0.1,
    delay_s: float = DELAY_S,
    late_s: float = 0.03,
) -> Callable[[bytes], list[float]]:
    """Return the damage of a network that loses, doubles and reorders these shares of all datagrams."""
    drawn = random.Random(seed)

    def damage(data: bytes) -> list[float]:
        if drawn.random() < loss:
            return []
        copies = 2 if drawn.random() < doubled else 1
        return [delay_s + late_s * (drawn.random() < late) for _ in range(copies)]

    return damage


class World:
    """The endpoint, its clients, what is under way between them, and the time.

    Args:
        limits: of the endpoint.
        damage: gives the delays of the copies of a datagram that arrive; one of DELAY_S by default.
        accept: decides about requests; takes all by default, into `peers`.
        now: when it begins.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        damage: Callable[[bytes], list[float]] | None = None,
        accept: Accept | None = None,
        now: float = 1000.0,
    ) -> None:
        self.now = now
        self.peers: list[Peer] = []
        self.clients: dict[Address, Client] = {}
        self.answer: Callable[[Request], Refusal | None] = lambda request: None
        self.faults: list[str] = []
        self.sent: list[tuple[bytes, Address]] = []
        self.damage = damage or (lambda data: [DELAY_S])
        self._under_way: list[tuple[float, int, bytes, Address, bool]] = []
        self._order = count()
        drawn = random.Random(1)
        self.endpoint = Endpoint(
            server_configuration(IDENTITY),
            accept or self._accept,
            SITE,
            draw=drawn.randbytes,
            key=bytes(32),
            wake=lambda: None,
            count_fault=self.faults.append,
            limits=limits,
        )

    def _accept(self, request: Request, session: Session) -> Receiver | Refusal:
        refusal = self.answer(request)
        if refusal is not None:
            return refusal
        self.peers.append(Peer(session, request))
        return self.peers[-1]

    def client(self, host: str = "198.51.100.1", port: int = 0, *, alpn: tuple[str, ...] = ("h3",)) -> Client:
        """Let a client write its first datagram."""
        return Client(self, (host, port or 4000 + len(self.clients)), alpn=alpn)

    def joined(self, host: str = "198.51.100.1", *headers: tuple[bytes, bytes]) -> tuple[Client, Peer]:
        """Return a client with an open session, and who serves it."""
        client = self.client(host)
        self.run(1.0)
        client.connect("", *headers)
        self.run(1.0)
        return client, self.peers[-1]

    def send(self, data: bytes, address: Address, *, to_server: bool) -> None:
        """Put a datagram on its way."""
        if not to_server:
            self.sent.append((data, address))
        for delay_s in self.damage(data):
            item = (self.now + delay_s, next(self._order), data, address, to_server)
            heapq.heappush(self._under_way, item)

    def inject(self, data: bytes, address: Address = ("203.0.113.9", 9)) -> list[bytes]:
        """Let the endpoint receive a datagram now; returns what it answers to that address at once."""
        self.endpoint.receive(data, address, self.now)
        out = self.endpoint.outgoing(self.now)
        for item, destination in out:
            if destination != address:
                self.send(item, destination, to_server=False)
        return [item for item, destination in out if destination == address]

    def flush(self) -> None:
        """Let the endpoint send."""
        for data, address in self.endpoint.outgoing(self.now):
            self.send(data, address, to_server=False)

    def run(self, duration_s: float) -> None:
        """Let time pass."""
        end = self.now + duration_s
        self.flush()
        for client in self.clients.values():
            client.flush()
        while True:
            due = [self._under_way[0][0] if self._under_way else math.inf, self.endpoint.deadline()]
            due += [client.quic.get_timer() or math.inf for client in self.clients.values()]
            at = min(due)
            if at > end:
                break
            self.now = max(self.now, at)
            self._step()
        self.now = end

    def _step(self) -> None:
        while self._under_way and self._under_way[0][0] <= self.now:
            _, _, data, address, to_server = heapq.heappop(self._under_way)
            if to_server:
                self.endpoint.receive(data, address, self.now)
            elif address in self.clients:
                self.clients[address].receive(data)
        self.endpoint.expire(self.now)
        self.flush()
        for client in self.clients.values():
            client.expire()
