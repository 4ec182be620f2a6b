"""A room: its members, its mix, and the one task that owns both."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import numpy as np
import trio
from numpy.typing import NDArray

from vb.errors import Conflict
from vb.events.base import Event, LegOrRoomEvent
from vb.events.bus import EventBus
from vb.events.leg import LegJoinedRoom, LegLeftRoom
from vb.events.room import RoomRoutingChanged, RoutingReason
from vb.legs.leg import Leg
from vb.mixer.frames import FrameSink, FrameSource
from vb.mixer.plane import Plane
from vb.mixer.port import Port
from vb.mixer.room import RoomMix
from vb.mixer.tasks import run_room
from vb.rooms.routing import RoutingMatrix
from vb.slots import TaskSlots

E = TypeVar("E", bound=LegOrRoomEvent)

RECORDING_SLOT = "recording"
AGENT_SLOT = "agent"


class RoomHost(Protocol):
    """What a room needs of the engine that holds it."""

    @property
    def bus(self) -> EventBus:
        """Where its events go."""
        ...

    @property
    def plane(self) -> Plane:
        """Where its mix plan is carried out."""
        ...

    @property
    def stop_deadline(self) -> float:
        """When cleaning up has to be over because the server stops."""
        ...

    def recovered(self, component: str, site: str) -> None:
        """Count a fault that was contained where it happened."""
        ...


class MemberWatcher(Protocol):
    """Whoever follows the members of a room. Neither method may wait."""

    def joined(self, leg: Leg) -> None:
        """A leg is in the mix from the next tick on."""
        ...

    def left(self, leg: Leg) -> None:
        """A leg is out of the mix."""
        ...


class Room:
    """One room.

    Args:
        host: the engine.
        room_id: identifier.
        app_id: word to filter events by.
        sample_rate_hz: 8000, 16000 or 48000; fixed for life.
        comfort_noise: whether silent mixes are filled with faint noise.
    """

    def __init__(
        self, host: RoomHost, *, room_id: str, app_id: str | None, sample_rate_hz: int, comfort_noise: bool
    ) -> None:
        self.host = host
        self.id = room_id
        self.app_id = app_id or None
        self.sample_rate_hz = sample_rate_hz
        self.members: dict[str, Leg] = {}
        self.mix = RoomMix(room_id, sample_rate_hz, comfort_noise=comfort_noise)
        self.routing = RoutingMatrix()
        self.slots = TaskSlots(f"room {room_id}", lambda _: host.recovered("slots", "room"))
        self.watchers: tuple[MemberWatcher, ...] = ()
        self._closed = trio.Event()

    def publish(self, event: Event) -> None:
        """Publish an event of this room."""
        self.host.bus.publish(event)

    # -- members -------------------------------------------------------------------------------------------

    def add(self, leg: Leg, role: str | None = None) -> None:
        """Put a leg into the mix; it is heard and hears from the next tick on.

        A leg that sits in another room leaves it in the same step.

        Args:
            leg: who.
            role: routing role that it has from then on, empty for none; None leaves the one it has.
        """
        old, old_role = leg.room, leg.role
        if isinstance(old, Room):
            old._take_out(leg)
        if role is not None:
            leg.role = role
        leg.place_in(self)
        self.members[leg.id] = leg
        if leg.port is not None:
            self.mix.join(leg.id, leg.port)
        for watcher in self.watchers:
            watcher.joined(leg)
        if isinstance(old, Room):
            old._publish_left(leg, old_role)
        self.publish(LegJoinedRoom(leg_id=leg.id, room_id=self.id, app_id=leg.app_id))
        if role is not None:
            self._publish_routing("leg_joined")

    def remove(self, leg: Leg) -> None:
        """Take a leg out of the mix and say so; harmless for a leg that is not in the room."""
        if leg.room is self:
            self._take_out(leg)
            self._publish_left(leg, leg.role)

    def let_go(self, leg: Leg) -> None:
        """Take a leg out because the room is deleted: who may hear whom is told no more."""
        self.routing = RoutingMatrix()
        leg.stop_speaking()
        self.remove(leg)

    def _take_out(self, leg: Leg) -> None:
        self.mix.leave(leg.id)
        self.members.pop(leg.id, None)
        leg.place_in(None)
        for watcher in self.watchers:
            watcher.left(leg)

    def _publish_left(self, leg: Leg, role: str) -> None:
        self.publish(LegLeftRoom(leg_id=leg.id, room_id=self.id, app_id=leg.app_id))
        if role and self.routing.rows:
            self._publish_routing("leg_left")

    def relay_digit(self, leg: Leg, digit: str) -> None:
        """Send a digit that a leg received to every other leg that takes them."""
        for mate in self.members.values():
            if mate is not leg and mate.accept_dtmf:
                mate.relay_digit(digit)

    def relay_text(self, leg: Leg, text: str) -> None:
        """Send text that a leg received to every other leg that has text and takes it."""
        for mate in self.members.values():
            if mate is not leg and mate.accept_rtt and mate.has_text:
                mate.send_text(text)

    # -- routing -------------------------------------------------------------------------------------------

    def set_routing(self, routing: RoutingMatrix, reason: RoutingReason) -> None:
        """Replace the routing matrix; all listeners follow with the same tick."""
        self.routing = routing
        self._reroute()
        self._publish_routing(reason)

    def role_changed(self, leg: Leg) -> None:
        """Let the routing follow a member's new role, and say so."""
        self._reroute()
        self._publish_routing("leg_role_changed")

    def _reroute(self) -> None:
        self.mix.route(self._hears if self.routing.rows else None)

    def _hears(self, ports: tuple[Port, ...]) -> NDArray[np.bool_] | None:
        roles: dict[Port | None, str] = {leg.port: leg.role for leg in self.members.values()}
        return self.routing.hears([roles.get(port) for port in ports])

    def _publish_routing(self, reason: RoutingReason) -> None:
        matrix = self.routing.as_dict()
        self.publish(RoomRoutingChanged(room_id=self.id, app_id=self.app_id, matrix=matrix, reason=reason))

    # -- as the owner of features --------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """Identify the room among legs and rooms, which may have the same id."""
        return f"room {self.id}"

    @property
    def stop_deadline(self) -> float:
        """Return when its features have to be over because the server stops; infinite until then."""
        return self.host.stop_deadline

    @property
    def frame_rate_hz(self) -> int:
        """Return the rate of the frames that taps get."""
        return self.sample_rate_hz

    @property
    def sides(self) -> int:
        """Return 1: a room has one full mix."""
        return 1

    @property
    def crowd(self) -> Room:
        """Return the room itself, whose members can be told apart."""
        return self

    def tell(self, kind: type[E], **fields: Any) -> None:
        """Publish an event that carries the room's id."""
        self.publish(kind(room_id=self.id, app_id=self.app_id, **fields))

    def check_playable(self) -> None:
        """Refuse a playback that nobody would hear.

        Raises:
            Conflict: nobody is in the room.
        """
        if not self.members:
            raise Conflict("room has no participants")

    def check_recordable(self) -> None:
        """Refuse a recording of nothing.

        Raises:
            Conflict: nobody is in the room.
        """
        self.check_playable()

    def add_source(self, source: FrameSource) -> None:
        """Let everybody in the room hear a source."""
        self.mix.add_source(source)

    def remove_source(self, source: FrameSource) -> None:
        """Stop hearing a source; harmless when it is gone already."""
        self.mix.remove_source(source)

    def add_taps(self, said: FrameSink, heard: FrameSink | None) -> None:
        """Listen in on the full mix."""
        self.mix.add_tap(said)

    def remove_taps(self, *sinks: FrameSink | None) -> None:
        """Stop listening in; harmless when it is over already."""
        for sink in sinks:
            if sink is not None:
                self.mix.remove_tap(sink)

    # -- features ------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Let the room's agent go and finish its recording once nobody is left in it."""
        if not self.members:
            # Those of now: who comes in meanwhile may begin others.
            for handle in [self.slots.get(AGENT_SLOT), self.slots.get(RECORDING_SLOT)]:
                if handle is not None:
                    await handle.stop()

    async def stop_recording(self) -> None:
        """Finish the recording, if one runs, and wait until its file is safe."""
        await self._stop(RECORDING_SLOT)

    async def _stop(self, slot: str) -> None:
        handle = self.slots.get(slot)
        if handle is not None:
            await handle.stop()

    async def stop_features(self) -> None:
        """End the agent first, then the recording, then everything else that runs in the room."""
        await self._stop(AGENT_SLOT)
        await self.stop_recording()
        for name in self.slots.names():
            handle = self.slots.get(name)
            if handle is not None:
                await handle.stop()

    # -- life ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Mix until the room is closed.

        Cancellation: recordings are finished before the mix ends.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_room, self.mix, self.host.plane)
            async with self.slots.open():
                await self._closed.wait()
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Let the room's task end."""
        self._closed.set()
