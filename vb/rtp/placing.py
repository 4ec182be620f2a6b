"""Where audio lies on its stream: by its timestamps as far as they can be true, else by sequence and length.

Timestamps of real senders shake by a millisecond, jump, stand still, or count in another clock than the
codec's. What is certain is that audio follows audio: packets with consecutive numbers lie back to back unless
time has passed between them, and no two packets overlap. A leg whose timestamps were wrong eight times in a
row is placed by sequence and length alone, until they are right as often in a row.

Spec: media rules 1 and 12.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.rtp.masks import every, some, true_places

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

TOLERANCE_S: Final = 0.0025
"""Two timestamps that are each off by a millisecond are this close, and no pause is shorter."""
_CONVINCING_PACKETS: Final = 8


class StreamPlaces:
    """The newest audio packet of each leg and the way from timestamps to positions of its ring.

    Args:
        capacity: number of legs.

    Attributes:
        arrival_s: when the newest audio packet came.
        by_sequence: whether the leg's timestamps are of no use.
    """

    def __init__(self, capacity: int) -> None:
        self.arrival_s = np.zeros(capacity, np.float64)
        self.by_sequence = np.zeros(capacity, np.bool_)
        self.num = np.ones(capacity, np.int64)
        self.den = np.ones(capacity, np.int64)
        self._ring_hz = np.full(capacity, 8000, np.int64)
        self._tolerance = np.full(capacity, int(8000 * TOLERANCE_S), np.int64)
        self._timestamp = np.zeros(capacity, np.uint32)
        self._end = np.zeros(capacity, np.int64)
        self._length = np.zeros(capacity, np.int64)
        self._anchored = np.zeros(capacity, np.bool_)
        # The tolerance where the newest packet is audio, so that the next one lies at its end; else -1.
        self._reach = np.full(capacity, -1, np.int64)
        self._scaled: set[int] = set()
        self._sure = False
        self._watching = np.zeros(capacity, np.bool_)
        self._watched = 0
        self._runs: dict[int, tuple[int, float, int, int]] = {}

    def configure(self, slot: int, clock_hz: int, ring_hz: int) -> None:
        """Set the RTP clock of a leg's audio and the rate of its ring; what was learnt of it ends."""
        common = int(np.gcd(clock_hz, ring_hz))
        self.num[slot], self.den[slot] = ring_hz // common, clock_hz // common
        self._scaled.discard(slot)
        if clock_hz != ring_hz:
            self._scaled.add(slot)
        self._ring_hz[slot] = ring_hz
        self._tolerance[slot] = int(ring_hz * TOLERANCE_S)
        self.unlearn(slot)
        self._reach[slot] = -1  # its end counts samples of the rate before

    def unlearn(self, slot: int) -> None:
        """Trust the timestamps of a leg again."""
        self._runs.pop(slot, None)
        self._watch(slot, by_sequence=False)

    def forget(self, slot: int) -> None:
        """Start a leg's positions from zero."""
        self._end[slot] = 0
        self.release(slot)

    def release(self, slot: int) -> None:
        """Let the next audio packet of a leg follow the last one, whatever its timestamp."""
        self._anchored[slot] = False
        self._length[slot] = 0
        self._reach[slot] = -1
        self.unlearn(slot)

    def ticks(self, slots: Ints, timestamps: NDArray[np.uint32]) -> Ints:
        """Return how far timestamps are from the newest audio's; without meaning where there is none yet."""
        return (timestamps - self._timestamp[slots]).astype(np.int32).astype(np.int64)

    def anchored(self, slots: Ints) -> Bools:
        """Return which legs have had audio."""
        return self._anchored[slots]

    def place(
        self,
        slots: Ints,
        steps: NDArray[np.int16],
        ticks: Ints,
        lengths: Ints,
        arrival_s: Floats,
        *,
        in_row: bool,
    ) -> Ints:
        """Return the position of each packet's first sample.

        Args:
            slots: the legs, none twice.
            steps: how far each sequence number is from the highest before it.
            ticks: distance in timestamps from the newest audio packet.
            lengths: samples of each packet, none for what is no audio; where that lies means nothing.
            arrival_s: when each came.
            in_row: whether all steps were known to be 1.
        """
        expected, length = self._end[slots], self._length[slots]
        if self._scaled:
            ticks = ticks * self.num[slots] // self.den[slots]
        off = ticks - length
        if not (in_row or every(steps == 1)):
            shift = np.where(steps > 0, (steps - 1) * lengths, steps * lengths - length)
            expected, off = expected + shift, off - shift
        doubted = np.abs(off) > self._reach[slots]
        if self._watched:
            doubted |= self._watching[slots] | (lengths == 0)
        else:
            doubted &= lengths > 0  # where a pause lies is asked by nobody
        self._sure = not some(doubted)
        if self._sure:
            return expected
        doubtful = true_places(doubted)
        positions = expected.copy()
        positions[doubtful] = self._settle(
            slots[doubtful],
            steps[doubtful],
            lengths[doubtful],
            arrival_s[doubtful],
            expected[doubtful],
            off[doubtful],
        )
        return positions

    def _settle(
        self,
        slots: Ints,
        steps: NDArray[np.int16],
        lengths: Ints,
        arrival_s: Floats,
        expected: Ints,
        off: Ints,
    ) -> Ints:
        """Return the positions of packets whose timestamps are not those of audio that goes on.

        Args:
            slots: the legs.
            steps: distances in sequence.
            lengths: samples of each packet.
            arrival_s: when each came.
            expected: positions by sequence and length.
            off: how much later the timestamps say.
        """
        end = self._end[slots]
        position = end - self._length[slots]
        stamped = np.where(self._anchored[slots], expected + off, end)
        linked = (self._reach[slots] >= 0) & (lengths > 0)
        odd = np.abs(off) > self._tolerance[slots]
        elapsed = (arrival_s - self.arrival_s[slots]) * self._ring_hz[slots]
        advance = expected - position
        waited = elapsed >= advance + off / 2
        ahead = linked & (steps > 0)
        near = linked & (~odd | (ahead & (off > 0) & ~waited))
        positions = np.where(near, expected, np.where(ahead, np.maximum(stamped, end), stamped))
        led = self.by_sequence[slots] & (lengths > 0)
        if some(led):
            positions[led] = np.where(linked, expected, end)[led]
        for i in true_places(linked & (steps == 1)).tolist():
            self._judge(int(slots[i]), bool(odd[i]), float(elapsed[i]), int(advance[i]), int(off[i]))
        return positions

    def advance(
        self, slots: Ints, timestamps: NDArray[np.uint32], positions: Ints, lengths: Ints, arrival_s: Floats
    ) -> None:
        """Make each of these packets, the newest of their legs, the reference of the next.

        They are all or some of those that were placed last.
        """
        audio = true_places(lengths > 0)
        if audio.size < slots.size:
            self._reach[slots[lengths == 0]] = -1
            slots, timestamps, positions = slots[audio], timestamps[audio], positions[audio]
            lengths, arrival_s = lengths[audio], arrival_s[audio]
        self._timestamp[slots] = timestamps
        self._length[slots] = lengths
        self._end[slots] = positions + lengths
        self.arrival_s[slots] = arrival_s
        if not self._sure:
            self._anchored[slots] = True
            self._reach[slots] = self._tolerance[slots]

    @property
    def watched(self) -> bool:
        """Whether the timestamps of any leg are, or seem, of no use."""
        return self._watched > 0

    def distrust(self, slot: int) -> None:
        """Place a leg's audio by sequence and length from now on."""
        self._runs.pop(slot, None)
        self._watch(slot, by_sequence=True)

    def _judge(self, slot: int, odd: bool, elapsed: float, advance: int, off: int) -> None:
        """Take note of one timestamp that contradicts, or not, what is believed of its leg's.

        Args:
            slot: the leg.
            odd: whether the timestamp is wrong, by the end of the packet before.
            elapsed: time between the two arrivals, in samples.
            advance: samples of the packet before.
            off: samples by which the timestamp is wrong.
        """
        by_sequence = bool(self.by_sequence[slot])
        if odd == by_sequence:
            self._runs.pop(slot, None)
            self._watch(slot, by_sequence=by_sequence)
            return
        count, waited, played, stamped = self._runs.get(slot, (0, 0.0, 0, 0))
        count, waited, played, stamped = (
            count + 1,
            waited + elapsed,
            played + advance,
            stamped + advance + off,
        )
        if count < _CONVINCING_PACKETS:
            self._runs[slot] = count, waited, played, stamped
            self._watch(slot, by_sequence=by_sequence)
            return
        self._runs.pop(slot)
        # Packets that came as slowly as their timestamps say were far apart in truth.
        wrong = not by_sequence and abs(waited - played) <= abs(waited - stamped)
        self._watch(slot, by_sequence=wrong)

    def _watch(self, slot: int, *, by_sequence: bool) -> None:
        watching = by_sequence or slot in self._runs
        self._watched += watching - bool(self._watching[slot])
        self._watching[slot] = watching
        self.by_sequence[slot] = by_sequence
