"""The packets of one tick as rows of one matrix, and the sockets' side of the plane.

The plane never touches a socket: it is handed an `Io`, so tests drive it with packets and a clock of their
own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Final, Protocol

import numpy as np

from vb.rtp.latching import Address

ROW_BYTES: Final = 2048
"""A longer datagram is dropped and counted (media rule 3)."""
ROW_PITCH_BYTES: Final = ROW_BYTES + 64
"""From row to row. Rows a power of two apart would all compete for the same few lines of the cache."""
MAX_ROUNDS: Final = 8
"""Packets taken from one socket in one tick; the rest waits for the next one and counts."""

NO_LEVEL: Final = -1


class Batch:
    """Packets received in one tick.

    Attributes:
        matrix: (rows, ROW_PITCH_BYTES) one packet a row, of ROW_BYTES at most.
        lengths: (rows,) bytes of each.
        slots: (rows,) the leg of each.
        levels: (rows,) how far below full scale each says it is, in dB; -1 where it does not say.
        stamps_ns: (rows,) wall time of arrival, 0 when the kernel gave none.
        sources: address of each, host and port first.
        rounds: end row of each round; a leg has at most one packet in a round.
        rtcp: what came to RTCP sockets, as (slot, datagram, source, wall time of arrival).
        wall_offset_s: wall time less monotonic time, sampled with this batch.

    Args:
        rows: most packets of one tick.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.matrix = np.empty((rows, ROW_PITCH_BYTES), np.uint8)
        self.lengths = np.zeros(rows, np.int64)
        self.slots = np.zeros(rows, np.int64)
        self.levels = np.full(rows, NO_LEVEL, np.int8)
        self.stamps_ns = np.zeros(rows, np.int64)
        self.sources: Sequence[tuple[str, int] | tuple[str, int, int, int]] = ()
        self.rounds: list[int] = []
        self.rtcp: list[tuple[int, bytes, Address, int]] = []
        self.wall_offset_s = 0.0

    @cached_property
    def views(self) -> list[memoryview]:
        """Each row as a buffer."""
        return [self.matrix[row].data for row in range(self.rows)]


class Endpoint(Protocol):
    """A leg's pair of sockets."""

    @property
    def rtp_port(self) -> int:
        """Local port of RTP."""
        ...


class Io(Protocol):
    """Moves packets between the plane and the network; nothing in it waits.

    Attributes:
        errors: packets and changes that the network refused, by error number or reason.
    """

    errors: Counter[str]

    def attach(self, slot: int, endpoint: Endpoint) -> None:
        """Take part in this leg's traffic."""
        ...

    def detach(self, slot: int) -> None:
        """Leave this leg's sockets alone from now on."""
        ...

    def aim(self, slot: int, address: Address | None) -> None:
        """Receive from anybody and send to `address`, or nowhere."""
        ...

    def lock(self, slot: int, address: Address) -> None:
        """Receive from and send to `address` only."""
        ...

    def listen(self, slot: int) -> None:
        """Receive from anybody, still sending to the present address."""
        ...

    def drain(self, batch: Batch) -> int:
        """Fill `batch` with what has arrived and return the number of its rows."""
        ...

    def send(self, slots: list[int], packets: list[memoryview]) -> None:
        """Send one packet on each of these legs; what the network refuses is counted, never raised."""
        ...
