"""The one task that drives the plane."""

from __future__ import annotations

import os
import time

import trio

from vb.mixer.frames import TICK_S
from vb.mixer.plane import Plane
from vb.mixer.rest import Rest
from vb.mixer.tasks.helpers import helpers
from vb.mixer.ticks import TickGrid


async def run_plane(
    plane: Plane, *, task_status: trio.TaskStatus[TickGrid] = trio.TASK_STATUS_IGNORED
) -> None:
    """Tick every 20 ms on an absolute grid until cancelled; between two ticks there are only sleep and rest.

    Started with the grid, whose counters and lateness are for the metrics.
    """
    grid = TickGrid(trio.current_time() + TICK_S)
    plane.set_time(trio.current_time())
    rest = Rest(trio.current_time(), time.thread_time())
    with helpers() as hands:
        plane.set_hands(hands)
        try:
            task_status.started(grid)
            while True:
                await trio.sleep_until(grid.due)
                now = trio.current_time()
                late_s = now - grid.due
                skipped = grid.begin(now)
                if skipped:
                    plane.skip(skipped)
                plane.tick(now, grid.due)
                grid.finish()
                ended = trio.current_time()
                plane.complexity.note((ended - now) / TICK_S, late_s)
                rest_s = rest.after_tick(ended, time.thread_time())
                if rest_s and _is_realtime():
                    _rest(rest_s)
        finally:
            plane.set_hands(None)


def _is_realtime() -> bool:
    """Say whether this thread has real-time priority now; an operator may give it at any time."""
    try:
        policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    except OSError:  # a sandbox may forbid the question
        return False
    return policy in (os.SCHED_RR, os.SCHED_FIFO)


def _rest(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 -- the thread is to rest, not this task
