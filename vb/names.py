"""Looking up names, so that slow names hold up nobody but themselves.

Clients and callers choose the names, and whoever answers for them. So look-ups are few at a time, and fewer
still below one domain; all who ask for a name share one look-up; and what was found is kept, a failure for a
moment too. Each kind of asker has a `NameLookup` of its own.

A look-up has no task of its own: the first who asks does the work, and when he gives up, the next goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import trio

from vb.dns_records import Answer, Kind, LookupFailed, Record
from vb.metrics import Reading
from vb.name_servers import LookUp, NameServers, is_address

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Looks a host up; returns its addresses as text, or raises OSError."""
Key: TypeAlias = tuple[str, Kind]

PATIENCE_S: Final = 8.0
"""How long somebody waits for a name where the caller does not say."""
KEPT_S: Final = 30.0
"""How long an answer is kept that does not say so itself."""
LEAST_KEPT_S: Final = 1.0
MOST_KEPT_S: Final = 600.0
FAILURE_KEPT_S: Final = 3.0
STALE_S: Final = 3600.0
"""How long an old answer serves when there is no new one in time (RFC 8767 section 4)."""
CACHE_NAMES: Final = 1024
PER_DOMAIN: Final = 8
"""Look-ups at a time for names that end alike: what one domain's name servers can hold up."""
WAITING_PER_DOMAIN: Final = 32
WAITING: Final = 256
"""Names that wait their turn, of one domain and in all; further ones fail at once."""


