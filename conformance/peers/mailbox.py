"""An inbox that is read by asking for what one waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")

MAX_ITEMS = 20_000


class Mailbox(Generic[T]):
    """Keeps everything that arrived (``log``) and what nobody has taken yet, both bounded by `MAX_ITEMS`."""

    def __init__(self) -> None:
        self.log: list[tuple[float, T]] = []
        self.overflowed = 0
        self._unread: list[T] = []
        self._changed = trio.Event()

    def put(self, item: T) -> None:
        """Adds an item and wakes all who wait."""
        if len(self.log) >= MAX_ITEMS:
            self.overflowed += 1
            return
        self.log.append((time.monotonic(), item))
        self._unread.append(item)
        self._changed.set()
        self._changed = trio.Event()

    def items(self) -> list[T]:
        """Everything that ever arrived, oldest first."""
        return [item for _, item in self.log]

    def unread(self) -> list[T]:
        """What arrived and was not taken yet, oldest first."""
        return list(self._unread)

    def take_now(self, wanted: Callable[[T], bool]) -> T | None:
        """The first unread item that is wanted, or None."""
        for index, item in enumerate(self._unread):
            if wanted(item):
                del self._unread[index]
                return item
        return None

    async def take(self, wanted: Callable[[T], bool], within_s: float) -> T | None:
        """The first unread item that is wanted, waiting up to ``within_s`` seconds for it, else None."""
        with trio.move_on_after(within_s):
            while True:
                found = self.take_now(wanted)
                if found is not None:
                    return found
                await self._changed.wait()
        return self.take_now(wanted)
