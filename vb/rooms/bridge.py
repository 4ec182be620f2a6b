"""A bridge lets two rooms hear each other: one participant in each, joined by two short queues.

Each participant gives its room what the other one heard in the tick before. A room's mix never contains what
came over the bridge it goes out by, so nothing echoes.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Literal, TypeVar

from vb.events.base import BridgeEvent
from vb.events.room import Flow
from vb.mixer.frames import Pcm
from vb.mixer.plane import Plane
from vb.mixer.port import Port, StreamPort
from vb.rooms.room import Room

QUEUE_FRAMES: Final = 3

E = TypeVar("E", bound=BridgeEvent)
Direction = Literal["bidirectional", "send", "receive", "none"]
"""Where audio goes, as seen from one of the rooms."""

_FROM_A: Final[dict[Direction, Flow]] = {
    "bidirectional": "bidirectional",
    "send": "a_to_b",
    "receive": "b_to_a",
    "none": "none",
}
_FROM_B: Final[dict[Direction, Flow]] = {**_FROM_A, "send": "b_to_a", "receive": "a_to_b"}


class Conduit:
    """One way of a bridge: what one room's participant hears, the other's says.

    A full queue makes room by dropping its oldest frame.

    Attributes:
        dropped: how many frames were dropped.
        finished: whether it was closed.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.finished = False
        self._frames: deque[Pcm] = deque(maxlen=QUEUE_FRAMES)

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Take 20 ms of one room; nothing is kept once closed."""
        if self.finished:
            return
        if len(self._frames) == QUEUE_FRAMES:
            self.dropped += 1
        self._frames.append(frame.copy())

    def take(self, rate_hz: int) -> Pcm | None:
        """Give the oldest 20 ms to the other room, None when there is nothing."""
        return self._frames.popleft() if self._frames else None

    def close(self) -> None:
        """End it for both sides and forget what was queued. Closing again is fine."""
        self.finished = True
        self._frames.clear()


class Bridge:
    """Two rooms of one sample rate that hear each other.

    Args:
        plane: where both rooms are mixed.
        bridge_id: identifier.
        room_a: the room at which it was created; events are told from its point of view.
        room_b: the other one.
        direction: where audio goes at first, as seen from room A.

    Raises:
        PlaneFull: the plane has no two places left.
    """

    def __init__(
        self, plane: Plane, bridge_id: str, room_a: Room, room_b: Room, direction: Direction
    ) -> None:
        self.id = bridge_id
        self.room_a = room_a
        self.room_b = room_b
        self.sample_rate_hz = room_a.sample_rate_hz
        self._a_to_b = Conduit()
        self._b_to_a = Conduit()
        self._port_a = self._open(plane, says=self._b_to_a, hears=self._a_to_b)
        try:
            self._port_b = self._open(plane, says=self._a_to_b, hears=self._b_to_a)
        except BaseException:
            self._port_a.close()
            raise
        self.set_direction(room_a, direction)
        room_a.mix.join(self._member_id, self._port_a)
        room_b.mix.join(self._member_id, self._port_b)

    def _open(self, plane: Plane, *, says: Conduit, hears: Conduit) -> StreamPort:
        return plane.open_stream(says, hears, rate_hz=self.sample_rate_hz, comfort_noise=False)

    @property
    def _member_id(self) -> str:
        return f"__bridge:{self.id}"

    @property
    def rooms(self) -> tuple[Room, Room]:
        """Room A and room B."""
        return self.room_a, self.room_b

    @property
    def ports(self) -> tuple[Port, Port]:
        """Its participants in room A and in room B."""
        return self._port_a, self._port_b

    @property
    def dropped(self) -> int:
        """How many frames were dropped, both ways together."""
        return self._a_to_b.dropped + self._b_to_a.dropped

    @property
    def flow(self) -> Flow:
        """Where audio goes, in terms of room A and room B."""
        return self._flow

    def set_direction(self, room: Room, direction: Direction) -> None:
        """Say where audio goes from the next tick on, as seen from one of the rooms."""
        self._flow = (_FROM_A if room is self.room_a else _FROM_B)[direction]
        to_b = self._flow in ("bidirectional", "a_to_b")
        to_a = self._flow in ("bidirectional", "b_to_a")
        # Neither collected on the near side nor heard on the far one: reopening never plays what is old.
        self._port_a.deaf = self._port_b.muted = not to_b
        self._port_b.deaf = self._port_a.muted = not to_a

    def peer_of(self, room: Room) -> Room:
        """Return the room at the other end."""
        return self.room_b if room is self.room_a else self.room_a

    def direction_from(self, room: Room) -> Direction:
        """Return where audio goes as seen from one of the rooms."""
        flows = _FROM_A if room is self.room_a else _FROM_B
        return next(direction for direction, flow in flows.items() if flow == self._flow)

    def publish(self, kind: type[E], **fields: Any) -> None:
        """Publish an event of this bridge; it counts as one of room A."""
        self.room_a.publish(
            kind(
                bridge_id=self.id,
                room_a_id=self.room_a.id,
                room_b_id=self.room_b.id,
                app_id=self.room_a.app_id,
                **fields,
            )
        )

    def close(self) -> None:
        """Leave both rooms; nothing is heard over it from the moment of the call. Closing again is fine."""
        for room, port in zip(self.rooms, self.ports, strict=True):
            room.mix.leave(self._member_id, port)
            port.close()
        self._a_to_b.close()
        self._b_to_a.close()
