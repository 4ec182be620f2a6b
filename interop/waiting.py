"""How long the server could have run and was not let run, because others had the CPU."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

INTERVAL_S = 0.05


@dataclass
class Waited:
    """What the main thread of a process waited for a CPU; nothing where the kernel does not tell.

    Attributes:
        longest_s: most of it within two steps of sampling, as a wait may cross from one to the next.
    """

    longest_s: float = 0.0
    total_s: float = 0.0


def _waited_s(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


@asynccontextmanager
async def watched(pid: int) -> AsyncIterator[Waited]:
    """Sample a process for the time of the block."""
    waited = Waited()

    async def sample() -> None:
        last, before = _waited_s(pid), 0.0
        while True:
            await trio.sleep(INTERVAL_S)
            now = _waited_s(pid)
            step, last = now - last, now
            waited.longest_s = max(waited.longest_s, before + step)
            waited.total_s += step
            before = step

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sample)
        yield waited
        nursery.cancel_scope.cancel()
