"""The plane's way to the network: all media sockets behind one epoll, each packet one call.

Python touches a packet in exactly one receive and one send call; everything else is columns.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable
from operator import call
from typing import Any, Final

import numpy as np
import trio

from vb.mixer.batch import MAX_ROUNDS, ROW_BYTES, Batch, Endpoint
from vb.mixer.links import Links, PacketLink
from vb.mixer.tasks.receiver import Receiver
from vb.rtp.latching import Address
from vb.rtp.tasks.endpoint import RtpEndpoint

_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(16)
_NO_STAMP: Final = bytes(16)
_TIMESPEC: Final = struct.Struct("=qq")
_MAX_RTCP: Final = 256
"""RTCP datagrams taken in one tick."""
_SOCKADDR_BYTES: Final = 16
_NS_PER_S: Final = 1_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)
_Send = Callable[[memoryview, Any], object]
"""Sends a packet: what it is given besides is the address, or flags where that is known."""
_NO_FLAGS: Final = 0


def disconnect(sock: socket.socket) -> None:
    """Let a UDP socket receive from anybody again; it keeps its port.

    Raises:
        OSError: the system refused.
    """
    unspecified = ctypes.create_string_buffer(_SOCKADDR_BYTES)
    if (
        _libc.connect(sock.fileno(), unspecified, _SOCKADDR_BYTES)
        and ctypes.get_errno() != errno.EAFNOSUPPORT
    ):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class SocketIo:
    """Receives from and sends to the sockets of all legs.

    Args:
        clock: monotonic time, the plane's.
    """

    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        self.errors: Counter[str] = Counter()
        self._clock = clock
        self._epoll = select.epoll()
        self._rtcp_epoll = select.epoll()
        self._receiver: Receiver | None = None
        self._slots = np.zeros(1024, np.int64)
        self._rtcp: dict[int, tuple[int, socket.socket]] = {}
        self._endpoints: dict[int, RtpEndpoint] = {}
        self._watched: dict[int, tuple[int, int]] = {}
        self._targets: dict[int, Address | None] = {}
        self._senders: dict[int, _Send] = {}
        self._seconds: dict[int, Address | int] = {}
        self._locked: set[int] = set()
        self._batch: Batch | None = None
        self._links = Links()

    def close(self) -> None:
        """Stop watching sockets; they stay open."""
        self._epoll.close()
        self._rtcp_epoll.close()

    def attach(self, slot: int, endpoint: Endpoint) -> None:
        """Watch a leg's sockets, or take its packets from whoever stands for them."""
        if isinstance(endpoint, PacketLink):
            self._links.attach(slot, endpoint)
            self._sends(slot, lambda packet, _: endpoint.send(packet))
            return
        if not isinstance(endpoint, RtpEndpoint):
            raise TypeError(f"{endpoint!r} has no sockets")
        self._endpoints[slot] = endpoint
        fd, rtcp_fd = endpoint.rtp.fileno(), endpoint.rtcp.fileno()
        if fd >= self._slots.size:
            self._slots = np.resize(self._slots, 2 * fd)
        self._slots[fd] = slot
        self._watched[slot] = (fd, rtcp_fd)
        self._rtcp[rtcp_fd] = (slot, endpoint.rtcp)
        self._sends(slot, self._send_nowhere)
        self._epoll.register(fd, select.EPOLLIN)
        self._rtcp_epoll.register(rtcp_fd, select.EPOLLIN)

    def detach(self, slot: int) -> None:
        """Leave a leg's sockets alone, best before they are closed."""
        if slot in self._links:
            self._links.detach(slot)
            del self._senders[slot], self._seconds[slot]
            return
        endpoint = self._endpoints.pop(slot, None)
        if endpoint is None:
            return
        self._targets.pop(slot, None)
        self._senders.pop(slot, None)
        self._seconds.pop(slot, None)
        self._locked.discard(slot)
        fd, rtcp_fd = self._watched.pop(slot)
        # A closed socket left the epolls by itself, and its number may be another leg's by now.
        if endpoint.rtp.fileno() == fd:
            self._epoll.unregister(fd)
            self._rtcp_epoll.unregister(rtcp_fd)
        if self._rtcp.get(rtcp_fd) == (slot, endpoint.rtcp):
            del self._rtcp[rtcp_fd]

    def aim(self, slot: int, address: Address | None) -> None:
        """Receive from anybody and send to `address`, or nowhere."""
        self._targets[slot] = address
        self.listen(slot)

    def listen(self, slot: int) -> None:
        """Receive from anybody, still sending to the present address."""
        if slot in self._links:
            return  # there is one far end, and it is known
        sock = self._endpoints[slot].rtp
        address = self._targets.get(slot)
        if slot in self._locked:
            self._locked.discard(slot)
            try:
                disconnect(sock)
            except OSError as error:
                self._count(error)
        if address is None:
            self._sends(slot, self._send_nowhere)
        else:
            self._sends(slot, sock.sendto, address)

    def lock(self, slot: int, address: Address) -> None:
        """Receive from and send to `address` only; the kernel drops what others send."""
        if slot in self._links:
            return
        sock = self._endpoints[slot].rtp
        self._targets[slot] = address
        self._locked.add(slot)  # also if it fails, which may leave the earlier connection
        try:
            sock.connect(address)
        except OSError as error:
            self._count(error)
            self.listen(slot)
            return
        self._sends(slot, sock.send)

    def _sends(self, slot: int, send: _Send, second: Address | int = _NO_FLAGS) -> None:
        """Say how a leg's packets leave: a call of the socket's own, as one of ours costs as much again."""
        self._senders[slot], self._seconds[slot] = send, second

    def _send_nowhere(self, packet: memoryview, _: object) -> None:
        self.errors["no_address"] += 1

    def _count(self, error: OSError) -> None:
        self.errors[errno.errorcode.get(error.errno or 0, "unknown")] += 1

    def send(self, slots: list[int], packets: list[memoryview]) -> None:
        """Send one packet on each of these legs; what the network refuses is counted, never raised."""
        # The loop is one of the interpreter's own iterators, which goes on behind a call that failed.
        senders, seconds = self._senders.__getitem__, self._seconds.__getitem__
        calls = map(call, map(senders, slots), packets, map(seconds, slots))
        while True:
            try:
                deque(calls, maxlen=0)
            except OSError as error:
                self._count(error)
            else:
                return

    def drain(self, batch: Batch) -> int:
        """Take at most one packet of each socket per round, at most eight rounds.

        A further round looks at those sockets only that had a packet in the one before: what comes to others
        meanwhile came after the tick, and a round costs much more than its packets.

        Returns:
            The number of rows filled.
        """
        if self._receiver is None or batch is not self._batch:
            self._batch, self._receiver = batch, Receiver(batch)
        poll, receiver = self._epoll.poll, self._receiver
        ready = [handle for handle, _ in poll(0, batch.rows)]
        handles: list[int] = []
        sizes: list[int] = []
        batch.rounds.clear()
        row, most = 0, batch.rows
        for _ in range(MAX_ROUNDS):
            if not ready:
                break
            waiting = ready[: most - row]
            while waiting:
                taken = receiver.receive(waiting, row)
                if len(taken) < len(waiting):
                    self.errors[errno.errorcode.get(receiver.errno, "unknown")] += 1
                sizes += taken
                handles += waiting[: len(taken)]
                row += len(taken)
                waiting = waiting[len(taken) + 1 :]
            batch.rounds.append(row)
            had_one = set(ready)
            ready = [handle for handle, _ in poll(0, batch.rows) if handle in had_one]
        else:
            self.errors["deferred"] += len(ready)
        batch.wall_offset_s = time.time() - self._clock()
        self._drain_rtcp(batch)
        if row:
            batch.lengths[:row] = sizes
            batch.slots[:row] = self._slots[handles]
            for cut in receiver.tabulate(row).tolist():
                # A length that is no packet: the plane drops the row.
                batch.lengths[cut] = 0
                self.errors["too_long"] += 1
        return self._links.fill(batch, row)

    def _drain_rtcp(self, batch: Batch) -> None:
        """Take one datagram of each RTCP socket that has some."""
        batch.rtcp.clear()
        for fd, _event in self._rtcp_epoll.poll(0, _MAX_RTCP):
            slot, sock = self._rtcp[fd]
            try:
                data, ancillary, flags, source = sock.recvmsg(ROW_BYTES, _ANCILLARY_BYTES)
            except OSError as error:
                self._count(error)
                continue
            if flags & socket.MSG_TRUNC:
                self.errors["too_long"] += 1
                continue
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2] if ancillary else _NO_STAMP)
            stamp_ns = seconds * _NS_PER_S + nanoseconds
            batch.rtcp.append((slot, data, (source[0], source[1]), stamp_ns))
