"""Bringing a leg into a room: one that may not exist yet, or one that may be gone."""

from __future__ import annotations

from vb.engine import Engine
from vb.legs.leg import Leg
from vb.rooms.room import Room


def put_into_room(engine: Engine, leg: Leg, room_id: str, role: str | None = None) -> None:
    """Let a leg join a room, which is created when it does not exist; nothing happens to an ended leg.

    Args:
        engine: the server.
        leg: who.
        room_id: where.
        role: routing role that it has from then on; None leaves the one it has.
    """
    if leg.ended:
        return
    room = engine.rooms.find(room_id) or engine.open_room(room_id, app_id=leg.app_id)
    if leg.room is not room:
        room.add(leg, role)


def put_into_live_room(engine: Engine, leg: Leg, room: Room, role: str | None = None) -> None:
    """Let a leg join a room unless that has been deleted; nothing happens to an ended leg."""
    if not leg.ended and engine.rooms.find(room.id) is room and leg.room is not room:
        room.add(leg, role)
