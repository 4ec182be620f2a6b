"""Which URLs the server may ask: pure decisions, no look-ups.

A URL handed in by a client must not become a way into the operator's network. A URL is taken
apart here once; the host is then resolved once by the caller, every address is judged here, and
the caller connects to exactly an address that was judged, so a name cannot change its mind
between the check and the connection.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias
from urllib.parse import quote, unquote, urljoin, urlsplit

from vb.web.errors import MalformedUrl, UrlRefused

IpAddress: TypeAlias = IPv4Address | IPv6Address
IpNetwork: TypeAlias = IPv4Network | IPv6Network

MAX_URL_CHARS: Final = 8192
_MAX_HOST_CHARS: Final = 253
HTTP: Final = frozenset({"http", "https"})
WEBSOCKET: Final = frozenset({"ws", "wss"})
DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_VERBS: Final = {HTTP: "fetched", WEBSOCKET: "connected to"}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_NOT_IN_AUTHORITY = re.compile(r"[ \\]")
# What goes out as it is written; anything else, a percent sign that begins no escape included, is escaped.
_TO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/?%\[\]-]")
_NUMERIC_LABEL = re.compile(r"(?:\d+|0x[0-9a-f]*)\Z")
_HOST_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*\Z")

_NOT_PUBLIC_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_GLOBAL_UNICAST_V6: Final = IPv6Network("2000::/3")
# IETF protocol assignments with Teredo and ORCHID, documentation, 6to4: all may wrap or name something else.
_NOT_PUBLIC_V6: Final = tuple(
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


def is_public(address: IpAddress) -> bool:
    """Say whether ``address`` is ordinary unicast on the public Internet.

    IPv6 outside 2000::/3 is never public: that covers loopback, unique-local, link-local and
    multicast as well as IPv4-mapped and NAT64 forms, which would smuggle an IPv4 address through.

    Spec: RFC 6890, RFC 4291 §2.5.5, RFC 6052 §2.1.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _GLOBAL_UNICAST_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def authority_of(scheme: str, host: str, port: int) -> str:
    """Return the value of the Host header: the port is named only if the scheme has another.

    Args:
        scheme: one of `DEFAULT_PORTS`.
        host: name or address, without brackets.
        port: TCP port.

    Spec: RFC 9110 §7.2.
    """
    host = f"[{host}]" if ":" in host else host
    return host if port == DEFAULT_PORTS[scheme] else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class UrlTarget:
    """A URL taken apart: what to resolve, what to judge and what to ask the server for.

    ``host`` is lower-case ASCII without brackets; ``address`` is set when it is an IP literal.
    ``selector`` is path and query, escaped. ``credentials`` come from the URL's user part.
    """

    scheme: str
    host: str
    port: int
    selector: str
    address: IpAddress | None
    credentials: tuple[str, str] | None = None

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        return authority_of(self.scheme, self.host, self.port)

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.selector.partition("?")[0]

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.scheme in ("https", "wss")

    @property
    def url(self) -> str:
        """The URL in its one spelling, without credentials."""
        return f"{self.scheme}://{self.authority}{self.selector}"

    def redirected(self, location: str) -> "UrlTarget":
        """Return the target a ``Location`` header points to, relative ones included.

        Raises:
            UrlRefused: it is not a URL that may be asked.
        """
        try:
            joined = urljoin(self.url, location.strip(" "))
        except ValueError:
            raise MalformedUrl("malformed URL") from None
        return parse_url(joined)


def parse_url(url: str, *, schemes: frozenset[str] = HTTP) -> UrlTarget:
    """Take an absolute URL apart.

    Path and query are escaped where they have to be: a blank, a letter that is not ASCII or a lone percent
    sign is what people write and what some servers send. In the host nothing is mended.

    Args:
        url: text as a client or a server gave it; blanks around it do not count.
        schemes: `HTTP` or `WEBSOCKET`.

    Raises:
        UrlRefused: another scheme, no host, a malformed one, a control character, or a number that only
            some programs would read as an IPv4 address (``0x7f000001``, ``2130706433``, ``127.1``).

    Spec: RFC 3986 sections 2.1 and 3.
    """
    url = url.strip(" ")
    if len(url) > MAX_URL_CHARS or _CONTROLS.search(url):
        raise MalformedUrl("malformed URL")
    try:
        parts = urlsplit(url)
        raw_host, port = parts.hostname, parts.port
        selector = _escape(parts.path or "/") + (f"?{_escape(parts.query)}" if parts.query else "")
    except ValueError:
        raise MalformedUrl("malformed URL") from None
    if parts.scheme not in schemes:
        raise UrlRefused(f"only {' and '.join(sorted(schemes))} URLs can be {_VERBS[schemes]}")
    if _NOT_IN_AUTHORITY.search(parts.netloc):
        raise MalformedUrl("malformed URL")
    host, address = _parse_host(raw_host or "", bracketed="[" in parts.netloc)
    if port == 0:
        raise MalformedUrl("malformed URL: port 0")
    credentials = None
    if parts.username:
        credentials = (unquote(parts.username), unquote(parts.password or ""))
    return UrlTarget(
        scheme=parts.scheme,
        host=host,
        port=port if port is not None else DEFAULT_PORTS[parts.scheme],
        selector=selector,
        address=address,
        credentials=credentials,
    )


