"""Rooms, legs and bridges on a plane in virtual time, without tasks or sockets."""

from __future__ import annotations

from typing import Any

from tests.mixer.support import Phone, World, strength
from tests.support.leg_host import RecordingHost
from vb.legs.leg import Leg
from vb.mixer.plane import Plane
from vb.rooms.bridges import Bridges
from vb.rooms.room import Room

TONES = (400, 600, 900, 1300, 1700, 2200)


class MixHost(RecordingHost):
    """A host whose rooms are mixed on a plane."""

    def __init__(self, plane: Plane) -> None:
        super().__init__()
        self.plane = plane


class Floor:
    """Some rooms and the people in them."""

    def __init__(self, *, capacity: int = 64) -> None:
        self.world = World(capacity=capacity)
        self.host = MixHost(self.world.plane)
        self.bridges = Bridges()
        self.rooms: list[Room] = []
        self.phones: dict[str, Phone] = {}

    def room(self, room_id: str, *, rate_hz: int = 16000, comfort_noise: bool = False) -> Room:
        """Open a room."""
        room = Room(
            self.host,
            room_id=room_id,
            app_id=f"app-{room_id}",
            sample_rate_hz=rate_hz,
            comfort_noise=comfort_noise,
        )
        self.rooms.append(room)
        return room

    def leg(self, name: str, room: Room | None = None, *, role: str = "") -> Leg:
        """A leg that plays a tone of its own, by default in no room and without a role."""
        phone = self.world.phone(TONES[len(self.phones)])
        leg = Leg(self.host, leg_id=name, leg_type="sip_inbound", app_id="shop", now=0.0)
        leg.role = role
        leg.adopt_port(phone.port)
        self.phones[name] = phone
        if room is not None:
            room.add(leg)
        return leg

    def run(self, ticks: int) -> None:
        """Publish every room as its task would, and run."""
        for room in self.rooms:
            self.world.plane.publish(room.mix.plan())
        self.world.run(ticks)

    def heard(self, name: str, ticks: int = 40) -> set[str]:
        """Whom a leg hears from now on."""
        self.run(ticks)
        pcm = self.phones[name].pcm(20)
        return {other for other, phone in self.phones.items() if strength(pcm, phone.hz or 0) > 3000}

    def hearing(self, ticks: int = 40) -> dict[str, str]:
        """Whom everybody hears from now on, as sorted names."""
        self.run(ticks)
        return {name: "".join(sorted(self.heard(name, 0))) for name in self.phones}

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The events so far, of some types only when any are named; they are forgotten then."""
        found = [
            {"type": event.type, **event.payload()}
            for event in self.host.published
            if not kinds or event.type in kinds
        ]
        self.host.published.clear()
        return found
