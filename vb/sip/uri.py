"""SIP and SIPS URIs.  Spec: RFC 3261 §19.1, §25.1."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote

from vb.sip.errors import SipUriError

_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9.])?"
_USER = r"A-Za-z0-9\-_.!~*'()%&=+$,;?/"
# Beyond the grammar: what people dial and are called. It is escaped where the URI goes out again.
# Blanks and what turns the direction of writing are left out: they would deceive who reads a log.
_USER_LOOSE = (
    rf"{_USER}#^|`{{}}\[\]\u00a1-\u167f\u1681-\u1fff\u2010-\u2027\u2030-\u205e\u2070-\u2fff"
    r"\u3001-\ud7ff\uf900-\ufefe\uff01-\ufffd\U00010000-\U0010ffff"
)
_PARAM = r"A-Za-z0-9\-_.!~*'()%\[\]/:&+$"
# Beyond the grammar: `=` and quotes, as proxies write what they hide in a URI; and, behind a user, `@`, as
# phone contexts have it. Without a user nothing would tell it from the one that ends a user.
_PARAM_VALUE = rf'(?:"[{_PARAM}=]*"|(?(user)[{_PARAM}=@]*|[{_PARAM}=]*))'
_URI_HEADERS = r"A-Za-z0-9\-_.!~*'()%\[\]/?:+$=&"
_SIP_URI = re.compile(
    r"(?P<scheme>[sS][iI][pP][sS]?):"
    rf"(?:(?P<user>[{_USER_LOOSE}]+)(?::(?P<password>[A-Za-z0-9\-_.!~*'()%&=+$,]*))?@)?"
    rf"(?P<host>{_HOST})"
    r"(?::(?P<port>[0-9]{1,5}))?"
    rf"(?P<params>(?:;[{_PARAM}]+(?:={_PARAM_VALUE})?)*);?"
    rf"(?:\?(?P<headers>(?(user)[{_URI_HEADERS};@]*|[{_URI_HEADERS};]*)))?"
)
_LOOSE = frozenset('"=@')
_ROUTING = frozenset({"lr", "maddr", "method", "transport", "ttl", "user"})
"""Parameters that decide where a request goes or what it is: nobody else must read them in another way."""
_NOT_IN_USER = re.compile(rf"[^{_USER}]")
# The grammar of RFC 3261 lets a third colon stand before an IPv4 address (RFC 5118 §4.10).
_THIRD_COLON = re.compile(r":::(?=[0-9]+\.)")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DOTTED = re.compile(r"[0-9.]*+(?<=[0-9])")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):\S")
_REMEMBERED_CHARS = 512
"""Longer ones are read anew every time: strangers decide what they are."""
_USER_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()&=+$,;?/")


@dataclass(frozen=True, slots=True)
class SipUri:
    """A SIP or SIPS URI.

    Attributes:
        host: lower case, an IPv6 address without its brackets.
        params: URI parameters in order, names in lower case; None for a name without a value.
        headers: the text after `?`, or None.
    """

    scheme: str
    user: str | None
    host: str
    port: int | None = None
    params: tuple[tuple[str, str | None], ...] = ()
    headers: str | None = None
    password: str | None = None

    def param(self, name: str) -> str | None:
        """Return the value of a URI parameter; "" if it has none, None if it is absent."""
        for key, value in self.params:
            if key == name:
                return value or ""
        return None

    @property
    def transport(self) -> str:
        """Transport that the URI asks for: "tls" for sips, the parameter, else "udp"."""
        if self.scheme == "sips":
            return "tls"
        return (self.param("transport") or "udp").lower()

    @property
    def transport_or_none(self) -> str | None:
        """Transport named by the scheme or the parameter, None where the URI leaves it open."""
        if self.scheme == "sips":
            return "tls"
        return (self.param("transport") or "").lower() or None

    @property
    def is_loose_router(self) -> bool:
        """Whether the URI carries `lr`.  Spec: RFC 3261 §16.12."""
        return self.param("lr") is not None

    def __str__(self) -> str:
        parts = [self.scheme, ":"]
        if self.user is not None:
            user = _NOT_IN_USER.sub(_escaped, self.user)
            parts += [user, f":{self.password}@" if self.password is not None else "@"]
        parts.append(bracketed(self.host))
        if self.port is not None:
            parts.append(f":{self.port}")
        parts += [f";{name}" if value is None else f";{name}={value}" for name, value in self.params]
        if self.headers is not None:
            parts.append(f"?{self.headers}")
        return "".join(parts)

    def as_request_uri(self) -> str:
        """Return the URI as it may stand in a request line: no headers, no `method`.

        Spec: RFC 3261 §19.1.1 table 1.
        """
        params = tuple(item for item in self.params if item[0] != "method")
        return str(SipUri(self.scheme, self.user, self.host, self.port, params, None, self.password))


def parse_uri(text: str) -> SipUri:
    """Parse a SIP or SIPS URI; as the same few are met all through a call, they are remembered.

    Raises:
        SipUriError: for anything else; `status` is 416 when it is a URI of another scheme.
    """
    return _sip_uri(text) if len(text) <= _REMEMBERED_CHARS else _sip_uri.__wrapped__(text)


@lru_cache(maxsize=256)
def _sip_uri(text: str) -> SipUri:
    match = _SIP_URI.fullmatch(text)
    if match is None:
        scheme = _SCHEME.match(text)
        other = scheme is not None and scheme[1].lower() not in ("sip", "sips")
        raise SipUriError(f"not a SIP URI: {text[:80]!r}", status=416 if other else 400)
    port = int(match["port"]) if match["port"] is not None else None
    if port is not None and not 0 < port < 65536:
        raise SipUriError(f"port out of range: {port}")
    user, params, headers = match["user"], match["params"], match["headers"]
    if "%" in text and _BAD_ESCAPE.search(text):
        raise SipUriError("incomplete escape in a URI")
    return SipUri(
        scheme=match["scheme"].lower(),
        user=user,
        host=parse_host(match["host"]),
        port=port,
        params=tuple(_params(params)) if params else (),
        headers=headers,
        password=match["password"],
    )


def _params(text: str) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for item in text[1:].split(";"):
        name, equals, value = item.partition("=")
        name = name.lower()
        if (name in _ROUTING and not _LOOSE.isdisjoint(value)) or ("@" in value and name != "phone-context"):
            raise SipUriError(f"bad {name} in a URI")
        found.append((name, value if equals else None))
    if len({name for name, _ in found}) != len(found):
        raise SipUriError("a URI parameter occurs twice")
    return found


def parse_host(text: str) -> str:
    """Return a host in lower case and without brackets.

    Raises:
        SipUriError: if brackets do not hold an IPv6 address, or digits and dots no IPv4 address.
    """
    try:
        if text.startswith("["):
            return str(IPv6Address(_THIRD_COLON.sub("::", text[1:-1])))
        if is_ip_address(text):
            return _ipv4(text)
    except AddressValueError as error:
        raise SipUriError(f"bad address: {text[:60]!r}") from error
    return text.lower()


@lru_cache(maxsize=512)
def _ipv4(text: str) -> str:
    """Return an IPv4 address as it is written; few of them occur in nearly all messages."""
    return str(IPv4Address(text))


def is_ip_address(host: str) -> bool:
    """Tell whether a host (without brackets) is a literal IPv4 or IPv6 address.

    Digits and dots that end in a digit are never a name (RFC 1123 §2.1).
    """
    return ":" in host or _DOTTED.fullmatch(host) is not None


def bracketed(host: str) -> str:
    """Return a host as it stands in URIs and Via: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def _escaped(found: re.Match[str]) -> str:
    return quote(found[0], safe="")


def escape_user(text: str) -> str:
    """Escape text for the user part of a URI.  Spec: RFC 3261 §19.1.2."""
    return "".join(chr(b) if b in _USER_SAFE else f"%{b:02X}" for b in text.encode())
