"""WebSocket as a kind of leg: what its legs share, and how one comes to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import trio

from vb.engine import Engine
from vb.legs.kind import LegType
from vb.legs.leg import Leg
from vb.legs.requests import CreateLeg
from vb.metrics import Reading
from vb.mixer.port import Port
from vb.rooms.room import Room
from vb.wsleg.listener import Audience
from vb.wsleg.losses import LOSSES, Counts
from vb.wsleg.outbound import create_websocket_leg
from vb.wsleg.socket import Outbox


class WebSocketLegs:
    """All WebSocket legs of a server, and the listeners of its rooms.

    Args:
        engine: the server.

    Attributes:
        outbox: writes to their WebSockets.
        losses: counts what was lost on all of them.
        lead_ms: how much of what they say is held back.
        listeners: WebSockets that hear rooms without being legs: the place of each, and what ends it.
    """

    name: Final = "websocket"
    leg_types: Final[tuple[LegType, ...]] = ("websocket_in", "websocket_out")

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.outbox = Outbox()
        self.losses: Counts = dict.fromkeys(LOSSES, 0)
        self.lead_ms = max(0, engine.config.websocket.jitter_buffer_ms)
        self.listeners: dict[Port, Callable[[], None]] = {}
        self._audiences: dict[str, Audience] = {}

    async def create(self, request: CreateLeg) -> Leg:
        """Call a program and return its ringing leg.

        Raises:
            VbError: as `create_websocket_leg` says; nothing was sent or created.
        """
        return await create_websocket_leg(self, request)

    def audience(self, room: Room) -> Audience:
        """Return those who hear a room."""
        found = self._audiences.get(room.id)
        if found is None or found.room is not room:
            found = self._audiences[room.id] = Audience(room, self)
        return found

    def port_failed(self, port: Port) -> bool:
        """End the listener whose place it was; False when it was nobody's."""
        end = self.listeners.get(port)
        if end is None:
            return False
        end()
        return True

    def leave(self, audience: Audience) -> None:
        """Forget an audience that has nobody left."""
        if not audience.listeners and self._audiences.get(audience.room.id) is audience:
            del self._audiences[audience.room.id]

    async def run(self, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Write to the WebSockets until cancelled; they listen on no address of their own."""
        task_status.started(())
        await self.outbox.run()

    def readings(self) -> Iterator[Reading]:
        """Give the figures of WebSockets for the metrics."""
        text = "Frames and messages that WebSockets lost, by direction and reason"
        for (direction, reason), count in self.losses.items():
            yield "ws_lost", text, count, {"direction": direction, "reason": reason}
        yield "ws_listeners", "WebSockets that hear a room without being a leg", len(self.listeners), {}
