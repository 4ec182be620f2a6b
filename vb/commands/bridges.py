"""Commands on bridges between rooms."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from vb.commands.registry import Route, command
from vb.commands.show import show_bridge
from vb.commands.views import Bridge, Status
from vb.engine import Engine
from vb.errors import BadRequest, InvalidField, NotFound
from vb.ids import check_id
from vb.parameters import Params, shown_as_required
from vb.rooms.bridge import Bridge as LiveBridge
from vb.rooms.bridge import Direction
from vb.rooms.room import Room


class BridgeCreate(Params):
    """A bridge to another room."""

    room_id: str = Field(description="room id")
    peer_room_id: str = Field(description="the room at the other end")
    bridge_id: str | None = Field(default=None, description="identifier; drawn when absent")
    direction: Direction = Field(
        default="bidirectional", description="where audio goes, as seen from the room of the request"
    )


class BridgeList(Params):
    """Names the room whose bridges are meant."""

    room_id: str = Field(description="room id")


class BridgeRef(Params):
    """Names a bridge of a room."""

    room_id: str = Field(description="room id")
    bridge_id: str = Field(description="bridge id")


class BridgeUpdate(BridgeRef):
    """Where a bridge carries audio."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("room_id", "bridge_id", "direction"))

    direction: Direction | None = Field(
        default=None, description="where audio goes, as seen from the room of the request"
    )


_PATH = "/v1/rooms/{id}/bridges/{bridgeID}"
_NAMES = {"id": "room_id", "bridgeID": "bridge_id"}


@command(
    "bridge_create",
    rest=Route(
        "POST",
        "/v1/rooms/{id}/bridges",
        status=201,
        names={"id": "room_id"},
        body=True,
        body_names={"id": "bridge_id", "room_id": "peer_room_id"},
    ),
    errors=(400, 404, 409, 503),
)
async def bridge_create(engine: Engine, p: BridgeCreate) -> Bridge:
    """Let two rooms hear each other.

    Both rooms mix at one rate. Bridges may form chains, which pass audio on, but no ring.
    """
    bridge_id = check_id(p.bridge_id, "bridge_id") if p.bridge_id else engine.ids.uuid()
    if not p.peer_room_id:
        raise InvalidField("peer_room_id", "is required")
    if p.room_id == p.peer_room_id:
        raise BadRequest("cannot bridge a room to itself")
    room, peer = _room(engine, p.room_id), _room(engine, p.peer_room_id)
    return show_bridge(engine.bridges.open(engine.plane, bridge_id, room, peer, p.direction), room)


def _room(engine: Engine, room_id: str) -> Room:
    room = engine.rooms.find(room_id)
    if room is None:
        raise NotFound(f"room not found: {room_id}")
    return room


@command("bridge_list", rest=Route("GET", "/v1/rooms/{id}/bridges", names={"id": "room_id"}), errors=(404,))
async def bridge_list(engine: Engine, p: BridgeList) -> list[Bridge]:
    """List the bridges of a room in the order of their creation."""
    room = engine.rooms.get(p.room_id)
    return [show_bridge(bridge, room) for bridge in engine.bridges.of(room)]


@command("bridge_get", rest=Route("GET", _PATH, names=_NAMES), errors=(404,))
async def bridge_get(engine: Engine, p: BridgeRef) -> Bridge:
    """Show a bridge as seen from one of its rooms."""
    room, bridge = _find(engine, p)
    return show_bridge(bridge, room)


@command("bridge_update", rest=Route("PATCH", _PATH, names=_NAMES, body=True), errors=(400, 404))
async def bridge_update(engine: Engine, p: BridgeUpdate) -> Bridge:
    """Change where a bridge carries audio."""
    room, bridge = _find(engine, p)
    if p.direction is None:
        raise BadRequest("direction is required")
    engine.bridges.set_direction(bridge, room, p.direction)
    return show_bridge(bridge, room)


@command("bridge_delete", rest=Route("DELETE", _PATH, names=_NAMES), errors=(404,))
async def bridge_delete(engine: Engine, p: BridgeRef) -> Status:
    """Take a bridge down."""
    _, bridge = _find(engine, p)
    engine.bridges.close(bridge)
    return Status(status="deleted")


def _find(engine: Engine, p: BridgeRef) -> tuple[Room, LiveBridge]:
    room = engine.rooms.find(p.room_id)
    if room is None:
        raise NotFound("bridge not found")
    return room, engine.bridges.get(room, p.bridge_id)
