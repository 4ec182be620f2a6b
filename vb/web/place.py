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

    @property
    def key(self) -> str:
        """All but the port as one word for a pool of connections; `from_key` takes it apart again."""
        return " ".join(("tls" if self.secure else "tcp", self.host, *self.addresses))

    @classmethod
    def from_key(cls, key: str, port: int) -> Place:
        """Return the place that has this key and port."""
        kind, host, *addresses = key.split(" ")
        return cls(kind == "tls", host, port, tuple(addresses))
