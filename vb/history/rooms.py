"""Who is in which room, and what is under way there: it belongs to the calls of all who come and go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vb.events.agent import AgentConnected, AgentDisconnected
from vb.events.base import Event
from vb.events.media import RecordingFinished, RecordingStarted
from vb.events.room import RoomDeleted

MAX_GONE: Final = 1_000
"""Legs that have left a room and learn how its recording ends; of more, the earliest do not."""


@dataclass(slots=True)
class _Room:
    """A room, as far as calls are concerned.

    Attributes:
        legs: who is in it, in order.
        recording: the start of the recording that runs.
        gone: who is on that recording and not in the room any more, in the order of leaving.
        agent: the start of the conversation that goes on.
        last: who left it empty.
    """

    legs: dict[str, None] = field(default_factory=dict)
    recording: RecordingStarted | None = None
    gone: dict[str, None] = field(default_factory=dict)
    agent: AgentConnected | None = None
    last: str | None = None


class Rooms:
    """The rooms of one server process that somebody is in, or has been in."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        self._room_of: dict[str, str] = {}
        self._gone: dict[str, int] = {}
        """Legs that are awaited by recordings → by how many."""

    def join(self, leg_id: str, room_id: str) -> list[Event]:
        """Take note that a leg is in a room; returns the starts of what is under way there."""
        self.leave(leg_id)
        room = self._rooms.setdefault(room_id, _Room())
        self._room_of[leg_id] = room_id
        room.legs[leg_id] = None
        room.last = None
        self._is_back(room, leg_id)
        return [start for start in (room.recording, room.agent) if start is not None]

    def leave(self, leg_id: str) -> None:
        """Take note that a leg is in no room."""
        room_id = self._room_of.pop(leg_id, None)
        if room_id is None:
            return
        room = self._rooms[room_id]
        del room.legs[leg_id]
        room.last = None if room.legs else leg_id
        if room.recording is not None:
            room.gone[leg_id] = None
            self._gone[leg_id] = self._gone.get(leg_id, 0) + 1
            if len(room.gone) > MAX_GONE:
                self._is_back(room, next(iter(room.gone)))

    def concerned(self, room_id: str, event: Event) -> list[str]:
        """Take note of an event of a room; returns the legs that it is about.

        Those are who is there, who is on a recording that has ended, and who left the room empty, so that
        its agent went too.
        """
        named = getattr(event, "channels", None) or {}
        room = self._rooms.get(room_id)
        if room is None:
            if not isinstance(event, RecordingStarted | AgentConnected):
                return list(named)
            room = self._rooms[room_id] = _Room()
        legs = dict.fromkeys((*room.legs, *named))
        match event:
            case RecordingStarted():
                room.recording = event
            case RecordingFinished():
                legs.update(room.gone)
                self._stop_recording(room)
            case AgentConnected():
                room.agent = event
            case AgentDisconnected():
                room.agent = None
                if room.last is not None:
                    legs[room.last] = None
            case RoomDeleted():
                self._stop_recording(room)
                if room.legs:
                    room.agent = room.last = None
                else:
                    del self._rooms[room_id]
            case _:
                pass
        return list(legs)

    def awaits(self, leg_id: str) -> bool:
        """Whether a leg has left a room where a recording that it is on goes on."""
        return leg_id in self._gone

    def _stop_recording(self, room: _Room) -> None:
        room.recording = None
        for leg_id in list(room.gone):
            self._is_back(room, leg_id)

    def _is_back(self, room: _Room, leg_id: str) -> None:
        """Wait no longer on behalf of a leg."""
        if leg_id in room.gone:
            del room.gone[leg_id]
            self._gone[leg_id] -= 1
            if not self._gone[leg_id]:
                del self._gone[leg_id]
