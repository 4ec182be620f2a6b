"""What the plane knows of each leg, as columns indexed by slot."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final

import numpy as np

from vb.errors import Unavailable

NO_TYPE: Final = 0
ULAW: Final = 1
ALAW: Final = 2
STREAM: Final = 3
"""Audio of a codec with state, or of a rate other than the leg's."""
EVENT: Final = 4
NOISE: Final = 5
COMFORT_NOISE_TYPE: Final = 13
"""Static payload type of comfort noise, accepted even when not negotiated (media rule 7)."""

GAP_CONCEAL: Final = 0
GAP_NOISE: Final = 1
GAP_SILENCE: Final = 2

MAX_PACKET_BYTES: Final = 1344
"""An odd number of cache lines, so that the packets of many legs do not compete for a few of them."""
HEADER_BYTES: Final = 12
USUAL_PACKET_BYTES: Final = HEADER_BYTES + 160
"""20 ms of G.711 or G.722."""

_MAX_TAG_BYTES: Final = 16
"""By which SRTP lengthens it."""

HANDLE_BITS: Final = 32
"""So many low bits of a port's handle are its slot."""
FREE: Final = -1


class PlaneFull(Unavailable):
    """The plane serves as many legs as it was made for."""


class LegColumns:
    """Flags, payload types and outgoing headers of all legs.

    Most of it is address space: a slot costs memory once it is used.

    Attributes:
        reach: no slot from here on was ever taken.
        handle: of the port in each slot, `FREE` where there is none.
        opus_hz: rate of what it decodes, where all its codecs with state are Opus, else 0.
        level_id: number of the header extension with the audio level, 0 for none.
        lossy: whether the far end has lately reported that it misses packets.
        owner: number of the room whose member each is, 0 for none.
        room_hz: rate of the last room that it was in, 0 before the first one.

    Args:
        capacity: number of slots.

    Attributes:
        reach: no slot from here on was ever taken.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.reach = 0
        self._free = list(range(capacity))
        self._claims = 0
        self.handle = np.full(capacity, FREE, np.int64)
        # Receiving.
        self.listening = np.zeros(capacity, np.bool_)
        self.trusted = np.zeros(capacity, np.bool_)
        self.kinds = np.zeros((capacity, 128), np.uint8)
        self.opus_hz = np.zeros(capacity, np.int64)
        self.level_id = np.zeros(capacity, np.uint8)
        self.gap = np.zeros(capacity, np.uint8)
        self.heard_at = np.zeros(capacity, np.float64)
        self.concealed = np.zeros(capacity, np.int64)
        self.damaged = np.zeros(capacity, np.int64)
        # Mixing.
        self.rate_hz = np.zeros(capacity, np.int64)
        self.mix_hz = np.zeros(capacity, np.int64)
        self.silent = np.zeros(capacity, np.bool_)
        self.shut = np.zeros(capacity, np.bool_)
        self.filled = np.zeros(capacity, np.bool_)
        self.zero = np.zeros(capacity, np.bool_)
        self.hears = np.zeros(capacity, np.bool_)
        self.quiet = np.zeros(capacity, np.int64)
        self.hush = np.zeros(capacity, np.int64)
        self.lossy = np.zeros(capacity, np.bool_)
        self.leader = np.arange(capacity)
        self.owner = np.zeros(capacity, np.int64)
        self.room_hz = np.zeros(capacity, np.int64)
        # Sending.
        self.packets = np.zeros((capacity, MAX_PACKET_BYTES), np.uint8)
        self._views: dict[int, list[memoryview]] = {}
        self.payload_type = np.zeros(capacity, np.uint8)
        self.marker = np.zeros(capacity, np.bool_)
        self.sending = np.zeros(capacity, np.bool_)
        self.sequence = np.zeros(capacity, np.uint16)
        self.timestamp = np.zeros(capacity, np.uint32)
        self.step = np.zeros(capacity, np.uint32)
        self.sent_packets = np.zeros(capacity, np.int64)
        self.sent_octets = np.zeros(capacity, np.int64)

    def claim(self) -> int:
        """Take the lowest free slot.

        Raises:
            PlaneFull: there is none.
        """
        if not self._free:
            raise PlaneFull(f"all {self.capacity} media slots are in use")
        slot = heapq.heappop(self._free)
        self.reach = max(self.reach, slot + 1)
        self._claims += 1
        self.handle[slot] = self._claims << HANDLE_BITS | slot
        for column in (self.gap, self.concealed, self.damaged, self.marker, self.step):
            column[slot] = 0
        self.quiet[slot] = 0
        self.hush[slot] = 0
        self.lossy[slot] = False
        for flags in (self.silent, self.shut, self.filled, self.listening, self.trusted, self.sending):
            flags[slot] = False
        self.rate_hz[slot] = 0
        self.mix_hz[slot] = 0
        self.room_hz[slot] = 0
        self.kinds[slot] = NO_TYPE
        self.opus_hz[slot] = 0
        self.level_id[slot] = 0
        self.heard_at[slot] = 0.0
        self.sent_packets[slot] = 0
        self.sent_octets[slot] = 0
        return slot

    def release(self, slot: int) -> None:
        """Give a slot back."""
        self.handle[slot] = FREE
        self.listening[slot] = self.trusted[slot] = False
        self.kinds[slot] = NO_TYPE
        self.step[slot] = 0
        heapq.heappush(self._free, slot)

    def packet_views(self, slots: Sequence[int], size: int | Sequence[int]) -> list[memoryview]:
        """Return the first so many bytes of the outgoing packet of each of some legs.

        Those of the usual sizes are made once for each slot.

        Args:
            slots: the legs.
            size: of all packets, or of each.
        """
        whole = self.packets.reshape(-1).data
        starts = [slot * MAX_PACKET_BYTES for slot in slots]
        if not isinstance(size, int):
            return [whole[at : at + length] for at, length in zip(starts, size, strict=True)]
        if not 0 <= size - USUAL_PACKET_BYTES <= _MAX_TAG_BYTES:
            return [whole[at : at + size] for at in starts]
        views = self._views.setdefault(size, [])
        for slot in range(len(views), self.reach):
            at = slot * MAX_PACKET_BYTES
            views.append(whole[at : at + size])
        return [views[slot] for slot in slots]

    @property
    def used(self) -> int:
        """How many slots are taken."""
        return self.capacity - len(self._free)
