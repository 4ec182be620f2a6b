"""Interarrival jitter after each packet of a captured stream.  Spec: RFC 3550 appendix A.8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

CLOCK_HZ = 8000
_GAIN = 16


@dataclass(frozen=True, slots=True)
class RtpArrival:
    """When a packet was captured, in seconds, and its RTP timestamp.

    The time is a decimal number: as a float, nanoseconds of the present time are lost.
    """

    at_s: Decimal
    timestamp: int


def running_jitter_ms(arrivals: Sequence[RtpArrival]) -> list[float]:
    """The jitter after each packet but the first, before which there was none, in milliseconds."""
    found: list[float] = []
    jitter_ms = 0.0
    for before, after in pairwise(arrivals):
        waited_ms = float((after.at_s - before.at_s) * 1000)
        moved = (after.timestamp - before.timestamp + 0x8000_0000) % 0x1_0000_0000 - 0x8000_0000
        change_ms = abs(waited_ms - 1000 * moved / CLOCK_HZ)
        jitter_ms += (change_ms - jitter_ms) / _GAIN
        found.append(jitter_ms)
    return found
