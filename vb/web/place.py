"""A judged place: the name that was asked for, and the addresses that it may be connected to at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connection may go.

    Attributes:
        secure: whether TLS is spoken.
        host: name or address, for the certificate.
        port: TCP port.
        addresses: all that were judged and found good, the best first.
    """

    secure: bool
    host: str
    port: int
    addresses: tuple[str, ...]
