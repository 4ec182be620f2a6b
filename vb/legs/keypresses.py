"""Keys that reach us by several ways (telephone-event, INFO, a tone in the audio): a press counts once.

Phones and gateways send one press by several ways at once, as they cannot know which of them is heard. Every
way tells its presses in order and each at most once, so presses pair off: the first way that tells one makes
it count, and each other way may tell the same press once more within a short time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

Way = Literal["event", "info", "tone"]

WINDOW_S: Final = 1.0
"""How far apart two ways tell the end of one press: a repeated INFO comes half a second late."""
MAX_REMEMBERED: Final = 64


@dataclass(slots=True)
class _Press:
    """A press that has counted, and the ways that have told it."""

    digit: str
    told_at: float
    ways: set[Way] = field(default_factory=set)


class KeyPresses:
    """Tells presses from what is told about them."""

    __slots__ = ("_presses",)

    def __init__(self) -> None:
        self._presses: deque[_Press] = deque(maxlen=MAX_REMEMBERED)

    def is_new(self, digit: str, way: Way, now: float, *, lasted_s: float = 0.0) -> bool:
        """Take what one way tells, and say whether it is a press that has not counted yet.

        Args:
            digit: the key.
            way: how it came.
            now: monotonic seconds.
            lasted_s: how long the key was down, where that is known: another way may have told the press
                when it began.
        """
        oldest = now - WINDOW_S - lasted_s
        for press in self._presses:
            if press.digit == digit and press.told_at >= oldest and way not in press.ways:
                press.ways.add(way)
                return False
        self._presses.append(_Press(digit, now, {way}))
        return True
