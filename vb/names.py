"""Looking up host names in threads of its own, so that slow names hold up nobody but themselves.

The system's resolver blocks a thread for as long as it likes, and clients and callers choose the names. So
look-ups are few at a time, and fewer still below one domain; all who ask for a name share one look-up; and
what was found is kept, a failure for a moment too. Each kind of asker has a `NameLookup` of its own.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeAlias

import trio

from vb.metrics import Reading

Addresses: TypeAlias = tuple[str, ...]
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Looks a host up; returns its addresses as text, or raises OSError."""

PATIENCE_S: Final = 8.0
KEPT_S: Final = 30.0
FAILURE_KEPT_S: Final = 3.0
STALE_S: Final = 3600.0
"""How long an old answer serves when there is no new one in time (RFC 8767 section 4)."""
CACHE_NAMES: Final = 512
PER_DOMAIN: Final = 4
"""Look-ups at a time for names that end alike: what one domain's name servers can hold up."""
WAITING_PER_DOMAIN: Final = 32
WAITING: Final = 256
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class NameNotFound(OSError):
    """A name has no address, or none was found in time."""


def system_lookup(host: str) -> Addresses:
    """Ask the system's resolver; blocks.

    Raises:
        OSError, UnicodeError: there is no address, or the host is no name.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(str(address[0]) for _, _, _, _, address in found)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the resolver said; `is_final` is whether it knows that there is no such name."""

    addresses: Addresses = ()
    error: str = ""
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a name, and until when."""

    found: _Found
    fresh_until: float
    stale_until: float


class _Outcome(Protocol):
    def unwrap(self) -> _Found: ...


@dataclass(slots=True)
class _Flight:
    """One look-up and those who wait for it."""

    host: str
    domain: str
    askers: int = 0
    started: bool = False
    done: trio.Event = field(default_factory=trio.Event)
    found: _Found | None = None


class NameLookup:
    """Finds the addresses of hosts for one kind of asker.

    Args:
        asker: who asks, for the metrics.
        threads: most look-ups at a time; one that nobody waits for any more counts until it is over.
        patience_s: how long a name is waited for.
        lookup: asks the resolver, in a thread; the system's when None.
    """

    def __init__(
        self,
        asker: str,
        *,
        threads: int = 16,
        patience_s: float = PATIENCE_S,
        lookup: Callable[[str], Addresses] | None = None,
    ) -> None:
        self._asker = asker
        self._threads = threads
        self._patience_s = patience_s
        self._lookup = lookup or system_lookup
        self._running = 0
        self._refused = 0
        self._in_domain: dict[str, int] = {}
        self._flights: dict[str, _Flight] = {}
        self._line: deque[_Flight] = deque()
        self._known: dict[str, _Known] = {}

    async def __call__(self, host: str, port: int = 0) -> Sequence[str]:
        """Return the addresses of a host, the best first.

        Args:
            host: a name or an address.
            port: makes no difference.

        Raises:
            NameNotFound: there are none, or none was found in time.
        """
        host = host.lower()
        known, now = self._known.get(host), trio.current_time()
        if known is not None and now < known.fresh_until:
            found = known.found
        else:
            found = await self._look_up(host)
            if not found.addresses and not found.is_final and known is not None and now < known.stale_until:
                found = known.found
        if not found.addresses:
            raise NameNotFound(found.error)
        return found.addresses

    def cached(self, host: str) -> Addresses:
        """Return the addresses that are known without a look-up; none when one is needed."""
        known = self._known.get(host.lower())
        return known.found.addresses if known is not None and trio.current_time() < known.fresh_until else ()

    def names_of(self, address: str) -> list[str]:
        """Return the names that had this address when they were last looked up."""
        return [name for name, known in self._known.items() if address in known.found.addresses]

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

    async def _look_up(self, host: str) -> _Found:
        try:
            flight = self._flights.get(host) or self._take_off(host)
        except NameNotFound as refusal:
            return _Found(error=str(refusal))
        flight.askers += 1
        try:
            with trio.move_on_after(self._patience_s):
                await flight.done.wait()
        finally:
            flight.askers -= 1
            if not flight.askers and not flight.started:
                self._line.remove(flight)
                del self._flights[host]
        return flight.found or _Found(error="not resolved in time")

    def _take_off(self, host: str) -> _Flight:
        """Begin a look-up, or let it wait in line.

        Raises:
            NameNotFound: too many wait already.
        """
        flight = _Flight(host, ".".join(host.rstrip(".").split(".")[-2:]))
        if not self._may_start(flight):
            alike = sum(waiting.domain == flight.domain for waiting in self._line)
            if len(self._line) >= WAITING or alike >= WAITING_PER_DOMAIN:
                self._refused += 1
                raise NameNotFound("too many names are being looked up")
            self._line.append(flight)
        else:
            self._start(flight)
        self._flights[host] = flight
        return flight

    def _may_start(self, flight: _Flight) -> bool:
        return self._running < self._threads and self._in_domain.get(flight.domain, 0) < PER_DOMAIN

    def _start(self, flight: _Flight) -> None:
        flight.started = True
        self._running += 1
        self._in_domain[flight.domain] = self._in_domain.get(flight.domain, 0) + 1
        token = trio.lowlevel.current_trio_token()

        def deliver(outcome: _Outcome) -> None:
            try:
                token.run_sync_soon(self._land, flight, outcome.unwrap())
            except trio.RunFinishedError:
                pass  # nobody is left to tell

        trio.lowlevel.start_thread_soon(partial(self._ask, flight.host), deliver, "name look-up")

    def _ask(self, host: str) -> _Found:
        """Look a host up, in a thread."""
        try:
            addresses = self._lookup(host)
        except (OSError, UnicodeError) as error:
            is_final = isinstance(error, UnicodeError) or error.errno in _NO_SUCH_NAME
            return _Found((), f"{type(error).__name__}: {error}", is_final)
        except Exception as error:  # whoever waits has to be told, whatever it is
            return _Found((), type(error).__name__)
        return _Found(addresses) if addresses else _Found((), "no address", is_final=True)

    def _land(self, flight: _Flight, found: _Found) -> None:
        """Tell everybody who waits, and begin what has waited for a thread."""
        self._running -= 1
        self._in_domain[flight.domain] -= 1
        if not self._in_domain[flight.domain]:
            del self._in_domain[flight.domain]
        del self._flights[flight.host]
        self._remember(flight.host, found)
        flight.found = found
        flight.done.set()
        for waiting in tuple(self._line):
            if self._may_start(waiting):
                self._line.remove(waiting)
                self._start(waiting)

    def _remember(self, host: str, found: _Found) -> None:
        """Keep what was found; what may only be a failure of the moment leaves an old answer to serve."""
        now, old = trio.current_time(), self._known.pop(host, None)
        if found.addresses or found.is_final or old is None or now >= old.stale_until:
            fresh_s = KEPT_S if found.addresses else FAILURE_KEPT_S
            old = _Known(found, now + fresh_s, now + (STALE_S if found.addresses else 0.0))
        elif old.found.addresses:
            old = _Known(old.found, now + FAILURE_KEPT_S, old.stale_until)
        self._known[host] = old
        if len(self._known) > CACHE_NAMES:
            failures = (name for name, known in self._known.items() if not known.found.addresses)
            del self._known[next(failures, next(iter(self._known)))]
