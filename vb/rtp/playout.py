"""When each leg's audio is played: a delay per leg that follows the measured arrival times.

All legs are columns. `next` is the position of the first sample that the next tick plays; it advances with
the ticks, whether audio came or not. A packet that comes too late for its tick, while nothing newer has been
heard, pulls `next` back to it: the delay grows at once by what was missing and nothing is lost. The delay
shrinks by a frame at most every five seconds, once the slowest packets of the last ten seconds allow it.

Slack is the time between a packet's arrival and the tick that first needs it. It is kept per packet, less the
shifts made since, so that a change of delay does not spoil what was measured before it.

Spec: media rules 7 and 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.beat import BEAT_S
from vb.rtp.masks import every, some, true_places

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

TICK_S: Final = BEAT_S
HISTORY: Final = 512
"""Packets whose slack is remembered: ten seconds of 20 ms packets."""
_PADDING: Final = 16
"""Rows a power of two apart would all compete for the same few lines of the cache."""
_TRUSTED: Final = HISTORY // 2
_MEASURED: Final = 25
"""Packets without which nothing is decided."""
START_GUARD_S: Final = 0.005
"""A first packet this close to the tick waits for the next one: its successors may come a little later."""
GUARD_S: Final = 0.001
"""Least slack kept beyond the measured jitter."""
_MAX_GUARD_S: Final = 0.02
_HYSTERESIS_S: Final = 0.004
"""Slack that must be left after a frame was dropped, beyond the guard, or delays would go up and down."""
_FALL_INTERVAL_S: Final = 5.0
_FIXED_TOLERANCE_S: Final = 0.015
_LATE_PART: Final = 0.02
_PASS_THROUGH_MAX_MS: Final = 60
_STARVED_FRAMES: Final = 3
_FORGIVEN_TICKS: Final = 5
"""Ticks after a hold-up of ours in which packets are late without their sender's fault, at least."""
_DRAINED_PER_TICK: Final = 6
"""Packets by which a leg's backlog shrinks in a tick, with something to spare."""

INSERT: Final = 1
DROP: Final = -1


@dataclass(frozen=True, slots=True)
class PlayoutSettings:
    """How long audio waits before it is played.

    Attributes:
        target_ms: None adapts to each leg, 0 plays each packet at the next tick, more is a fixed delay.
        max_ms: most audio that may wait.
    """

    target_ms: int | None = None
    max_ms: int = 300

    @property
    def ring_ms(self) -> int:
        """Length of ring that holds the longest wait and the packets ahead of it."""
        return max(512, self.max_ms + 200)


@dataclass(slots=True)
class Placement:
    """Where packets may be written: which of them, and the holes in front of some.

    Attributes:
        keep: (n,) whether the packet is to be played.
        holes: (slot, start, stop) of samples that did not arrive.
    """

    keep: Bools
    holes: list[tuple[int, int, int]]


