"""How tasks call what blocks, and how callbacks wake tasks."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")


class Blocking(Protocol):
    """Runs a function that blocks on disk or CPU without blocking the event loop."""

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Run ``function`` and return its result; its exceptions pass through."""
        ...


class ThreadRunner:
    """Runs functions in worker threads, at most ``threads`` at once.

    Args:
        threads: how many run at the same time; the rest wait in line.
        abandon_on_cancel: whether a cancelled caller leaves a running function to itself. Without
            it the caller waits for the function, so what it uses may be closed afterwards.
    """

    def __init__(self, threads: int, *, abandon_on_cancel: bool = False) -> None:
        self._limiter = trio.CapacityLimiter(threads)
        self._abandon_on_cancel = abandon_on_cancel

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Run ``function`` in a thread and return its result."""
        return await trio.to_thread.run_sync(
            function, limiter=self._limiter, abandon_on_cancel=self._abandon_on_cancel
        )


class Bell:
    """Wakes one waiting task from synchronous code; a ring before the wait is not lost."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """Wake the waiter, or let its next wait return at once."""
        self._rung.set()

    async def wait(self) -> None:
        """Wait until it has been rung since the last wait."""
        await self._rung.wait()
        self._rung = trio.Event()
