"""What several commands take: names of legs, rooms and owners, and roles."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vb.parameters import Params
from vb.rooms.routing import MAX_ROLE_CHARS

Role = Annotated[str, Field(max_length=MAX_ROLE_CHARS)]


class NoParams(Params):
    """Nothing to say."""


class LegRef(Params):
    """Names a leg."""

    id: str = Field(description="leg id")


class RoomRef(Params):
    """Names a room."""

    id: str = Field(description="room id")


class OwnerRef(Params):
    """Names a leg or a room."""

    id: str = Field(description="id of the leg or room")
