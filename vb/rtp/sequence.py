"""Modular arithmetic on RTP sequence numbers and timestamps, and the extended sequence of a stream.

Spec: RFC 3550 appendix A.1.
"""

from enum import Enum, auto
from typing import Final

MAX_DROPOUT: Final = 3000
"""A gap of this many packets is loss; a longer one is a sender that started again."""
MAX_MISORDER: Final = 100
"""A packet this much too late is reordering; an older one is a sender that started again."""


def difference16(newer: int, older: int) -> int:
    """Return `newer - older` of two 16-bit numbers, by the shorter way round: -32768 to 32767."""
    return ((newer - older + 0x8000) & 0xFFFF) - 0x8000


def difference32(newer: int, older: int) -> int:
    """Return `newer - older` of two 32-bit numbers, by the shorter way round."""
    return ((newer - older + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000


class Arrival(Enum):
    """What a sequence number says about its packet."""

    NEXT = auto()
    """Newer than everything before; numbers may be missing in between."""
    LATE = auto()
    """Reordered or duplicated: not newer than the highest so far."""
    RESTART = auto()
    """The second packet in a row of a sender that started again; counting begins at it."""
    SUSPECT = auto()
    """Far off: a stray packet, or the first one of a sender that started again."""


class ExtendedSequence:
    """Follows the 16-bit sequence of one synchronisation source without losing count at its wraps.

    A restart in the numbers, accepted when two packets in a row agree, is no loss: the packets expected
    before it stay counted as they were.

    Args:
        first: sequence number of the first packet.
    """

    def __init__(self, first: int) -> None:
        self._expected_before = 0
        self._suspect: int | None = None
        self._start(first)

    def _start(self, sequence: int) -> None:
        self._base = sequence
        self.highest = sequence
        """Highest number so far, with the count of wraps above its 16 bits."""

    @property
    def expected(self) -> int:
        """How many packets the source has sent, as far as its numbers tell."""
        return self._expected_before + self.highest - self._base + 1

    def update(self, sequence: int) -> Arrival:
        """Take note of the next packet's number."""
        step = difference16(sequence, self.highest)
        if -MAX_MISORDER < step <= MAX_DROPOUT:
            self._suspect = None
            if step <= 0:
                return Arrival.LATE
            self.highest += step
            return Arrival.NEXT
        if sequence != self._suspect:
            self._suspect = (sequence + 1) & 0xFFFF
            return Arrival.SUSPECT
        self._suspect = None
        # The suspect before this packet was the first of the new numbering.
        self._expected_before = self.expected
        self._start((sequence - 1) & 0xFFFF)
        self.highest += 1
        return Arrival.RESTART
