"""How much work encoders put into a frame, by how much time the ticks leave: no I/O, no clock.

Each step up sounds a little better and costs up to as much as all below it. So it goes down as soon as ticks
take most of their time, and up only after a while in which they took little; a step up that had to be taken
back makes the next one wait for longer, or the level would swing for ever.
"""

from __future__ import annotations

from typing import Final

HIGHEST_AUTO: Final = 5
"""The last steps to 10 double the time of a frame and are hardly heard on speech."""
LEAN: Final = -1
"""The step below all levels: Opus without the part that is made for speech, which takes most of the time."""
LOWEST: Final = LEAN
LOWEST_MENDING: Final = 0
"""The lowest level at which a packet carries a copy of the one before it, where losses are expected."""

FULL: Final = 0.85
"""A share of the time at which there is nothing to try: the lowest level at once."""
HIGH: Final = 0.6
LOW: Final = 0.35
LATE_S: Final = 0.005
MOST_LATE: Final = 0.1
"""Share of ticks that may begin late; more mean that something else needs the core."""

_MEMORY_TICKS: Final = 25
_PAST: Final = 0.1
"""What is left of a share that once counted is forgotten when it is less than so much of it."""
_DOWN_TICKS: Final = 25
"""Between two steps down, so that each is seen to work first."""
_UP_TICKS: Final = 250
_LONGEST_UP_TICKS: Final = 15_000
_REGRET_TICKS: Final = 1000
"""A step down this soon after one up takes that one back."""


class Complexity:
    """The complexity of all Opus encoders of a server.

    Args:
        fixed: keep to this one whatever the load, None to follow it.

    Attributes:
        level: for the next tick, 0 to 10, or `LEAN` when it follows the load.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self.level = HIGHEST_AUTO if fixed is None else fixed
        self._fixed = fixed is not None
        self._busy = 0.0
        self._late = 0.0
        self._rest = 0
        self._calm = 0
        self._patience = _UP_TICKS
        self._since_up = _REGRET_TICKS

    @property
    def settled(self) -> bool:
        """Whether ticks without work would change nothing: what was noted is past, and no step is due."""
        return self._fixed or (
            self.level == HIGHEST_AUTO
            and not self._rest
            and self._since_up > _REGRET_TICKS
            and self._busy < _PAST * HIGH
            and self._late < _PAST * MOST_LATE
        )

    def note(self, busy: float, late_s: float) -> None:
        """Take note of a tick.

        Args:
            busy: share of the tick's time in which it was at work.
            late_s: how much too late it began.
        """
        if self._fixed:
            return
        self._busy += (busy - self._busy) / _MEMORY_TICKS
        self._late += ((late_s > LATE_S) - self._late) / _MEMORY_TICKS
        self._rest -= self._rest > 0
        self._since_up += 1
        if self._since_up == _REGRET_TICKS:
            self._patience = max(_UP_TICKS, self._patience // 2)
        if self._busy >= HIGH or self._late >= MOST_LATE:
            self._calm = 0
            if self.level > LOWEST and not self._rest:
                self._step_down()
        elif self._busy > LOW or self.level == HIGHEST_AUTO:
            self._calm = 0
        else:
            self._calm += 1
            if self._calm >= self._patience:
                self.level += 1
                self._calm = self._since_up = 0

    def _step_down(self) -> None:
        if self._since_up < _REGRET_TICKS:
            self._patience = min(_LONGEST_UP_TICKS, 2 * self._patience)
            self._since_up = _REGRET_TICKS
        self.level = LOWEST if self._busy >= FULL else self.level - 1
        self._rest = _DOWN_TICKS
