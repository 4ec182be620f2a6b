"""A leg's pair of UDP sockets: bound to an even port and the odd one above it."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from vb.rtp.latching import Address
from vb.rtp.ports import PortPool, PortsExhausted

SO_TIMESTAMPNS: Final = 35
"""Linux: have the kernel stamp each packet when it arrives."""
_RECEIVE_BUFFER_BYTES: Final = 128 * 1024
_EXPEDITED_FORWARDING: Final = 0xB8
"""The byte of IP with the code point for voice, 46, in its upper six bits (RFC 3246, RFC 4594 §4.1)."""
_MAX_OS_ATTEMPTS: Final = 64
_BUSY: Final = frozenset({errno.EADDRINUSE, errno.EACCES})


class RtpEndpoint:
    """The sockets of one leg.

    Args:
        rtp: bound to the even port, non-blocking.
        rtcp: bound to the odd port above it, non-blocking.
        pool: where the pair goes back.
    """

    def __init__(self, rtp: socket.socket, rtcp: socket.socket, pool: PortPool) -> None:
        self.rtp = rtp
        self.rtcp = rtcp
        self.send_errors: Counter[str] = Counter()
        self._pool = pool
        self._port = int(rtp.getsockname()[1])
        self._closed = False

    @property
    def rtp_port(self) -> int:
        """Local port of RTP."""
        return self._port

    @property
    def rtcp_port(self) -> int:
        """Local port of RTCP."""
        return self._port + 1

    def send_rtcp(self, data: bytes, address: Address) -> None:
        """Send from the RTCP socket; what the network refuses is counted."""
        self._send(self.rtcp, data, address)

    def send_rtp(self, data: bytes, address: Address) -> None:
        """Send from the RTP socket something that is not the plane's: keep-alives and multiplexed RTCP."""
        self._send(self.rtp, data, address)

    def _send(self, sock: socket.socket, data: bytes, address: Address) -> None:
        if self._closed:
            return
        try:
            sock.sendto(data, address)
        except OSError as error:
            self.send_errors[errno.errorcode.get(error.errno or 0, "unknown")] += 1

    def close(self) -> None:
        """Close both sockets and give the ports back. Closing again is fine."""
        if self._closed:
            return
        self._closed = True
        self.rtp.close()
        self.rtcp.close()
        self._pool.release(self._port)


def bind_endpoint(pool: PortPool, host: str) -> RtpEndpoint:
    """Bind the next pair of the pool that is free on this machine.

    Args:
        pool: port pairs.
        host: IPv4 or IPv6 address to bind.

    Raises:
        PortsExhausted: no pair is left, or none of those left can be bound.
        OSError: the address itself cannot be used.
    """
    attempts = _MAX_OS_ATTEMPTS if pool.os_chosen else max(1, pool.free)
    for _ in range(attempts):
        port = pool.take()
        try:
            return _bind_pair(pool, host, port or _free_even_port(host))
        except OSError as error:
            pool.release(port)
            if error.errno not in _BUSY:
                raise
    raise PortsExhausted(f"none of {attempts} RTP port pairs could be bound")


@asynccontextmanager
async def open_endpoint(pool: PortPool, host: str) -> AsyncGenerator[RtpEndpoint]:
    """Bind a pair for as long as the context lasts.

    Raises:
        PortsExhausted: no pair is left, or none of those left can be bound.
        OSError: the address itself cannot be used.
    """
    endpoint = bind_endpoint(pool, host)
    try:
        yield endpoint
    finally:
        endpoint.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _free_even_port(host: str) -> int:
    """Return an even port that was free a moment ago.

    It is bound by number afterwards: a port that the system chose is lost when a socket is disconnected.
    """
    with socket.socket(_family(host), socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        port = int(probe.getsockname()[1])
    return port - port % 2


def _bind_pair(pool: PortPool, host: str, port: int) -> RtpEndpoint:
    rtp = _bind(host, port)
    try:
        rtcp = _bind(host, port + 1)
    except OSError:
        rtp.close()
        raise
    return RtpEndpoint(rtp, rtcp, pool)


def _bind(host: str, port: int) -> socket.socket:
    family = _family(host)
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _EXPEDITED_FORWARDING)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _EXPEDITED_FORWARDING)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
