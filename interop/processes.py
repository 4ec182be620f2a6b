"""Ending the processes of peers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

REAP_S = 5.0


def tail_of(log: Path) -> str:
    """Return what a program has said last."""
    return log.read_text(errors="replace")[-300:]


async def end(process: trio.Process, within_s: float) -> None:
    """Ask a process to end, and wait for that so long."""
    process.terminate()
    with trio.move_on_after(within_s):
        await process.wait()


@asynccontextmanager
async def reaped(process: trio.Process) -> AsyncIterator[None]:
    """Kill a process that still runs after the block."""
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
            with trio.move_on_after(REAP_S, shield=True):
                await process.wait()
