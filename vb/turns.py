"""Work that comes in bursts takes turns, so that between two turns the media's tick finds its place.

The event loop runs everything that is ready before it looks at the clock again. Were a thousand legs to be
cancelled at once, their tasks would run in one such pass, and the tick would be late by all of it. So only a
few ends begin in a pass, and none while passes are long because of those that have begun.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import structlog
import trio

log = structlog.get_logger(__name__)

AT_ONCE: Final = 2
"""Pieces of work that begin in one pass: each sets tasks going that have work of their own."""
SPAN_S: Final = 0.005
"""As many begin without waiting for a turn in this time, as nearly all of them do."""
TURN_S: Final = 0.001
"""How long the steps of one turn may take."""
BUSY_S: Final = 0.004
"""A pass that took so long is followed by one in which nothing begins."""
MOST_IDLE: Final = 8
"""Passes in a row in which nothing begins, at most: however busy others are, it goes on."""


class Turns:
    """The work of one server that takes turns, first come, first served.

    It is bounded by who hands it in: each leg ends once, each room is deleted once. While `run` is not
    running everything is done at once.

    Args:
        on_fault: told that a piece of work failed.
    """

    def __init__(self, on_fault: Callable[[], None] = lambda: None) -> None:
        self._on_fault = on_fault
        self._waiting: deque[_Work] = deque()
        self._wakeup: trio.Event | None = None
        self._running = False
        self._free = AT_ONCE
        self._span_begun = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, work: Callable[[], object]) -> None:
        """Do a piece of work: at once unless others have just been done, else when its turn comes."""
        if not self._running or (not self._waiting and self._is_free()):
            work()
        else:
            self._waiting.append(_Work(_Once(work), heavy=True))
            self._wake()

    def _is_free(self) -> bool:
        """Say whether a piece of work may begin without a turn, and count it."""
        now = trio.current_time()
        if now - self._span_begun >= SPAN_S:
            self._span_begun, self._free = now, AT_ONCE
        self._free -= 1
        return self._free >= 0

    async def spread(self, steps: Iterable[None]) -> None:
        """Take the steps of a generator by turns, after all work that came before; returns after the last.

        Work that the steps hand in comes after them. Cancellation: the steps go on, unwatched.
        """
        work = _Work(iter(steps), heavy=False)
        if not self._running:
            for _ in work.steps:
                pass
            return
        self._waiting.append(work)
        self._wake()
        await work.done.wait()

    async def run(self) -> None:
        """Give turns until cancelled.

        Cancellation: what still waits is done at once.
        """
        self._running = True
        try:
            while True:
                if not self._waiting:
                    self._wakeup = trio.Event()
                    await self._wakeup.wait()
                self._turn()
                await self._others()
        finally:
            self._running = False
            while self._waiting:
                self._step(self._waiting[0])

    def _wake(self) -> None:
        if self._wakeup is not None:
            self._wakeup.set()

    def _turn(self) -> None:
        begun, heavy = trio.current_time(), 0
        while self._waiting and heavy < AT_ONCE and trio.current_time() - begun < TURN_S:
            work = self._waiting[0]
            heavy += work.heavy
            self._step(work)

    def _step(self, work: _Work) -> None:
        """Take one step of the work that comes first, and strike it off after its last."""
        try:
            if next(work.steps, _END) is not _END:
                return
        except Exception:  # a fault in one piece of work is the end of that piece
            self._on_fault()
            log.exception("work failed in its turn")
        self._waiting.popleft()
        work.done.set()

    async def _others(self) -> None:
        """Let everybody else run, and go on once a pass is short again."""
        for _ in range(1 + MOST_IDLE):
            begun = trio.current_time()
            await trio.lowlevel.checkpoint()
            if trio.current_time() - begun < BUSY_S:
                return


_END: Final = object()


class _Work:
    """Steps to take; `heavy` when what they set going costs more than they do."""

    def __init__(self, steps: Iterator[None], *, heavy: bool) -> None:
        self.steps = steps
        self.heavy = heavy
        self.done = trio.Event()


class _Once:
    """One piece of work as an iterator of steps: its only step is its last."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work

    def __iter__(self) -> _Once:
        return self

    def __next__(self) -> None:
        self._work()
        raise StopIteration
