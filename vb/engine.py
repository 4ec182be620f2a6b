"""The engine: the tables of legs and rooms, and the tasks that they live in.

Every state change is a plain method, atomic between two checkpoints, so there are no locks. A leg or room
that fails is contained here and takes nothing else with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import httpx
import structlog
import trio

from vb.choices import MIXING_RATES_HZ, MIXING_RATES_TEXT
from vb.codecs.base import Codec
from vb.config import Config
from vb.errors import BadRequest, Conflict, InvalidField, NotFound, Unavailable, first_of
from vb.events.bus import EventBus
from vb.events.hooks import Hook, HookTable
from vb.events.room import RoomCreated, RoomDeleted
from vb.features.playback import Players
from vb.features.recording import Recorders
from vb.ids import IdSource, SystemIds
from vb.layers import Layer
from vb.legs.leg import CLEANUP_DEADLINE_S, Leg
from vb.legs.transfer import TransferPolicy
from vb.limits.allowance import Allowance
from vb.limits.destinations import Destinations
from vb.limits.open_files import has_room
from vb.limits.rate import RateLimit
from vb.media.fetch_policy import FetchPolicy
from vb.metrics import Metrics
from vb.mixer.plane import Plane
from vb.names import NameLookup
from vb.rooms.bridges import Bridges
from vb.rooms.room import Room
from vb.rtp.ports import PortPool
from vb.sip.tasks.endpoint import SipEndpoint
from vb.turns import Turns

log = structlog.get_logger(__name__)

T = TypeVar("T")
_ID = re.compile(r"[A-Za-z0-9._~:@-]{1,128}")


class _Readiness:
    """Passes a task's readiness on and remembers it."""

    def __init__(self, status: trio.TaskStatus[Any]) -> None:
        self._status = status
        self.ready = False

    def started(self, value: Any = None) -> None:
        self.ready = True
        self._status.started(value)


