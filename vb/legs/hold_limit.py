"""How long a call may stay on hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from vb.slots import TaskHandle, TaskSlots

HOLD_LIMIT_S: Final = 2 * 3600.0
"""A call that stays on hold for this long is ended."""


class HoldLimit:
    """Counts the time of one leg's hold.

    Args:
        slots: the leg's, where the time is waited for.
        over: called when it is over.
    """

    def __init__(self, slots: TaskSlots, over: Callable[[], object]) -> None:
        self._slots = slots
        self._over = over
        self._count = 0
        self._task: TaskHandle | None = None

    def follow(self, held: bool) -> None:
        """Begin with a hold, and stop with its end; a hold that goes on is not counted anew."""
        if not held and self._task is not None:
            self._task.cancel()
            self._task = None
        elif held and self._task is None:
            self._count += 1
            self._task = self._slots.start(f"hold limit {self._count}", self._wait)

    async def _wait(self) -> None:
        await trio.sleep(HOLD_LIMIT_S)
        self._over()
