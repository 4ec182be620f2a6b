"""Webhooks: one ordered queue for each target, so that a dead receiver delays nobody else.

A target is a URL and its secret. Its task starts with the first event and ends when nothing came for a
while. An event is tried up to three times; whatever becomes of it is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog
import trio

from vb.api.edge import EdgeEngine
from vb.api.spool import Spool
from vb.api.webhook_sender import Outcome, WebhookSender
from vb.channels import Channel, ChannelClosed
from vb.events.base import Published
from vb.events.hooks import Hook

log = structlog.get_logger(__name__)

QUEUE_EVENTS: Final = 1000
MAX_TARGETS: Final = 1000
MAX_QUEUED_EVENTS: Final = 50_000
IDLE_TARGET_S: Final = 60.0
ATTEMPTS: Final = 3
PAUSES_S: Final = (2.0, 4.0)


class WebhookDispatcher:
    """Delivers every event to the hook it belongs to.

    Who gets an event is decided when it is published, so it does not matter that a leg or room is gone by the
    time of delivery.

    Args:
        engine: its bus, hooks, metrics and HTTP client.
        sender: posts one event; made from the engine when None.
        spool: keeps what is not delivered yet over the end of the process; None keeps nothing.
    """

    def __init__(
        self, engine: EdgeEngine, sender: WebhookSender | None = None, spool: Spool | None = None
    ) -> None:
        self._hooks = engine.hooks
        self._metrics = engine.metrics
        self._sender = sender or WebhookSender(engine.http, engine.config.server.fetch_allow)
        self._targets: dict[Hook, _Target] = {}
        self._queued = 0
        self._nursery: trio.Nursery | None = None
        self._drained = trio.Event()
        self._ended = False
        self._spool = spool
        if spool is not None:
            self._take_over(spool)
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
                for target in self._targets.values():
                    nursery.start_soon(self._serve, target)
                await trio.sleep_forever()
        finally:
            self._ended = True
            self._nursery = None
            self._unsubscribe()
            for target in self._targets.values():
                self._give_up(target)
            self._targets.clear()
            if self._spool is not None:
                self._spool.close()

    async def drain(self, deadline: float) -> None:
        """Wait until everything queued is delivered or given up, or until `deadline` of Trio's clock.

        What is left then is counted and logged, and no more is tried.
        """
        with trio.move_on_at(deadline):
            while self._queued:
                self._drained = trio.Event()
                await self._drained.wait()
        for target in tuple(self._targets.values()):
            self._give_up(target)

    # -- queueing ------------------------------------------------------------------------------------------

    def _offer(self, published: Published) -> None:
        hook = self._hooks.route(published)
        if hook is not None:
            self._queue(hook, _Job(published.event_id, published.event.type, published))

    def _queue(self, hook: Hook, job: _Job, *, spooled: bool = False) -> None:
        target = self._target(hook)
        if target is None or self._queued >= MAX_QUEUED_EVENTS or not target.jobs.put(job):
            self._metrics.webhooks_dropped.inc()
            log.warning("webhook_dropped", event_id=job.event_id, type=job.kind)
            return
        self._queued += 1
        self._metrics.webhooks_enqueued.inc()
        if self._spool is not None and not spooled:
            own = None if hook is self._hooks.global_hook else hook
            self._spool.append(job.event_id, job.kind, job.body, own)

    def _take_over(self, spool: Spool) -> None:
        """Queue what an earlier run left undelivered, before anything new."""
        for entry in spool.recover():
            hook = entry.hook or self._hooks.global_hook
            if hook is None:
                spool.settle(entry.event_id)
                continue
            self._queue(hook, _Job(entry.event_id, entry.kind, None, entry.body), spooled=True)

    def _target(self, hook: Hook) -> _Target | None:
        target = self._targets.get(hook)
        if target is None and len(self._targets) < MAX_TARGETS and not self._ended:
            target = self._targets[hook] = _Target(hook)
            if self._nursery is not None:
                self._nursery.start_soon(self._serve, target)
        return target

    # -- delivery ------------------------------------------------------------------------------------------

    async def _serve(self, target: _Target) -> None:
        """Deliver a target's events one after the other until none came for a while."""
        while True:
            with trio.move_on_after(IDLE_TARGET_S) as idle:
                try:
                    job = await target.jobs.get()
                except ChannelClosed:
                    return
            if idle.cancelled_caught:
                if not target.jobs:
                    del self._targets[target.hook]
                    return
                continue
            target.current = job
            with trio.CancelScope() as target.attempt:
                self._settle(target, await self._deliver(target.hook, job))

    async def _deliver(self, hook: Hook, job: _Job) -> Outcome:
        try:
            body = job.body
        except ValueError as error:
            log.error("webhook_unserialisable", event_id=job.event_id, error=str(error))
            return "marshal_error"
        for attempt in range(ATTEMPTS):
            outcome = await self._sender.post(hook, job.event_id, body)
            if outcome != "retry":
                return outcome
            if attempt < len(PAUSES_S):
                await trio.sleep(PAUSES_S[attempt])
        log.warning("webhook_exhausted", event_id=job.event_id, type=job.kind)
        return "exhausted"

    def _settle(self, target: _Target, outcome: Outcome) -> None:
        """Count what became of a target's current event."""
        job, target.current = target.current, None
        self._metrics.delivered(outcome)
        if self._spool is not None and job is not None and outcome != "undelivered":
            self._spool.settle(job.event_id)
        self._queued -= 1
        if not self._queued:
            self._drained.set()

    def _give_up(self, target: _Target) -> None:
        target.jobs.close()
        target.attempt.cancel()
        waiting = [target.current] if target.current is not None else []
        for job in [*waiting, *target.jobs.drain()]:
            log.warning("webhook_undelivered", event_id=job.event_id, type=job.kind)
            self._settle(target, "undelivered")


@dataclass(slots=True)
class _Job:
    """One event on its way to its target: just published, or left over from an earlier run."""

    event_id: str
    kind: str
    published: Published | None
    stored: bytes = b""

    @property
    def body(self) -> bytes:
        """The bytes to post.

        Raises:
            ValueError: the event cannot be written as JSON.
        """
        return self.published.body if self.published is not None else self.stored


class _Target:
    """The queue of one hook, the event that is being delivered, and the scope of its delivery."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        self.jobs: Channel[_Job] = Channel(QUEUE_EVENTS, overflow="drop_newest", name="webhook")
        self.current: _Job | None = None
        self.attempt = trio.CancelScope()