class Playout:
    """The play positions of all legs.

    Args:
        capacity: number of legs.
        settings: the delay wanted.
    """

    def __init__(self, capacity: int, settings: PlayoutSettings) -> None:
        self.settings = settings
        self.next = np.zeros(capacity, np.int64)
        self.end = np.zeros(capacity, np.int64)
        self._end_at = np.zeros(capacity, np.float64)
        self.holes_until = np.zeros(capacity, np.int64)
        self.heard_end = np.zeros(capacity, np.int64)
        self._lead = np.zeros(capacity, np.int64)
        self._forgiven = 0
        self.started = np.zeros(capacity, np.bool_)
        self.width = np.full(capacity, 160, np.int64)
        self.want = np.zeros(capacity, np.int8)
        self.want_since = np.zeros(capacity, np.float64)
        self.late = np.zeros(capacity, np.int64)
        self.discarded = np.zeros(capacity, np.int64)
        self.underruns = np.zeros(capacity, np.int64)
        self.shifts = np.zeros(capacity, np.int64)
        self._shift_s = np.zeros(capacity, np.float64)
        self._changed_at = np.zeros(capacity, np.float64)
        self._slack = np.zeros((capacity, HISTORY + _PADDING), np.float32)[:, :HISTORY]
        self._count = np.zeros(capacity, np.int64)

    def configure(self, slot: int, rate_hz: int) -> None:
        """Set the sample rate of a leg's ring and forget what was playing."""
        self.width[slot] = rate_hz // 50
        self.stop(slot)

    def forget(self, slot: int) -> None:
        """Start a leg anew, its counters too."""
        self.stop(slot)
        for column in (self.late, self.discarded, self.underruns, self.shifts):
            column[slot] = 0

    def stop(self, slot: int) -> None:
        """Play silence until the next packet."""
        self.started[slot] = False
        self.want[slot] = 0

    def place(
        self,
        slots: Ints,
        positions: Ints,
        lengths: Ints,
        steps: NDArray[np.int16],
        arrival_s: Floats,
        tick_at: float,
    ) -> Placement:
        """Fit one packet of each of several legs into their playout.

        Args:
            slots: the legs, none twice.
            positions: first sample of each packet.
            lengths: samples of each packet, more than none.
            steps: how far its sequence number is from the highest before it.
            arrival_s: monotonic arrival times.
            tick_at: nominal time of the tick that plays `next`.
        """
        holes: list[tuple[int, int, int]] = []
        fresh = ~self.started[slots]
        if some(fresh):
            self._start(slots[fresh], positions[fresh], lengths[fresh], arrival_s[fresh], tick_at, holes)
        ahead = positions - self.next[slots]
        late: Bools | None = None
        behind = ahead < 0
        if some(behind):
            late = ahead + lengths <= 0
            back = behind & self._may_go_back(slots, positions, steps)
            if some(back):
                self._pull_back(slots[back], positions[back], tick_at)
                late &= ~back
                ahead[back] = 0
            if some(late):
                self._miss(slots[late], -ahead[late])
        if not self._forgiven:
            self._measure(slots, ahead, arrival_s, tick_at)
        over = ahead + lengths > self._limit(slots)
        if some(over):
            # What came while this tick was late waits the less for it: the ticks behind it follow at once.
            since_s = np.maximum(arrival_s - tick_at, 0.0)
            over &= ahead + lengths - since_s / TICK_S * self.width[slots] > self._limit(slots)
            if some(over):
                self._skip_ahead(slots[over], positions[over] + lengths[over], tick_at)
        keep = ~behind if late is None else ~late
        end = self.end[slots]
        gap = keep & (positions > end)
        if some(gap):
            self._note_gaps(slots, positions, steps, gap, end, tick_at, holes)
        reach = positions + lengths
        newest = keep & (reach > end)
        if every(newest):
            self.end[slots] = reach
            self._end_at[slots] = arrival_s
        else:
            self.end[slots] = np.where(newest, reach, end)
            self._end_at[slots[newest]] = arrival_s[newest]
        self._lead[slots] = positions - self.next[slots]
        return Placement(keep, holes)

    def _limit(self, slots: Ints) -> Ints:
        limit_ms = _PASS_THROUGH_MAX_MS if self.settings.target_ms == 0 else self.settings.max_ms
        return self.width[slots] * limit_ms // 20

    def _start(
        self,
        slots: Ints,
        positions: Ints,
        lengths: Ints,
        arrival_s: Floats,
        tick_at: float,
        holes: list[tuple[int, int, int]],
    ) -> None:
        """Choose the first play position: the least delay that the arrival phase allows, or the fixed one."""
        width = self.width[slots]
        rate = width / TICK_S
        target_ms = self.settings.target_ms
        if target_ms is None:
            spare = np.minimum(tick_at - arrival_s, TICK_S) - START_GUARD_S
            coming = lengths * (1 + np.floor(spare * rate / lengths).astype(np.int64))
            first = np.minimum(positions, positions + coming - width)
        else:
            first = positions - width * target_ms // 20
        self.started[slots] = True
        self.next[slots] = first
        self.end[slots] = positions
        self.holes_until[slots] = positions
        self.heard_end[slots] = first
        self._restart_measuring(slots, tick_at)
        self.want[slots] = 0
        self._lead[slots] = positions - first
        for slot, start, stop in zip(
            slots.tolist(), (first - 2 * width).tolist(), positions.tolist(), strict=True
        ):
            holes.append((slot, start, stop))

    def _restart_measuring(self, slots: Ints, tick_at: float) -> None:
        self._count[slots] = 0
        self._slack[slots] = np.inf
        self._shift_s[slots] = 0.0
        self._changed_at[slots] = tick_at

    def _note_gaps(
        self,
        slots: Ints,
        positions: Ints,
        steps: NDArray[np.int16],
        gap: Bools,
        end: Ints,
        tick_at: float,
        holes: list[tuple[int, int, int]],
    ) -> None:
        """List what is missing between the end of what came before and those packets that have a gap."""
        leaping = gap & (steps == 1)
        self._close_up(slots[leaping], positions[leaping], tick_at)
        for i in true_places(gap).tolist():
            slot = int(slots[i])
            start = max(int(end[i]), int(self.next[slot] - 2 * self.width[slot]))
            holes.append((slot, start, int(positions[i])))
        self.holes_until[slots[gap]] = positions[gap]

    def _may_go_back(self, slots: Ints, positions: Ints, steps: NDArray[np.int16]) -> Bools:
        """Tell which late packets follow what was heard, or come from a sender that set its clock back.

        The latter are next in sequence, and their leg is without audio.
        """
        if self._forgiven:
            return np.zeros(slots.size, np.bool_)
        following = positions >= self.heard_end[slots]
        starved = self.next[slots] - self.end[slots] >= _STARVED_FRAMES * self.width[slots]
        back: Bools = following | (starved & (steps == 1))
        return back

    def _close_up(self, slots: Ints, positions: Ints, tick_at: float) -> None:
        """Leave out a gap in the timestamps that was none in time, instead of waiting it out.

        It shows where nothing waits and the packet after the gap has more lead than the one before it.
        """
        lead = self._lead[slots]
        leap = (positions - self.next[slots] > lead + self.width[slots]) & (
            self.end[slots] <= self.next[slots]
        )
        if some(leap):
            slots = slots[leap]
            self.next[slots] = positions[leap] - np.maximum(lead[leap], 0)
            self.heard_end[slots] = self.next[slots]
            self._restart_measuring(slots, tick_at)

    def _pull_back(self, slots: Ints, positions: Ints, tick_at: float) -> None:
        """Play late audio after all: the delay grows by it."""
        self.next[slots] = positions
        self.end[slots] = np.minimum(self.end[slots], positions)
        self.heard_end[slots] = np.minimum(self.heard_end[slots], positions)
        self.underruns[slots] += 1
        self.want[slots] = 0
        self._restart_measuring(slots, tick_at)

    def _miss(self, slots: Ints, samples: Ints) -> None:
        """Note packets that came after newer audio was heard: a frame is inserted at once, up to a limit."""
        self.late[slots] += 1
        if self.settings.target_ms is None and not self._forgiven:
            waiting = np.maximum(self.end[slots] - self.next[slots], 0)
            raised = slots[samples + waiting < self._limit(slots)]
            self.want[raised] = INSERT
            self.want_since[raised] = -np.inf

    def _skip_ahead(self, slots: Ints, reach: Ints, tick_at: float) -> None:
        """Discard the oldest audio of legs that have more waiting than they may."""
        width = self.width[slots]
        target_ms = self.settings.target_ms
        waiting = width * (2 + (target_ms or 0) // 20)
        newest = np.maximum(reach - waiting, self.next[slots])
        self.discarded[slots] += (newest - self.next[slots]) // width
        self.next[slots] = newest
        self.heard_end[slots] = newest
        self.want[slots] = 0
        self._restart_measuring(slots, tick_at)

    def _measure(self, slots: Ints, ahead: Ints, arrival_s: Floats, tick_at: float) -> None:
        needed_at = tick_at + (ahead // self.width[slots]) * TICK_S
        count = self._count[slots]
        self._slack[slots, count & (HISTORY - 1)] = needed_at - arrival_s - self._shift_s[slots]
        self._count[slots] = count + 1

    @property
    def forgiving(self) -> bool:
        """Whether a hold-up of ours is so fresh that nobody is blamed for late packets."""
        return self._forgiven > 0

    def tick(self) -> None:
        """Begin a tick."""
        self._forgiven = max(0, self._forgiven - 1)

    def skip(self, ticks: int) -> None:
        """Leave out what the ticks of a hold-up would have played; the delay stays as it was."""
        playing = self.started
        self.next[playing] += self.width[playing] * ticks
        self.heard_end[playing] = self.next[playing]
        self._forgiven = max(_FORGIVEN_TICKS, ticks // _DRAINED_PER_TICK)

    def advance(self, slots: Ints) -> None:
        """Move on by one tick."""
        self.next[slots] += self.width[slots]

    def shifted(self, slot: int, samples: int, now: float) -> None:
        """Take note that `samples` were inserted into a leg's playout, or dropped when negative."""
        self._shift_s[slot] += samples * TICK_S / int(self.width[slot])
        self._changed_at[slot] = now
        self.want[slot] = 0
        self.shifts[slot] += 1

    def control(self, slots: Ints, jitter_s: Floats, now: float) -> None:
        """Decide which legs should have their delay changed; call it about every two seconds per leg.

        Args:
            slots: legs that have started.
            jitter_s: their interarrival jitter.
            now: monotonic time.
        """
        if self.settings.target_ms == 0:
            return
        measured = self._count[slots] >= _MEASURED
        if not some(measured):
            return
        slots, jitter_s = slots[measured], jitter_s[measured]
        filled = np.minimum(self._count[slots], HISTORY)
        slack = np.sort(self._slack[slots], axis=1)
        rows = np.arange(slots.size)
        since = now - self._changed_at[slots]
        want = np.zeros(slots.size, np.int8)
        if self.settings.target_ms is None:
            guard = np.minimum(GUARD_S + jitter_s, _MAX_GUARD_S)
            lowest = slack[rows, (filled * _LATE_PART).astype(np.int64)] + self._shift_s[slots]
            margin = lowest - guard
            settled = (filled >= _TRUSTED) & (since >= _FALL_INTERVAL_S)
            want[(margin > TICK_S + _HYSTERESIS_S) & settled] = DROP
            want[margin < 0] = INSERT
        else:
            middle = slack[rows, filled // 2] + self._shift_s[slots]
            margin = middle - self.settings.target_ms / 1000
            want[margin > TICK_S / 2 + _FIXED_TOLERANCE_S] = DROP
            want[margin < TICK_S / 2 - _FIXED_TOLERANCE_S - 0.01] = INSERT
        changed = slots[want != self.want[slots]]
        self.want_since[changed] = now
        self.want[slots] = want

    def delay_ms(self, slot: int) -> float:
        """Return how much audio of a leg waits, in milliseconds."""
        waiting = max(0, int(self.end[slot] - self.next[slot]))
        return waiting * 20.0 / int(self.width[slot])

    def waited_s(self, slot: int, now: float) -> float:
        """Return how long ago the sample before `next` came, or would have come; 0 before any has.

        Packets of several frames count as if each frame had come when its last sample was spoken.
        """
        if not self.started[slot]:
            return 0.0
        ahead_samples = self.end.item(slot) - self.next.item(slot)
        return max(0.0, now - self._end_at.item(slot) + ahead_samples * TICK_S / self.width.item(slot))
