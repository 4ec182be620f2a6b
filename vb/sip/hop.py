"""Where a message comes from or goes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Transport = Literal["udp", "tcp", "tls"]
TransactionKey = tuple[str, ...]
DEFAULT_PORT = 5060
DEFAULT_TLS_PORT = 5061


def default_port(transport: str) -> int:
    """Return the port that a transport has where none is named.  Spec: RFC 3261 §18.1.1, §19.1.2."""
    return DEFAULT_TLS_PORT if transport == "tls" else DEFAULT_PORT


@dataclass(frozen=True, slots=True)
class Hop:
    """One end of a transport path.

    Attributes:
        host: numeric address without brackets, or a name that the driver resolves.
        flow: number of the connection to use while it lasts; 0 = none, find or open one.
        server_name: over TLS, whom the certificate must name; "" = `host`.
        may_switch: nobody asked for UDP, so that a long request may go over TCP.
        search: what the URI left open, and the domain's records may tell: "naptr" the transport and the
            port, "srv" the port, "address" nothing (RFC 3263 §4).
    """

    transport: Transport
    host: str
    port: int
    flow: int = 0
    server_name: str = ""
    may_switch: bool = field(default=False, compare=False)
    search: Literal["address", "srv", "naptr"] = field(default="address", compare=False)

    @property
    def is_reliable(self) -> bool:
        """Whether the transport delivers or fails by itself, so that nothing is repeated."""
        return self.transport != "udp"

    @property
    def family(self) -> Literal[4, 6]:
        """IP family of a numeric host."""
        return 6 if ":" in self.host else 4


class Outgoing(NamedTuple):
    """Bytes for the driver to send.

    Attributes:
        sender: the transaction of ours that they are the request of; None for responses and ACKs.
    """

    data: bytes
    hop: Hop
    sender: TransactionKey | None = None
