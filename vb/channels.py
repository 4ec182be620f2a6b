"""Bounded queues between tasks: each has a size, a named overflow policy and a drop counter.

This is the lowest asynchronous layer. `put` never waits, so it may be called from any state change and
during cancellation; only the reader waits.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Literal, TypeVar

import trio

T = TypeVar("T")

Overflow = Literal["drop_oldest", "drop_newest", "refuse"]


class ChannelFull(Exception):
    """A channel with the policy `refuse` has no room left."""


class ChannelClosed(Exception):
    """The channel was closed and holds nothing more."""


class Channel(Generic[T]):
    """A queue of at most `capacity` items with one reader.

    Args:
        capacity: how many items wait at most.
        overflow: what happens to an item that does not fit: `drop_oldest` makes room, `drop_newest`
            discards it, `refuse` raises ChannelFull.
        name: word for logs and metrics.
    """

    def __init__(self, capacity: int, *, overflow: Overflow, name: str) -> None:
        if capacity < 1:
            raise ValueError("a channel holds at least one item")
        self.capacity = capacity
        self.overflow: Overflow = overflow
        self.name = name
        self.dropped = 0
        self._items: deque[T] = deque()
        self._wakeup: trio.Event | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def put(self, item: T) -> bool:
        """Queue an item without waiting.

        Returns:
            False when an item (this one or the oldest) was discarded or the channel is closed.

        Raises:
            ChannelFull: the policy is `refuse` and the channel is full.
        """
        if self._closed:
            return False
        kept = True
        if len(self._items) >= self.capacity:
            kept = False
            if self.overflow == "refuse":
                raise ChannelFull(self.name)
            self.dropped += 1
            if self.overflow == "drop_newest":
                return False
            self._items.popleft()
        self._items.append(item)
        if self._wakeup is not None:
            self._wakeup.set()
        return kept

    def drain(self) -> list[T]:
        """Take everything that is queued now."""
        items = list(self._items)
        self._items.clear()
        return items

    async def get(self) -> T:
        """Wait for the oldest item and take it.

        Cancellation: nothing is taken.

        Raises:
            ChannelClosed: the channel is closed and empty.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._items:
            if self._closed:
                raise ChannelClosed(self.name)
            self._wakeup = trio.Event()
            try:
                await self._wakeup.wait()
            finally:
                self._wakeup = None
        return self._items.popleft()

    def close(self) -> None:
        """Refuse further items; the reader gets what is queued, then ChannelClosed."""
        self._closed = True
        if self._wakeup is not None:
            self._wakeup.set()

    def __aiter__(self) -> Channel[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.get()
        except ChannelClosed:
            raise StopAsyncIteration from None
