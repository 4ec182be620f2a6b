"""A host for legs and rooms that keeps what they publish, and a far end that they can talk to."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.support.ids import SequentialIds
from vb.events.base import Event, Published
from vb.events.bus import EventBus
from vb.legs.leg import Leg


class RecordingHost:
    """Keeps the events and the table of one test."""

    def __init__(self) -> None:
        self.bus = EventBus("test", SequentialIds(), wall_clock_ns=lambda: 0)
        self.published: list[Event] = []
        self.table: dict[str, Leg] = {}
        self.forgotten: list[str] = []
        self.faults: list[tuple[str, str]] = []
        self.stop_deadline = math.inf
        self.bus.subscribe(self._keep)

    def _keep(self, published: Published) -> None:
        self.published.append(published.event)

    @property
    def types(self) -> list[str]:
        """The types of all events so far."""
        return [event.type for event in self.published]

    def recovered(self, component: str, site: str) -> None:
        self.faults.append((component, site))

    def admit(self, leg: Leg) -> None:
        self.table[leg.id] = leg

    def release(self, leg: Leg) -> None:
        self.table.pop(leg.id, None)

    def leave(self) -> None:
        pass

    def forget(self, leg: Leg) -> None:
        self.forgotten.append(leg.id)


class FarEnd:
    """The signalling of a leg under test; it answers BYE unless told to be stuck."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.reasons: list[str] = []
        self.stuck = stuck
        self.fail: Exception | None = None
        self.inbox_send, self.inbox = trio.open_memory_channel[Any](10)
        self._closed = trio.Event()

    async def run(self) -> None:
        async for order in self.inbox:
            if isinstance(order, Exception):
                raise order
            if order() is True:
                return  # it has hung the leg up

    def hang_up(self, reason: str) -> None:
        self.reasons.append(reason)
        if not self.stuck:
            self._closed.set()

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    async def wait_closed(self) -> None:
        await self._closed.wait()


class MediaLog:
    """A media task of a leg that notes when it comes and goes, and fails when told to."""

    def __init__(self, leg: Leg) -> None:
        self.notes: list[str] = []
        self.crash = trio.Event()
        self._leg = leg

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leg.contain, "rtp", self._run)
            self.notes.append("up")
            try:
                yield
            finally:
                self.notes.append("down")
                nursery.cancel_scope.cancel()

    async def _run(self) -> None:
        await self.crash.wait()
        raise RuntimeError("broken")


def make_leg(host: RecordingHost, leg_id: str = "leg-1") -> Leg:
    """Return a leg that belongs to the host."""
    return Leg(host, leg_id=leg_id, leg_type="sip_inbound", app_id="shop", now=trio.current_time())
