"""The one task that drives the plane."""

from __future__ import annotations

import trio

from vb.mixer.frames import TICK_S
from vb.mixer.plane import Plane
from vb.mixer.ticks import TickGrid


async def run_plane(
    plane: Plane, *, task_status: trio.TaskStatus[TickGrid] = trio.TASK_STATUS_IGNORED
) -> None:
    """Tick every 20 ms on an absolute grid until cancelled; between two ticks there is only the sleep.

    Started with the grid, whose counters and lateness are for the metrics.
    """
    grid = TickGrid(trio.current_time() + TICK_S)
    plane.set_time(trio.current_time())
    task_status.started(grid)
    while True:
        await trio.sleep_until(grid.due)
        now = trio.current_time()
        skipped = grid.begin(now)
        if skipped:
            plane.skip(skipped)
        plane.tick(now, grid.due)
        grid.finish()
