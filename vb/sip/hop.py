"""Where a message comes from or goes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Transport = Literal["udp", "tcp"]
DEFAULT_PORT = 5060


@dataclass(frozen=True, slots=True)
class Hop:
    """One end of a transport path.

    Attributes:
        host: numeric address without brackets, or a name that the driver resolves.
        flow: number of the TCP connection to use while it lasts; 0 = none, find or open one.
    """

    transport: Transport
    host: str
    port: int
    flow: int = 0

    @property
    def is_reliable(self) -> bool:
        """Whether the transport delivers or fails by itself, so that nothing is repeated."""
        return self.transport != "udp"

    @property
    def family(self) -> Literal[4, 6]:
        """IP family of a numeric host."""
        return 6 if ":" in self.host else 4


class Outgoing(NamedTuple):
    """Bytes for the driver to send."""

    data: bytes
    hop: Hop
