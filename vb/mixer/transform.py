"""What is done to each packet of a leg between the socket and the plane, such as SRTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from vb.mixer.batch import Batch
from vb.mixer.columns import MAX_PACKET_BYTES

if TYPE_CHECKING:
    from vb.mixer.core import PlaneCore

MAX_TRAILER_BYTES: Final = 144
"""Most bytes by which `protect` may lengthen a packet: SRTP's tag and key identifier (RFC 3711 §3.1)."""
REFUSED: Final = -1
"""What a transform returns for a packet that goes no further."""


class PacketTransform(Protocol):
    """Changes RTP and RTCP packets in place.

    All four are called inside the tick, or by the leg's task, and must not wait. `packet` is lent for the
    call and longer than the packet in it. Each returns the packet's new length, or a negative number when it
    is to be dropped, which is counted.
    """

    def protect(self, packet: memoryview, length: int) -> int:
        """Prepare an outgoing RTP packet; its first 12 bytes stay as they are."""
        ...

    def unprotect(self, packet: memoryview, length: int) -> int:
        """Restore an incoming RTP packet."""
        ...

    def protect_rtcp(self, packet: memoryview, length: int) -> int:
        """Prepare an outgoing RTCP packet."""
        ...

    def unprotect_rtcp(self, packet: memoryview, length: int) -> int:
        """Restore an incoming RTCP packet."""
        ...


class Shut:
    """Lets nothing through either way: a leg whose keys are still to come."""

    def protect(self, packet: memoryview, length: int) -> int:
        """Refuse."""
        return REFUSED

    def unprotect(self, packet: memoryview, length: int) -> int:
        """Refuse."""
        return REFUSED

    protect_rtcp = protect
    unprotect_rtcp = unprotect


class Transforms:
    """The transforms of all legs that have one.

    Args:
        core: the plane.
    """

    def __init__(self, core: PlaneCore) -> None:
        self._core = core
        self._by_slot: dict[int, PacketTransform] = {}
        self._has_one = np.zeros(core.columns.capacity, np.bool_)
        self._rows: list[memoryview] = []

    def __bool__(self) -> bool:
        return bool(self._by_slot)

    def set(self, slot: int, transform: PacketTransform | None) -> None:
        """Give a leg another transform, or none; the next packet is subject to it."""
        self._has_one[slot] = transform is not None
        if transform is None:
            self._by_slot.pop(slot, None)
        else:
            self._by_slot[slot] = transform

    def get(self, slot: int) -> PacketTransform | None:
        """Return a leg's transform."""
        return self._by_slot.get(slot)

    def receive(self, batch: Batch, count: int) -> None:
        """Restore the RTP and RTCP packets of a batch; STUN and DTLS are left as they came (RFC 7983)."""
        first, second = batch.matrix[:count, 0], batch.matrix[:count, 1]
        rows = np.flatnonzero(
            self._has_one[batch.slots[:count]] & (first >> 6 == 2) & (batch.lengths[:count] > 1)
        )
        is_rtcp = (second[rows] >= 192) & (second[rows] <= 223)
        for row, slot, rtcp in zip(rows.tolist(), batch.slots[rows].tolist(), is_rtcp.tolist(), strict=True):
            transform, length = self._by_slot[slot], int(batch.lengths[row])
            try:
                work = transform.unprotect_rtcp if rtcp else transform.unprotect
                length = work(batch.views[row], length)
            except Exception as error:  # the named boundary: one leg's transform must not stop the tick
                self._fail(slot, error)
                length = REFUSED
            if length < 0:
                self._core.statistics.dropped["transform_in"] += 1
            # No packet has no bytes: the plane drops the row.
            batch.lengths[row] = max(0, length)

    def send(
        self, slots: Sequence[int], packets: Sequence[memoryview], size: int
    ) -> tuple[list[int], list[memoryview]]:
        """Prepare outgoing packets of `size` bytes, each in the buffer of its leg.

        Returns:
            The legs whose packets go out, and the packets.
        """
        kept: list[int] = []
        prepared: list[memoryview] = []
        for slot, packet in zip(slots, packets, strict=True):
            transform = self._by_slot.get(slot)
            if transform is None:
                kept.append(slot)
                prepared.append(packet)
                continue
            row = self._row(slot)
            try:
                length = transform.protect(row, size)
            except Exception as error:  # the named boundary: one leg's transform must not stop the tick
                self._fail(slot, error)
                length = REFUSED
            if length < 0:
                self._core.statistics.dropped["transform_out"] += 1
                continue
            kept.append(slot)
            prepared.append(row[:length])
        return kept, prepared

    def open_rtcp(self, slot: int, data: bytes) -> bytes | None:
        """Restore RTCP that came to a port of its own; None when it was refused."""
        transform = self._by_slot.get(slot)
        return (
            data if transform is None else self._apply(slot, data, transform.unprotect_rtcp, "transform_in")
        )

    def seal_rtcp(self, slot: int, data: bytes) -> bytes | None:
        """Prepare RTCP that the leg's task sends; None when it was refused."""
        transform = self._by_slot.get(slot)
        return data if transform is None else self._apply(slot, data, transform.protect_rtcp, "transform_out")

    def seal(self, slot: int, data: bytes) -> bytes | None:
        """Prepare RTP that the leg's task sends; None when it was refused."""
        transform = self._by_slot.get(slot)
        return data if transform is None else self._apply(slot, data, transform.protect, "transform_out")

    def _apply(self, slot: int, data: bytes, work: _Work, counter: str) -> bytes | None:
        room = bytearray(len(data) + MAX_TRAILER_BYTES)
        room[: len(data)] = data
        try:
            length = work(memoryview(room), len(data))
        except Exception as error:  # the named boundary: one leg's transform must not stop the others
            self._fail(slot, error)
            length = REFUSED
        if length < 0:
            self._core.statistics.dropped[counter] += 1
            return None
        return bytes(room[:length])

    def _row(self, slot: int) -> memoryview:
        if not self._rows:
            whole = self._core.columns.packets.reshape(-1).data
            starts = range(0, len(whole), MAX_PACKET_BYTES)
            self._rows = [whole[at : at + MAX_PACKET_BYTES] for at in starts]
        return self._rows[slot]

    def _fail(self, slot: int, error: Exception) -> None:
        port = self._core.ports[slot]
        if port is not None:
            self._core.fault(port, error)


class _Work(Protocol):
    def __call__(self, packet: memoryview, length: int) -> int: ...
