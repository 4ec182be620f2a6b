"""Bringing a leg into a room that may not exist yet."""

from __future__ import annotations

from vb.engine import Engine
from vb.legs.leg import Leg


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