def _escape(text: str) -> str:
    """Escape what must not stand in a path or a query; a lone surrogate is a ValueError."""
    return _TO_ESCAPE.sub(lambda found: quote(found[0], safe=""), text)


@lru_cache(maxsize=128)  # of hosts alone: paths, queries and what stands before the host may be secret
def _parse_host(raw: str, *, bracketed: bool) -> tuple[str, IpAddress | None]:
    """Return the host in its one canonical form, and its address if it is a literal."""
    if bracketed:
        try:
            literal = IPv6Address(raw)
        except ValueError:
            raise MalformedUrl("malformed URL: bad IPv6 address") from None
        if literal.scope_id:
            raise MalformedUrl("malformed URL: IPv6 zone")
        return str(literal), literal
    if len(raw) > _MAX_HOST_CHARS:
        raise MalformedUrl("malformed URL: bad host name")
    try:
        # Name preparation also folds look-alike digits and dots, which must not pass as a name.
        host = raw.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise MalformedUrl("malformed URL: bad host name") from None
    host = host.removesuffix(".")
    if _NUMERIC_LABEL.match(host.rpartition(".")[2]):
        try:
            address = IPv4Address(host)
        except ValueError:
            raise MalformedUrl("malformed URL: an IPv4 address is written as four decimal numbers") from None
        return str(address), address
    if len(host) > _MAX_HOST_CHARS or not _HOST_NAME.match(host):
        raise MalformedUrl("malformed URL: bad host name")
    return host, None


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """The operator's list of exceptions on top of "public addresses only".

    A listed host name opens that exact name wherever it resolves to; a listed network opens its
    addresses whatever name led there.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[IpNetwork, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "FetchPolicy":
        """Build a policy from host names, addresses and CIDR networks.

        Raises:
            ValueError: an entry is none of these; the text names it.
        """
        hosts: set[str] = set()
        networks: list[IpNetwork] = []
        for entry in (raw.strip() for raw in entries):
            try:
                networks.append(ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                try:
                    host, address = _parse_host(entry, bracketed=False)
                except UrlRefused:
                    raise ValueError(f"not a host name, address or network: {entry!r}") from None
                if address is not None:
                    raise ValueError(f"not a host name, address or network: {entry!r}") from None
                hosts.add(host)
        return cls(hosts=frozenset(hosts), networks=tuple(networks))

    def permits(self, host: str, address: IpAddress) -> bool:
        """Say whether ``address``, found behind ``host``, may be connected to."""
        return (
            host in self.hosts
            or any(address in network for network in self.networks if network.version == address.version)
            or is_public(address)
        )

    def check(self, url: str, *, schemes: frozenset[str] = HTTP) -> UrlTarget:
        """Take a URL apart and judge what can be judged without a look-up: an address in place of a name.

        Raises:
            UrlRefused: it is malformed, or that address is not permitted.
        """
        target = parse_url(url, schemes=schemes)
        if target.address is not None:
            self.choose(target, [target.host])
        return target

    def choose(self, target: UrlTarget, resolved: Iterable[str]) -> tuple[IpAddress, ...]:
        """Return the addresses of ``target`` that may be connected to, in the resolver's order.

        One forbidden address condemns the whole name: honest names do not mix both kinds.

        Raises:
            UrlRefused: an address is not permitted or there is none. The text does not tell which
                address it was, so that it cannot be used to explore the operator's DNS.
        """
        addresses = tuple(dict.fromkeys(ip_address(text) for text in resolved))
        if not addresses:
            raise UrlRefused(f"host {target.host} has no address")
        if not all(self.permits(target.host, address) for address in addresses):
            raise UrlRefused(f"host {target.host} is not allowed")
        return addresses
