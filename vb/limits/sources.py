"""What counts as one source where sources have limits."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Final

_NETWORK_BITS: Final = 64


def source_of(host: str) -> str:
    """Return the source of an address: an IPv4 address, or the /64 that one host of IPv6 can fill by itself.

    Args:
        host: an address without a zone.
    """
    if ":" not in host:
        return host
    shift = 128 - _NETWORK_BITS
    return str(IPv6Network((int(IPv6Address(host)) >> shift << shift, _NETWORK_BITS)))
