"""Last words of a task: they may take their time, but less of it once the task's owner ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


async def patiently(func: Callable[[], Awaitable[None]], *, patience_s: float, hurry_s: float) -> None:
    """Run a function that a cancellation does not stop but hurry.

    Args:
        func: it is cancelled when the time is up.
        patience_s: its time.
        hurry_s: how much of that is left from the moment of a cancellation.

    Cancellation: waits for the function, then ends.
    """
    shield = trio.CancelScope(shield=True, deadline=trio.current_time() + patience_s)
    done = trio.Event()

    async def run() -> None:
        with shield:
            await func()
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        try:
            await done.wait()
        finally:
            shield.deadline = min(shield.deadline, trio.current_time() + hurry_s)
