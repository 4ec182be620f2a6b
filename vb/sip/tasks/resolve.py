"""Finding addresses: of peers by name, and of ourselves behind a wildcard."""

from __future__ import annotations

import secrets
import socket
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import Final, Literal, TypeVar

import trio

from vb.dns_records import Record
from vb.names import NameLookup, NameNotFound
from vb.sip.hop import Hop, Transport
from vb.sip.locate import Draw, Query, locate
from vb.sip.uri import is_ip_address

RESOLVE_TIMEOUT_S: Final = 5.0
SERVICES_TIMEOUT_S: Final = 1.5
"""How long a domain's services are waited for, so that time is left for its address."""
MAX_TARGETS: Final = 8
"""Most servers that one call tries."""
CHOSEN_S: Final = 64.0
"""How long requests to a domain go to the server that was chosen first; a transaction is over by then."""
AVOIDED_S: Final = 60.0
REMEMBERED: Final = 256
_WELL_KNOWN = {socket.AF_INET: ("8.8.8.8", 53), socket.AF_INET6: ("2606:4700:4700::1111", 53)}


V = TypeVar("V")


def _draw(most: int) -> int:
    return secrets.randbelow(most + 1)


class ResolveError(Exception):
    """A host name has no address, or the answer took too long."""


class Resolver:
    """Finds the addresses of hops.

    Args:
        families: IP families that can be reached, the preferred one first.
        names: finds addresses and services, and remembers them.
        transports: what we can speak, the preferred one first.
        draw: returns a random number up to the one given; decides among servers of the same rank.
    """

    def __init__(
        self,
        families: tuple[Literal[4, 6], ...],
        names: NameLookup,
        transports: tuple[Transport, ...] = ("udp", "tcp", "tls"),
        draw: Draw = _draw,
    ) -> None:
        self.names = names
        self._families = families
        self._transports = transports
        self._draw = draw
        self._chosen: OrderedDict[tuple[str, str, int], tuple[Hop, float]] = OrderedDict()
        self._silent: OrderedDict[tuple[str, str, int], float] = OrderedDict()

    def cached(self, hop: Hop) -> Hop | None:
        """Return the hop with a numeric host if that takes no look-up."""
        if is_ip_address(hop.host):
            return hop
        if hop.search != "address":
            # One server for a while: a request that is repeated has to reach the same one (RFC 3263 §4.3).
            chosen, until = self._chosen.get(_place(hop), (None, 0.0))
            return replace(chosen, flow=hop.flow) if chosen and trio.current_time() < until else None
        return next(iter(self._reachable(hop, self.names.cached(hop.host))), None)

    async def resolve(self, hop: Hop) -> Hop:
        """Return the hop with a numeric host: that of the first server, if the host has several.

        Raises:
            ResolveError: if there is none within the time limit.
        """
        known = self.cached(hop)
        if known is not None:
            return known
        found = await self.targets(hop).next()
        if found is None:
            raise ResolveError(hop.host)
        if hop.search != "address":
            _keep(self._chosen, _place(hop), (found, trio.current_time() + CHOSEN_S))
        return replace(found, flow=hop.flow)

    def targets(self, hop: Hop) -> Targets:
        """Return what a hop stands for, to be tried one after the other."""
        return Targets(self, hop)

    def known_as(self, transport: str, host: str, port: int) -> list[tuple[str, str, int]]:
        """Return an address with every place that was found to be there."""
        place = transport, host, port
        names = [(transport, name, port) for name in self.names.names_of(host)]
        chosen = [asked for asked, (hop, _) in self._chosen.items() if _place(hop) == place]
        return [place, *names, *chosen]

    def avoid(self, hop: Hop) -> None:
        """Take note that nobody answers there: for a while others are tried first."""
        _keep(self._silent, _place(hop), trio.current_time() + AVOIDED_S)

    def is_avoided(self, hop: Hop) -> bool:
        """Say whether others are to be tried first."""
        return trio.current_time() < self._silent.get(_place(hop), 0.0)

    async def locate(self, hop: Hop) -> list[Hop]:
        """Return the servers of a hop in the order to try; their hosts may be names."""
        steps = locate(hop, self._transports, self._draw)
        answers: dict[Query, Sequence[Record]] | None = None
        try:
            while True:
                queries = next(steps) if answers is None else steps.send(answers)
                answers = await self._ask(queries)
        except StopIteration as done:
            found: list[Hop] = done.value
            return found

    async def _ask(self, queries: Sequence[Query]) -> dict[Query, Sequence[Record]]:
        """Look up all at once; what cannot be found out in time counts as absent."""
        answers: dict[Query, Sequence[Record]] = dict.fromkeys(queries, ())

        async def ask(query: Query) -> None:
            with suppress(NameNotFound):
                answers[query] = await self.names.records(*query)

        with trio.move_on_after(SERVICES_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                for query in queries:
                    nursery.start_soon(ask, query)
        return answers

    async def addresses(self, hop: Hop) -> list[Hop]:
        """Return a hop once for each address of its host that can be reached.

        Raises:
            NameNotFound: there is none, or none was found in time.
        """
        if is_ip_address(hop.host):
            return [hop]
        return self._reachable(hop, await self.names(hop.host))

    def _reachable(self, hop: Hop, addresses: Sequence[str]) -> list[Hop]:
        return [
            _resolved(hop, address)
            for family in self._families
            for address in addresses
            if (":" in address) == (family == 6)
        ]


class Targets:
    """The servers that one request may go to; the next one is looked up when it is needed.

    Spec: RFC 3263 §4.3.
    """

    def __init__(self, resolver: Resolver, hop: Hop) -> None:
        self._resolver = resolver
        self._hop = hop
        self._servers: deque[Hop] | None = None
        self._addresses: deque[Hop] = deque()
        self._later: deque[Hop] = deque()
        self._left = MAX_TARGETS

    async def next(self, family: Literal[4, 6] | None = None) -> Hop | None:
        """Return the next hop with a numeric host, None when there is none.

        Args:
            family: the only IP family that will do.
        """
        with trio.move_on_after(RESOLVE_TIMEOUT_S):
            while self._left and (hop := await self._next()) is not None:
                if family in (None, hop.family):
                    self._left -= 1
                    return hop
        return None

    async def _next(self) -> Hop | None:
        """Return the next address; those that did not answer lately come last."""
        if self._servers is None:
            self._servers = deque(await self._resolver.locate(self._hop))
        while self._addresses or self._servers:
            if not self._addresses:
                with suppress(NameNotFound):
                    self._addresses.extend(await self._resolver.addresses(self._servers.popleft()))
            while self._addresses:
                hop = self._addresses.popleft()
                if not self._resolver.is_avoided(hop):
                    return hop
                self._later.append(hop)
        return self._later.popleft() if self._later else None


def _place(hop: Hop) -> tuple[str, str, int]:
    return hop.transport, hop.host, hop.port


def _keep(table: OrderedDict[tuple[str, str, int], V], place: tuple[str, str, int], value: V) -> None:
    """Put something into a table that stays small."""
    table[place] = value
    table.move_to_end(place)
    if len(table) > REMEMBERED:
        table.popitem(last=False)


def _resolved(hop: Hop, host: str) -> Hop:
    """Return a hop with its address; over TLS it keeps the name that the certificate must have."""
    server_name = (hop.server_name or hop.host) if hop.transport == "tls" else ""
    return replace(hop, host=host, server_name=server_name, search="address")


def advertised_host(bind: str) -> str:
    """Return the address that peers should use for a bound one.

    For a wildcard it is the local address of the route to a well-known host; nothing is sent.
    """
    address = ip_address(bind)
    if not address.is_unspecified:
        return str(address)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_WELL_KNOWN[family])
        except OSError:
            return "::1" if address.version == 6 else "127.0.0.1"
        return str(probe.getsockname()[0])
