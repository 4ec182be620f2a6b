"""What one far end lost, gathered for its reports: counted at once, told every few seconds at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import trio

from vb.events.leg import LegAudioDropped

Direction = Literal["in", "out"]
LossReason = Literal["overflow", "underflow", "malformed", "flood", "slow_reader"]

LOSSES: Final[tuple[tuple[Direction, LossReason], ...]] = (
    ("in", "overflow"),
    ("in", "underflow"),
    ("in", "malformed"),
    ("in", "flood"),
    ("out", "slow_reader"),
)
REPORT_DELAY_S: Final = 0.5
REPORT_INTERVAL_S: Final = 5.0
TOLD_LATE_FRAMES: Final = 5
"""Frames that came too late before it is told: one now and then is what a network does."""
Counts: TypeAlias = dict[tuple[Direction, LossReason], int]


@dataclass(frozen=True, slots=True)
class Loss:
    """What was lost since the last report.

    Attributes:
        direction: `in` for what the far end says, `out` for what it hears.
        reason: `overflow` for audio that came faster than it is heard, `underflow` for audio that came too
            late and left a gap, `malformed` for messages that cannot be used, `flood` for text and pings
            beyond what one far end may send, `slow_reader` for audio that it did not take in time.
        count: messages or frames; for `underflow` frames that were missing.
        duration_ms: how much audio that was, 0 where that cannot be said.
    """

    direction: Direction
    reason: LossReason
    count: int
    duration_ms: int


class Losses:
    """The losses of one far end.

    Args:
        totals: counts those of all.
    """

    def __init__(self, totals: Counts) -> None:
        self._totals = totals
        self._new: dict[tuple[Direction, LossReason], tuple[int, int]] = {}
        self._some = trio.Event()

    def add(self, direction: Direction, reason: LossReason, count: int, duration_ms: int = 0) -> None:
        """Count a loss."""
        key = (direction, reason)
        self._totals[key] = self._totals.get(key, 0) + count
        counted, lasted_ms = self._new.get(key, (0, 0))
        self._new[key] = (counted + count, lasted_ms + duration_ms)
        if reason != "underflow" or counted + count >= TOLD_LATE_FRAMES:
            self._some.set()

    async def wait(self) -> None:
        """Wait until there is something to report."""
        await self._some.wait()

    def take(self) -> Iterator[Loss]:
        """Return what was lost since the last call."""
        found, self._new, self._some = self._new, {}, trio.Event()
        late = found.get(("in", "underflow"))
        if late is not None and late[0] < TOLD_LATE_FRAMES:
            self._new["in", "underflow"] = found.pop(("in", "underflow"))
        for (direction, reason), (count, duration_ms) in found.items():
            yield Loss(direction, reason, count, duration_ms)

    async def report(self, tell: Callable[[Loss], None]) -> None:
        """Tell of losses, soon after the first and then every few seconds at most, until cancelled."""
        while True:
            await self.wait()
            await trio.sleep(REPORT_DELAY_S)
            for loss in self.take():
                tell(loss)
            await trio.sleep(REPORT_INTERVAL_S)


def audio_dropped(leg_id: str, app_id: str | None, loss: Loss) -> LegAudioDropped:
    """Return the event that tells of a loss."""
    return LegAudioDropped(
        leg_id=leg_id,
        app_id=app_id,
        direction=loss.direction,
        reason=loss.reason,
        count=loss.count,
        duration_ms=loss.duration_ms,
    )
