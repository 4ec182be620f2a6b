"""How long a source that gives wrong passwords is told to wait: pauses that double, in a bounded table."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 60.0
FREE_GUESSES: Final = 10
"""Wrong passwords of one source in WINDOW_S after which it is told to pause."""
FIRST_PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 60.0
FORGET_S: Final = 600.0
"""Without a wrong password for so long, a source that was told to pause starts anew."""
MAX_SOURCES: Final = 4096
OTHERS: Final = "others"
"""What all sources count as that come while the table is full."""


@dataclass(frozen=True, slots=True)
class Guess:
    """How to take a wrong password.

    Attributes:
        source: who it is counted for: the source, or OTHERS.
        wait_s: seconds that are left of the pause it fell into; 0 when it fell into none.
        begins: whether it is the one that makes a burst of its source.
    """

    source: str
    wait_s: int = 0
    begins: bool = False


class Guessing:
    """The sources that gave wrong passwords lately.

    Nobody is put out of the table before his time, or whoever has many addresses could use the fresh ones to
    have the old ones forgotten. Sources that find it full are counted together. It needs a look at its oldest
    entries only, because each of its two parts is in the order in which they end.
    """

    def __init__(self) -> None:
        self._counted: dict[str, _Count] = {}
        self._slowed: OrderedDict[str, _Pause] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counted) + len(self._slowed)

    def wrong(self, source: str, now: float) -> Guess:
        """Count a wrong password.

        Args:
            source: who gave it.
            now: monotonic seconds.
        """
        self._forget(now)
        name = self._name(source)
        pause = self._slowed.get(name)
        if pause is not None:
            self._slowed.move_to_end(name)
            return Guess(name, pause.wait_s(now))
        count = self._counted.setdefault(name, _Count(now))
        count.wrong += 1
        if count.wrong < FREE_GUESSES:
            return Guess(name)
        del self._counted[name]
        self._slowed[name] = _Pause(now)
        return Guess(name, begins=True)

    def _name(self, source: str) -> str:
        known = source in self._counted or source in self._slowed
        return source if known or len(self) < MAX_SOURCES else OTHERS

    def _forget(self, now: float) -> None:
        while self._counted and now - next(iter(self._counted.values())).began_at >= WINDOW_S:
            del self._counted[next(iter(self._counted))]
        while self._slowed and now - next(iter(self._slowed.values())).last_at >= FORGET_S:
            self._slowed.popitem(last=False)


class _Count:
    """The wrong passwords of a source in the minute that began with the first of them."""

    def __init__(self, now: float) -> None:
        self.began_at = now
        self.wrong = 0


class _Pause:
    """The pauses of a source: one after each wrong password that came when the last one was over."""

    def __init__(self, now: float) -> None:
        self.last_at = now
        self._length_s = FIRST_PAUSE_S
        self._until = now + FIRST_PAUSE_S

    def wait_s(self, now: float) -> int:
        """Return what is left of the pause; when nothing is, the next one begins."""
        self.last_at = now
        if now < self._until:
            return math.ceil(self._until - now)
        self._length_s = min(2 * self._length_s, MAX_PAUSE_S)
        self._until = now + self._length_s
        return 0
