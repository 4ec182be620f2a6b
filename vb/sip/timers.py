"""Timer values and the queue that holds every timer of an agent.  Spec: RFC 3261 §17, appendix A."""

from __future__ import annotations

import heapq
from math import inf
from typing import Protocol

T1_S = 0.5
T2_S = 4.0
T4_S = 5.0
TIMEOUT_S = 64 * T1_S
KEEP_ALIVE_S = 30.0
"""How often a connection shows life on which nothing but a response to an INVITE of ours is awaited."""
REOPEN_S = 10.0
"""A connection that was opened anew and is lost within this time was the last try; to connect takes less."""
MIN_SWEEP = 64
AT_ONCE = 16
"""Of thousands of timers that are due at once, so many run before everybody else has a turn."""


class QueueEntry:
    """The place of an item in a queue; `item` is None once nobody waits for it.

    An entry stays in the heap until its time comes, which may be a minute after the item is gone: so it lets
    go of the item at once.
    """

    __slots__ = ("at", "item")

    def __init__(self, at: float, item: Timed) -> None:
        self.at = at
        self.item: Timed | None = item


class Timed(Protocol):
    """Something with at most one next deadline; `queued_as` belongs to the queue."""

    queued_as: QueueEntry | None

    @property
    def deadline(self) -> float | None:
        """When `expire` is due; None = not at all."""
        ...

    def expire(self, now: float) -> None:
        """Do what is due; the deadline afterwards is later than `now`."""
        ...


class TimerQueue:
    """A heap with lazy deletion: moving a deadline later or dropping it costs nothing.

    An entry whose item has a later deadline by now is pushed again when it comes up; an item is
    pushed early only when its deadline moved forward. Entries of discarded items are swept out once
    they are the greater part.
    """

    __slots__ = ("_discarded", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, QueueEntry]] = []
        self._serial = 0
        self._discarded = 0

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, item: Timed) -> None:
        """Take note of an item's deadline; call after everything that may have changed it."""
        deadline = item.deadline
        if deadline is None:
            return
        queued = item.queued_as
        if queued is None or deadline < queued.at:
            if queued is not None:
                queued.item = None
            entry = item.queued_as = QueueEntry(deadline, item)
            self._serial += 1
            heapq.heappush(self._heap, (deadline, self._serial, entry))

    def deadline(self, before: float = inf) -> float | None:
        """Return when `expire` should be called next, None if that is not before some time."""
        heap = self._heap
        while heap and heap[0][0] < before:
            at, _, entry = heap[0]
            item = entry.item
            if item is not None and item.deadline == at:
                return at
            heapq.heappop(heap)
            if item is not None:  # it has a later deadline by now, or none: nobody is woken for this one
                item.queued_as = None
                self.schedule(item)
        return None

    def discard(self, item: Timed) -> None:
        """Drop an item that will have no deadline any more."""
        queued = item.queued_as
        if queued is None:
            return
        queued.item = item.queued_as = None
        self._discarded += 1
        if self._discarded > MIN_SWEEP and self._discarded * 2 > len(self._heap):
            self._heap[:] = [entry for entry in self._heap if entry[2].item is not None]
            heapq.heapify(self._heap)
            self._discarded = 0

    def expire(self, now: float, most: int | None = None) -> None:
        """Expire the items whose deadline has come, oldest first; at most so many, the rest stays due."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            if most is not None:
                if not most:
                    return
                most -= 1
            item = heapq.heappop(heap)[2].item
            if item is None:
                continue
            item.queued_as = None
            deadline = item.deadline
            if deadline is not None and deadline <= now:
                item.expire(now)
            self.schedule(item)
