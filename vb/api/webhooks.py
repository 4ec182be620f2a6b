"""Webhooks: one ordered queue for each target, so that a dead receiver delays nobody else.

A target is a URL and its secret. An event is tried up to three times; whatever becomes of it is counted.
Bodies wait in memory up to a limit of bytes, and for a target that has taken nothing for a second up to a
number. Beyond it an event of the spool waits on the disk alone, in its place in the queue; without a spool it
is dropped.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import structlog
import trio

from vb.api.edge import EdgeEngine
from vb.api.spool import Entry, Spool
from vb.api.webhook_sender import Outcome, WebhookSender
from vb.channels import MAX_FEED_BYTES, PATIENCE_S
from vb.events.base import Published
from vb.events.hooks import Hook
from vb.log import StrangersLog

log = structlog.get_logger(__name__)
strangers = StrangersLog(__name__)

QUEUE_EVENTS: Final = 1000
MAX_QUEUED_EVENTS: Final = 50_000
MAX_TARGET_BYTES: Final = MAX_FEED_BYTES
MAX_BYTES: Final = 8 * MAX_FEED_BYTES
MAX_WORKERS: Final = 1000
READ_AHEAD: Final = 16
"""Events of a target that are read from the spool at a time."""
ATTEMPTS: Final = 3
PAUSES_S: Final = (2.0, 4.0)


class WebhookDispatcher:
    """Delivers every event to the hook it belongs to.

    Who gets an event is decided when it is published, so it does not matter that a leg or room is gone by the
    time of delivery.

    Args:
        engine: its bus, hooks, metrics and way out.
        sender: posts one event; made from the engine when None.
        spool: keeps what is not delivered yet over the end of the process; None keeps nothing. What it has
            already goes out before anything new.
    """

    def __init__(
        self, engine: EdgeEngine, sender: WebhookSender | None = None, spool: Spool | None = None
    ) -> None:
        self._hooks = engine.hooks
        self._metrics = engine.metrics
        self._sender = sender or WebhookSender(engine.web)
        self._targets: dict[Hook, _Target] = {}
        self._line: deque[_Target] = deque()  # targets with events that no worker serves now
        self._workers = 0
        self._queued = 0
        self._in_memory = 0
        self._bytes = 0
        self._nursery: trio.Nursery | None = None
        self._drained = trio.Event()
        self._closed = False
        self._spool = spool
        if spool is not None:
            self._take_over(spool)
            engine.metrics.add_source(spool.readings)
        self._unsubscribe = engine.bus.subscribe(self._offer)
        engine.metrics.add_source(
            lambda: [("webhook_queued", "Events that wait for their webhook", self._queued, {})]
        )

    async def run(self) -> None:
        """Deliver until cancelled.

        Cancellation: what is still queued is counted and logged as undelivered.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for _ in tuple(self._line):
                    self._start_worker()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._give_up()
            self._unsubscribe()

    async def drain(self, deadline: float) -> None:
        """Wait until everything queued is delivered or given up, or until `deadline` of Trio's clock.

        What is left then is counted and logged, and no more is tried.
        """
        with trio.move_on_at(deadline):
            while self._queued:
                self._drained = trio.Event()
                await self._drained.wait()
        if self._queued:
            self._give_up()

    # -- queueing ------------------------------------------------------------------------------------------

    def _offer(self, published: Published) -> None:
        """Note an event in the spool, and queue it if there is room in memory or if the spool has it."""
        hook = self._hooks.route(published)
        if hook is None:
            return
        body = self._write(published)
        if body is None:
            return
        entry = self._note(published, hook, body)
        job = _Job(published.event_id, published.event.type, entry, body)
        if not self._has_room(hook, len(body)):
            job.body = None
            if entry is None:
                self._metrics.webhooks_dropped.inc()
                strangers.warning("webhook_dropped", event_id=job.event_id, type=job.kind)
                return
        if self._closed:
            self._metrics.webhooks_enqueued.inc()
            self._metrics.delivered("undelivered")
            return
        self._queue(hook, job)

    def _write(self, published: Published) -> bytes | None:
        """Return the body of an event; None when there cannot be one, and that is its outcome."""
        try:
            return published.body
        except ValueError as error:
            log.error("webhook_unserialisable", event_id=published.event_id, error=str(error))
        except Exception:  # the intake boundary: a fault in one event is no fault of who published it
            self._contain("event", published.event_id, published.event.type)
        self._metrics.webhooks_enqueued.inc()
        self._metrics.delivered("marshal_error")
        return None

    def _note(self, published: Published, hook: Hook, body: bytes) -> Entry | None:
        if self._spool is None:
            return None
        own = None if hook is self._hooks.global_hook else hook
        return self._spool.append(published.event_id, published.event.type, body, own)

    def _has_room(self, hook: Hook, size: int) -> bool:
        if self._closed or self._in_memory >= MAX_QUEUED_EVENTS or self._bytes + size > MAX_BYTES:
            return False
        target = self._targets.get(hook)
        if target is None or not target.held:
            return True
        if target.bytes + size > MAX_TARGET_BYTES:
            return False
        return target.held < QUEUE_EVENTS or trio.current_time() - target.took_at < PATIENCE_S

    def _queue(self, hook: Hook, job: _Job) -> None:
        target = self._targets.get(hook)
        if target is None:
            target = self._targets[hook] = _Target(hook)
            self._line.append(target)
            self._start_worker()
        target.jobs.append(job)
        if job.body is not None:
            target.held += 1
            target.bytes += len(job.body)
            self._in_memory += 1
            self._bytes += len(job.body)
        self._queued += 1
        self._metrics.webhooks_enqueued.inc()

    def _take_over(self, spool: Spool) -> None:
        """Queue what earlier runs left undelivered; what has no target now stays where it is."""
        kept = 0
        for entry in spool.entries():
            hook = entry.hook or self._hooks.global_hook
            if hook is None:
                kept += 1
            else:
                self._queue(hook, _Job(entry.event_id, entry.kind, entry))
        if kept:
            log.warning("webhooks wait in the spool until WEBHOOK_URL is set", events=kept)

    # -- delivery ------------------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        if self._nursery is not None and self._workers < MAX_WORKERS:
            self._workers += 1
            self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        """Serve targets until none is left in line."""
        try:
            while self._line:
                await self._serve(self._line.popleft())
        finally:
            self._workers -= 1

    async def _serve(self, target: _Target) -> None:
        """Deliver a target's events one after the other; while others are in line, one and then they."""
        while target.jobs:
            job = target.current = target.jobs.popleft()
            if job.body is not None:
                target.held -= 1
                target.bytes -= len(job.body)
            with trio.CancelScope() as target.attempt:
                outcome = await self._deliver(target, job)
                if outcome == "success":
                    target.took_at = trio.current_time()
                self._settle(target, job, outcome)
            if self._line and target.jobs:
                self._line.append(target)
                return
        self._targets.pop(target.hook, None)

    async def _deliver(self, target: _Target, job: _Job) -> Outcome:
        try:
            body = await self._body(target, job)
        except Exception:  # as below; trying again would not change what there is to read
            self._contain("event", job.event_id, job.kind)
            return "marshal_error"
        if body is None:
            log.error("webhook_unreadable", event_id=job.event_id, type=job.kind)
            return "marshal_error"
        for attempt in range(ATTEMPTS):
            outcome = await self._attempt(target.hook, job, body)
            if outcome != "retry":
                return outcome
            if attempt < len(PAUSES_S):
                await trio.sleep(PAUSES_S[attempt])
        _log_of(target.hook).warning("webhook_exhausted", event_id=job.event_id, type=job.kind)
        return "exhausted"

    async def _attempt(self, hook: Hook, job: _Job, body: bytes) -> Outcome:
        try:
            return await self._sender.post(hook, job.event_id, body)
        except Exception:  # the delivery boundary: a fault is a failed attempt, and the worker goes on
            self._contain("delivery", job.event_id, job.kind)
            return "retry"

    def _contain(self, site: str, event_id: str, kind: str) -> None:
        self._metrics.recovered("webhooks", site)
        log.exception("webhook failed", event_id=event_id, type=kind)

    async def _body(self, target: _Target, job: _Job) -> bytes | None:
        """Return the bytes to post, read from the spool with what comes next; None when they cannot be."""
        if job.body is not None:
            return job.body
        assert self._spool is not None
        if job not in target.ahead:
            jobs = [job, *islice(target.jobs, READ_AHEAD - 1)]
            wanted = [
                (other, other.entry) for other in jobs if other.body is None and other.entry is not None
            ]
            bodies = await self._spool.read([entry for _, entry in wanted])
            target.ahead = {other: body for (other, _), body in zip(wanted, bodies, strict=True)}
        return target.ahead.pop(job)

    def _settle(self, target: _Target, job: _Job, outcome: Outcome) -> None:
        """Cross an event out and count what became of it, unless it was given up a moment ago."""
        if self._spool is not None and job.entry is not None:
            try:
                self._spool.settle(job.entry)
            except Exception:  # as above: the event may go out once more after the next start
                self._contain("spool", job.event_id, job.kind)
        if target.current is job:
            target.current = None
            self._count(job, outcome)

    def _count(self, job: _Job, outcome: Outcome) -> None:
        self._metrics.delivered(outcome)
        if job.body is not None:
            self._in_memory -= 1
            self._bytes -= len(job.body)
        self._queued -= 1
        if not self._queued:
            self._drained.set()

    def _give_up(self) -> None:
        """Try nothing any more: what is left counts as undelivered; what the spool has stays in it."""
        self._closed = True
        kept = 0
        for target in self._targets.values():
            target.attempt.cancel()
            waiting = [target.current] if target.current is not None else []
            for job in [*waiting, *target.jobs]:
                kept += job.entry is not None
                if job.entry is None:
                    lost = _log_of(target.hook)
                    lost.warning("webhook_undelivered", event_id=job.event_id, type=job.kind)
                self._count(job, "undelivered")
            target.current = None
            target.jobs.clear()
        self._targets.clear()
        self._line.clear()
        if kept:
            log.warning("webhooks stay in the spool until the next start", events=kept)


@dataclass(slots=True, eq=False)
class _Job:
    """One event on its way to its target; `body` is None when it is only in the spool."""

    event_id: str
    kind: str
    entry: Entry | None
    body: bytes | None = None


class _Target:
    """The queue of one hook, the event that is being delivered, and the scope of its delivery.

    The dispatcher bounds the queue: bodies as the module says, and what the spool has room for.

    Attributes:
        held: events in the queue that have their bodies.
        bytes: of those.
        ahead: bodies that were read from the spool and not posted yet.
        took_at: when the receiver took an event, or the first one came.
    """

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        self.jobs: deque[_Job] = deque()
        self.held = 0
        self.bytes = 0
        self.took_at = trio.current_time()
        self.ahead: dict[_Job, bytes | None] = {}
        self.current: _Job | None = None
        self.attempt = trio.CancelScope()


def _log_of(hook: Hook) -> Any:
    """Return where it is told that an event did not arrive: a caller may choose a hook that takes nothing."""
    return log if hook.trusted else strangers
