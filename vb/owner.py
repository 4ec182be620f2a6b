"""What playbacks, recordings and other features need of the leg or room that they are attached to."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from vb.events.base import LegOrRoomEvent
from vb.mixer.frames import FrameSink, FrameSource
from vb.rooms.room import Room
from vb.slots import TaskSlots

E = TypeVar("E", bound=LegOrRoomEvent)


class Owner(Protocol):
    """A leg or a room, as its features see it; `Leg` and `Room` both are one."""

    @property
    def key(self) -> str:
        """Identify the owner among legs and rooms, which may have the same id."""
        ...

    @property
    def slots(self) -> TaskSlots:
        """Return where its tasks live."""
        ...

    @property
    def stop_deadline(self) -> float:
        """Return when its features have to be over because the server stops; infinite until then."""
        ...

    @property
    def frame_rate_hz(self) -> int:
        """Return the rate of the frames that taps get now."""
        ...

    @property
    def sides(self) -> int:
        """Return how many taps it fills: 2 for a leg, which says and hears; 1 for a room, which is a mix."""
        ...

    @property
    def crowd(self) -> Room | None:
        """Return the room whose members can be told apart; None for a leg."""
        ...

    def tell(self, kind: type[E], **fields: Any) -> None:
        """Publish an event that carries the owner's id, and only that one."""
        ...

    def check_playable(self) -> None:
        """Refuse a playback that nobody would hear.

        Raises:
            Conflict: there is no audio yet, or nobody in the room.
        """
        ...

    def check_recordable(self) -> None:
        """Refuse a recording of nothing.

        Raises:
            Conflict: there is no audio yet, or nobody in the room.
        """
        ...

    def add_source(self, source: FrameSource) -> None:
        """Let the owner hear a source: privately for a leg, everybody for a room."""
        ...

    def remove_source(self, source: FrameSource) -> None:
        """Stop hearing a source; harmless when it is gone already."""
        ...

    def add_taps(self, said: FrameSink, heard: FrameSink | None) -> None:
        """Listen in: on what a leg says and hears, or on a room's full mix."""
        ...

    def remove_taps(self, *sinks: FrameSink | None) -> None:
        """Stop listening in; harmless when it is over already."""
        ...
