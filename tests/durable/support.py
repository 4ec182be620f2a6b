"""Queues of tests: in one folder, one after the other or side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.support.blocking import at_once
from vb.durable.queue import DurableQueue, Item

TOPIC = "letters"


@asynccontextmanager
async def open_queue(path: Path, *, now_ns: int = 0, running: bool = True) -> AsyncIterator[DurableQueue]:
    """A queue that does its work without threads; `running` says whether it writes before it is closed."""
    queue = await DurableQueue.open(str(path), wall_clock_ns=lambda: now_ns, in_thread=at_once)
    try:
        async with trio.open_nursery() as nursery:
            if running:
                nursery.start_soon(queue.run)
            yield queue
            nursery.cancel_scope.cancel()
    finally:
        await queue.close()


def put(queue: DurableQueue, key: str, data: bytes = b"data", topic: str = TOPIC) -> Item:
    """Put an item that finds room."""
    item = queue.put(topic, key, data, f"label of {key}")
    assert item is not None
    return item


def keys(queue: DurableQueue, topic: str = TOPIC) -> list[str]:
    return [item.key for item in queue.waiting(topic)]
