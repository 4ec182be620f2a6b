"""The UDP socket of a listener: drained in batches, never waited for when it is full."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

import trio

from vb.listen_address import parse_listen_address

BATCH: Final = 64
TURN_S: Final = 0.002
"""How long one batch may keep the loop: the media's tick comes every 20 ms."""
_BUFFER_BYTES: Final = 1 << 20
_MAX_DATAGRAM_BYTES: Final = 2048
"""What is longer is cut, and so cannot be decrypted: a datagram of 64 KB would hold thousands of frames."""

Address = tuple[Any, ...]


class QuicSocket:
    """A bound, non-blocking UDP socket.

    What finds it full is dropped: for QUIC that is loss like any other.

    Args:
        addr: `host:port`, `:port` or `[ipv6]:port`.
        setting: named when it cannot be bound.

    Attributes:
        unsent: datagrams that it did not take.
        is_drained: whether the last `take` has left nothing.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, addr: str, setting: str) -> None:
        self.unsent = 0
        self.is_drained = True
        address = parse_listen_address(addr)
        self._socket = socket.socket(address.family, socket.SOCK_DGRAM)
        self._room = bytearray(_MAX_DATAGRAM_BYTES)
        self._view = memoryview(self._room)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            address.bind(self._socket)
        except OSError as exc:
            self._socket.close()
            raise OSError(exc.errno, f"cannot listen on {setting} {addr}: {exc.strerror}") from None

    @property
    def address(self) -> tuple[str, int]:
        """Bound host and port."""
        name = self._socket.getsockname()
        return str(name[0]), int(name[1])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, datagrams: Iterable[tuple[bytes, Address]]) -> None:
        """Send datagrams."""
        for data, address in datagrams:
            try:
                self._socket.sendto(data, address)
            except OSError:
                self.unsent += 1

    async def wait(self) -> None:
        """Wait until something has come."""
        await trio.lowlevel.wait_readable(self._socket)

    def take(self, receive: Callable[[bytes, Address], None]) -> int:
        """Hand on what has come, as much as may be done in one turn of the loop; returns how many."""
        until = trio.current_time() + TURN_S
        self.is_drained = False
        for taken in range(BATCH):
            try:
                size, address = self._socket.recvfrom_into(self._room)
            except OSError:  # nothing left, or the failure of something sent before
                self.is_drained = True
                return taken
            receive(bytes(self._view[:size]), address)
            if trio.current_time() >= until:
                return taken + 1
        return BATCH
