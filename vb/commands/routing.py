"""Commands on who hears whom in a room: the routing matrix, and the roles of legs."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from vb.commands.params import Role, RoomRef
from vb.commands.registry import Route, command
from vb.commands.show import show_leg
from vb.commands.views import Leg, Routing
from vb.engine import Engine
from vb.parameters import Params, shown_as_required
from vb.rooms.routing import MAX_ROWS, MAX_SOURCES, RoutingMatrix

Sources = Annotated[list[Role], Field(max_length=MAX_SOURCES)]


class SetLegRole(Params):
    """A routing role."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("leg_id", "role"))

    leg_id: str = Field(description="leg id")
    role: Role = Field(default="", description="for example customer, agent or supervisor; empty for none")


class RoutingSet(Params):
    """A whole routing matrix."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("room_id", "matrix"))

    room_id: str = Field(description="room id")
    matrix: Annotated[dict[Role, Sources], Field(max_length=MAX_ROWS)] = Field(
        default_factory=dict,
        description="listener role to the roles that it hears; a role without a row hears everybody",
    )


class RoutingRowUpdate(Params):
    """One row of a routing matrix."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("listener_role", "sources"))

    listener_role: Role = Field(default="", description="who listens")
    sources: Sources | None = Field(
        default=None, description="roles that it hears: none of them for [], everybody for null"
    )


class RoutingUpdate(Params):
    """Rows to replace; the others stay."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("room_id", "updates"))

    room_id: str = Field(description="room id")
    updates: Annotated[list[RoutingRowUpdate], Field(max_length=MAX_ROWS)] = Field(
        default_factory=list, description="rows, applied together"
    )


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
