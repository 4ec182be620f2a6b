"""Threads that help the plane's own one with codecs: libopus gives the interpreter's lock up while it works.

All of them, the plane's own included, take one piece after the other from one batch. So a helper that the
system lets wait delays nothing: what it has not begun the others do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Final

from vb.mixer.hands import OneHand, Work

MOST_THREADS: Final = 4
"""The plane's own included: what remains for one thread is then most of a tick anyway."""
LEAST_PIECES: Final = 8
"""Fewer are done before a helper has woken up."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def scheduling(thread: int) -> tuple[int, int]:
    """Return the policy and priority of a thread of this process, 0 for the present one."""
    try:
        policy = os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK
        return policy, os.sched_getparam(thread).sched_priority
    except (AttributeError, OSError):  # another system, or a sandbox that forbids the question
        return 0, 0


def adopt(wanted: tuple[int, int]) -> None:
    """Run the present thread by a policy and priority, if that is permitted."""
    policy, priority = wanted
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, policy, os.sched_param(priority))


class _Batch:
    """Pieces of one kind."""

    __slots__ = ("_done", "_pieces", "_work")

    def __init__(self, count: int, work: Work) -> None:
        self._pieces = iter(range(count))  # taking the next one is one step of the interpreter
        self._work = work
        self._done: SimpleQueue[int] = SimpleQueue()

    def help(self) -> None:
        """Do pieces as long as there are any, and tell how many it were."""
        done = 0
        try:
            for piece in self._pieces:
                done += 1
                self._work(piece)
        finally:
            if done:
                self._done.put(done)

    def wait(self, count: int) -> None:
        """Return once all are done."""
        while count:
            count -= self._done.get()


class Helpers:
    """The plane's own thread and those beside it.

    Args:
        count: threads beside it.
    """

    def __init__(self, count: int) -> None:
        self._batch: _Batch | None = None
        self._stopped = False
        self._served = threading.get_native_id()
        self._wakes = [threading.Lock() for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._run, args=(wake,), name=f"codecs {number}", daemon=True)
            for number, wake in enumerate(self._wakes, 1)
        ]
        for wake, thread in zip(self._wakes, self._threads, strict=True):
            wake.acquire()
            thread.start()

    def share(self, count: int, work: Work) -> None:
        """Do all pieces, with helpers where there are enough of them."""
        if count < LEAST_PIECES:
            OneHand().share(count, work)
            return
        batch = self._batch = _Batch(count, work)
        self._wake()
        batch.help()
        batch.wait(count)
        self._batch = None

    def stop(self) -> None:
        """Let the helpers end, and wait for it; none of them works between two batches."""
        self._stopped = True
        self._wake()
        for thread in self._threads:
            thread.join()

    def _wake(self) -> None:
        for wake in self._wakes:
            if wake.locked():
                wake.release()

    def _run(self, wake: threading.Lock) -> None:
        priority = scheduling(0)
        while True:
            wake.acquire()
            if self._stopped:
                return
            wanted = scheduling(self._served)
            if wanted != priority:
                # Operators give the plane priority at any time; it must not wait for a thread without.
                priority = wanted
                adopt(wanted)
            batch = self._batch
            if batch is not None:
                batch.help()


@contextmanager
def helpers() -> Iterator[Helpers | OneHand]:
    """Have a helper for each core beyond the first, up to a limit, inside the block."""
    count = min(cores(), MOST_THREADS) - 1
    if not count:
        yield OneHand()
        return
    with helpers_of(count) as found:
        yield found


@contextmanager
def helpers_of(count: int) -> Iterator[Helpers]:
    """Have so many helpers inside the block."""
    found = Helpers(count)
    try:
        yield found
    finally:
        found.stop()
