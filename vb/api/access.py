"""Who may talk to the HTTP edge: an address list, and tokens, as bearer tokens or in `X-API-Key`.

`Access` is pure: a request's client and headers go in, the refusal comes out. `WrongTokens` remembers who
guesses. It makes nobody wait who has a right token, whatever others at his address do: a source may be a NAT
or a proxy that an application shares with strangers, and they could lock it out. So what keeps guessing
hopeless is the length of a token; the pauses are for load, noise and a signal.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

import structlog

from vb.config import HttpConfig
from vb.limits.guessing import Guessing
from vb.limits.sources import source_of
from vb.metrics import Metrics

log = structlog.get_logger(__name__)

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
HeaderList = Iterable[tuple[bytes, bytes]]

OPEN_PATHS: Final = frozenset(
    {"/healthz", "/readyz", "/openapi.json", "/asyncapi.json", "/docs", "/docs/filter.js", "/"}
)
"""What needs no token: nothing there tells of calls."""

KEYED: Final = "/api/"
"""What takes a token in `X-API-Key` as well."""
PAGES: Final = ("/calls", "/phone", "/moq")
"""Pages need none either: they hold nothing of any call, and ask with a token for it."""

TOKEN_PROTOCOL: Final = "vb.token."
"""Begins the WebSocket subprotocol that is a token in Base64url: scripts in browsers can set no header."""

MIN_TOKEN_CHARS: Final = 22
"""Of Base64, which hold 128 random bits."""


@dataclass(frozen=True, slots=True)
class AccessRefusal:
    """Why a request is not served.

    Attributes:
        status: 401, 403 or 429.
        message: text of the error.
        headers: further headers of the response.
        guessed_by: where a wrong token came from; None when none was given.
    """

    status: int
    message: str
    headers: tuple[tuple[str, str], ...] = ()
    guessed_by: str | None = None


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
        if not self._tokens or is_open(path):
            return None
        if upgrade and not _same_origin(values):
            return _FORBIDDEN
        given = _bearer(values.get(b"authorization", b""))
        if not given and path.startswith(KEYED):
            given = values.get(b"x-api-key", b"").strip()
        if upgrade and not given:
            given = _from_protocols(values.get(b"sec-websocket-protocol", b""))
        if not given:
            return _UNAUTHORIZED
        return None if self._has_token(given) else self._wrong_token(client_host, values)

    def _client(self, client_host: str | None, values: dict[bytes, bytes]) -> IpAddress | None:
        text = client_host or ""
        forwarded = values.get(b"x-forwarded-for")
        if self._trust_proxy_headers and forwarded is not None:
            text = forwarded.split(b",")[0].strip().decode("latin-1")
        return _address(text)

    def _is_allowed(self, client_host: str | None, values: dict[bytes, bytes]) -> bool:
        address = self._client(client_host, values)
        return address is not None and any(
            address in network for network in self._allowed if network.version == address.version
        )

    def _has_token(self, given: bytes) -> bool:
        matches = [hmac.compare_digest(given, token) for token in self._tokens]
        return any(matches)  # every token was compared, so that the time tells nothing

    def _wrong_token(self, client_host: str | None, values: dict[bytes, bytes]) -> AccessRefusal:
        # What a proxy forwards and is no address counts for the proxy, or each spelling would be a source.
        address = self._client(client_host, values) or _address(client_host or "")
        return replace(_UNAUTHORIZED, guessed_by=_source(address))


def access_of(config: HttpConfig) -> Access:
    """Return the rules that the settings say."""
    return Access(
        parse_networks(config.allowed_ips),
        trust_proxy_headers=config.trust_proxy_headers,
        tokens=[token.get_secret_value() for token in config.api_tokens],
    )


class WrongTokens:
    """Answers requests with wrong tokens: tells whoever keeps guessing to wait, counts, and logs it.

    Args:
        metrics: counts them by the status of the answer.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._guessing = Guessing()
        self._metrics = metrics

    def answer(self, source: str, now: float) -> AccessRefusal:
        """Count a wrong token and return how to refuse it.

        Args:
            source: where it came from, as `AccessRefusal.guessed_by` has it.
            now: monotonic seconds.
        """
        guess = self._guessing.wrong(source, now)
        if guess.begins:  # once a burst, or who guesses could fill the log
            log.warning("api_token_guessing", source=guess.source)
        refusal = _UNAUTHORIZED
        if guess.wait_s:
            refusal = AccessRefusal(429, "too many wrong tokens", (("Retry-After", str(guess.wait_s)),))
        self._metrics.wrong_token(refusal.status)
        return refusal


def warn_of_short_tokens(tokens: Iterable[str]) -> None:
    """Log if there are tokens that might be guessed."""
    count = sum(len(token) < MIN_TOKEN_CHARS for token in tokens)
    if count:
        log.warning("api_tokens_short", count=count, wanted_chars=MIN_TOKEN_CHARS)


def _values(headers: HeaderList) -> dict[bytes, bytes]:
    """Return headers by name; a header that comes in several lines is one list.  Spec: RFC 9110 §5.3."""
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        key = name.lower()
        values[key] = values[key] + b", " + value if key in values else value
    return values


def _bearer(authorization: bytes) -> bytes:
    """Return the token in a header; empty when there is none."""
    scheme, _, given = authorization.partition(b" ")
    return given.strip() if scheme.lower() == b"bearer" else b""


def is_open(path: str) -> bool:
    """Say whether a path needs no token."""
    return path in OPEN_PATHS or any(path == page or path.startswith(f"{page}/") for page in PAGES)


def _from_protocols(offered: bytes) -> bytes:
    """Return the token among the subprotocols that a client offers; empty when there is none."""
    for item in offered.split(b","):
        name, prefix = item.strip(), TOKEN_PROTOCOL.encode()
        if name.startswith(prefix):
            text = name.removeprefix(prefix)
            try:
                return base64.b64decode(text + b"=" * (-len(text) % 4), b"-_", validate=True)
            except ValueError:
                return text  # it is wrong, and counts as such
    return b""


def _source(address: IpAddress | None) -> str:
    """Return what counts as one source."""
    return "unknown" if address is None else source_of(str(address).partition("%")[0])


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
    return netloc != "" and netloc.lower() == values.get(b"host", b"").decode("latin-1").lower()
