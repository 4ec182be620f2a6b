"""A room's task: it tells the plane of each change, and takes the room out of it in the end."""

from __future__ import annotations

from typing import Final

import trio

from vb.channels import Channel
from vb.mixer.frames import TICK_S
from vb.mixer.plane import Plane
from vb.mixer.room import RoomMix

NOTICES: Final = 1
"""One notice is enough: the task publishes the whole state, so notices that do not fit say nothing more."""

_REST: Final = 4.0
"""How many times as long as a plan took the task rests, so that a burst in a large room is a few plans."""
_LEAST_REST_S: Final = 0.001
"""Rests shorter than this are not worth it: small rooms follow each change at once."""


async def run_room(
    room: RoomMix, plane: Plane, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Publish a room's mix after each change until cancelled.

    Cancellation: the room is out of the plane when this returns.
    """
    notices: Channel[None] = Channel(NOTICES, overflow="drop_newest", name=f"room {room.room_id}")
    room.on_change = lambda: notices.put(None)
    plane.publish(room.plan())
    task_status.started()
    try:
        async for _ in notices:
            begun = trio.current_time()
            plane.publish(room.plan())
            rest_s = min(_REST * (trio.current_time() - begun), TICK_S)
            if rest_s >= _LEAST_REST_S:
                await trio.sleep(rest_s)
    finally:
        room.on_change = None
        plane.withdraw(room.room_id)
