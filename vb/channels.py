"""Bounded queues between tasks: each has a size, a named overflow policy and a drop counter.

This is the lowest asynchronous layer. `put` never waits, so it may be called from any state change and
during cancellation; only the reader waits. A burst is published faster than any reader can be scheduled, so
a `Feed` counts its items only against a reader that has stopped reading.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, Literal, TypeVar

import trio

T = TypeVar("T")

Overflow = Literal["drop_oldest", "drop_newest", "refuse"]

PATIENCE_S: Final = 1.0
"""How long a reader may take nothing before it counts as one that does not read."""

MAX_FEED_BYTES: Final = 8 * 1_048_576
"""What waits for one reader at most, where no setting says otherwise."""


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
        self._reader: trio.lowlevel.Task | None = None
        self._is_awaited = False  # until the reader goes on, which is a moment after it was woken
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
        if self._reader is not None:
            self._wake()
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
        await self._wait()
        return self._items.popleft()

    async def _wait(self) -> None:
        """Wait until there is an item to take.

        The reader is woken by hand: an Event for each time that it waits would cost more than the item.
        """
        if self._items or self._closed:
            await trio.lowlevel.checkpoint_if_cancelled()
        while not self._items:
            if self._closed:
                raise ChannelClosed(self.name)
            if self._reader is not None:
                raise trio.BusyResourceError(f"the channel {self.name} has a reader already")
            self._reader, self._is_awaited = trio.lowlevel.current_task(), True
            await trio.lowlevel.wait_task_rescheduled(self._leave)
            self._is_awaited = False

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            trio.lowlevel.reschedule(reader)

    def _leave(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._reader, self._is_awaited = None, False
        return trio.lowlevel.Abort.SUCCEEDED

    def close(self) -> None:
        """Refuse further items; the reader gets what is queued, then ChannelClosed."""
        self._closed = True
        if self._reader is not None:
            self._wake()

    def __aiter__(self) -> Channel[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.get()
        except ChannelClosed:
            raise StopAsyncIteration from None


class Feed(Channel[T]):
    """A queue for a reader who loses nothing while it reads, whatever is published at once.

    `capacity` counts only while the reader is stalled; `max_bytes` counts always. What does not fit is the
    newest, and is dropped.

    Args:
        capacity: how many items wait at most for a reader who is stalled.
        max_bytes: how many bytes wait at most, unless it is one item.
        size: bytes of an item; the same at every call.
        stalled: whether the reader takes nothing; without it a reader is stalled that has not come for items
            for PATIENCE_S, and does not wait for any.
        name: word for logs and metrics.
    """

    def __init__(
        self,
        capacity: int,
        *,
        max_bytes: int = MAX_FEED_BYTES,
        size: Callable[[T], int],
        stalled: Callable[[], bool] | None = None,
        name: str,
    ) -> None:
        super().__init__(capacity, overflow="drop_newest", name=name)
        self.max_bytes = max_bytes
        self.bytes = 0
        self._size = size
        self._keeps_time = stalled is None
        self._stalled = stalled or self._is_late
        self._came_at = trio.current_time()

    def put(self, item: T) -> bool:
        """Queue an item without waiting; False when it was discarded or the feed is closed."""
        if self._closed:
            return False
        size = self._size(item)
        if self._items and (
            self.bytes + size > self.max_bytes or (len(self._items) >= self.capacity and self._stalled())
        ):
            self.dropped += 1
            return False
        self.bytes += size
        self._items.append(item)
        if self._reader is not None:
            self._wake()
        return True

    def _is_late(self) -> bool:
        return not self._is_awaited and trio.current_time() - self._came_at >= PATIENCE_S

    async def get(self) -> T:
        """Wait for the oldest item and take it; as of a channel."""
        return (await self.get_batch(0))[0]

    async def get_batch(self, max_bytes: int) -> list[T]:
        """Wait for an item, and take it and what follows it, as long as they are no more than `max_bytes`.

        Cancellation: nothing is taken.

        Raises:
            ChannelClosed: the feed is closed and empty.
        """
        await self._wait()
        if self._keeps_time:
            self._came_at = trio.current_time()
        batch: list[T] = []
        taken = 0
        while self._items:
            size = self._size(self._items[0])
            if batch and taken + size > max_bytes:
                break
            batch.append(self._items.popleft())
            taken += size
        self.bytes -= taken
        return batch

    def drain(self) -> list[T]:
        """Take everything that is queued now."""
        self._came_at, self.bytes = trio.current_time(), 0
        return super().drain()
