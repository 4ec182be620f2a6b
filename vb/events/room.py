"""Events of rooms."""

from __future__ import annotations

from vb.events.base import RoomEvent


class RoomCreated(RoomEvent, type="room.created"):
    """A room exists now."""


class RoomDeleted(RoomEvent, type="room.deleted"):
    """A room is gone."""
