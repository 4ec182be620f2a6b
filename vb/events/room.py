"""Events of rooms."""

from __future__ import annotations

from typing import Literal

from vb.events.base import BridgeEvent, RoomEvent

Flow = Literal["bidirectional", "a_to_b", "b_to_a", "none"]
RoutingReason = Literal["set", "update", "leg_joined", "leg_role_changed", "leg_left"]


class RoomCreated(RoomEvent, type="room.created"):
    """A room exists now."""


class RoomDeleted(RoomEvent, type="room.deleted"):
    """A room is gone."""


class RoomBridged(BridgeEvent, type="room.bridged"):
    """Two rooms hear each other over a bridge."""

    direction: Flow


class RoomBridgeUpdated(BridgeEvent, type="room.bridge_updated"):
    """The direction of a bridge was set."""

    direction: Flow


class RoomUnbridged(BridgeEvent, type="room.unbridged"):
    """A bridge is gone."""

    reason: Literal["room_deleted"] | None = None


class RoomRoutingChanged(RoomEvent, type="room.routing_changed"):
    """Who hears whom in a room may have changed: by its matrix, or by the roles of its legs."""

    matrix: dict[str, list[str]]
    reason: RoutingReason
