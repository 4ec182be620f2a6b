"""Webhooks: one ordered queue for each target, so that a dead receiver delays nobody else.

A target is a URL and its secret. Its task starts with the first event and ends when nothing came for a
while. An event is tried up to three times; whatever becomes of it is counted.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from vb.api.edge import EdgeEngine
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
    """

    def __init__(self, engine: EdgeEngine, sender: WebhookSender | None = None) -> None:
        self._hooks = engine.hooks
        self._metrics = engine.metrics
        self._sender = sender or WebhookSender(engine.http, engine.config.server.fetch_allow)
        self._targets: dict[Hook, _Target] = {}
        self._queued = 0
        self._nursery: trio.Nursery | None = None
        self._drained = trio.Event()
        self._ended = False
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
        if hook is None:
            return
        target = self._target(hook)
        if target is None or self._queued >= MAX_QUEUED_EVENTS or not target.events.put(published):
            self._metrics.webhooks_dropped.inc()
            log.warning("webhook_dropped", event_id=published.event_id, type=published.event.type)
            return
        self._queued += 1
        self._metrics.webhooks_enqueued.inc()

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
                    published = await target.events.get()
                except ChannelClosed:
                    return
            if idle.cancelled_caught:
                if not target.events:
                    del self._targets[target.hook]
                    return
                continue
            target.current = published
            with trio.CancelScope() as target.attempt:
                self._settle(target, await self._deliver(target.hook, published))

    async def _deliver(self, hook: Hook, published: Published) -> Outcome:
        try:
            body = published.body
        except ValueError as error:
            log.error("webhook_unserialisable", event_id=published.event_id, error=str(error))
            return "marshal_error"
        for attempt in range(ATTEMPTS):
            outcome = await self._sender.post(hook, published.event_id, body)
            if outcome != "retry":
                return outcome
            if attempt < len(PAUSES_S):
                await trio.sleep(PAUSES_S[attempt])
        log.warning("webhook_exhausted", event_id=published.event_id, type=published.event.type)
        return "exhausted"

    def _settle(self, target: _Target, outcome: Outcome) -> None:
        """Count what became of a target's current event."""
        target.current = None
        self._metrics.delivered(outcome)
        self._queued -= 1
        if not self._queued:
            self._drained.set()

    def _give_up(self, target: _Target) -> None:
        target.events.close()
        target.attempt.cancel()
        waiting = [target.current] if target.current is not None else []
        for published in [*waiting, *target.events.drain()]:
            log.warning("webhook_undelivered", event_id=published.event_id, type=published.event.type)
            self._settle(target, "undelivered")


class _Target:
    """The queue of one hook, the event that is being delivered, and the scope of its delivery."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        self.events: Channel[Published] = Channel(QUEUE_EVENTS, overflow="drop_newest", name="webhook")
        self.current: Published | None = None
        self.attempt = trio.CancelScope()
