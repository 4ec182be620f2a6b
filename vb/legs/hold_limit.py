"""How long a call may stay on hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from vb.slots import TaskHandle, TaskSlots

HOLD_LIMIT_S: Final = 2 * 3600.0
"""A call that stays on hold for this long is ended."""


class HoldLimit:
    """Counts the time of one leg's hold.

    Args:
        slots: the leg's, where the time is waited for.
    """

    def __init__(self, slots: TaskSlots) -> None:
        self._slots = slots
        self._count = 0
        self._task: TaskHandle | None = None

    def follow(self, held: bool, over: Callable[[], object]) -> None:
        """Begin with a hold, and stop with its end; a hold that goes on is not counted anew.

        Args:
            held: whether the leg is on hold.
            over: called when the time is over; kept only so long, so that a leg is in no cycle.
        """
        if not held and self._task is not None:
            self._task.cancel()
            self._task = None
        elif held and self._task is None:
            self._count += 1
            self._task = self._slots.start(f"hold limit {self._count}", partial(_wait, over))


async def _wait(over: Callable[[], object]) -> None:
    await trio.sleep(HOLD_LIMIT_S)
    over()
