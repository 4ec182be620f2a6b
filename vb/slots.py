"""Named tasks inside one owner: playbacks, recordings and whatever else is attached to a leg or room.

A slot holds one task. An error ends that task and is logged; it never reaches the owner. When the owner
closes its slots, every task is cancelled and waited for, so a task's last words come before the owner's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
import trio

log = structlog.get_logger(__name__)


class SlotTaken(Exception):
    """The slot already holds a running task."""


class SlotsClosed(Exception):
    """The owner is ending and takes no further task."""


class TaskHandle:
    """A running task in a slot."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failed = False
        self._scope = trio.CancelScope()
        self._done = trio.Event()

    @property
    def done(self) -> bool:
        """Whether the task has ended."""
        return self._done.is_set()

    @property
    def ending(self) -> bool:
        """Whether the task was asked to end."""
        return self._scope.cancel_called

    def cancel(self) -> None:
        """Ask the task to end; it does its cleanup first."""
        self._scope.cancel()

    async def join(self) -> None:
        """Wait for the end of the task."""
        await self._done.wait()

    async def stop(self) -> None:
        """Cancel the task and wait for its end."""
        self.cancel()
        await self.join()


class TaskSlots:
    """The slots of one owner.

    Args:
        owner: words for the log, such as `leg 3f…`.
        on_fault: told the slot's name when a task failed.
    """

    def __init__(self, owner: str, on_fault: Callable[[str], None] | None = None) -> None:
        self._owner = owner
        self._on_fault = on_fault
        self._tasks: dict[str, TaskHandle] = {}
        self._nursery: trio.Nursery | None = None
        self._waiting: list[tuple[TaskHandle, Callable[[], Awaitable[None]]]] = []
        self._closed = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[TaskSlots]:
        """Run tasks inside the block, those first that were given before; leaving it ends all of them."""
        async with trio.open_nursery() as nursery:
            self.open_in(nursery)
            try:
                yield self
            finally:
                self._closed = True
                nursery.cancel_scope.cancel()

    def open_in(self, nursery: trio.Nursery) -> None:
        """Run tasks in a nursery of the owner, those first that were given before, until it calls `end`."""
        self._nursery = nursery
        for handle, func in self._waiting:
            nursery.start_soon(self._run, handle, func, name=f"{self._owner} {handle.name}")
        self._waiting.clear()

    def close(self) -> bool:
        """Take no task any more; returns whether there are some for `end` to cancel and wait for."""
        self._closed = True
        self._nursery = None
        return bool(self._tasks)

    async def end(self) -> None:
        """Take no task any more, cancel those that run and wait for their ends.

        Cancellation: waits all the same, as a nursery does.
        """
        self.close()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        with trio.CancelScope(shield=True):
            for task in tasks:
                await task.join()

    def get(self, name: str) -> TaskHandle | None:
        """Return the task of a slot, if one runs."""
        return self._tasks.get(name)

    def names(self) -> list[str]:
        """Return the occupied slots in the order in which they were filled."""
        return list(self._tasks)

    def start(self, name: str, func: Callable[[], Awaitable[None]]) -> TaskHandle:
        """Run `func` in the named slot, as soon as the slots are open.

        Raises:
            SlotTaken: the slot is occupied.
            SlotsClosed: the owner is ending.
        """
        if self._closed:
            raise SlotsClosed(self._owner)
        if name in self._tasks:
            raise SlotTaken(name)
        handle = self._tasks[name] = TaskHandle(name)
        if self._nursery is None:
            self._waiting.append((handle, func))
        else:
            self._nursery.start_soon(self._run, handle, func, name=f"{self._owner} {name}")
        return handle

    async def _run(self, handle: TaskHandle, func: Callable[[], Awaitable[None]]) -> None:
        try:
            with handle._scope:
                await func()
        except Exception:  # the slot boundary: a feature's fault ends the feature
            handle.failed = True
            log.exception("task failed", owner=self._owner, slot=handle.name)
            if self._on_fault is not None:
                self._on_fault(handle.name)
        finally:
            if self._tasks.get(handle.name) is handle:
                del self._tasks[handle.name]
            handle._done.set()
