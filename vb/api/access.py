"""Who may talk to the HTTP edge: an address list, and bearer tokens.

Pure: a request's client and headers go in, the refusal comes out.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
HeaderList = Iterable[tuple[bytes, bytes]]

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/openapi.json", "/asyncapi.json", "/docs"})
"""What needs no token: nothing there tells of calls."""


@dataclass(frozen=True, slots=True)
class AccessRefusal:
    """Why a request is not served.

    Attributes:
        status: 401 or 403.
        message: text of the error.
        headers: further headers of the response.
    """

    status: int
    message: str
    headers: tuple[tuple[str, str], ...] = ()


_FORBIDDEN: Final = AccessRefusal(403, "forbidden")
_UNAUTHORIZED: Final = AccessRefusal(401, "unauthorized", (("WWW-Authenticate", "Bearer"),))


def parse_networks(entries: Sequence[str]) -> tuple[IpNetwork, ...]:
    """Return addresses and CIDR networks; host bits are masked.

    Raises:
        ValueError: an entry is neither.
    """
    return tuple(ipaddress.ip_network(entry, strict=False) for entry in entries)


class Access:
    """The rules of one server.

    Args:
        allowed: networks that may connect; everybody when empty.
        trust_proxy_headers: whether the leftmost X-Forwarded-For names the client.
        tokens: any of these opens the API; no token is asked for when empty.
    """

    def __init__(
        self, allowed: tuple[IpNetwork, ...], *, trust_proxy_headers: bool, tokens: Sequence[str]
    ) -> None:
        self._allowed = allowed
        self._trust_proxy_headers = trust_proxy_headers
        self._tokens = tuple(token.encode() for token in tokens)

    def refuse(
        self, path: str, client_host: str | None, headers: HeaderList, *, upgrade: bool = False
    ) -> AccessRefusal | None:
        """Return why a request is refused, or None when it may go on.

        Args:
            path: path without query.
            client_host: address of the peer's socket.
            headers: names in lower case.
            upgrade: whether it asks for a WebSocket, which browsers send to any site.
        """
        values = _values(headers)
        if self._allowed and not self._is_allowed(client_host, values):
            return _FORBIDDEN
        if not self._tokens or path in OPEN_PATHS:
            return None
        if upgrade and not _same_origin(values):
            return _FORBIDDEN
        return None if self._has_token(values.get(b"authorization", b"")) else _UNAUTHORIZED

    def _is_allowed(self, client_host: str | None, values: dict[bytes, bytes]) -> bool:
        text = client_host or ""
        forwarded = values.get(b"x-forwarded-for")
        if self._trust_proxy_headers and forwarded is not None:
            text = forwarded.split(b",")[0].strip().decode("latin-1")
        address = _address(text)
        return address is not None and any(
            address in network for network in self._allowed if network.version == address.version
        )

    def _has_token(self, authorization: bytes) -> bool:
        scheme, _, given = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        given = given.strip()
        matches = [hmac.compare_digest(given, token) for token in self._tokens]
        return any(matches)  # every token was compared, so that the time tells nothing


def _values(headers: HeaderList) -> dict[bytes, bytes]:
    """Return headers by name; a header that comes in several lines is one list.  Spec: RFC 9110 §5.3."""
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        key = name.lower()
        values[key] = values[key] + b", " + value if key in values else value
    return values


def _address(text: str) -> IpAddress | None:
    host, percent, zone = text.strip("[]").partition("%")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if percent and not (zone and address.version == 6 and address.is_link_local):
        return None  # only a link-local address has a zone (RFC 4007 §11)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _same_origin(values: dict[bytes, bytes]) -> bool:
    """Say whether a WebSocket comes from this host's own page, or from a program that is no browser."""
    origin = values.get(b"origin")
    if origin is None:
        return True
    try:
        netloc = urlsplit(origin.decode("latin-1")).netloc
    except ValueError:
        return False
    return netloc.lower() == values.get(b"host", b"").decode("latin-1").lower()
