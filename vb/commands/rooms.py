"""Commands on rooms and their members."""

from __future__ import annotations

from typing import Any

import trio
from pydantic import Field

from vb.choices import MIXING_RATES_HZ
from vb.commands.params import NoParams, Role, RoomRef
from vb.commands.registry import Route, command
from vb.commands.show import show_room
from vb.commands.views import AddLegResult, Room, Status
from vb.engine import Engine
from vb.errors import BadRequest, Conflict, NotFound, VbError
from vb.ids import check_id
from vb.legs.leg import Leg
from vb.legs.state import LegState
from vb.parameters import Params, Url, unbuilt
from vb.web.hooks import make_hook


class CreateRoom(Params):
    """A new room."""

    id: str | None = Field(default=None, description="identifier; drawn when absent")
    app_id: str | None = Field(default=None, description="word to filter events by", max_length=256)
    sample_rate: int | None = Field(
        default=None,
        description="mixing rate in Hz",
        json_schema_extra={"enum": list(MIXING_RATES_HZ), "default": 16000},
    )
    webhook_url: Url | None = Field(default=None, description="receives this room's events")
    webhook_secret: str | None = Field(default=None, description="signs them")


class AddLeg(Params):
    """A leg that joins or moves into a room."""

    room_id: str = Field(description="room id")
    leg_id: str = Field(description="leg id")
    mute: bool | None = Field(default=None, description="set before the leg is heard")
    deaf: bool | None = Field(default=None, description="set before the leg hears")
    accept_dtmf: bool | None = Field(default=None, description="whether digits of room mates are sent to it")
    role: Role | None = Field(
        default=None, description="routing role, taken with the join; empty for none, absent for no change"
    )
    streams: list[dict[str, Any]] | None = unbuilt("further audio streams")


class RemoveLeg(Params):
    """A leg that leaves a room."""

    room_id: str = Field(description="room id")
    leg_id: str = Field(description="leg id")


ANSWER_DEADLINE_S = 30.0
"""How long a leg that is answered on its way into a room may take to connect."""


@command("create_room", rest=Route("POST", "/v1/rooms", status=201, body=True), errors=(400, 409))
async def create_room(engine: Engine, p: CreateRoom) -> Room:
    """Create a room."""
    hook = make_hook(engine.web.policy, p.webhook_url, p.webhook_secret)
    room = engine.rooms.open(p.id, app_id=p.app_id, sample_rate_hz=p.sample_rate or None, hook=hook)
    await trio.lowlevel.checkpoint()
    return show_room(room)


@command("list_rooms", rest=Route("GET", "/v1/rooms"))
async def list_rooms(engine: Engine, p: NoParams) -> list[Room]:
    """List the rooms in the order of their creation."""
    return [show_room(room) for room in engine.rooms]


@command("get_room", rest=Route("GET", "/v1/rooms/{id}"), errors=(404,))
async def get_room(engine: Engine, p: RoomRef) -> Room:
    """Show a room."""
    return show_room(engine.rooms.get(p.id))


@command("delete_room", rest=Route("DELETE", "/v1/rooms/{id}"), errors=(404,))
async def delete_room(engine: Engine, p: RoomRef) -> Status:
    """Delete a room and hang up everybody in it."""
    await engine.rooms.close(p.id)
    return Status(status="deleted")


@command(
    "add_leg_to_room",
    rest=Route("POST", "/v1/rooms/{id}/legs", names={"id": "room_id"}, body=True),
    errors=(400, 409),
)
async def add_leg_to_room(engine: Engine, p: AddLeg) -> AddLegResult:
    """Put a leg into a room, answering or moving it as needed.

    A ringing incoming call is answered first. A room that does not exist is created.
    """
    leg = engine.legs.find(p.leg_id)
    if leg is None:
        raise BadRequest(f"leg {p.leg_id} not found")
    if leg.room is not None and leg.room.id == p.room_id:
        raise BadRequest("leg already in this room")
    check_id(p.room_id, "room_id")
    if leg.answerable:
        return _answer_into(engine, leg, p)
    if leg.state not in (LegState.CONNECTED, LegState.EARLY_MEDIA) and not leg.joins_early:
        raise BadRequest(f"leg is {leg.shown_state}, expected connected or early_media")
    _apply_flags(leg, p)
    old = leg.room
    engine.rooms.join(leg, p.room_id, p.role)
    if old is None:
        return AddLegResult(status="added", room_id=p.room_id, leg_id=leg.id)
    await old.settle()
    return AddLegResult(status="moved", room_id=p.room_id, leg_id=leg.id, from_=old.id, to=p.room_id)


def _apply_flags(leg: Leg, p: AddLeg) -> None:
    if p.mute is not None:
        leg.set_muted(p.mute)
    if p.deaf is not None:
        leg.set_deaf(p.deaf)
    if p.accept_dtmf is not None:
        leg.accept_dtmf = p.accept_dtmf


def _answer_into(engine: Engine, leg: Leg, p: AddLeg) -> AddLegResult:
    if leg.slots.get("add_to_room") is not None:
        raise Conflict("leg is on its way into a room")

    async def wait_and_join() -> None:
        with trio.move_on_after(ANSWER_DEADLINE_S):
            await leg.connected.wait()
            try:
                if leg.room is None:
                    engine.rooms.join(leg, p.room_id, p.role)
            except VbError as exc:  # the room is being deleted
                leg.command_failed("add_to_room", exc.message)
            return
        leg.command_failed("add_to_room", "the call was not connected in time")

    if leg.unanswered:
        leg.answer(None)
    _apply_flags(leg, p)
    leg.slots.start("add_to_room", wait_and_join)
    return AddLegResult(status="adding", room_id=p.room_id, leg_id=leg.id)


@command(
    "remove_leg_from_room",
    rest=Route("DELETE", "/v1/rooms/{id}/legs/{legID}", names={"id": "room_id", "legID": "leg_id"}),
    errors=(400, 404),
)
async def remove_leg_from_room(engine: Engine, p: RemoveLeg) -> Status:
    """Take a leg out of a room; the call goes on alone."""
    room = engine.rooms.find(p.room_id)
    if room is None:
        raise BadRequest(f"room {p.room_id} not found")
    leg = room.members.get(p.leg_id)
    if leg is None:
        raise NotFound(f"leg {p.leg_id} is not in room {p.room_id}")
    room.remove(leg)
    await room.settle()
    return Status(status="removed")
