"""Finding addresses: of peers by name, and of ourselves behind a wildcard."""

from __future__ import annotations

import socket
from dataclasses import replace
from ipaddress import ip_address
from typing import Literal

import trio

from vb.sip.hop import Hop
from vb.sip.uri import is_ip_address

RESOLVE_TIMEOUT_S = 5.0
_CACHE_S = 30.0
_CACHE_SIZE = 256
_WELL_KNOWN = {socket.AF_INET: ("8.8.8.8", 53), socket.AF_INET6: ("2606:4700:4700::1111", 53)}


class ResolveError(Exception):
    """A host name has no address, or the answer took too long."""


class Resolver:
    """Resolves the hosts of hops; answers are kept for half a minute.

    Args:
        families: IP families that can be reached, the preferred one first.
    """

    def __init__(self, families: tuple[Literal[4, 6], ...]) -> None:
        self._families = families
        self._cache: dict[str, tuple[float, str]] = {}

    def cached(self, hop: Hop) -> Hop | None:
        """Return the hop with a numeric host if that takes no look-up."""
        if is_ip_address(hop.host):
            return hop
        found = self._cache.get(hop.host)
        if found is None or found[0] < trio.current_time():
            return None
        return _resolved(hop, found[1])

    async def resolve(self, hop: Hop) -> Hop:
        """Return the hop with a numeric host.

        Raises:
            ResolveError: if there is none within the time limit.
        """
        known = self.cached(hop)
        if known is not None:
            return known
        try:
            with trio.fail_after(RESOLVE_TIMEOUT_S):
                found = await trio.socket.getaddrinfo(hop.host, hop.port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError, trio.TooSlowError) as error:
            raise ResolveError(hop.host) from error
        for family in self._families:
            wanted = socket.AF_INET6 if family == 6 else socket.AF_INET
            for answer in found:
                if answer[0] == wanted:
                    host = str(answer[4][0])
                    self._remember(hop.host, host)
                    return _resolved(hop, host)
        raise ResolveError(hop.host)

    def names_of(self, address: str) -> list[str]:
        """Return the names that were found to be this address."""
        return [name for name, (_, host) in self._cache.items() if host == address]

    def _remember(self, name: str, host: str) -> None:
        if len(self._cache) >= _CACHE_SIZE:
            del self._cache[next(iter(self._cache))]
        self._cache[name] = (trio.current_time() + _CACHE_S, host)


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
