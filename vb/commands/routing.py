"""Commands on who hears whom in a room: the routing matrix, and the roles of legs."""

from __future__ import annotations

from vb.commands.params import RoomRef, RoutingSet, RoutingUpdate, SetLegRole
from vb.commands.registry import Route, command
from vb.commands.show import show_leg
from vb.commands.views import Leg, Routing
from vb.engine import Engine
from vb.rooms.routing import RoutingMatrix

_PATH = "/v1/rooms/{id}/routing"


@command("room_routing_get", rest=Route("GET", _PATH), errors=(404,))
async def room_routing_get(engine: Engine, p: RoomRef) -> Routing:
    """Show who hears whom in a room, by role."""
    return Routing(matrix=engine.rooms.get(p.id).routing.as_dict())


@command("room_routing_set", rest=Route("PUT", _PATH, names={"id": "room_id"}, body=True), errors=(400, 404))
async def room_routing_set(engine: Engine, p: RoutingSet) -> Routing:
    """Replace the whole routing matrix of a room.

    A listener whose role has a row hears only legs whose role is in it; its own role must be there too for
    it to hear others of that role. Everybody hears room playback and bridges.
    """
    room = engine.rooms.get(p.room_id)
    room.set_routing(RoutingMatrix.of(p.matrix), "set")
    return Routing(matrix=room.routing.as_dict())


@command(
    "room_routing_update", rest=Route("PATCH", _PATH, names={"id": "room_id"}, body=True), errors=(400, 404)
)
async def room_routing_update(engine: Engine, p: RoutingUpdate) -> Routing:
    """Replace some rows of a room's routing matrix, all at once."""
    room = engine.rooms.get(p.room_id)
    if p.updates:
        changed = room.routing.updated((row.listener_role, row.sources) for row in p.updates)
        room.set_routing(changed, "update")
    return Routing(matrix=room.routing.as_dict())


@command(
    "set_leg_role",
    rest=Route("PATCH", "/v1/legs/{id}/role", names={"id": "leg_id"}, body=True),
    errors=(400, 404),
)
async def set_leg_role(engine: Engine, p: SetLegRole) -> Leg:
    """Give a leg a routing role; the room that it is in follows with the next tick."""
    leg = engine.legs.get(p.leg_id)
    leg.set_role(p.role)
    return show_leg(leg)
