"""A leg or a room as its features see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from vb.events.base import LegOrRoomEvent
from vb.legs.leg import Leg
from vb.mixer.frames import FrameSink, FrameSource
from vb.rooms.room import Room
from vb.slots import TaskSlots

E = TypeVar("E", bound=LegOrRoomEvent)


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a playback or recording: exactly one of leg and room."""

    leg: Leg | None = None
    room: Room | None = None

    @property
    def key(self) -> str:
        """Identifies the owner among legs and rooms, which may have the same id."""
        return f"leg {self.leg.id}" if self.leg is not None else f"room {self.room.id if self.room else ''}"

    @property
    def slots(self) -> TaskSlots:
        """Where its tasks live."""
        holder = self.leg or self.room
        assert holder is not None
        return holder.slots

    @property
    def stop_deadline(self) -> float:
        """When its features have to be over because the server stops; infinite until then."""
        holder = self.leg or self.room
        assert holder is not None
        return holder.host.stop_deadline

    def publish(self, kind: type[E], **fields: Any) -> None:
        """Publish an event that carries the owner's id, and only that one."""
        if self.leg is not None:
            self.leg.publish(kind(leg_id=self.leg.id, app_id=self.leg.app_id, **fields))
        elif self.room is not None:
            self.room.publish(kind(room_id=self.room.id, app_id=self.room.app_id, **fields))

    def add_source(self, source: FrameSource) -> None:
        """Let the owner hear a source: privately for a leg, everybody for a room."""
        if self.leg is not None and self.leg.port is not None:
            self.leg.port.add_private(source)
        elif self.room is not None:
            self.room.mix.add_source(source)

    def remove_source(self, source: FrameSource) -> None:
        """Stop hearing a source; harmless when it is gone already."""
        if self.leg is not None and self.leg.port is not None:
            self.leg.port.remove_private(source)
        elif self.room is not None:
            self.room.mix.remove_source(source)

    def add_taps(self, said: FrameSink, heard: FrameSink | None) -> None:
        """Listen in: on what a leg says and hears, or on a room's full mix."""
        if self.leg is not None and self.leg.port is not None:
            self.leg.port.add_tap_in(said)
            if heard is not None:
                self.leg.port.add_tap_out(heard)
        elif self.room is not None:
            self.room.mix.add_tap(said)

    def remove_taps(self, *sinks: FrameSink | None) -> None:
        """Stop listening in; harmless when it is over already."""
        for sink in sinks:
            if sink is None:
                continue
            if self.leg is not None and self.leg.port is not None:
                self.leg.port.remove_tap(sink)
            elif self.room is not None:
                self.room.mix.remove_tap(sink)

    @property
    def frame_rate_hz(self) -> int:
        """Rate of the frames that taps get now."""
        if self.room is not None:
            return self.room.sample_rate_hz
        assert self.leg is not None
        room = self.leg.room
        if isinstance(room, Room):
            return room.sample_rate_hz
        return self.leg.port.rate_hz if self.leg.port is not None else 8000
