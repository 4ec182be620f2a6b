"""All connections of one listener: datagrams and times in, datagrams and a deadline out.

Strangers get answers that need no state (`vb/quic/answers.py`); a connection begins with the first datagram
that brings a token back. What one connection breaks ends that connection and nothing else.

Spec: RFC 9000.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import structlog
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.packet import QuicPacketType, pull_quic_header

from vb.limits.rate import RateLimit
from vb.quic.answers import Answers, SpentTokens
from vb.quic.connection import Address, Connection, Hooks, source_of
from vb.quic.grid import grid_from
from vb.quic.invariants import CONNECTION_ID_BYTES, Heading, destination_of, read_heading
from vb.quic.requests import Site
from vb.quic.session import Accept
from vb.quic.steady import SteadyQuic

log = structlog.get_logger(__name__)

T = TypeVar("T")

DROPS: Final = ("garbage", "short", "unknown", "token", "full", "rate", "stopping")
"""Why datagrams were dropped without effect."""
ANSWERS: Final = ("version", "retry", "reset", "refusal")
FAILURES: Final = ("tls", "protocol", "peer", "timeout", "fault")
"""Why handshakes failed."""
LOOK_AT_LEAST_S: Final = 1.0
"""Each connection is looked at so often, which keeps old entries of the heap few."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an endpoint takes on.

    Attributes:
        connections, per_host: at a time, in all and from one address.
        handshakes, handshakes_per_host: of these, how many may still be at their handshake.
        new_per_second: connections that begin in a second.
        answers_per_second: datagrams without state that strangers get, of each kind.
    """

    connections: int = 1024
    per_host: int = 128
    handshakes: int = 64
    handshakes_per_host: int = 16
    new_per_second: int = 50
    answers_per_second: int = 500


class Endpoint:
    """The connections of one listener.

    Args:
        configuration: certificate and transport parameters of connections that begin; may be replaced.
        accept: decides about requests for sessions.
        site: what is offered.
        draw: gives random bytes.
        key: secret of this process, 32 bytes.
        wake: called when there may be something to send outside `receive` and `expire`.
        count_fault: told the site of each fault of ours that was contained: connection or session.
        limits: how much is taken on.

    Attributes:
        greetings: datagrams so far of connections that were at their handshake.
    """

    def __init__(
        self,
        configuration: QuicConfiguration,
        accept: Accept,
        site: Site,
        *,
        draw: Callable[[int], bytes],
        key: bytes,
        wake: Callable[[], None],
        count_fault: Callable[[str], None],
        limits: Limits | None = None,
    ) -> None:
        self.configuration = configuration
        self.dropped = dict.fromkeys(DROPS, 0)
        self.answered = dict.fromkeys(ANSWERS, 0)
        self.failures = dict.fromkeys(FAILURES, 0)
        self.opened = 0
        self.greetings = 0
        self.refused = 0
        self.overruns = 0
        self._versions = list(configuration.supported_versions)
        self._answers = Answers(key, draw, self._versions)
        self._limits = limits or Limits()
        self._spent = SpentTokens()
        self._answer_rates = {kind: RateLimit(self._limits.answers_per_second) for kind in ANSWERS}
        self._new_rate = RateLimit(self._limits.new_per_second)
        self._routes: dict[bytes, Connection] = {}
        self._ids: dict[Connection, set[bytes]] = {}
        self._greeting: set[Connection] = set()
        self._hosts: Counter[str] = Counter()
        self._greeting_hosts: Counter[str] = Counter()
        self._dirty: dict[Connection, None] = {}
        self._armed: dict[Connection, float] = {}
        self._heap: list[tuple[float, int, Connection]] = []
        self._pushes = 0
        self._out: list[tuple[bytes, Address]] = []
        self._wake = wake
        self._count_fault = count_fault
        self._stopping = False
        self._hooks = Hooks(
            accept,
            site,
            self._changed,
            lambda: count_fault("session"),
            self._note_refused,
            self._note_overrun,
        )

    @property
    def connections(self) -> int:
        """How many there are, their handshakes included."""
        return len(self._ids)

    @property
    def handshakes(self) -> int:
        """How many connections are still at their handshake."""
        return len(self._greeting)

    @property
    def sessions(self) -> int:
        """How many connections have a session."""
        return sum(item.session is not None and not item.session.is_over for item in self._ids)

    @property
    def kept(self) -> int:
        """How many things are kept in all, for tests: they must not grow while nothing lasting happens."""
        streams = sum(item.kept_streams for item in self._ids)
        return len(self._routes) + len(self._ids) + len(self._heap) + len(self._dirty) + streams

    # -- in ------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Take a datagram."""
        connection = self._routes.get(destination_of(data))
        if connection is not None:
            self.greetings += connection in self._greeting
            if not self._guard(connection, partial(connection.receive, data, source, now), otherwise=True):
                self.dropped["rate"] += 1
            self._look_after(connection, now)
            return
        heading = read_heading(data)
        if heading is None:
            self.dropped["garbage"] += 1
            return
        try:
            self._take_stranger(heading, data, source, now)
        except Exception:  # the boundary of a datagram: whoever sent it has no connection to lose
            log.exception("the datagram of a stranger failed")
            self._count_fault("connection")

    def expire(self, now: float) -> None:
        """Do what is due."""
        while self._heap and self._heap[0][0] <= now:
            at, _, connection = heapq.heappop(self._heap)
            if self._armed.get(connection) != at:
                continue
            del self._armed[connection]
            self._guard(connection, partial(connection.expire, now), otherwise=None)
            self._look_after(connection, now)

    def close(self) -> None:
        """Take nothing new and end every connection; their last datagrams are the next to send."""
        self._stopping = True
        for connection in tuple(self._ids):
            self._guard(connection, connection.close, otherwise=None)

    # -- out -----------------------------------------------------------------------------------------------

    def outgoing(self, now: float) -> list[tuple[bytes, Address]]:
        """Take the datagrams to send, each with where it goes."""
        while self._dirty:
            dirty, self._dirty = self._dirty, {}
            for connection in dirty:
                if connection in self._ids:
                    self._flush(connection, now)
        found, self._out = self._out, []
        return found

    def deadline(self) -> float:
        """Return when `expire` is to be called next."""
        while self._heap and self._armed.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def _flush(self, connection: Connection, now: float) -> None:
        nothing: Iterable[tuple[bytes, Address]] = ()
        self._out.extend(self._guard(connection, partial(connection.flush, now), otherwise=nothing))
        if connection not in self._ids:
            return
        if connection.issued or connection.retired:
            self._route(connection)
        if connection.is_open and connection in self._greeting:
            self.opened += 1
            self._end_greeting(connection)
        if connection.is_over:
            self._forget(connection)
            return
        self._arm(connection, now)

    def _look_after(self, connection: Connection, now: float) -> None:
        """Let a connection send what it has, or wait for its time."""
        if connection not in self._ids:
            return
        if connection in self._greeting or not connection.is_idle(now):
            self._dirty[connection] = None
        else:
            self._arm(connection, now)

    def _arm(self, connection: Connection, now: float) -> None:
        """Let `expire` look at a connection when something of it is due."""
        at = min(connection.deadline, now + LOOK_AT_LEAST_S)
        if connection.is_open:
            at = grid_from(at)
        if at < self._armed.get(connection, math.inf):
            self._pushes += 1
            self._armed[connection] = at
            heapq.heappush(self._heap, (at, self._pushes, connection))

    def _changed(self, connection: Connection) -> None:
        if connection in self._ids:
            self._dirty[connection] = None
            self._wake()

    def _note_refused(self) -> None:
        self.refused += 1

    def _note_overrun(self) -> None:
        self.overruns += 1

    # -- strangers -----------------------------------------------------------------------------------------

    def _may_answer(self, kind: str, now: float) -> bool:
        if not self._answer_rates[kind].take(now):
            self.dropped["rate"] += 1
            return False
        self.answered[kind] += 1
        return True

    def _take_stranger(self, heading: Heading, data: bytes, source: Address, now: float) -> None:
        """Take a datagram that belongs to no connection."""
        if heading.version is None:
            self._answer_lost(heading, data, source, now)
        elif len(data) < SMALLEST_MAX_DATAGRAM_SIZE:
            self.dropped["short"] += 1
        elif heading.version not in self._versions:
            if heading.version == 0:
                self.dropped["garbage"] += 1
            elif self._may_answer("version", now):
                self._out.append((self._answers.versions(heading), source))
        else:
            self._greet(data, source, now)

    def _answer_lost(self, heading: Heading, data: bytes, source: Address, now: float) -> None:
        """Tell a peer whose connection is gone; it alone can know that the answer is meant so."""
        reset = self._answers.reset(heading.destination, len(data))
        if reset is None:
            self.dropped["unknown"] += 1
        elif self._may_answer("reset", now):
            self._out.append((reset, source))

    def _greet(self, data: bytes, source: Address, now: float) -> None:
        """Take the first datagram of somebody."""
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID_BYTES)
        except ValueError:
            self.dropped["garbage"] += 1
            return
        if header.packet_type != QuicPacketType.INITIAL:
            self.dropped["unknown"] += 1
            return
        if self._stopping:
            self.dropped["stopping"] += 1
            return
        place = (str(source[0]), int(source[1]))
        if not header.token:
            if self._may_answer("retry", now):
                self._out.append((self._answers.retry(header, place, now), source))
            return
        original_id = self._answers.read_token(header, place, now)
        retry_id = header.destination_cid
        if original_id is None or self._spent.has(retry_id, now):
            self.dropped["token"] += 1
            return
        if not self._has_room(source_of(source), now):
            self.dropped["full"] += 1
            if self._may_answer("refusal", now):
                self._out.append((self._answers.refuse(header), source))
            return
        self._spent.spend(retry_id, now)
        quic = SteadyQuic(self.configuration, original_id, retry_id, self._answers.reset_token)
        self._begin(Connection(quic, source, now, self._hooks), retry_id, data, source, now)

    def _has_room(self, host: str, now: float) -> bool:
        limits = self._limits
        return (
            len(self._ids) < limits.connections
            and self._hosts[host] < limits.per_host
            and len(self._greeting) < limits.handshakes
            and self._greeting_hosts[host] < limits.handshakes_per_host
            and self._new_rate.take(now)
        )

    def _begin(
        self, connection: Connection, retry_id: bytes, data: bytes, source: Address, now: float
    ) -> None:
        self._ids[connection] = {retry_id}
        self._routes[retry_id] = connection
        self._greeting.add(connection)
        self.greetings += 1
        self._hosts[connection.host] += 1
        self._greeting_hosts[connection.host] += 1
        self._dirty[connection] = None
        self._guard(connection, partial(connection.receive, data, source, now), otherwise=None)
        if connection in self._ids and not connection.has_begun:  # not even encrypted as it should be
            self.dropped["garbage"] += 1
            self._forget(connection, failed=False)

    # -- connections ---------------------------------------------------------------------------------------

    def _route(self, connection: Connection) -> None:
        """Let a connection be found by the ids that it has now."""
        ids = self._ids[connection]
        for connection_id in connection.issued:
            ids.add(connection_id)
            self._routes[connection_id] = connection
        for connection_id in connection.retired:
            ids.discard(connection_id)
            self._routes.pop(connection_id, None)
        connection.issued.clear()
        connection.retired.clear()

    def _end_greeting(self, connection: Connection) -> None:
        self._greeting.discard(connection)
        self._greeting_hosts[connection.host] -= 1
        if not self._greeting_hosts[connection.host]:
            del self._greeting_hosts[connection.host]

    def _forget(self, connection: Connection, *, failed: bool = True) -> None:
        for connection_id in self._ids.pop(connection):
            self._routes.pop(connection_id, None)
        if connection in self._greeting:
            if failed:
                self.failures[connection.failure or "protocol"] += 1
            self._end_greeting(connection)
        self._hosts[connection.host] -= 1
        if not self._hosts[connection.host]:
            del self._hosts[connection.host]
        self._armed.pop(connection, None)
        self._dirty.pop(connection, None)

    def _guard(self, connection: Connection, call: Callable[[], T], *, otherwise: T) -> T:
        """Do something for a connection; a fault ends it alone."""
        try:
            return call()
        except Exception:  # the boundary of a connection: the endpoint and all others go on
            log.exception("a connection failed")
            self._count_fault("connection")
        connection.failure = "fault"
        session = connection.session
        self._forget(connection)
        if session is not None:
            session.end(1, "internal error")
        return otherwise
