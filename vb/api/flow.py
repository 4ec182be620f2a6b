"""How one connection takes and brings bytes: written without waiting if possible, and known to stall."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
from contextlib import suppress
from typing import Final

import trio

_INT: Final = struct.Struct("=i")
_LOOK_S: Final = 0.25
"""How often it is asked what the far end has taken while the system has no room."""


class Flow:
    """A TCP connection without layers, above all its outgoing half.

    Args:
        connection: non-blocking.

    Attributes:
        broken: nothing can be written any more.
    """

    def __init__(self, connection: trio.socket.SocketType) -> None:
        self.broken = False
        self._socket = connection
        self._written = 0
        self._refused_at: float | None = None
        self._seen = 0
        self._answered = 0
        self._answered_at: float | None = None

    async def read(self, size: int) -> bytes:
        """Wait for bytes of the far end, nothing once none will come.

        Cancellation: nothing is taken.
        """
        while self._socket.fileno() >= 0:
            try:
                await trio.lowlevel.wait_readable(self._socket)
                return os.read(self._socket.fileno(), size)
            except BlockingIOError:
                continue
            except (trio.ClosedResourceError, OSError):
                break
        return b""

    def write(self, data: memoryview) -> int:
        """Give the system what it takes at once; returns how many bytes that were."""
        try:
            count = os.write(self._socket.fileno(), data)
        except BlockingIOError:
            count = 0
        except OSError:
            self.broken = True
            return 0
        self._written += count
        if count == len(data):
            self._refused_at = None
        elif count or self._refused_at is None:
            self._refused_at, self._seen = trio.current_time(), self.taken
        return count

    def hold_at_most(self, size: int) -> None:
        """Let the system hold less than it would: what waits long is of no use to somebody who listens."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    async def wait(self) -> None:
        """Wait until the system may take something again, or the connection is broken."""
        while True:
            with trio.move_on_after(_LOOK_S):
                try:
                    await trio.lowlevel.wait_writable(self._socket)
                except (trio.ClosedResourceError, OSError):
                    self.broken = True
                return
            self._look()

    @property
    def taken(self) -> int:
        """Bytes that the far end has acknowledged so far."""
        try:
            waiting: int = _INT.unpack(fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        except (OSError, ValueError):  # the socket is closed
            waiting = 0
        return self._written - waiting

    def refused_for(self) -> float:
        """Return for how many seconds the far end has taken nothing although something waits for it.

        The system's buffer has room again only when much of it is gone, so its level is looked at too.
        """
        self._look()
        return 0.0 if self._refused_at is None else trio.current_time() - self._refused_at

    def unanswered_for(self) -> float | None:
        """Return for how many seconds the far end has acknowledged nothing, as far as these calls have seen.

        None when nothing waits for it.

        The kernel has a limit of its own for this (TCP_USER_TIMEOUT). But it counts from when the far end had
        no room, and goes on counting until there is room for all that it would send at once: for a small
        buffer there never is, so whoever has one is given up however steadily it reads.
        """
        taken, now = self.taken, trio.current_time()
        if taken == self._written:
            self._answered_at = None
            return None
        if self._answered_at is None or taken > self._answered:
            self._answered, self._answered_at = taken, now
        return now - self._answered_at

    def _look(self) -> None:
        """Note what the far end has taken since the last look."""
        taken = self.taken
        if taken == self._written:
            self._refused_at = None  # nothing waits for it: it is we who have not written on
        if self._refused_at is not None and taken > self._seen:
            self._refused_at, self._seen = trio.current_time(), taken
