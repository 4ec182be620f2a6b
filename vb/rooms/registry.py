"""The live rooms: making and deleting them, and bringing legs into them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import structlog
import trio

from vb.choices import MIXING_RATES_HZ, MIXING_RATES_TEXT
from vb.errors import BadRequest, Conflict, NotFound, VbError
from vb.events.bus import EventBus
from vb.events.hooks import Hook, HookTable
from vb.events.room import RoomCreated, RoomDeleted
from vb.ids import IdSource, check_id
from vb.layers import Layer
from vb.legs.leg import CLEANUP_DEADLINE_S, Leg
from vb.lifetime import Lifetime
from vb.metrics import Metrics
from vb.mixer.plane import Plane
from vb.rooms.bridges import Bridges
from vb.rooms.room import Room
from vb.table import Table
from vb.turns import spread

log = structlog.get_logger(__name__)


class Rooms(Table[Room]):
    """The live rooms by id.

    Args:
        bus: where their events go.
        hooks: keeps their webhooks.
        metrics: counts faults that were contained.
        plane: where their mixes are carried out.
        life: how long cleaning up may take.
        layer: where their tasks live.
        ids: draws ids for rooms without one.
        bridges: what joins them.
        sample_rate_hz: rate of rooms that name none.
        comfort_noise: whether silent mixes are filled with faint noise.
    """

    def __init__(
        self,
        *,
        bus: EventBus,
        hooks: HookTable,
        metrics: Metrics,
        plane: Plane,
        life: Lifetime,
        layer: Layer,
        ids: IdSource,
        bridges: Bridges,
        sample_rate_hz: int,
        comfort_noise: bool,
    ) -> None:
        super().__init__("room")
        self.bus = bus
        self.plane = plane
        self._hooks = hooks
        self._metrics = metrics
        self._life = life
        self._layer = layer
        self._ids = ids
        self._bridges = bridges
        self._sample_rate_hz = sample_rate_hz
        self._comfort_noise = comfort_noise
        self._closing: set[str] = set()

    @property
    def stop_deadline(self) -> float:
        """When cleaning up has to be over because the server stops."""
        return self._life.stop_deadline

    def recovered(self, component: str, site: str) -> None:
        """Count a fault that was contained where it happened."""
        self._metrics.recovered(component, site)

    def is_closing(self, room_id: str) -> bool:
        """Whether a room is being deleted, so that none of that id can be made yet."""
        return room_id in self._closing

    # -- coming and going ----------------------------------------------------------------------------------

    def open(
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
        rate_hz = sample_rate_hz or self._sample_rate_hz
        if rate_hz not in MIXING_RATES_HZ:
            raise BadRequest(f"invalid sample_rate: must be {MIXING_RATES_TEXT}")
        name = check_id(room_id, "id") if room_id else self._ids.uuid()
        if name in self or name in self._closing:
            raise Conflict(f"room {name} already exists")
        room = Room(
            self, room_id=name, app_id=app_id, sample_rate_hz=rate_hz, comfort_noise=self._comfort_noise
        )
        self._hooks.set_room(name, hook)
        self.add(name, room)
        room.publish(RoomCreated(room_id=name, app_id=room.app_id))
        self._layer.start_soon(partial(self._run, room), name=f"room {name}")
        return room

    async def close(self, room_id: str) -> None:
        """Delete a room: its features end, then its bridges, and everybody in it is hung up.

        Its id is free again once all of that is told.

        Cancellation: the features still end first, for at most `CLEANUP_DEADLINE_S`, and the rest follows.

        Raises:
            NotFound: there is no such room.
        """
        room = self.pop(room_id)
        if room is None:
            raise NotFound(f"room {room_id} not found")
        self._closing.add(room_id)
        try:
            await self._stop_features(room)
        finally:
            with trio.CancelScope(shield=True):
                await spread(self._end(room, "room_deleted"))
            self._closing.discard(room_id)

    async def _stop_features(self, room: Room) -> None:
        try:
            await room.stop_features()
        except trio.Cancelled:  # which must not bring the order of events about
            deadline = min(trio.current_time() + CLEANUP_DEADLINE_S, self.stop_deadline)
            with trio.move_on_at(deadline, shield=True):
                await room.stop_features()
            raise

    def _end(self, room: Room, leg_reason: str) -> Iterator[None]:
        """Let everybody go, tell of the room's end, and hang up, in steps between which others may run.

        A fault in a step costs nobody else their end.
        """
        with self._contained(room):
            self._bridges.close_all(room, "room_deleted")
        legs: list[Leg] = []
        for leg in list(room.members.values()):
            if leg.room is room:
                legs.append(leg)
                with self._contained(room):
                    room.let_go(leg)
                yield
        with self._contained(room):
            room.publish(RoomDeleted(room_id=room.id, app_id=room.app_id))
        self._hooks.drop_room(room.id)
        for leg in legs:
            with self._contained(room):
                leg.hangup(leg_reason)
            yield
        with self._contained(room):
            room.close()

    @contextmanager
    def _contained(self, room: Room) -> Iterator[None]:
        try:
            yield
        except Exception:  # the room boundary again: a fault in a step of its end is the end of that step
            self._failed(room)

    async def _run(self, room: Room) -> None:
        try:
            await room.run()
        except* Exception:  # the room boundary: a fault ends this room, never the server
            self._failed(room)
            if self.find(room.id) is room:
                self.pop(room.id)
                with trio.CancelScope(shield=True):
                    await spread(self._end(room, "mixer_panic"))

    def _failed(self, room: Room) -> None:
        self.recovered("engine", "room")
        log.exception("room failed", room_id=room.id)

    # -- members -------------------------------------------------------------------------------------------

    def prepare(self, room_id: str | None, app_id: str | None) -> None:
        """Make the room that was asked for with a leg, if one was and it is missing.

        One that is being deleted is left to `join_asked`: it may be gone by then.
        """
        if room_id and room_id not in self:
            with suppress(Conflict):
                self.open(room_id, app_id=app_id)

    def join_asked(self, leg: Leg, room_id: str | None) -> None:
        """Let a leg join the room that was asked for with it, if any; if it cannot it goes on alone."""
        if not room_id:
            return
        try:
            self.join(leg, room_id)
        except VbError as exc:
            log.info("leg cannot join its room", leg_id=leg.id, problem=exc.message)

    def join(self, leg: Leg, room_id: str, role: str | None = None) -> None:
        """Let a leg join a room, which is created when it does not exist; nothing happens to an ended leg.

        Args:
            leg: who.
            room_id: where.
            role: routing role that it has from then on; None leaves the one it has.

        Raises:
            Conflict: the room is being deleted.
        """
        if leg.ended:
            return
        room = self.find(room_id) or self.open(room_id, app_id=leg.app_id)
        if leg.room is not room:
            room.add(leg, role)

    def join_live(self, leg: Leg, room: Room, role: str | None = None) -> None:
        """Let a leg join a room unless that has been deleted; nothing happens to an ended leg."""
        if not leg.ended and self.find(room.id) is room and leg.room is not room:
            room.add(leg, role)
