"""One UDP socket: drains in batches, sends without waiting, hears of unreachable peers."""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from functools import lru_cache
from typing import Protocol

import trio

from vb.sip.hop import Hop, Outgoing, TransactionKey

BATCH = 64
"""Datagrams that are read or written in a row, before others have a turn."""
TURN_S = 0.002
"""How long one batch may keep the loop: the media's tick comes every 20 ms."""
BACKLOG = 1024
"""Datagrams that wait for room in the socket; SIP repeats what is dropped."""
_RECEIVE_BUFFER_BYTES = 1 << 20
_IP_RECVERR, _IPV6_RECVERR = 11, 25  # linux/in.h, linux/in6.h
_QUOTED_BYTES = 1024
"""Reports quote 520 bytes of a datagram at most over IPv4, and some 1200 over IPv6."""
_TRIES = 8
_UNREACHABLE = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN}


class DatagramHandler(Protocol):
    """Where a socket delivers."""

    def received(self, data: bytes, source: Hop) -> None:
        """Take one message."""
        ...

    def failed(self, transport: str, host: str, port: int, quoted: bytes) -> None:
        """Take note of a report that a peer cannot be reached, and of what it quotes of our datagram."""
        ...

    def undelivered(self, sender: TransactionKey) -> None:
        """Take note that a request cannot be sent."""
        ...

    def flush(self) -> None:
        """Act on what was delivered."""
        ...


class UdpSocket:
    """A bound, non-blocking UDP socket.

    Attributes:
        dropped: datagrams that found the backlog full.
    """

    def __init__(self, host: str, port: int) -> None:
        """Bind.

        Raises:
            OSError: if the address cannot be bound.
        """
        is_v6 = ":" in host
        self.dropped = 0
        self._backlog: deque[Outgoing] = deque()
        self._backlogged = trio.Event()
        self._socket = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            if is_v6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            level = socket.IPPROTO_IPV6 if is_v6 else socket.IPPROTO_IP
            # Without this an unconnected socket never hears of a refused port.
            self._socket.setsockopt(level, _IPV6_RECVERR if is_v6 else _IP_RECVERR, 1)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise

    @property
    def address(self) -> tuple[str, int]:
        """Bound host and port."""
        name = self._socket.getsockname()
        return str(name[0]), int(name[1])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, outgoing: Outgoing, handler: DatagramHandler) -> None:
        """Send a datagram, or queue it while the socket is full; a full queue drops it."""
        if self._backlog:
            self._queue(outgoing)
            return
        data, hop, sender = outgoing
        # A try may report an older failure instead. Those wait for `run`: to read one brings up the next.
        for _ in range(_TRIES):
            try:
                self._socket.sendto(data, (hop.host, hop.port))
            except BlockingIOError:
                self._queue(outgoing)
                return
            except OSError as error:
                if error.errno not in _UNREACHABLE:
                    break
            else:
                return
        if sender is not None:
            handler.undelivered(sender)

    def _queue(self, outgoing: Outgoing) -> None:
        if len(self._backlog) >= BACKLOG:
            self.dropped += 1
            return
        self._backlog.append(outgoing)
        self._backlogged.set()

    async def run_backlog(self, handler: DatagramHandler) -> None:
        """Send what had to wait, a batch at a time, whenever the socket has room."""
        while True:
            await self._backlogged.wait()
            await trio.lowlevel.wait_writable(self._socket)
            waiting = [self._backlog.popleft() for _ in range(min(BATCH, len(self._backlog)))]
            rest, self._backlog = self._backlog, deque()
            for outgoing in waiting:
                self.send(outgoing, handler)
            self._backlog.extend(rest)
            if not self._backlog:
                self._backlogged = trio.Event()
            handler.flush()

    async def run(self, handler: DatagramHandler) -> None:
        """Deliver what arrives, in batches with a checkpoint between them."""
        sock = self._socket
        clock = trio.lowlevel.current_clock().current_time  # to ask Trio every time costs twice as much
        while True:
            await trio.lowlevel.wait_readable(sock)
            count = 0
            until = clock() + TURN_S
            for _ in range(BATCH):
                try:
                    data, address = sock.recvfrom(65536)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # the failure of an earlier send; the queue below tells which
                count += 1
                handler.received(data, _source(address[0], address[1]))
                if clock() >= until:
                    break
            if count == 0:
                self._take_errors(handler)
            handler.flush()

    def _take_errors(self, handler: DatagramHandler) -> None:
        """Empty the socket's error queue: each entry names the peer it is about."""
        for _ in range(BATCH):
            try:
                quoted, ancillary, _, address = self._socket.recvmsg(_QUOTED_BYTES, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            for _, _, payload in ancillary:
                if len(payload) >= 4 and struct.unpack_from("=I", payload)[0] in _UNREACHABLE and address:
                    handler.failed("udp", str(address[0]).partition("%")[0], int(address[1]), quoted)


@lru_cache(maxsize=1024)
def _source(host: str, port: int) -> Hop:
    """Return where a datagram came from; nearly all of them come from a few peers."""
    return Hop("udp", host.partition("%")[0], port)
