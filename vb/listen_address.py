"""Where a server listens, as settings say it."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Something to bind a socket to.

    Attributes:
        family: of the socket.
        host, port: to bind; port 0 takes a free one.
        dual: an IPv6 socket that serves IPv4 too.
    """

    family: socket.AddressFamily
    host: str
    port: int
    dual: bool

    def bind(self, sock: socket.socket) -> None:
        """Bind a socket of the family.

        Raises:
            OSError: the address cannot be bound.
        """
        if self.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if self.dual else 1)
        # A pair would lose the interface of a link-local address.
        sock.bind(socket.getaddrinfo(self.host, self.port, self.family, sock.type)[0][4])


def parse_listen_address(addr: str) -> ListenAddress:
    """Return what `host:port`, `:port` or `[ipv6]:port` means.

    Without a host it is IPv6 and IPv4 where the machine has both.
    """
    host, _, port = addr.rpartition(":")
    host = host.strip("[]")
    dual = not host or host == "::"
    family = socket.AF_INET6 if ":" in host or (dual and socket.has_dualstack_ipv6()) else socket.AF_INET
    return ListenAddress(family, host or ("::" if family == socket.AF_INET6 else "0.0.0.0"), int(port), dual)
