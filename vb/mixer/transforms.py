"""The transforms of all legs: packets of one tick are changed where they lie, those of SRTP in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from vb.mixer.batch import Batch
from vb.mixer.columns import MAX_PACKET_BYTES
from vb.mixer.frames import Slots
from vb.mixer.srtp_transform import SrtpTransform
from vb.mixer.transform import MAX_TRAILER_BYTES, REFUSED, PacketTransform
from vb.rtp.masks import every, some, true_places
from vb.webrtc.srtp import Rows, Srtp, protect_rows, unprotect_rows

if TYPE_CHECKING:
    from vb.mixer.core import PlaneCore

_FIRST_RTCP_TYPE: Final = np.uint8(192)
_RTCP_TYPES: Final = 32
_MAX_GROUPS: Final = 256
"""What is known of more than so many groups of legs is forgotten."""


class _Group:
    """Legs that are sent to at once, most often in many ticks in a row.

    Attributes:
        slots: the legs.
        changed: whether any of them has a transform.
        sessions: SRTP of each, None of those without.
        secured: whether all have SRTP.
        places: their outgoing packets, if any has SRTP.
    """

    __slots__ = ("changed", "places", "secured", "sessions", "slots")

    def __init__(
        self, slots: list[int], srtp: dict[int, Srtp], packets: Rows | None, *, changed: bool
    ) -> None:
        self.slots = slots
        self.changed = changed
        self.sessions = [srtp.get(slot) for slot in slots]
        self.secured = None not in self.sessions
        self.places = packets.places(slots) if changed and packets is not None else None


class Transforms:
    """The transforms of all legs that have one.

    Args:
        core: the plane.
    """

    def __init__(self, core: PlaneCore) -> None:
        self._core = core
        self._by_slot: dict[int, PacketTransform] = {}
        self._has_one = np.zeros(core.columns.capacity, np.bool_)
        self._srtp: dict[int, Srtp] = {}
        self._has_srtp = np.zeros(core.columns.capacity, np.bool_)
        self._rows: list[memoryview] = []
        self._incoming: Rows | None = None
        self._outgoing: Rows | None = None
        self._groups: dict[int, _Group] = {}

    def __bool__(self) -> bool:
        return bool(self._by_slot)

    def set(self, slot: int, transform: PacketTransform | None) -> None:
        """Give a leg another transform, or none; the next packet is subject to it."""
        if transform is None and slot not in self._by_slot:
            return
        self._groups.clear()
        self._has_one[slot] = transform is not None
        self._has_srtp[slot] = isinstance(transform, SrtpTransform)
        self._by_slot.pop(slot, None)
        self._srtp.pop(slot, None)
        if transform is not None:
            self._by_slot[slot] = transform
        if isinstance(transform, SrtpTransform):
            self._srtp[slot] = transform.srtp
            if self._outgoing is None:
                self._outgoing = Rows(self._core.columns.packets)

    def get(self, slot: int) -> PacketTransform | None:
        """Return a leg's transform."""
        return self._by_slot.get(slot)

    def receive(self, batch: Batch, count: int) -> None:
        """Restore the RTP and RTCP packets of a batch; STUN and DTLS are left as they came (RFC 7983)."""
        first, second, slots = batch.matrix[:count, 0], batch.matrix[:count, 1], batch.slots[:count]
        packets = (first >> 6 == 2) & (batch.lengths[:count] > 1)
        rtcp = second - _FIRST_RTCP_TYPE < _RTCP_TYPES
        many = true_places(packets & self._has_srtp[slots] & ~rtcp)
        if many.size:
            self._unprotect(batch, many)
            if many.size == count:
                return
        mine = packets & self._has_one[slots]
        mine[many] = False
        rows = true_places(mine)
        for row, slot, is_rtcp in zip(rows.tolist(), slots[rows].tolist(), rtcp[rows].tolist(), strict=True):
            transform, length = self._by_slot[slot], int(batch.lengths[row])
            try:
                work = transform.unprotect_rtcp if is_rtcp else transform.unprotect
                length = work(batch.views[row], length)
            except Exception as error:  # the named boundary: one leg's transform must not stop the tick
                self._core.fault_at(slot, error)
                length = REFUSED
            if length < 0:
                self._core.statistics.dropped["transform_in"] += 1
            # No packet has no bytes: the plane drops the row.
            batch.lengths[row] = max(0, length)

    def _unprotect(self, batch: Batch, rows: Slots) -> None:
        """Restore the SRTP packets of some rows."""
        if self._incoming is None or self._incoming.array is not batch.matrix:
            self._incoming = Rows(batch.matrix)
        srtp, lengths = self._srtp, batch.lengths[rows]
        sessions = list(map(srtp.__getitem__, batch.slots[rows].tolist()))
        unprotect_rows(sessions, self._incoming, rows.tolist(), lengths)
        # No packet has no bytes: the plane drops the row.
        batch.lengths[rows] = lengths
        refused = rows.size - np.count_nonzero(lengths)
        if refused:
            self._core.statistics.dropped["transform_in"] += int(refused)

    def send(self, slots: list[int], size: int | list[int]) -> tuple[list[int], list[memoryview]]:
        """Prepare outgoing packets, each in the buffer of its leg and one of a leg at most.

        Args:
            slots: the legs.
            size: length of all packets, or that of each.

        Returns:
            The legs whose packets go out, and the packets.
        """
        views = self._core.columns.packet_views
        group = self._group(slots)
        if not group.changed:
            return slots, views(slots, size)
        lengths = np.empty(len(slots), np.int64)
        lengths[:] = size
        sessions = group.sessions
        if self._outgoing is not None:
            protect_rows(sessions, self._outgoing, slots, lengths, group.places)
        if group.secured and every(lengths > 0):
            same = every(lengths == lengths[0])
            return slots, views(slots, int(lengths[0]) if same else lengths.tolist())
        kept: list[int] = []
        prepared: list[memoryview] = []
        for slot, session, length in zip(slots, sessions, lengths.tolist(), strict=True):
            sent = max(0, self._protect(slot, length)) if session is None else length
            if sent:
                kept.append(slot)
                prepared.append(self._row(slot)[:sent])
            else:
                self._core.statistics.dropped["transform_out"] += 1
        return kept, prepared

    def _group(self, slots: list[int]) -> _Group:
        """Return what is known of legs that are sent to at once; `set` forgets it."""
        group = self._groups.get(slots[0])
        if group is None or group.slots != slots:
            if len(self._groups) >= _MAX_GROUPS:
                self._groups.clear()
            group = _Group(slots, self._srtp, self._outgoing, changed=some(self._has_one[slots]))
            self._groups[slots[0]] = group
        return group

    def _protect(self, slot: int, length: int) -> int:
        """Prepare the outgoing packet of one leg; returns its new length, or a number below 1."""
        transform = self._by_slot.get(slot)
        if transform is None:
            return length
        try:
            return transform.protect(self._row(slot), length)
        except Exception as error:  # the named boundary: one leg's transform must not stop the tick
            self._core.fault_at(slot, error)
            return REFUSED

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
            self._core.fault_at(slot, error)
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


class _Work(Protocol):
    def __call__(self, packet: memoryview, length: int) -> int: ...
