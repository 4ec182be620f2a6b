"""Addresses in a peer's description: literals in any usual spelling, and host names that were looked up.

Spec: RFC 8866 §5.7, §9.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal

from vb.sdp.session import Connection

MAX_NAMES: Final = 4
_MAX_NAME_CHARS: Final = 253
_MAX_LITERAL_CHARS: Final = 256
"""More than any address has, however many zeros stand before its numbers."""
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?P<last>{_LABEL})\.?")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_PADDED: Final = re.compile(r"0*([0-9]{1,3})\.0*([0-9]{1,3})\.0*([0-9]{1,3})\.0*([0-9]{1,3})")
_CONNECTION: Final = re.compile(rb"^c=[ \t]*IN[ \t]+IP[46][ \t]+([^\s/]+)", re.IGNORECASE | re.MULTILINE)
_BROADCAST: Final = IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Network:
    """What can be reached from here.

    Attributes:
        version: the IP version of our sockets; None takes either.
        names: literal of each host name that was looked up, by the name in lower case.
    """

    version: Literal[4, 6] | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def host(self, connection: Connection) -> str | None:
        """Return the literal that one peer can be reached at, or None.

        What the line says of the version is not held against an address that is plain to see.
        """
        if connection.net_type.upper() != "IN":
            return None
        name = host_name(connection)
        text = connection.address if name is None else self.names.get(name, "")
        text = _bare(text)
        return _reachable(text, self.version) if len(text) <= _MAX_LITERAL_CHARS else None


ANYWHERE: Final = Network()


@lru_cache(maxsize=8)
def local_network(address: str) -> Network:
    """Return what can be reached from a socket at one of our addresses."""
    return Network(version=6 if ":" in address else 4)


def literal(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a text is, without a multicast suffix, or None.

    Leading zeros and brackets mean nothing, and an IPv4 address within an IPv6 one is the former. An address
    with a zone is of no use but on its own link.
    """
    text = _bare(text)
    return _literal(text) if len(text) <= _MAX_LITERAL_CHARS else None


def _bare(text: str) -> str:
    """Return an address without a multicast suffix, and without the brackets that it has in a URI."""
    text = text.partition("/")[0]
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


@lru_cache(maxsize=512)
def _literal(text: str) -> IPv4Address | IPv6Address | None:
    padded = _PADDED.fullmatch(text)
    try:
        address = ip_address(text if padded is None else ".".join(padded.groups()))
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or (None if address.scope_id is not None else address)
    return address


@lru_cache(maxsize=512)
def _reachable(text: str, version: Literal[4, 6] | None) -> str | None:
    """Return the literal of an address that one peer can be reached at from sockets of a version, or None."""
    address = _literal(text)
    if address is None or address.is_unspecified or address.is_multicast or address == _BROADCAST:
        return None
    if version is not None and address.version != version:
        return None
    return str(address)


def is_unspecified(connection: Connection) -> bool:
    """Tell whether the address is 0.0.0.0 or ::, the older way to ask for silence (RFC 3264 §8.4)."""
    address = literal(connection.address)
    return address is not None and address.is_unspecified


def host_name(connection: Connection) -> str | None:
    """Return the host name that stands for the address, in lower case, or None.

    A name that ends in a number is none: resolvers take it for an address in an odd spelling.
    """
    text = connection.address
    if connection.net_type.upper() != "IN" or len(text) > _MAX_NAME_CHARS:
        return None
    return _name(text)


@lru_cache(maxsize=512)
def _name(text: str) -> str | None:
    match = _NAME.fullmatch(text)
    if match is None or _NUMBER.fullmatch(match["last"]) is not None:
        return None
    return text.lower()


def host_names(data: bytes) -> list[str]:
    """List the host names in the connection lines of a description, which need not be one; mostly none."""
    names: list[str] = []
    for text in _CONNECTION.findall(data):
        if literal(text.decode("latin-1")) is None:
            name = host_name(Connection("IP4", text.decode("latin-1")))
            if name is not None and name not in names:
                names.append(name)
    return names[:MAX_NAMES]
