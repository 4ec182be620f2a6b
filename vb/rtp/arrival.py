"""Sequence, loss, jitter and stream position of all legs' incoming packets, as columns of arrays.

Every method takes one packet of each of several legs, so a tick with a thousand packets costs a handful of
vector operations. Positions count samples of the leg's ring: a running total that never wraps.

Spec: RFC 3550 §6.4.1, appendices A.1, A.3 and A.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.rtp.sequence import MAX_DROPOUT, difference16, difference32
from vb.rtp.stats import ReceptionSnapshot

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

MAX_TIMESTAMP_JUMP_S: Final = 1.0
_REMEMBERED = 64
"""Sequence numbers below the highest within which a duplicate is known as one."""
_DOUBLE_CLOCK_PACKETS: Final = 8


@dataclass(slots=True)
class Headers:
    """The fields of one packet of each of several legs, (n,) each.

    Attributes:
        slots: the legs, none twice.
        sequence: 16 bits.
        timestamp: 32 bits.
        ssrc: 32 bits.
        arrival_s: monotonic time at which the kernel had the packet.
        audio: whether the payload is audio.
    """

    slots: Ints
    sequence: NDArray[np.uint16]
    timestamp: NDArray[np.uint32]
    ssrc: NDArray[np.uint32]
    arrival_s: Floats
    audio: Bools

    def at(self, chosen: Bools | Ints) -> Headers:
        """Return the chosen packets only."""
        return Headers(
            self.slots[chosen],
            self.sequence[chosen],
            self.timestamp[chosen],
            self.ssrc[chosen],
            self.arrival_s[chosen],
            self.audio[chosen],
        )


class Arrivals:
    """What is known of each leg's incoming source.

    Args:
        capacity: number of legs.
    """

    def __init__(self, capacity: int) -> None:
        self.active = np.zeros(capacity, np.bool_)
        self.ssrc = np.zeros(capacity, np.uint32)
        self.received = np.zeros(capacity, np.int64)
        self.octets = np.zeros(capacity, np.int64)
        self.duplicates = np.zeros(capacity, np.int64)
        self.strays = np.zeros(capacity, np.int64)
        self.jitter = np.zeros(capacity, np.float64)
        self.clock_hz = np.full(capacity, 8000, np.int64)
        self._num = np.ones(capacity, np.int64)
        self._den = np.ones(capacity, np.int64)
        self._base = np.zeros(capacity, np.int64)
        self._highest = np.zeros(capacity, np.int64)
        self._before = np.zeros(capacity, np.int64)
        self._seen = np.zeros(capacity, np.uint64)
        self._timestamp = np.zeros(capacity, np.uint32)
        self._position = np.zeros(capacity, np.int64)
        self._arrival_s = np.zeros(capacity, np.float64)
        self._audio_timestamp = np.zeros(capacity, np.uint32)
        self._audio_arrival_s = np.zeros(capacity, np.float64)
        self._audio_seen = np.zeros(capacity, np.bool_)
        self._suspects: dict[int, tuple[int, int]] = {}
        self._double: dict[int, tuple[int, int]] = {}

    def configure(self, slot: int, clock_hz: int, ring_hz: int) -> None:
        """Set the RTP clock of a leg's audio and the rate of its ring; the same again changes nothing."""
        common = int(np.gcd(clock_hz, ring_hz))
        num, den = ring_hz // common, clock_hz // common
        if (clock_hz, num, den) == (self.clock_hz[slot], self._num[slot], self._den[slot]):
            return
        self.jitter[slot] *= clock_hz / self.clock_hz[slot]
        self.clock_hz[slot] = clock_hz
        self._num[slot], self._den[slot] = num, den
        self._audio_seen[slot] = False

    def forget(self, slot: int) -> None:
        """Start a leg anew: no source, no counts."""
        self.active[slot] = False
        self.octets[slot] = 0
        self.duplicates[slot] = 0
        self.strays[slot] = 0
        self.received[slot] = 0
        self.jitter[slot] = 0.0
        self._position[slot] = 0
        self._suspects.pop(slot, None)
        self._double.pop(slot, None)

    def receive(
        self, headers: Headers, *, steady_clock: bool
    ) -> tuple[Bools, Bools, Ints, NDArray[np.int16]]:
        """Count packets and place them on their streams.

        Args:
            headers: at most one packet per leg.
            steady_clock: whether arrival times may enter the jitter: not while the wall clock was stepped.

        Returns:
            Per packet: whether to use it (not a duplicate, not a stray), whether its stream starts anew with
            it, its position, and how far its sequence number is from the highest before it.
        """
        slots = headers.slots
        fresh = ~self.active[slots] | (headers.ssrc != self.ssrc[slots])
        if fresh.any():
            self._start(headers.at(fresh))
        step = (headers.sequence - self._highest[slots].astype(np.uint16)).astype(np.int16)
        ticks = (headers.timestamp - self._timestamp[slots]).astype(np.int32).astype(np.int64)
        keep = np.ones(slots.size, np.bool_)
        far = np.abs(step) > MAX_DROPOUT
        clock = self.clock_hz[slots]
        leap = np.abs(ticks) > MAX_TIMESTAMP_JUMP_S * clock
        if leap.any():
            expected = (headers.arrival_s - self._arrival_s[slots]) * clock
            far |= leap & (np.abs(ticks - expected) > MAX_TIMESTAMP_JUMP_S * clock)
        if far.any():
            self._judge_jumps(headers, np.flatnonzero(far), keep, fresh, step, ticks)
        elif self._suspects:
            for slot in slots.tolist():
                self._suspects.pop(slot, None)
        positions = self._position[slots] + ticks * self._num[slots] // self._den[slots]
        self._count(headers, step, keep)
        self._advance(headers, step, positions, keep)
        self._update_jitter(headers, keep, steady_clock)
        return keep, fresh, positions, step

    def _start(self, headers: Headers) -> None:
        """Begin to count new sources (media rule 6); their first packet looks like the next in sequence."""
        slots = headers.slots
        self.active[slots] = True
        self.ssrc[slots] = headers.ssrc
        self.received[slots] = 0
        self.duplicates[slots] = 0
        self.jitter[slots] = 0.0
        self._before[slots] = 0
        self._audio_seen[slots] = False
        self._anchor(slots, headers.sequence, headers.timestamp, headers.arrival_s)

    def _anchor(
        self, slots: Ints, sequence: NDArray[np.uint16], timestamp: NDArray[np.uint32], arrival_s: Floats
    ) -> None:
        self._base[slots] = sequence
        self._highest[slots] = sequence.astype(np.int64) - 1
        self._seen[slots] = 0
        self._timestamp[slots] = timestamp
        self._arrival_s[slots] = arrival_s

    def _judge_jumps(
        self,
        headers: Headers,
        far: Ints,
        keep: Bools,
        fresh: Bools,
        step: NDArray[np.int16],
        ticks: Ints,
    ) -> None:
        """Accept a jump when two packets in a row agree on it; until then they are strays."""
        for i in far.tolist():
            slot = int(headers.slots[i])
            sequence, timestamp = int(headers.sequence[i]), int(headers.timestamp[i])
            suspect = self._suspects.pop(slot, None)
            limit = MAX_TIMESTAMP_JUMP_S * int(self.clock_hz[slot])
            if (
                suspect is None
                or difference16(sequence, suspect[0]) != 1
                or abs(difference32(timestamp, suspect[1])) > limit
            ):
                self._suspects[slot] = (sequence, timestamp)
                self.strays[slot] += 1
                keep[i] = False
                continue
            # The suspect was the first packet of the new numbering: it counts as received after all.
            self._before[slot] += self._highest[slot] - self._base[slot] + 2
            self.received[slot] += 1
            one = np.array([slot])
            self._anchor(one, headers.sequence[i : i + 1], headers.timestamp[i : i + 1], headers.arrival_s[i])
            self._audio_seen[slot] = False
            fresh[i] = True
            step[i] = 1
            ticks[i] = 0

    def _count(self, headers: Headers, step: NDArray[np.int16], keep: Bools) -> None:
        """Count received packets and mark duplicates as not to be kept."""
        slots = headers.slots
        if (step == 1).all() and keep.all():
            self.received[slots] += 1
            self._seen[slots] = self._seen[slots] << np.uint64(1) | np.uint64(1)
            return
        for i in np.flatnonzero(keep).tolist():
            slot, move = int(slots[i]), int(step[i])
            seen = int(self._seen[slot])
            self.received[slot] += 1
            if move > 0:
                self._seen[slot] = (seen << min(move, _REMEMBERED) | 1) & 0xFFFF_FFFF_FFFF_FFFF
                continue
            bit = 1 << min(-move, _REMEMBERED)
            if seen & bit:
                self.duplicates[slot] += 1
                keep[i] = False
            elif -move < _REMEMBERED:
                self._seen[slot] = seen | bit

    def _advance(self, headers: Headers, step: NDArray[np.int16], positions: Ints, keep: Bools) -> None:
        """Make each newest packet the reference of the next."""
        newest = keep & (step > 0)
        slots = headers.slots
        if not newest.all():
            slots, step, positions = slots[newest], step[newest], positions[newest]
            headers = headers.at(newest)
        self._highest[slots] += step
        self._timestamp[slots] = headers.timestamp
        self._position[slots] = positions
        self._arrival_s[slots] = headers.arrival_s

    def _update_jitter(self, headers: Headers, keep: Bools, steady_clock: bool) -> None:
        """Update the interarrival jitter with the audio packets (media rule 10)."""
        if not (headers.audio.all() and keep.all()):
            headers = headers.at(headers.audio & keep)
        slots = headers.slots
        if steady_clock:
            clock = self.clock_hz[slots]
            waited = (headers.arrival_s - self._audio_arrival_s[slots]) * clock
            moved = (headers.timestamp - self._audio_timestamp[slots]).astype(np.int32)
            change = np.abs(waited - moved)
            usable = self._audio_seen[slots] & (change <= clock)
            jitter = self.jitter[slots]
            self.jitter[slots] = jitter + np.where(usable, (change - jitter) / 16, 0.0)
        self._audio_timestamp[slots] = headers.timestamp
        self._audio_arrival_s[slots] = headers.arrival_s
        self._audio_seen[slots] = steady_clock

    def note_double_clock(self, slot: int, length: int, position: int) -> bool:
        """Watch a G.722 stream for timestamps that count 16 kHz samples (media rule 12).

        Args:
            slot: the leg.
            length: ring samples that the packet holds.
            position: where the packet was placed.

        Returns:
            True once, when eight packets in a row moved twice as far as they are long: from then on the
            leg's positions follow its real clock and playout must start anew.
        """
        count, previous = self._double.get(slot, (0, 0))
        if count < 0:
            return False
        count = count + 1 if count and position - previous == 2 * length else 1
        if count <= _DOUBLE_CLOCK_PACKETS:
            self._double[slot] = (count, position)
            return False
        self._double[slot] = (-1, 0)
        self._den[slot] *= 2
        return True

    def snapshot(self, slot: int) -> ReceptionSnapshot | None:
        """Return the counts of a leg's present source, or None before its first packet."""
        if not self.active[slot]:
            return None
        expected = int(self._before[slot] + self._highest[slot] - self._base[slot] + 1)
        return ReceptionSnapshot(
            ssrc=int(self.ssrc[slot]),
            received=int(self.received[slot]),
            expected=expected,
            highest_sequence=int(self._highest[slot]) & 0xFFFF_FFFF,
            jitter=float(self.jitter[slot]),
            clock_rate_hz=int(self.clock_hz[slot]),
        )
