"""The application: puts every caller into the room it dialled, over VSI, and counts what it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from time import monotonic

from bench.server import Server
from bench.websocket import WebSocket

CALL_EVENTS = ("leg.ringing", "leg.connected", "leg.joined_room", "leg.left_room", "leg.disconnected")
"""Each of these comes exactly once for every call."""


class Application:
    """A VSI client that answers every call by adding its leg to the room that was dialled."""

    def __init__(self, server: Server) -> None:
        self._socket = WebSocket(server.http_host, server.http_port, "/v1/vsi")
        self.counts: Counter[str] = Counter()
        self.dropped = 0
        self.errors: list[str] = []
        self.quality: dict[int, Mapping[str, object]] = {}
        self._numbers: dict[str, int] = {}

    def pump(self, timeout_s: float) -> None:
        """Handle what has come, waiting for the first message at most `timeout_s`."""
        for message in self._socket.receive(timeout_s):
            self._handle(message)

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

    def _handle(self, message: Mapping[str, object]) -> None:
        kind = str(message.get("type"))
        self.counts[kind] += 1
        if kind == "leg.ringing":
            leg_id = str(message["leg_id"])
            self._numbers[leg_id] = int(str(message["from"]))
            payload = {"room_id": message["to"], "leg_id": leg_id}
            self._socket.send({"type": "add_leg_to_room", "payload": payload})
        elif kind == "leg.disconnected":
            number = self._numbers.get(str(message["leg_id"]))
            quality = message.get("quality")
            if number is not None and isinstance(quality, Mapping):
                self.quality[number] = quality
        elif kind == "ping":
            self._socket.send({"type": "pong"})
        elif kind == "events_dropped":
            self.dropped += int(str(message["count"]))
        elif kind == "error":
            self.errors.append(str(message.get("data")))

    def close(self) -> None:
        """Leave."""
        self._socket.close()
