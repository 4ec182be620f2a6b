"""The one task that drives the plane, and what lets a tick go before other tasks that are ready."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import trio

from vb.beat import beat_from
from vb.mixer.frames import TICK_S
from vb.mixer.plane import Plane
from vb.mixer.rest import Rest
from vb.mixer.tasks.helpers import helpers
from vb.mixer.ticks import TickGrid

OTHERS_SHARE: Final = 0.25
"""Of the time that a tick took, what other tasks get at least before the next one may go before them."""
OTHERS_SHARE_WHEN_FULL: Final = 3.0
"""The same when there is more to do than time: audio that is late anyway must not keep calls from ending."""
FULL_AFTER_S: Final = 0.1
"""So long without a moment in which nobody had anything to do, and there is."""


class _Ticker(trio.abc.Instrument):
    """Runs the ticks of a plane on their grid.

    Trio runs all tasks that are ready before it looks at the clock again, and then all that are ready by
    then, in any order: with hundreds of calls a tick would wait for all of it twice. As a tick is arithmetic
    that never waits, it fits between any two steps of tasks: this looks before each whether one is due. It
    looks as well when Trio has waited, and then has the alarm go off later: a tick in time wakes no task.

    While the plane has nothing to do it rests, and no time wakes it: whoever comes does, and hears with the
    next point of the grid what it would have heard without the rest.

    Attributes:
        failure: what ended the ticks.
        alarm: cancelled when a tick is due and nothing here has run it.
    """

    def __init__(self, plane: Plane, grid: TickGrid) -> None:
        self.failure: BaseException | None = None
        self.alarm = trio.CancelScope()
        self._plane = plane
        self._grid = grid
        self._now = trio.lowlevel.current_clock().current_time
        self._rest = Rest(self._now(), time.thread_time())
        self._begins_at = grid.due
        self._idle_at = self._now()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Tick if it is time for that; called by Trio before each step of any task."""
        now = self._now()
        if now >= self._begins_at:
            self._try_tick(now)

    def after_io_wait(self, timeout: float) -> None:
        """Note when nobody had anything to do, and tick if that is over; called by Trio after it waited.

        Trio looks for the deadlines that have passed right after this.
        """
        if timeout > 0:
            self._idle_at = now = self._now()
            if now >= self._begins_at:
                self._try_tick(now)

    def go_on(self) -> None:
        """End a rest, if there is one; called by the plane when something in it changes."""
        if self._grid.rests:
            now = self._now()
            self._plane.go_on(now, self._grid.go_on(now))
            self._begins_at = self.alarm.deadline = self._grid.due

    def _try_tick(self, now: float) -> None:
        try:
            self.tick(now)
        except BaseException as error:  # Trio logs it and goes on; the clock's task ends then
            self.failure = error
            raise

    def tick(self, now: float) -> None:
        """Run the tick that is due."""
        grid, plane = self._grid, self._plane
        late_s = now - grid.due
        skipped = grid.begin(now)
        if skipped:
            plane.skip(skipped)
        plane.tick(now, grid.due)
        grid.finish()
        ended = self._now()
        plane.complexity.note((ended - now) / TICK_S, late_s)
        if plane.at_rest:
            grid.rest()
        self.alarm.deadline = grid.due
        share = OTHERS_SHARE if ended - self._idle_at < FULL_AFTER_S else OTHERS_SHARE_WHEN_FULL
        self._begins_at = max(grid.due, ended + share * (ended - now))
        rest_s = self._rest.after_tick(ended, time.thread_time())
        if rest_s and _is_realtime():
            _rest(rest_s)


async def run_plane(
    plane: Plane, *, task_status: trio.TaskStatus[TickGrid] = trio.TASK_STATUS_IGNORED
) -> None:
    """Tick every 20 ms on an absolute grid, as long as there is something to do, until cancelled.

    Started with the grid, whose counters and lateness are for the metrics.
    """
    grid = TickGrid(beat_from(trio.current_time() + TICK_S))
    plane.set_time(trio.current_time())
    ticker = _Ticker(plane, grid)
    with helpers() as hands, _instrument(ticker):
        plane.set_hands(hands)
        plane.set_on_change(ticker.go_on)
        try:
            task_status.started(grid)
            while True:
                # A tick at the latest then, when nobody else has anything to do.
                with trio.CancelScope(deadline=grid.due) as ticker.alarm:
                    await trio.sleep_forever()
                if ticker.failure is not None:
                    raise ticker.failure
                now = trio.current_time()
                if now >= grid.due:
                    ticker.tick(now)
        finally:
            plane.set_hands(None)
            plane.set_on_change(None)


@contextmanager
def _instrument(instrument: trio.abc.Instrument) -> Iterator[None]:
    trio.lowlevel.add_instrument(instrument)
    try:
        yield
    finally:
        with suppress(KeyError):  # one that has failed is not there any more
            trio.lowlevel.remove_instrument(instrument)


def _is_realtime() -> bool:
    """Say whether this thread has real-time priority now; an operator may give it at any time."""
    try:
        policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    except OSError:  # a sandbox may forbid the question
        return False
    return policy in (os.SCHED_RR, os.SCHED_FIFO)


def _rest(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 -- the thread is to rest, not this task
