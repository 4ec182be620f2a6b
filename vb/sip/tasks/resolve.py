"""Finding addresses: of peers by name, and of ourselves behind a wildcard."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Literal

from vb.names import NameLookup, NameNotFound
from vb.sip.hop import Hop
from vb.sip.uri import is_ip_address

RESOLVE_TIMEOUT_S = 5.0
_WELL_KNOWN = {socket.AF_INET: ("8.8.8.8", 53), socket.AF_INET6: ("2606:4700:4700::1111", 53)}


class ResolveError(Exception):
    """A host name has no address, or the answer took too long."""


class Resolver:
    """Resolves the hosts of hops.

    Args:
        families: IP families that can be reached, the preferred one first.
        names: finds addresses and remembers them.
    """

    def __init__(self, families: tuple[Literal[4, 6], ...], names: NameLookup) -> None:
        self._families = families
        self._names = names

    def cached(self, hop: Hop) -> Hop | None:
        """Return the hop with a numeric host if that takes no look-up."""
        if is_ip_address(hop.host):
            return hop
        host = self._choose(self._names.cached(hop.host))
        return _resolved(hop, host) if host else None

    async def resolve(self, hop: Hop) -> Hop:
        """Return the hop with a numeric host.

        Raises:
            ResolveError: if there is none within the time limit.
        """
        known = self.cached(hop)
        if known is not None:
            return known
        try:
            host = self._choose(await self._names(hop.host))
        except NameNotFound as error:
            raise ResolveError(hop.host) from error
        if not host:
            raise ResolveError(hop.host)
        return _resolved(hop, host)

    def names_of(self, address: str) -> list[str]:
        """Return the names that were found to be this address."""
        return self._names.names_of(address)

    def _choose(self, addresses: Sequence[str]) -> str:
        """Return the first address of the best family; empty when none can be reached."""
        for family in self._families:
            for address in addresses:
                if (":" in address) == (family == 6):
                    return address
        return ""


def _resolved(hop: Hop, host: str) -> Hop:
    """Return a hop with its address; over TLS it keeps the name that the certificate must have."""
    server_name = (hop.server_name or hop.host) if hop.transport == "tls" else ""
    return replace(hop, host=host, server_name=server_name)


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
