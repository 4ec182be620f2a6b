"""A process that fills a queue until it is killed: `python -m tests.durable.killed_queue DIRECTORY`.

It prints the key of every item once it is written.
"""

from __future__ import annotations

import sys

import trio

from tests.durable.support import TOPIC
from vb.durable.queue import DurableQueue


async def main(directory: str) -> None:
    queue = await DurableQueue.open(directory)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        for first in range(0, 1_000_000, 7):
            items = [queue.put(TOPIC, str(key), str(key).encode() * 50) for key in range(first, first + 7)]
            while any(item is not None and item.data is not None for item in items):
                await trio.lowlevel.checkpoint()
            for item in items:
                if item is not None:
                    print(item.key, flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
