"""Every socket of an endpoint: binds them on one port number, routes outgoing messages to them."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple, Protocol

import trio

from vb.names import NameLookup
from vb.sip.hop import Hop, Outgoing, Transport
from vb.sip.tasks.resolve import ResolveError, Resolver
from vb.sip.tasks.tcp import StreamHandler, TcpTransport
from vb.sip.tasks.tls import Tls
from vb.sip.tasks.udp import DatagramHandler, UdpSocket
from vb.sip.uri import is_ip_address

MAX_RESOLVING = 64
_BIND_TRIES = 20
"""A port that UDP finds free may be taken on TCP or the other family: another one is tried then."""


class BoundAddress(NamedTuple):
    """One listening address."""

    transport: str
    host: str
    port: int


@contextmanager
def _named(setting: str, transport: str, host: str, port: int) -> Iterator[None]:
    """Have a failure to bind name what was to be bound, and the setting that says so."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in (errno.EADDRINUSE, errno.EACCES):
            setting = "SIP_LISTEN_IPV6 or SIP_BIND_IPV6" if ":" in host else "SIP_LISTEN_IP or SIP_BIND_IP"
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        text = f"cannot listen on {setting}, {transport} {where}: {exc.strerror}"
        raise OSError(exc.errno, text) from None


class Handler(StreamHandler, DatagramHandler, Protocol):
    """Where sockets of all kinds deliver."""


class SipTransport:
    """UDP, TCP and TLS over IPv4 and IPv6.

    Args:
        handler: where messages and failures go.
        hosts: addresses to bind, one for each family.
        port: for UDP and TCP on all of them; 0 = a free one.
        names: finds the addresses of host names.
        tcp: listen on TCP as well.
        tls: certificates for TLS; None = no TLS, in neither direction.
        tls_port: its port; 0 = a free one.

    Attributes:
        port: the port bound.
        tls_port: the port bound for TLS, 0 without TLS.
        unresolved: messages dropped because too many names were being looked up.
    """

    def __init__(
        self,
        handler: Handler,
        hosts: Sequence[str],
        port: int,
        *,
        names: NameLookup,
        tcp: bool,
        tls: Tls | None = None,
        tls_port: int = 0,
    ) -> None:
        """Bind.

        Raises:
            OSError: if an address cannot be bound.
        """
        self.unresolved = 0
        transports: tuple[Transport, ...] = (
            "udp",
            *(("tcp",) if tcp else ()),
            *(("tls",) if tls is not None else ()),
        )
        self.resolver = Resolver(tuple(6 if ":" in host else 4 for host in hosts), names, transports)
        flows = count(1)
        self.tcp = TcpTransport(handler, flows=flows)
        self.tls = TcpTransport(handler, tls=tls, flows=flows) if tls is not None else None
        self._handler = handler
        self._hosts = tuple(hosts)
        self._has_tcp = tcp
        self._udp: dict[int, UdpSocket] = {}
        self._resolving = 0
        self._nursery: trio.Nursery | None = None
        self.port = self._bind(port)
        self.tls_port = self._bind_tls(tls_port)

    def _bind(self, port: int) -> int:
        for tries_left in reversed(range(_BIND_TRIES if port == 0 else 1)):
            try:
                return self._bind_all(port)
            except OSError:
                self.close()
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    def _bind_all(self, port: int) -> int:
        """Bind every address on one port; a free one is found by the first socket."""
        for host in self._hosts:
            with _named("SIP_PORT", "udp", host, port):
                sock = UdpSocket(host, port)
            self._udp[6 if ":" in host else 4] = sock
            port = sock.address[1]
        if self._has_tcp:
            for host in self._hosts:
                with _named("SIP_PORT", "tcp", host, port):
                    self.tcp.bind(host, port)
        return port

    def _bind_tls(self, port: int) -> int:
        if self.tls is None:
            return 0
        try:
            for host in self._hosts:
                with _named("SIP_TLS_PORT", "tls", host, port):
                    self.tls.bind(host, port)
                port = self.tls.listening_ports[0]
        except OSError:
            self.close()
            raise
        return port

    @property
    def bound(self) -> list[BoundAddress]:
        """Addresses that are listened on."""
        found = [BoundAddress("udp", host, self.port) for host in self._hosts]
        if self._has_tcp:
            found += [BoundAddress("tcp", host, self.port) for host in self._hosts]
        if self.tls is not None:
            found += [BoundAddress("tls", host, self.tls_port) for host in self._hosts]
        return found

    @property
    def refused(self) -> int:
        """Connections beyond a limit, asked for by others or by us."""
        return self.tcp.refused + (self.tls.refused if self.tls is not None else 0)

    @property
    def dropped(self) -> int:
        """Messages lost because a send queue was full."""
        streams = self.tcp.dropped + (self.tls.dropped if self.tls is not None else 0)
        return sum(sock.dropped for sock in self._udp.values()) + streams + self.unresolved

    @property
    def connections(self) -> int:
        """Number of TCP and TLS connections."""
        return self.tcp.connections + (self.tls.connections if self.tls is not None else 0)

    def close(self) -> None:
        """Close the sockets that listen."""
        for sock in self._udp.values():
            sock.close()
        self._udp.clear()
        self.tcp.close()
        if self.tls is not None:
            self.tls.close()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for sock in self._udp.values():
                    nursery.start_soon(sock.run, self._handler)
                    nursery.start_soon(sock.run_backlog, self._handler)
                nursery.start_soon(self.tcp.run)
                if self.tls is not None:
                    nursery.start_soon(self.tls.run)
                task_status.started()
        finally:
            self._nursery = None
            self.close()

    def send(self, outgoing: Outgoing) -> None:
        """Send a message; a request that fails is reported to the handler, now or later."""
        hop: Hop | None = outgoing.hop
        if not is_ip_address(outgoing.hop.host):
            hop = self.resolver.cached(outgoing.hop)
        if hop is not None:
            self._send(outgoing, hop)
        elif self._nursery is None or self._resolving >= MAX_RESOLVING:
            self.unresolved += 1
            if outgoing.sender is not None and outgoing.hop.is_reliable:  # nothing would repeat it
                self._handler.undelivered(outgoing.sender)
        else:
            self._resolving += 1
            self._nursery.start_soon(self._resolve_and_send, outgoing)

    def _send(self, outgoing: Outgoing, hop: Hop) -> None:
        data, asked, sender = outgoing
        if hop.transport == "udp" and (sock := self._udp.get(hop.family)) is not None:
            sock.send(outgoing if hop is asked else Outgoing(data, hop, sender), self._handler)
            return
        streams = self.tcp if hop.transport == "tcp" else self.tls
        if hop.is_reliable and streams is not None:
            streams.send(data, hop, sender)
        elif sender is not None:
            self._handler.undelivered(sender)

    async def _resolve_and_send(self, outgoing: Outgoing) -> None:
        try:
            self._send(outgoing, await self.resolver.resolve(outgoing.hop))
        except ResolveError:
            if outgoing.sender is not None:
                self._handler.undelivered(outgoing.sender)
        finally:
            self._resolving -= 1
        self._handler.flush()