class Table(Generic[T]):
    """Things by id, in the order of their creation."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._items: dict[str, T] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._items.values()))

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._items

    def add(self, item_id: str, item: T) -> None:
        """Enter an item under a free id."""
        self._items[item_id] = item

    def find(self, item_id: str) -> T | None:
        """Return the item, or None."""
        return self._items.get(item_id)

    def get(self, item_id: str) -> T:
        """Return the item.

        Raises:
            NotFound: there is none.
        """
        item = self._items.get(item_id)
        if item is None:
            raise NotFound(f"{self._kind} not found")
        return item

    def pop(self, item_id: str) -> T | None:
        """Take the item out, if it is there."""
        return self._items.pop(item_id, None)


def check_id(value: str, name: str) -> str:
    """Return an identifier chosen by a client.

    Raises:
        BadRequest: it has characters that do not fit into a path, or is too long.
    """
    if not _ID.fullmatch(value):
        raise InvalidField(name, "must be 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -")
    return value


@dataclass
class Engine:
    """Everything that commands work on.

    Attributes:
        names: looks up hosts that requests and callers chose.
        legs: live legs by id; one that was hung up is no longer in it.
        running_legs: legs whose task has not ended, hung up or not.
        open_texts: pairs of sockets for real-time text, which legs have besides their own.
        stopping: no new call is taken.
        stop_deadline: when legs and recordings have to be over, of Trio's clock; infinite until the server
            stops. What they publish at their end is delivered after it.
        ready: everything is up.
    """

    config: Config
    instance_id: str
    bus: EventBus
    hooks: HookTable
    metrics: Metrics
    http: httpx.AsyncClient
    names: NameLookup
    plane: Plane
    ports: PortPool
    codecs: tuple[Codec, ...]
    fetch_policy: FetchPolicy
    players: Players
    recorders: Recorders
    leg_nursery: trio.Nursery
    room_layer: Layer
    ids: IdSource = field(default_factory=SystemIds)
    legs: Table[Leg] = field(default_factory=lambda: Table("leg"))
    rooms: Table[Room] = field(default_factory=lambda: Table("room"))
    bridges: Bridges = field(default_factory=Bridges)
    call_rate: RateLimit = field(default_factory=lambda: RateLimit(0))
    destinations: Destinations = field(default_factory=Destinations)
    allowance: Allowance = field(default_factory=Allowance)
    transfers: TransferPolicy = field(default_factory=TransferPolicy)
    turns: Turns = field(default_factory=Turns)
    running_legs: int = 0
    open_texts: int = 0
    stopping: bool = False
    ready: bool = False
    _sip: SipEndpoint | None = None
    _idle: trio.Event = field(default_factory=trio.Event)
    _closing_rooms: set[str] = field(default_factory=set)
    stop_deadline: float = math.inf

    @property
    def sip(self) -> SipEndpoint:
        """The SIP endpoint; there from the moment that the server listens."""
        assert self._sip is not None
        return self._sip

    @sip.setter
    def sip(self, endpoint: SipEndpoint) -> None:
        self._sip = endpoint

    def recovered(self, component: str, site: str) -> None:
        """Count a fault that was contained where it happened."""
        self.metrics.recovered(component, site)

    # -- legs ----------------------------------------------------------------------------------------------

    def check_capacity(self) -> None:
        """Refuse a new call when there is no room for it, or when they come too fast.

        Raises:
            Unavailable: the server stops, or a cap is reached.
        """
        self.check_room()
        if not self.call_rate.take(trio.current_time()):
            raise Unavailable("too many calls a second", retry_after_s=1)

    def check_room(self) -> None:
        """Refuse a new leg when there is no room for it.

        Raises:
            Unavailable: the server stops, or the cap on legs or the limit of open files is reached.
        """
        self.check_running()
        cap = self.config.server.max_legs
        if cap and self.running_legs >= cap:
            raise Unavailable(f"the cap of {cap} legs is reached")
        if not has_room(self.running_legs + self.open_texts):
            raise Unavailable("the limit of open files is reached")

    def check_running(self) -> None:
        """Refuse a new leg when the server stops.

        Raises:
            Unavailable: it does.
        """
        if self.stopping:
            raise Unavailable("server is shutting down", retry_after_s=10)

    def admit(self, leg: Leg) -> None:
        """Enter a leg in the table; from now on clients can see it. One that comes too late ends at once."""
        self.legs.add(leg.id, leg)
        if self.stop_deadline < math.inf:
            leg.hangup("server_shutdown")

    def release(self, leg: Leg) -> None:
        """Take a leg out of the table; harmless when it is gone already."""
        self.legs.pop(leg.id)

    def forget(self, leg: Leg) -> None:
        """Drop the leg's webhook, after its last event."""
        self.hooks.drop_leg(leg.id)

    def start_leg(self, run: Callable[[], Awaitable[None]], *, name: str) -> None:
        """Run a leg's task; its fault is logged and ends nothing else."""
        self.running_legs += 1  # at once: the next call of a burst must find this place taken
        self.leg_nursery.start_soon(self._contain, run, name=name)

    async def start_leg_ready(self, run: Callable[..., Awaitable[None]], *, name: str) -> Any:
        """Run a leg's task and return what it reports once it is ready; a failure before that is raised."""
        self.running_legs += 1
        return await self.leg_nursery.start(self._contain_started, run, name=name)

    async def _contain(self, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except* Exception:  # the leg boundary: one call fails alone
            self.recovered("engine", "leg")
            log.exception("leg failed")
        finally:
            self._leg_over()

    async def _contain_started(
        self, run: Callable[..., Awaitable[None]], *, task_status: trio.TaskStatus[Any]
    ) -> None:
        status = _Readiness(task_status)
        problem: BaseException | None = None
        try:
            await run(task_status=status)
        except* Exception as group:  # the leg boundary: one call fails alone
            problem = first_of(group)
            if status.ready:
                self.recovered("engine", "leg")
                log.exception("leg failed")
        finally:
            self._leg_over()
        if problem is not None and not status.ready:
            raise problem

    def _leg_over(self) -> None:
        self.running_legs -= 1
        if self.running_legs == 0:
            self._idle.set()
            self._idle = trio.Event()

    def text_over(self) -> None:
        """Take note that a leg has closed its sockets for text."""
        self.open_texts -= 1

    async def wait_idle(self) -> None:
        """Wait until no leg's task is left."""
        while self.running_legs:
            await self._idle.wait()

    # -- rooms ---------------------------------------------------------------------------------------------

    def open_room(
        self,
        room_id: str | None,
        *,
        app_id: str | None = None,
        sample_rate_hz: int | None = None,
        hook: Hook | None = None,
    ) -> Room:
        """Create a room and start its task.

        Raises:
            BadRequest: the id or rate cannot be used.
            Conflict: the id is taken.
        """
        rate_hz = sample_rate_hz or self.config.rooms.default_sample_rate
        if rate_hz not in MIXING_RATES_HZ:
            raise BadRequest(f"invalid sample_rate: must be {MIXING_RATES_TEXT}")
        name = check_id(room_id, "id") if room_id else self.ids.uuid()
        if name in self.rooms or name in self._closing_rooms:
            raise Conflict(f"room {name} already exists")
        room = Room(
            self,
            room_id=name,
            app_id=app_id,
            sample_rate_hz=rate_hz,
            comfort_noise=self.config.rooms.comfort_noise,
        )
        self.hooks.set_room(name, hook)
        self.rooms.add(name, room)
        room.publish(RoomCreated(room_id=name, app_id=room.app_id))
        self.room_layer.start_soon(partial(self._run_room, room), name=f"room {name}")
        return room

    async def close_room(self, room_id: str) -> None:
        """Delete a room: its features end, then its bridges, and everybody in it is hung up.

        Its id is free again once all of that is told.

        Cancellation: the features still end first, for at most `CLEANUP_DEADLINE_S`, and the rest follows.

        Raises:
            NotFound: there is no such room.
        """
        room = self.rooms.pop(room_id)
        if room is None:
            raise NotFound(f"room {room_id} not found")
        self._closing_rooms.add(room_id)
        try:
            await self._stop_features(room)
        finally:
            with trio.CancelScope(shield=True):
                await self.turns.spread(self._end_room(room, "room_deleted"))
            self._closing_rooms.discard(room_id)

    async def _stop_features(self, room: Room) -> None:
        try:
            await room.stop_features()
        except trio.Cancelled:  # which must not bring the order of events about
            deadline = min(trio.current_time() + CLEANUP_DEADLINE_S, self.stop_deadline)
            with trio.move_on_at(deadline, shield=True):
                await room.stop_features()
            raise

    def _end_room(self, room: Room, leg_reason: str) -> Iterator[None]:
        """Let everybody in a room go, then the room itself, in steps between which others may run."""
        self.bridges.close_all(room, "room_deleted")
        for leg in room.dissolve():
            leg.hangup(leg_reason)
            yield
        room.publish(RoomDeleted(room_id=room.id, app_id=room.app_id))
        self.hooks.drop_room(room.id)
        room.close()

    async def _run_room(self, room: Room) -> None:
        try:
            await room.run()
        except* Exception:  # the room boundary: a fault ends this room, never the server
            self.recovered("engine", "room")
            log.exception("room failed", room_id=room.id)
            if self.rooms.find(room.id) is room:
                self.rooms.pop(room.id)
                with trio.CancelScope(shield=True):
                    await self.turns.spread(self._end_room(room, "mixer_panic"))
