"""Sequence, loss, jitter and stream position of all legs' incoming packets, as columns of arrays.

Every method takes one packet of each of several legs, so a tick with a thousand packets costs a handful of
vector operations. Positions count samples of the leg's ring: a running total that never wraps. Only audio
is measured by its timestamps: packets of events, noise and unknown types count in the sequence alone.

Spec: RFC 3550 §6.4.1, appendices A.1, A.3 and A.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.rtp.former import FormerSources
from vb.rtp.masks import every, some, true_places
from vb.rtp.placing import StreamPlaces
from vb.rtp.sequence import MAX_DROPOUT, difference16, difference32
from vb.rtp.stats import ReceptionSnapshot

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

MAX_TIMESTAMP_JUMP_S: Final = 1.0
_REMEMBERED = 64
"""Sequence numbers below the highest within which a duplicate is known as one."""
_ERRATIC_PACKETS: Final = 8
"""Jumps in timestamps of packets in sequence after which those timestamps are of no use."""
_REPEATED_PACKETS: Final = 8
_REPEATED_S: Final = 0.12
"""Packets in sequence, and the time they take, that are no duplicates though their numbers were seen."""


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A packet far off the numbering of its leg, the last of `count` in sequence."""

    sequence: int
    timestamp: int
    count: int


@dataclass(slots=True)
class Headers:
    """The fields of one packet of each of several legs, (n,) each.

    Attributes:
        slots: the legs, none twice.
        sequence: 16 bits.
        timestamp: 32 bits.
        ssrc: 32 bits.
        arrival_s: monotonic time at which the kernel had the packet.
        audio: whether the payload type is audio.
        lengths: samples of the leg's ring that the payload holds; none when it is no audio, or empty.
    """

    slots: Ints
    sequence: NDArray[np.uint16]
    timestamp: NDArray[np.uint32]
    ssrc: NDArray[np.uint32]
    arrival_s: Floats
    audio: Bools
    lengths: Ints

    def at(self, chosen: Bools | Ints) -> Headers:
        """Return the chosen packets only."""
        return Headers(
            self.slots[chosen],
            self.sequence[chosen],
            self.timestamp[chosen],
            self.ssrc[chosen],
            self.arrival_s[chosen],
            self.audio[chosen],
            self.lengths[chosen],
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
        self._ring_hz = np.full(capacity, 8000, np.int64)
        self._places = StreamPlaces(capacity)
        self._former = FormerSources()
        self._base = np.zeros(capacity, np.int64)
        self._highest = np.zeros(capacity, np.int64)
        self._before = np.zeros(capacity, np.int64)
        self._seen = np.zeros(capacity, np.uint64)
        self._audio_timestamp = np.zeros(capacity, np.uint32)
        self._audio_arrival_s = np.zeros(capacity, np.float64)
        self._audio_position = np.zeros(capacity, np.int64)
        self._audio_seen = np.zeros(capacity, np.bool_)
        self._suspects: dict[int, _Suspect] = {}
        self._repeats: dict[int, tuple[int, int, float]] = {}

    def configure(self, slot: int, clock_hz: int, ring_hz: int) -> None:
        """Set the RTP clock of a leg's audio and the rate of its ring; the same again changes nothing."""
        if (clock_hz, ring_hz) == (self.clock_hz[slot], self._ring_hz[slot]):
            return
        self.jitter[slot] *= clock_hz / self.clock_hz[slot]
        self.clock_hz[slot], self._ring_hz[slot] = clock_hz, ring_hz
        self._places.configure(slot, clock_hz, ring_hz)
        self._audio_seen[slot] = False

    def unlearn(self, slot: int) -> None:
        """Trust a leg's timestamps again: its codec is another one."""
        self._places.unlearn(slot)

    def restart(self, slot: int) -> None:
        """Take the next packet of a leg for the first one of another source, whatever its numbers."""
        self.active[slot] = False
        self._former.forget(slot)

    def forget(self, slot: int) -> None:
        """Start a leg anew: no source, no counts."""
        self._former.forget(slot)
        self.active[slot] = False
        self.octets[slot] = 0
        self.duplicates[slot] = 0
        self.strays[slot] = 0
        self.received[slot] = 0
        self.jitter[slot] = 0.0
        self._places.forget(slot)
        self._suspects.pop(slot, None)
        self._repeats.pop(slot, None)

    def foreign(self, headers: Headers) -> Bools | None:
        """Return which packets are to be left aside because they are not of their leg's source.

        A new source is taken with its first packet of audio, but not digits or noise under an SSRC of their
        own, and not what still comes of a source before. None when there are no such packets.
        """
        slots = headers.slots
        others = headers.ssrc != self.ssrc[slots]
        if not some(others):
            return None
        others &= self.active[slots]
        aside = others & ~headers.audio
        for i in true_places(others & headers.audio).tolist():
            slot = int(slots[i])
            silent_s = float(headers.arrival_s[i] - self._places.arrival_s[slot])
            if self._former.is_over(slot, int(headers.ssrc[i]), int(self.received[slot]), silent_s):
                self.strays[slot] += 1
                aside[i] = True
        return aside if some(aside) else None

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
        if some(fresh):
            self._start(headers.at(fresh))
        step = (headers.sequence - self._highest[slots].astype(np.uint16)).astype(np.int16)
        ticks = self._places.ticks(slots, headers.timestamp)
        keep = ~np.zeros(slots.size, np.bool_)
        # Most often each packet is the very next one of its leg, and then none is far off, lost or known.
        in_row = every(step == 1)
        far = None if in_row else self._far(headers, step, ticks)
        if far is not None and some(far):
            self._judge_jumps(headers, true_places(far), keep, fresh, step)
        elif self._suspects:
            for slot in slots.tolist():
                self._suspects.pop(slot, None)
        positions = self._places.place(slots, step, ticks, headers.lengths, headers.arrival_s, in_row=in_row)
        if in_row:
            self._count_next(slots)
        else:
            self._count(headers, step, keep)
        self._advance(headers, None if in_row else step, positions, keep)
        self._update_jitter(headers, positions, None if in_row else keep, steady_clock)
        return keep, fresh, positions, step

    def _far(self, headers: Headers, step: NDArray[np.int16], ticks: Ints) -> Bools:
        """Return which packets are too far off the numbering of their legs to be believed at once."""
        slots = headers.slots
        far = (step + np.int16(MAX_DROPOUT)).view(np.uint16) > 2 * MAX_DROPOUT
        clock = self.clock_hz[slots]
        leap = np.abs(ticks) > MAX_TIMESTAMP_JUMP_S * clock
        if some(leap):
            expected = (headers.arrival_s - self._places.arrival_s[slots]) * clock
            leap &= self._places.anchored(slots) & (np.abs(ticks - expected) > MAX_TIMESTAMP_JUMP_S * clock)
            # The very next packet is no stray: it goes on where the last one ended.
            far |= leap & (headers.lengths > 0) & (step != 1) & ~self._places.by_sequence[slots]
        return far

    def _start(self, headers: Headers) -> None:
        """Begin to count new sources (media rule 6); their first packet looks like the next in sequence."""
        slots = headers.slots
        for i in true_places(self.active[slots]).tolist():
            slot = int(slots[i])
            self._former.replace(slot, int(self.ssrc[slot]), int(headers.ssrc[i]))
        self.active[slots] = True
        self.ssrc[slots] = headers.ssrc
        self.received[slots] = 0
        self.duplicates[slots] = 0
        self.jitter[slots] = 0.0
        self._before[slots] = 0
        self._audio_seen[slots] = False
        self._anchor(slots, headers.sequence)

    def _anchor(self, slots: Ints, sequence: NDArray[np.uint16]) -> None:
        self._base[slots] = sequence
        self._highest[slots] = sequence.astype(np.int64) - 1
        self._seen[slots] = 0
        for slot in slots.tolist():
            self._places.release(slot)

    def _judge_jumps(
        self, headers: Headers, far: Ints, keep: Bools, fresh: Bools, step: NDArray[np.int16]
    ) -> None:
        """Accept a jump when two packets in a row agree on it; until then they are strays.

        Packets in sequence whose timestamps never agree are accepted as well, after some.
        """
        for i in far.tolist():
            slot = int(headers.slots[i])
            sequence, timestamp = int(headers.sequence[i]), int(headers.timestamp[i])
            suspect = self._suspects.pop(slot, None)
            limit = MAX_TIMESTAMP_JUMP_S * int(self.clock_hz[slot])
            following = suspect is not None and difference16(sequence, suspect.sequence) == 1
            count = suspect.count + 1 if suspect is not None and following else 1
            agreed = suspect is not None and abs(difference32(timestamp, suspect.timestamp)) <= limit
            erratic = count > _ERRATIC_PACKETS
            if not following or not (agreed or erratic):
                self._suspects[slot] = _Suspect(sequence, timestamp, count)
                self.strays[slot] += 1
                keep[i] = False
                continue
            # The suspects were the first packets of the new numbering: they count as received after all.
            self._before[slot] += self._highest[slot] - self._base[slot] + count
            self.received[slot] += count - 1
            self._anchor(headers.slots[i : i + 1], headers.sequence[i : i + 1])
            if erratic and not agreed:
                self._places.distrust(slot)
            self._audio_seen[slot] = False
            fresh[i] = True
            step[i] = 1

    def _count(self, headers: Headers, step: NDArray[np.int16], keep: Bools) -> None:
        """Count received packets and mark duplicates as not to be kept."""
        slots = headers.slots
        if every(step == 1) and every(keep):
            self._count_next(slots)
            return
        for i in true_places(keep).tolist():
            slot, move = int(slots[i]), int(step[i])
            seen = int(self._seen[slot])
            self.received[slot] += 1
            if move > 0:
                self._repeats.pop(slot, None)
                self._seen[slot] = (seen << min(move, _REMEMBERED) | 1) & 0xFFFF_FFFF_FFFF_FFFF
                continue
            bit = 1 << min(-move, _REMEMBERED)
            if seen & bit:
                self.duplicates[slot] += 1
                keep[i] = False
                self._note_repeat(slot, int(headers.sequence[i]), float(headers.arrival_s[i]))
            elif -move < _REMEMBERED:
                self._seen[slot] = seen | bit

    def _count_next(self, slots: Ints) -> None:
        """Count packets that are the very next ones of their legs."""
        if self._repeats:
            for slot in slots.tolist():
                self._repeats.pop(slot, None)
        self.received[slots] += 1
        self._seen[slots] = self._seen[slots] << np.uint64(1) | np.uint64(1)

    def _note_repeat(self, slot: int, sequence: int, arrival_s: float) -> None:
        """Recognise a sender whose numbers went back a little: its packets look like those before."""
        last, count, since_s = self._repeats.get(slot, (sequence - 1, 0, arrival_s))
        if difference16(sequence, last) != 1:
            count, since_s = 0, arrival_s
        count += 1
        if count < _REPEATED_PACKETS or arrival_s - since_s < _REPEATED_S:
            self._repeats[slot] = sequence, count, since_s
            return
        self._repeats.pop(slot, None)
        self._before[slot] += self._highest[slot] - self._base[slot] + 1 + count
        self._anchor(np.array([slot]), np.array([(sequence + 1) & 0xFFFF], np.uint16))
        self._audio_seen[slot] = False

    def _advance(
        self, headers: Headers, step: NDArray[np.int16] | None, positions: Ints, keep: Bools
    ) -> None:
        """Make each newest packet the reference of the next; without steps all are the very next ones."""
        slots = headers.slots
        if step is None:
            self._highest[slots] += 1
        else:
            newest = keep & (step > 0)
            if not every(newest):
                slots, step, positions = slots[newest], step[newest], positions[newest]
                headers = headers.at(newest)
            self._highest[slots] += step
        self._places.advance(slots, headers.timestamp, positions, headers.lengths, headers.arrival_s)

    def _update_jitter(
        self, headers: Headers, positions: Ints, keep: Bools | None, steady_clock: bool
    ) -> None:
        """Update the interarrival jitter with the audio that is kept, all when None (media rule 10)."""
        chosen = headers.audio if keep is None else headers.audio & keep
        if not every(chosen):
            headers, positions = headers.at(chosen), positions[chosen]
        slots = headers.slots
        if steady_clock:
            clock = self.clock_hz[slots]
            waited = (headers.arrival_s - self._audio_arrival_s[slots]) * clock
            moved = (headers.timestamp - self._audio_timestamp[slots]).astype(np.int32)
            if self._places.watched:
                led = self._places.by_sequence[slots]
                played = (positions - self._audio_position[slots]) * clock // self._ring_hz[slots]
                moved = np.where(led, played, moved)
            change = np.abs(waited - moved)
            usable = self._audio_seen[slots] & (change <= clock)
            jitter = self.jitter[slots]
            self.jitter[slots] = jitter + np.where(usable, (change - jitter) / 16, 0.0)
        self._audio_timestamp[slots] = headers.timestamp
        if self._places.watched:
            self._audio_position[slots] = positions
        self._audio_arrival_s[slots] = headers.arrival_s
        self._audio_seen[slots] = steady_clock

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
