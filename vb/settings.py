"""What settings are made of: their types, how text becomes a value, and how one is described.

Whatever is called `parse_` or `check_` raises ValueError for what cannot be used, in words that go behind the
name of the setting.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict

from vb.choices import KNOWN_CODECS

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_OWN_NAME = re.compile(r"\w(?:[\w.-]*\w)?\.?")
"""What a machine may call itself: names of containers have underscores, others are not in ASCII."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
DNS_PORT = 53
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_bool(value: object) -> object:
    """Read true, 1, yes, on and their opposites in any case."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise ValueError("must be true or false")
    return value


def parse_list(value: object) -> object:
    """Split a comma list; empty items are dropped, but one of commas alone would open what a list closes."""
    if isinstance(value, str):
        items = tuple(item.strip() for item in value.split(",") if item.strip())
        if value.strip() and not items:
            raise ValueError("has no item")
        return items
    return value


def parse_auto(value: object) -> object:
    """Read the word auto as None: the server finds the value itself."""
    return None if isinstance(value, str) and value.strip().lower() == "auto" else value


def parse_duration(value: object) -> object:
    """Return the seconds of text such as 10s, 500ms or 1h30m."""
    if isinstance(value, str):
        text = value.strip()
        if text == "0":
            return 0.0
        if text and _DURATION.sub("", text) == "":
            return sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION.findall(text))
        raise ValueError("must be a duration such as 10s or 500ms")
    return value


def check_host_port(value: str) -> str:
    """Accept host:port, :port and [ipv6]:port, and an IPv6 address without brackets before the last colon."""
    host, colon, port = value.rpartition(":")
    try:
        if not (colon and port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ValueError
        if host.startswith("[") and host.endswith("]"):
            ipaddress.IPv6Address(host[1:-1])
        elif ":" in host:
            ipaddress.IPv6Address(host)
        elif host and not (_OWN_NAME.fullmatch(host) and host.encode("idna")):
            raise ValueError
    except ValueError:
        raise ValueError("must be host:port, :port or [ipv6]:port") from None
    return value


def check_name_servers(value: tuple[str, ...]) -> tuple[str, ...]:
    """Accept ip, ip:port and [ipv6]:port, several of them."""
    for server in value:
        split_name_server(server)
    return value


def split_name_server(text: str) -> tuple[str, int]:
    """Return the address and port of a name server.

    Raises:
        ValueError: it is not written as ip, ip:port or [ipv6]:port.
    """
    address, port = text, str(DNS_PORT)
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("must be ip, ip:port or [ipv6]:port")
    return str(ipaddress.ip_address(address)), int(port)


def check_ipv4(value: str) -> str:
    """Accept an IPv4 address or nothing."""
    if value:
        ipaddress.IPv4Address(value)
    return value


def check_ipv6(value: str) -> str:
    """Accept an IPv6 address or nothing."""
    if value:
        ipaddress.IPv6Address(value)
    return value


def check_reachable(value: str) -> str:
    """Accept an address that others can send to, or nothing."""
    if value:
        address = ipaddress.ip_address(value)
        if address.is_unspecified or address.is_multicast or value == "255.255.255.255":
            raise ValueError(f"nobody can send to {value}")
    return value


def check_advertised(value: str) -> str:
    """Accept an address that others can send to, nothing, or the wildcard of one that is to be found."""
    return value if value and ipaddress.ip_address(value).is_unspecified else check_reachable(value)


def check_codecs(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return codec names in their canonical spelling, each once."""
    canonical = {name.lower(): name for name in KNOWN_CODECS}
    chosen = []
    for name in value:
        if name.lower() not in canonical:
            raise ValueError(f"knows {', '.join(KNOWN_CODECS)}, not {name}")
        if canonical[name.lower()] not in chosen:
            chosen.append(canonical[name.lower()])
    if not chosen:
        raise ValueError("needs at least one codec")
    return tuple(chosen)


def check_url(value: str) -> str:
    """Accept an http or https URL, with a port that there is if it names one, or nothing."""
    if value:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http or https URL")
        try:
            usable = parts.port != 0
        except ValueError:  # what stands there may be part of a password: it is not quoted
            usable = False
        if not usable:
            raise ValueError("must be a URL whose port is 1 to 65535")
    return value


def is_host_name(value: str) -> bool:
    """Say whether text can be a host name, or a part of one."""
    return _HOST_NAME.fullmatch(value) is not None


def check_domain(value: str) -> str:
    """Accept a host name or nothing."""
    if value and not is_host_name(value):
        raise ValueError("must be a host name")
    return value


def check_edge(value: str) -> str:
    """Accept a host name or address with a port: an IPv6 address in brackets, without a zone."""
    host, colon, port = value.rpartition(":")
    in_brackets = host.startswith("[") and host.endswith("]")
    is_host = _is_ipv6(host[1:-1]) if in_brackets else is_host_name(host)
    if not (is_host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError("must be host:port")
    return value


def _is_ipv6(text: str) -> bool:
    try:
        return "%" not in text and bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def check_allow(value: tuple[str, ...]) -> tuple[str, ...]:
    """Accept host names, addresses and networks."""
    for item in value:
        try:
            ipaddress.ip_network(item, strict=False)
        except ValueError:
            if not _HOST_NAME.fullmatch(item):
                raise ValueError(f"{item} is neither a host name nor a network") from None
    return value


def check_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    """Accept addresses and networks."""
    for item in value:
        try:
            ipaddress.ip_network(item, strict=False)
        except ValueError:
            raise ValueError(f"{item} is neither an address nor a network") from None
    return value


def check_external_ips(value: tuple[str, ...]) -> tuple[str, ...]:
    """Accept addresses that others may send to, or auto alone."""
    if value == ("auto",):
        return value
    for item in value:
        try:
            ipaddress.ip_address(item)
        except ValueError:
            raise ValueError(f"{item} is no address, and auto stands alone") from None
        check_reachable(item)
    return value


_PRINTABLE = re.compile(r"[\x20-\x7e]+")


def check_user_agent(value: str) -> str:
    """Accept printable ASCII."""
    if not _PRINTABLE.fullmatch(value):
        raise ValueError("must be printable ASCII")
    return value


Bool = Annotated[bool, BeforeValidator(parse_bool)]
Words = Annotated[tuple[str, ...], BeforeValidator(parse_list)]
Seconds = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
IPv4 = Annotated[str, AfterValidator(check_ipv4)]
IPv6 = Annotated[str, AfterValidator(check_ipv6)]
Port = Annotated[int, Field(ge=0, le=65535)]


def setting(env: str, meaning: str, default: Any, *, shown: str | None = None, **limits: Any) -> Any:
    """Describe one setting: its environment variable, meaning and default.

    Args:
        env: name of the environment variable.
        meaning: one line for `--help` and the documentation.
        default: the value when nothing is set.
        shown: how the default reads in the documentation when the bare value would mislead.
        **limits: pydantic limits such as ge and le.
    """
    extra: JsonDict = {"env": env, "shown": shown}
    return Field(default=default, description=meaning, json_schema_extra=extra, **limits)


class Group(BaseModel):
    """A frozen group of settings."""

    # What cannot be used is not quoted: it may be a secret, or have secrets beside it.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, hide_input_in_errors=True)