class NameNotFound(OSError):
    """A name has no address, or none was found in time."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look-up came to; `error` is empty when it is certain, whether or not there is something."""

    records: tuple[Record, ...] = ()
    error: str = ""
    kept_s: float = FAILURE_KEPT_S


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a name, and until when."""

    found: _Found
    fresh_until: float
    stale_until: float


@dataclass(slots=True)
class _Flight:
    """One look-up and those who wait for it.

    Attributes:
        started: it has its turn.
        piloted: one of those who wait is at work.
        moved: set when anything of this changes, and then replaced.
    """

    key: Key
    domain: str
    askers: int = 0
    started: bool = False
    piloted: bool = False
    found: _Found | None = None
    moved: trio.Event = field(default_factory=trio.Event)

    def notify(self) -> None:
        """Wake everybody who waits."""
        self.moved.set()
        self.moved = trio.Event()


class NameLookup:
    """Finds the addresses of hosts, and the services of domains, for one kind of asker.

    Args:
        asker: who asks, for the metrics.
        at_once: most look-ups at a time.
        patience_s: how long a name is waited for.
        lookup: asks the name servers; the system's when None.
    """

    def __init__(
        self,
        asker: str,
        *,
        at_once: int = 32,
        patience_s: float = PATIENCE_S,
        lookup: LookUp | None = None,
    ) -> None:
        self._asker = asker
        self._at_once = at_once
        self._patience_s = patience_s
        self._lookup = lookup or NameServers().look_up
        self._running = 0
        self._refused = 0
        self._in_domain: dict[str, int] = {}
        self._flights: dict[Key, _Flight] = {}
        self._line: deque[_Flight] = deque()
        self._known: dict[Key, _Known] = {}

    async def __call__(self, host: str, port: int = 0) -> Sequence[str]:
        """Return the addresses of a host, the best first.

        Args:
            host: a name or an address.
            port: makes no difference.

        Raises:
            NameNotFound: there are none, or none was found in time.
        """
        if is_address(host):
            return (host,)
        records = await self.records(host, "address")
        if not records:
            raise NameNotFound("no such name")
        return [str(record) for record in records]

    async def records(self, name: str, kind: Kind) -> tuple[Record, ...]:
        """Return what a name has of one kind of record; nothing when it certainly has none.

        Raises:
            NameNotFound: nobody could say in time.
        """
        key = name.lower(), kind
        known, now = self._known.get(key), trio.current_time()
        if known is not None and now < known.fresh_until:
            found = known.found
        else:
            found = await self._look_up(key)
            if found.error and known is not None and now < known.stale_until:
                found = known.found
        if found.error:
            raise NameNotFound(found.error)
        return found.records

    def cached(self, host: str) -> tuple[str, ...]:
        """Return the addresses that are known without a look-up; none when one is needed."""
        known = self._known.get((host.lower(), "address"))
        if known is None or trio.current_time() >= known.fresh_until:
            return ()
        return tuple(str(record) for record in known.found.records)

    def names_of(self, address: str) -> list[str]:
        """Return the names that had this address when they were last looked up."""
        return [name for (name, _), known in self._known.items() if address in known.found.records]

    def readings(self) -> list[Reading]:
        """Return gauges for the metrics."""
        labels = {"asker": self._asker}
        return [
            ("name_lookups", "Look-ups of host names under way", self._running, labels),
            (
                "name_lookups_waiting",
                "Look-ups of host names that wait their turn",
                len(self._line),
                labels,
            ),
            ("name_lookups_refused", "Look-ups refused as too many waited", self._refused, labels),
        ]

    # -- one look-up for all who ask -----------------------------------------------------------------------

    async def _look_up(self, key: Key) -> _Found:
        try:
            flight = self._flights.get(key) or self._take_off(key)
        except NameNotFound as refusal:
            return _Found(error=str(refusal))
        flight.askers += 1
        try:
            with trio.move_on_after(self._patience_s):
                while flight.found is None:
                    if flight.started and not flight.piloted:
                        await self._fly(flight)
                    else:
                        await flight.moved.wait()
        finally:
            flight.askers -= 1
            if not flight.askers and flight.found is None:
                self._end(flight)
        return flight.found or _Found(error="not resolved in time")

    def _take_off(self, key: Key) -> _Flight:
        """Begin a look-up, or let it wait in line.

        Raises:
            NameNotFound: too many wait already.
        """
        flight = _Flight(key, ".".join(key[0].rstrip(".").split(".")[-2:]))
        if not self._may_start(flight):
            alike = sum(waiting.domain == flight.domain for waiting in self._line)
            if len(self._line) >= WAITING or alike >= WAITING_PER_DOMAIN:
                self._refused += 1
                raise NameNotFound("too many names are being looked up")
            self._line.append(flight)
        else:
            self._start(flight)
        self._flights[key] = flight
        return flight

    def _may_start(self, flight: _Flight) -> bool:
        return self._running < self._at_once and self._in_domain.get(flight.domain, 0) < PER_DOMAIN

    def _start(self, flight: _Flight) -> None:
        """Give a look-up its turn."""
        flight.started = True
        self._running += 1
        self._in_domain[flight.domain] = self._in_domain.get(flight.domain, 0) + 1
        flight.notify()

    async def _fly(self, flight: _Flight) -> None:
        """Do the work for everybody; who is cancelled meanwhile leaves it to the next."""
        flight.piloted = True
        try:
            found = await self._ask(*flight.key)
        finally:
            flight.piloted = False
            flight.notify()
        flight.found = found
        self._remember(flight.key, found)
        self._end(flight)

    async def _ask(self, name: str, kind: Kind) -> _Found:
        try:
            answer = await self._lookup(name, kind, self._patience_s)
        except LookupFailed as error:
            return _Found(error=str(error) or "nobody could say")
        except Exception as error:  # whoever waits has to be told, whatever it is
            return _Found(error=type(error).__name__)
        return _Found(answer.records, kept_s=_kept_s(answer))

    def _end(self, flight: _Flight) -> None:
        """Let go of a look-up that is over, or that nobody waits for, and begin what has waited for it."""
        del self._flights[flight.key]
        if not flight.started:
            self._line.remove(flight)
            return
        self._running -= 1
        self._in_domain[flight.domain] -= 1
        if not self._in_domain[flight.domain]:
            del self._in_domain[flight.domain]
        for waiting in tuple(self._line):
            if self._may_start(waiting):
                self._line.remove(waiting)
                self._start(waiting)

    def _remember(self, key: Key, found: _Found) -> None:
        """Keep what was found; what may only be a failure of the moment leaves an old answer to serve."""
        now, old = trio.current_time(), self._known.pop(key, None)
        if not found.error or old is None or now >= old.stale_until:
            old = _Known(found, now + found.kept_s, now + (STALE_S if found.records else 0.0))
        elif old.found.records:
            old = _Known(old.found, now + FAILURE_KEPT_S, old.stale_until)
        self._known[key] = old
        if len(self._known) > CACHE_NAMES:
            nothing = (key for key, known in self._known.items() if not known.found.records)
            del self._known[next(nothing, next(iter(self._known)))]


def _kept_s(answer: Answer) -> float:
    if not answer.records:
        return FAILURE_KEPT_S
    return KEPT_S if answer.ttl_s is None else min(max(answer.ttl_s, LEAST_KEPT_S), MOST_KEPT_S)
