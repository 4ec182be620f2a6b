"""Short calls that come and go at a rate, on lines that are used again and again."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

QUIET_S: Final = 0.3
"""How long a caller is silent before it hangs up, so that no packet is on the way then."""
REST_S: Final = 1.0
"""How long a line rests, so that late packets of one call are not taken for those of the next."""
PRESS_S: Final = 0.5
"""How long after the answer keys are pressed."""

Action = Literal["press", "quiet", "hang up"]


@dataclass(frozen=True, slots=True)
class Rush:
    """What calls come.

    Attributes:
        count: how many, None for no end.
        rate: calls a second.
        names: what is dialled, one drawn for each call, or all in turn.
        draw: whether names are drawn.
        hold_s: least and most time from the answer to the caller's BYE.
        presses: keys that are pressed by those who dial a name.
        seed: of all that is drawn.
    """

    count: int | None
    rate: float
    names: Sequence[str]
    draw: bool
    hold_s: tuple[float, float]
    presses: dict[str, str]
    seed: int


class Churn:
    """When calls are to be placed, and what becomes of them after their answer; time in, orders out.

    Args:
        rush: what calls come.
        first: number of the first call.
        lines: those that may be used.
        now: when the first call is due.
    """

    def __init__(self, rush: Rush, *, first: int, lines: range, now: float) -> None:
        self.short_of_lines = 0
        self._rush = rush
        self._first = first
        self._began_at = now
        self._offered = 0
        self._random = random.Random(rush.seed)
        self._free: deque[tuple[float, int]] = deque((now, line) for line in lines)
        self._names: dict[int, str] = {}
        self._ends: list[tuple[float, int, Action]] = []
        self._stopped = False

    def stop(self) -> None:
        """Place no further call."""
        self._stopped = True

    @property
    def planned(self) -> int:
        """Calls that are still to come; one where there is no end."""
        if self._stopped:
            return 0
        return 1 if self._rush.count is None else self._rush.count - self._offered

    def due(self, now: float) -> tuple[int, int, str] | None:
        """Return number, line and name of a call that is due, None when there is none."""
        if not self.planned or now < self._began_at + self._offered / self._rush.rate:
            return None
        number = self._first + self._offered
        self._offered += 1
        names = self._rush.names
        name = self._random.choice(names) if self._rush.draw else names[number % len(names)]
        if not self._free or self._free[0][0] > now:
            self.short_of_lines += 1
            return None
        self._names[number] = name
        return number, self._free.popleft()[1], name

    def answered(self, number: int, now: float) -> None:
        """Plan what the caller does from here on."""
        end = now + self._random.uniform(*self._rush.hold_s)
        heapq.heappush(self._ends, (end - QUIET_S, number, "quiet"))
        heapq.heappush(self._ends, (end, number, "hang up"))
        if self._names[number] in self._rush.presses:
            heapq.heappush(self._ends, (now + PRESS_S, number, "press"))

    def actions(self, now: float) -> list[tuple[int, Action, str]]:
        """Return what is due: number of the call, what to do, and the keys to press."""
        found: list[tuple[int, Action, str]] = []
        while self._ends and self._ends[0][0] <= now:
            _, number, action = heapq.heappop(self._ends)
            keys = self._rush.presses[self._names[number]] if action == "press" else ""
            found.append((number, action, keys))
        return found

    def over(self, number: int, line: int, now: float) -> None:
        """Take back the line of a call that has ended."""
        self._names.pop(number, None)
        self._free.append((now + REST_S, line))
