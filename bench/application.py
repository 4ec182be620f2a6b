"""The application: puts every caller into the room it dialled, over VSI, and counts what it is told."""

from __future__ import annotations

import select
from collections import Counter
from collections.abc import Callable, Mapping
from time import monotonic

from bench.events import EventLog, Message
from bench.server import Server
from bench.websocket import ConnectionEnded, WebSocket

CALL_EVENTS = ("leg.ringing", "leg.connected", "leg.joined_room", "leg.left_room", "leg.disconnected")
"""Each of these comes exactly once for every call, in this order."""


class Application:
    """A VSI client that answers every call by adding its leg to the room that was dialled.

    Args:
        server: whom to connect to.
        observers: further clients that only listen.

    Attributes:
        logs: what each client was told, that of the one in charge first.
        errors: commands that were refused.
        numbers: the caller of each leg.
        legs: the leg of each caller.
        quality: what was told of each caller's audio at the end.
    """

    def __init__(self, server: Server, observers: int = 0) -> None:
        self._clients = [
            WebSocket(server.http_host, server.http_port, "/v1/vsi") for _ in range(1 + observers)
        ]
        self._open = list(self._clients)
        self.logs = [EventLog() for _ in self._clients]
        self.errors: list[str] = []
        self.numbers: dict[str, int] = {}
        self.legs: dict[int, str] = {}
        self.quality: dict[int, Mapping[str, object]] = {}

    @property
    def counts(self) -> Counter[str]:
        """Messages to the client in charge, by type."""
        return self.logs[0].counts

    @property
    def dropped(self) -> int:
        """Events that the server says were dropped, for all clients."""
        return sum(log.dropped for log in self.logs)

    @property
    def is_connected(self) -> bool:
        """Whether any client still is."""
        return bool(self._open)

    def pump(self, timeout_s: float) -> None:
        """Handle what has come, waiting for the first message at most `timeout_s`."""
        ready, _, _ = select.select(self._open, [], [], timeout_s)
        for client, log in zip(self._clients, self.logs, strict=True):
            if client not in ready:
                continue
            try:
                messages = client.take()
            except ConnectionEnded:
                self._open.remove(client)
                raise
            for message in messages:
                log.take(message)
                if message.get("type") == "ping":
                    client.send({"type": "pong"})
                if log is self.logs[0]:
                    self.react(message)

    def pump_until(self, done: Callable[[], bool], timeout_s: float, *, step_s: float = 0.1) -> bool:
        """Handle messages until `done`, which is asked every `step_s`; False when that took too long."""
        deadline = monotonic() + timeout_s
        ask_at = 0.0
        while True:
            now = monotonic()
            if now >= ask_at:
                if done():
                    return True
                ask_at = now + step_s
            if now > deadline:
                return False
            self.pump(max(0.0, ask_at - monotonic()))

    def greeted(self) -> bool:
        """Wait until the server has greeted every client."""
        return self.pump_until(lambda: all(log.counts["connected"] for log in self.logs), 5.0)

    def catch_up(self) -> None:
        """Handle what is still on its way to slower clients."""
        self.pump_until(lambda: len({len(log.ids) for log in self.logs}) == 1, 5.0)

    def command(self, name: str, **payload: object) -> None:
        """Send a command; a refusal goes to `errors`."""
        self._clients[0].send({"type": name, "payload": payload})

    def react(self, message: Message) -> None:
        """Do what an application does about a message."""
        kind = message.get("type")
        if kind == "leg.ringing":
            leg_id = str(message["leg_id"])
            number = int(str(message["from"]))
            self.numbers[leg_id], self.legs[number] = number, leg_id
            self.on_ringing(leg_id, number, str(message["to"]))
        elif kind == "leg.disconnected":
            known = self.numbers.get(str(message["leg_id"]))
            quality = message.get("quality")
            if known is not None and isinstance(quality, Mapping):
                self.quality[known] = quality
        elif kind == "error":
            self.errors.append(str(message.get("data")))

    def on_ringing(self, leg_id: str, number: int, dialled: str) -> None:
        """Take a new call."""
        self.command("add_leg_to_room", room_id=dialled, leg_id=leg_id)

    def close(self) -> None:
        """Leave."""
        for client in self._clients:
            client.close()
