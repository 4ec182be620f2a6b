"""Where an agent sits: what it hears there, and who hears it."""

from __future__ import annotations

from typing import Final, Protocol

from vb.agents.audio import Mouth
from vb.legs.leg import Leg
from vb.mixer.frames import FrameSink
from vb.mixer.plane import Plane
from vb.mixer.port import StreamPort
from vb.rooms.room import Room

RATE_HZ: Final = 16_000
"""Rate of an agent in a room that mixes nothing else; a room has its own."""


class Seat(Protocol):
    """A place beside a leg or in a room.

    Attributes:
        why_over: why the conversation ends when nobody has asked for its end.
    """

    why_over: str

    def take(self, mouth: Mouth, ears: FrameSink) -> None:
        """Hear and be heard from the next tick on."""
        ...

    def leave(self) -> None:
        """Neither hear nor be heard any more; harmless when it is over already."""
        ...

    def round_trip_ms(self) -> float | None:
        """Return the time to whoever listens and back; None while nobody knows."""
        ...

    def waited_s(self) -> float:
        """Return how long what is heard now, inside a tick, has waited here since it came."""
        ...


class LegSeat:
    """Beside a leg: it hears that leg alone, muted or not. The whole room that the leg is in hears it.

    Args:
        leg: the leg, which it follows from room to room.
    """

    def __init__(self, leg: Leg) -> None:
        self.why_over = ""
        self._leg = leg
        self._mouth: Mouth | None = None
        self._ears: FrameSink | None = None
        self._heard_by: Leg | Room | None = None

    def take(self, mouth: Mouth, ears: FrameSink) -> None:
        """Hear and be heard from the next tick on."""
        self._mouth, self._ears = mouth, ears
        self._leg.add_taps(ears, None)
        self._leg.moved.append(self._follow)
        self._follow()

    def _follow(self) -> None:
        """Speak where the leg is now."""
        place: Leg | Room = self._leg
        if isinstance(self._leg.room, Room):
            place = self._leg.room
        if place is self._heard_by or self._mouth is None:
            return
        if self._heard_by is not None:
            self._heard_by.remove_source(self._mouth)
        self._heard_by = place
        place.add_source(self._mouth)

    def round_trip_ms(self) -> float | None:
        """Return the time to the far end of the leg and back, as its RTCP tells; None while it does not."""
        link = self._leg.link()
        return None if link is None else link.round_trip_ms

    def waited_s(self) -> float:
        """Return how long the leg's jitter buffer and the wait for the tick have kept what is heard now."""
        port = self._leg.port
        return 0.0 if port is None else port.waited_s()

    def leave(self) -> None:
        """Neither hear nor be heard any more."""
        if self._leg.ended:
            self.why_over = "leg_ended"
        if self._mouth is None:
            return
        self._leg.moved.remove(self._follow)
        self._leg.remove_taps(self._ears)
        if self._heard_by is not None:
            self._heard_by.remove_source(self._mouth)
        self._mouth = self._ears = self._heard_by = None


class RoomSeat:
    """In a room: it hears all others, and all hear it, whatever the routing says.

    Args:
        room: the room.
        plane: where it is mixed.
        member_id: its name among those who are mixed.
    """

    def __init__(self, room: Room, plane: Plane, member_id: str) -> None:
        self.why_over = ""
        self._room = room
        self._plane = plane
        self._id = member_id
        self.port: StreamPort | None = None

    def take(self, mouth: Mouth, ears: FrameSink) -> None:
        """Hear and be heard from the next tick on."""
        self.port = self._plane.open_stream(mouth, ears, rate_hz=RATE_HZ, comfort_noise=False)
        self._room.mix.join(self._id, self.port)

    def round_trip_ms(self) -> float | None:
        """Return None: everybody in a room is differently far."""
        return None

    def waited_s(self) -> float:
        """Return nothing: each of those who are heard has waited for another time."""
        return 0.0

    def leave(self) -> None:
        """Neither hear nor be heard any more."""
        if not self._room.members:
            self.why_over = "room_empty"
        if self.port is not None:
            self._room.mix.leave(self._id, self.port)
            self.port.close()
            self.port = None
