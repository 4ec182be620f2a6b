"""Legs whose decoders rest, as columns: their packets of silence are put away without a look at each.

In a large room most legs are silent, and each of them would cost a call of its decoder's, a bytes object and
a walk through memory that nothing else touches. What a decoder needs to go on is the end of the audio that it
was spared and the last packets of it (see `streams`), so that is kept here until it is to decode again.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.mixer.frames import Slots
from vb.mixer.streams import LEAD_IN, StreamReceiver

MAX_BYTES: Final = 128
"""A longer packet is left to the decoder itself: silence takes a few bytes, or 80 at a fixed rate."""


class Resting:
    """Which legs rest, and what they were sent since.

    Args:
        capacity: number of slots.

    Attributes:
        legs: (capacity,) whether each rests.
    """

    def __init__(self, capacity: int) -> None:
        self.legs = np.zeros(capacity, np.bool_)
        self._end = np.zeros(capacity, np.int64)
        self._count = np.zeros(capacity, np.int64)
        self._types = np.zeros((capacity, LEAD_IN), np.uint8)
        self._sizes = np.zeros((capacity, LEAD_IN), np.int64)
        self._payloads = np.zeros((capacity, LEAD_IN, MAX_BYTES), np.uint8)

    def begin(self, slot: int) -> None:
        """Let a leg rest whose decoder does (`StreamReceiver.rests`), with nothing waiting."""
        self.legs[slot] = True
        self._end[slot] = self._count[slot] = 0

    def forget(self, slot: int) -> None:
        """Let a leg begin anew."""
        self.legs[slot] = False

    def keep(
        self,
        slots: Slots,
        ends: Slots,
        types: NDArray[np.uint8],
        payloads: NDArray[np.uint8],
        sizes: Slots,
    ) -> None:
        """Put away a packet of silence of each of some legs that rest.

        Args:
            slots: the legs, none twice.
            ends: position behind the last sample of each packet.
            types: payload types.
            payloads: (n, bytes) what is in them, `MAX_BYTES` at most.
            sizes: how much of each row is the packet's.
        """
        count = self._count[slots]
        place = count % LEAD_IN
        self._types[slots, place] = types
        self._sizes[slots, place] = sizes
        self._payloads[slots, place, : payloads.shape[1]] = payloads
        self._count[slots] = count + 1
        self._end[slots] = np.maximum(self._end[slots], ends)

    def wake(self, slot: int, stream: StreamReceiver) -> None:
        """Give a leg's decoder what it needs to go on, if the leg rests."""
        if not self.legs[slot]:
            return
        self.legs[slot] = False
        count = int(self._count[slot])
        if not count:
            return
        last = [number % LEAD_IN for number in range(max(0, count - LEAD_IN), count)]
        stream.resume(
            int(self._end[slot]),
            [
                (
                    int(self._types[slot, place]),
                    self._payloads[slot, place, : self._sizes[slot, place]].tobytes(),
                )
                for place in last
            ],
            count,
        )
