"""One task that does the slow RTP of many legs.

Most calls are over before their first report is due. A task of its own for each would cost such a call more
than everything else that it needs of RTP: so their deadlines are kept in one heap, and one task sleeps until
the first of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Final

import trio

from vb.beat import at_leisure
from vb.rtp.tasks.session import RtpService

_AT_ONCE: Final = 32
"""Legs that are served before the media's tick and everybody else get a chance to run."""


_Work = tuple[RtpService, Callable[[], None], Callable[[Exception], None]]


class KeptService:
    """One leg's slow RTP in the hands of a keeper.

    Args:
        keeper: does the work.
        service: what is to be done.
        on_silence: called once, when the peer was silent for too long.
        on_fault: called with a fault of the service, which is served no more.

    Attributes:
        due_at: when it has to be served next, unless it is woken before.
    """

    def __init__(
        self,
        keeper: RtpKeeper,
        service: RtpService,
        on_silence: Callable[[], None],
        on_fault: Callable[[Exception], None],
    ) -> None:
        self.due_at = math.inf
        self._keeper = keeper
        self._work: _Work | None = (service, on_silence, on_fault)
        self._is_woken = False

    def look(self) -> None:
        """See at once when it is due, as its leg has changed; what has come for it is left to the task."""
        if self._work is None:
            return
        if self._work[0].waits or self._is_woken:
            self.wake()
        else:
            self.step()

    def wake(self) -> None:
        """Have it served soon; called by the port whenever something has come or changed."""
        if self._work is not None and not self._is_woken:
            self._is_woken = True
            self._keeper.woken(self)

    def stop(self) -> None:
        """Serve it no more, and let go of whose it is; any number of times."""
        self._work = None
        self.due_at = math.inf

    def step(self) -> None:
        """Do what is due now, and find out when to come back."""
        self._is_woken = False
        if self._work is None:
            return
        service, on_silence, on_fault = self._work
        now = trio.current_time()
        try:
            due_at = service.step(now)
        except Exception as fault:  # the boundary of one leg's RTP: its owner ends the leg
            self.stop()
            on_fault(fault)
            return
        if due_at is None:
            self.stop()
            on_silence()
        elif self._work is not None and (due_at := at_leisure(due_at, now)) != self.due_at:
            self.due_at = due_at
            self._keeper.schedule(self)


class RtpKeeper:
    """Serves the slow RTP of all legs of a kind."""

    def __init__(self) -> None:
        self._times: list[tuple[float, int, KeptService]] = []
        self._numbers = count()
        self._woken: deque[KeptService] = deque()
        self._event = trio.Event()
        self._timer = trio.CancelScope()

    def serve(
        self, service: RtpService, *, on_silence: Callable[[], None], on_fault: Callable[[Exception], None]
    ) -> KeptService:
        """Serve a leg from now on, until it is stopped; see `KeptService`."""
        kept = KeptService(self, service, on_silence, on_fault)
        service.on_wake(kept.wake)
        kept.look()
        return kept

    def woken(self, kept: KeptService) -> None:
        """Take note that a leg has something to do."""
        self._woken.append(kept)
        self._event.set()

    def schedule(self, kept: KeptService) -> None:
        """Take note of when a leg has to be served next."""
        heappush(self._times, (kept.due_at, next(self._numbers), kept))
        if kept.due_at < self._timer.deadline:
            self._timer.deadline = kept.due_at

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_woken)
            nursery.start_soon(self._run_timers)

    async def _run_woken(self) -> None:
        while True:
            await self._event.wait()
            for _ in range(min(_AT_ONCE, len(self._woken))):
                self._woken.popleft().step()
            if self._woken:
                await trio.lowlevel.checkpoint()
            else:
                self._event = trio.Event()

    async def _run_timers(self) -> None:
        while True:
            with trio.CancelScope() as self._timer:
                self._timer.deadline = self._first_deadline()
                await trio.sleep_forever()
            for _ in range(_AT_ONCE):
                if self._first_deadline() > trio.current_time():
                    break
                kept = heappop(self._times)[2]
                kept.due_at = math.inf
                kept.step()

    def _first_deadline(self) -> float:
        """Return when somebody has to be served, forgetting those who need not be at that time any more."""
        times = self._times
        while times and times[0][0] != times[0][2].due_at:
            heappop(times)
        return times[0][0] if times else math.inf
