"""All bridges of a server. Rooms and bridges form no ring: in a ring every voice would come back for ever."""

from __future__ import annotations

from typing import Final, Literal

from vb.errors import BadRequest, Conflict, NotFound
from vb.events.room import RoomBridged, RoomBridgeUpdated, RoomUnbridged
from vb.mixer.plane import Plane
from vb.mixer.port import Port
from vb.rooms.bridge import Bridge, Direction
from vb.rooms.room import Room

MAX_BRIDGES: Final = 64
"""How many bridges one room carries at a time."""


class Bridges:
    """The bridges by their id and by the rooms that they join."""

    def __init__(self) -> None:
        self._by_id: dict[str, Bridge] = {}
        self._by_room: dict[Room, list[Bridge]] = {}
        self._dropped_before = 0

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def dropped(self) -> int:
        """How many frames all bridges have dropped so far, closed ones included."""
        return self._dropped_before + sum(bridge.dropped for bridge in self._by_id.values())

    def of(self, room: Room) -> list[Bridge]:
        """Return the bridges of a room in the order of their creation."""
        return list(self._by_room.get(room, ()))

    def get(self, room: Room, bridge_id: str) -> Bridge:
        """Return a bridge of a room.

        Raises:
            NotFound: there is no such bridge, or it joins other rooms.
        """
        bridge = self._by_id.get(bridge_id)
        if bridge is None or room not in bridge.rooms:
            raise NotFound("bridge not found")
        return bridge

    def open(self, plane: Plane, bridge_id: str, room: Room, peer: Room, direction: Direction) -> Bridge:
        """Join two rooms and say so.

        Args:
            plane: where both rooms are mixed.
            bridge_id: a free identifier.
            room: becomes room A.
            peer: becomes room B.
            direction: as seen from `room`.

        Raises:
            BadRequest: the rooms have different sample rates.
            Conflict: the id is taken, the rooms are joined already, directly or through others, or one of
                them has as many bridges as it may have.
            PlaneFull: the plane has no two places left.
        """
        self._check(bridge_id, room, peer)
        bridge = Bridge(plane, bridge_id, room, peer, direction)
        self._by_id[bridge_id] = bridge
        for end in bridge.rooms:
            self._by_room.setdefault(end, []).append(bridge)
        bridge.publish(RoomBridged, direction=bridge.flow)
        return bridge

    def _check(self, bridge_id: str, room: Room, peer: Room) -> None:
        if room.sample_rate_hz != peer.sample_rate_hz:
            raise BadRequest(
                f"sample rate mismatch: room {room.id} mixes at {room.sample_rate_hz} Hz, "
                f"room {peer.id} at {peer.sample_rate_hz} Hz"
            )
        if bridge_id in self._by_id:
            raise Conflict(f"bridge {bridge_id} already exists")
        if any(peer in bridge.rooms for bridge in self.of(room)):
            raise Conflict("bridge between these rooms already exists")
        for end in (room, peer):
            if len(self.of(end)) >= MAX_BRIDGES:
                raise Conflict(f"room {end.id} has {MAX_BRIDGES} bridges already")
        if self.connected(room, peer):
            raise Conflict("the rooms are connected through other bridges already; a ring would howl")

    def connected(self, room: Room, other: Room) -> bool:
        """Whether a chain of bridges, whatever their direction, leads from one room to the other."""
        seen, pending = {room}, [room]
        while pending:
            here = pending.pop()
            if here is other:
                return True
            for bridge in self.of(here):
                there = bridge.peer_of(here)
                if there not in seen:
                    seen.add(there)
                    pending.append(there)
        return False

    def set_direction(self, bridge: Bridge, room: Room, direction: Direction) -> None:
        """Change where audio goes, as seen from `room`, and say so."""
        bridge.set_direction(room, direction)
        bridge.publish(RoomBridgeUpdated, direction=bridge.flow)

    def close(self, bridge: Bridge, reason: Literal["room_deleted"] | None = None) -> None:
        """Take a bridge down and say so; nothing happens when that was done already."""
        if self._by_id.get(bridge.id) is not bridge:
            return
        del self._by_id[bridge.id]
        for end in bridge.rooms:
            left = [other for other in self._by_room[end] if other is not bridge]
            if left:
                self._by_room[end] = left
            else:
                del self._by_room[end]
        bridge.close()
        self._dropped_before += bridge.dropped
        bridge.publish(RoomUnbridged, reason=reason)

    def close_all(self, room: Room, reason: Literal["room_deleted"] | None = None) -> None:
        """Take down every bridge of a room, in the order of their creation."""
        for bridge in self.of(room):
            self.close(bridge, reason)

    def port_failed(self, port: Port) -> bool:
        """Take down the bridge whose participant failed inside the mixer.

        Returns:
            Whether the port belonged to a bridge.
        """
        for bridge in list(self._by_id.values()):
            if port in bridge.ports:
                self.close(bridge)
                return True
        return False
