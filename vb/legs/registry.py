"""The live legs: who may come, the table that clients see, and the tasks that legs live in."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import structlog
import trio

from vb.errors import Unavailable, first_of
from vb.events.bus import EventBus
from vb.events.hooks import HookTable
from vb.legs.leg import Leg
from vb.lifetime import Lifetime
from vb.limits.allowance import Allowance
from vb.limits.open_files import has_room, legs_fit
from vb.limits.rate import RateLimit
from vb.metrics import Metrics
from vb.table import Table

log = structlog.get_logger(__name__)


class _Place:
    """The place that a leg's task takes up under the cap, until its last event or its end."""

    def __init__(self) -> None:
        self.taken = True


_place: ContextVar[_Place] = ContextVar("place")


class _Readiness:
    """Passes a task's readiness on and remembers it."""

    def __init__(self, status: trio.TaskStatus[Any]) -> None:
        self._status = status
        self.ready = False

    def started(self, value: Any = None) -> None:
        self.ready = True
        self._status.started(value)


class Legs(Table[Leg]):
    """The live legs by id; one that was hung up is no longer in it.

    Args:
        bus: where their events go.
        hooks: forgets the webhook of a leg after its last event.
        metrics: counts faults that were contained.
        life: whether new legs are taken.
        nursery: where their tasks live.
        cap: most legs at a time; 0 for no cap.
        calls_per_second: most new calls; 0 for no cap.
        allowance: what each application may dial.
        on_admitted: is told of every leg once it is in the table, before its first event; must not raise.

    Attributes:
        running: legs whose task has not ended, hung up or not.
        places: those of them that count for the cap: a leg gives its place up before its last event, so that
            who hears of it can call again.
        open_texts: pairs of sockets for real-time text, which legs have besides their own.
    """

    def __init__(
        self,
        *,
        bus: EventBus,
        hooks: HookTable,
        metrics: Metrics,
        life: Lifetime,
        nursery: trio.Nursery,
        cap: int = 0,
        calls_per_second: int = 0,
        allowance: Allowance | None = None,
        on_admitted: Callable[[Leg], None] | None = None,
    ) -> None:
        super().__init__("leg")
        self.bus = bus
        self.allowance = Allowance() if allowance is None else allowance
        self.running = 0
        self.places = 0
        self.open_texts = 0
        self._hooks = hooks
        self._metrics = metrics
        self._life = life
        self._nursery = nursery
        self._cap = cap
        self._rate = RateLimit(calls_per_second)
        self._on_admitted = on_admitted
        self._idle = trio.Event()

    # -- admission -----------------------------------------------------------------------------------------

    def check_capacity(self, *, is_call: bool = True) -> None:
        """Refuse a new call when there is no room for it, or when they come too fast.

        Args:
            is_call: it counts among those of this second; False to learn only whether there is room.

        Raises:
            Unavailable: the server stops, or a cap is reached.
        """
        self._check(has_room)
        if is_call and not self._rate.take(trio.current_time()):
            raise Unavailable("too many calls a second", retry_after_s=1)

    def check_place(self) -> None:
        """Refuse a leg that was let in a moment ago if others of its burst have taken what room there was.

        Raises:
            Unavailable: the server stops, or the cap on legs or the limit of open files is reached.
        """
        self._check(legs_fit)

    def _check(self, fits: Callable[[int], bool]) -> None:
        self._life.check_running()
        if self._cap and self.places >= self._cap:
            raise Unavailable(f"the cap of {self._cap} legs is reached")
        if not fits(self.running + self.open_texts):
            raise Unavailable("the limit of open files is reached")

    def text_over(self) -> None:
        """Take note that a leg has closed its sockets for text."""
        self.open_texts -= 1

    # -- what a leg needs ----------------------------------------------------------------------------------

    @property
    def stop_deadline(self) -> float:
        """When cleaning up has to be over because the server stops."""
        return self._life.stop_deadline

    def recovered(self, component: str, site: str) -> None:
        """Count a fault that was contained where it happened."""
        self._metrics.recovered(component, site)

    def admit(self, leg: Leg) -> None:
        """Enter a leg in the table; from now on clients can see it. One that comes too late ends at once."""
        self.add(leg.id, leg)
        if self._on_admitted is not None:
            self._on_admitted(leg)
        if self.stop_deadline < math.inf:
            leg.hangup("server_shutdown")

    def release(self, leg: Leg) -> None:
        """Take a leg out of the table; harmless when it is gone already."""
        self.pop(leg.id)

    def forget(self, leg: Leg) -> None:
        """Drop the leg's webhook, after its last event."""
        self._hooks.drop_leg(leg.id)

    def leave(self) -> None:
        """Give up the place of the leg whose task this is, right before its last event."""
        place = _place.get(None)
        if place is not None and place.taken:
            place.taken = False
            self.places -= 1

    # -- tasks ---------------------------------------------------------------------------------------------

    def start(self, run: Callable[[], Awaitable[None]], *, name: str) -> None:
        """Run a leg's task; its fault is logged and ends nothing else."""
        self._enter()
        self._nursery.start_soon(self._contain, run, name=name)

    async def start_ready(self, run: Callable[..., Awaitable[None]], *, name: str) -> Any:
        """Run a leg's task and return what it reports once it is ready; a failure before that is raised."""
        self._enter()
        return await self._nursery.start(self._contain_started, run, name=name)

    def _enter(self) -> None:
        """Count a leg at once: the next call of a burst must find its place taken."""
        self.running += 1
        self.places += 1

    async def _contain(self, run: Callable[[], Awaitable[None]]) -> None:
        _place.set(_Place())
        try:
            await run()
        except* Exception:  # the leg boundary: one call fails alone
            self._failed()
        finally:
            self._over()

    async def _contain_started(
        self, run: Callable[..., Awaitable[None]], *, task_status: trio.TaskStatus[Any]
    ) -> None:
        _place.set(_Place())
        status = _Readiness(task_status)
        problem: BaseException | None = None
        try:
            await run(task_status=status)
        except* Exception as group:  # the leg boundary: one call fails alone
            problem = first_of(group)
            if status.ready:
                self._failed()
        finally:
            self._over()
        if problem is not None and not status.ready:
            raise problem

    def _failed(self) -> None:
        self.recovered("engine", "leg")
        log.exception("leg failed")

    def _over(self) -> None:
        self.leave()
        self.running -= 1
        if self.running == 0:
            self._idle.set()
            self._idle = trio.Event()

    async def wait_idle(self) -> None:
        """Wait until no leg's task is left."""
        while self.running:
            await self._idle.wait()
