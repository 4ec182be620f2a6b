"""Who is in which room, and what is under way there: it belongs to the calls of all who come and go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from vb.events.agent import AgentConnected, AgentDisconnected
from vb.events.base import Event
from vb.events.media import RecordingFinished, RecordingStarted
from vb.events.room import RoomDeleted

MAX_GONE: Final = 1_000
"""Legs that have left a room and learn how its recording ends; of more, the earliest do not."""
MAX_AWAITED: Final = 3_000
"""The same of all rooms together: the call of each is held, about 30 KiB with what was said in it."""


@dataclass(slots=True)
class _Room:
    """A room, as far as calls are concerned.

    Attributes:
        legs: who is in it, in order.
        recording: the start of the recording that runs.
        gone: who is on that recording and not in the room any more, in the order of leaving.
        agent: the start of the conversation that goes on.
        last: who left it empty.
        deleted: whether it goes with the last of its legs.
    """

    legs: dict[str, None] = field(default_factory=dict)
    recording: RecordingStarted | None = None
    gone: dict[str, None] = field(default_factory=dict)
    agent: AgentConnected | None = None
    last: str | None = None
    deleted: bool = False


class Rooms:
    """The rooms of one server process that somebody is in, or has been in.

    Args:
        on_free: told of a leg that no recording awaits any more.
    """

    def __init__(self, on_free: Callable[[str], None]) -> None:
        self._on_free = on_free
        self._rooms: dict[str, _Room] = {}
        self._room_of: dict[str, str] = {}
        self._gone: dict[str, set[str]] = {}
        """Legs that are awaited by recordings → of which rooms; the earliest first."""

    def join(self, leg_id: str, room_id: str) -> list[Event]:
        """Take note that a leg is in a room; returns the starts of what is under way there."""
        self.leave(leg_id)
        room = self._rooms.setdefault(room_id, _Room())
        self._room_of[leg_id] = room_id
        room.legs[leg_id] = None
        room.last, room.deleted = None, False
        self._is_back(room_id, leg_id)
        return [start for start in (room.recording, room.agent) if start is not None]

    def leave(self, leg_id: str) -> None:
        """Take note that a leg is in no room."""
        room_id = self._room_of.pop(leg_id, None)
        if room_id is None:
            return
        room = self._rooms[room_id]
        del room.legs[leg_id]
        room.last = None if room.legs else leg_id
        if room.deleted and not room.legs:
            self._stop_recording(room_id)
            del self._rooms[room_id]
        elif room.recording is not None:
            room.gone[leg_id] = None
            self._gone.setdefault(leg_id, set()).add(room_id)
            if len(room.gone) > MAX_GONE:
                self._is_back(room_id, next(iter(room.gone)))
            if len(self._gone) > MAX_AWAITED:
                earliest = next(iter(self._gone))
                for each in list(self._gone[earliest]):
                    self._is_back(each, earliest)

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
                self._stop_recording(room_id)
            case AgentConnected():
                room.agent = event
            case AgentDisconnected():
                room.agent = None
                if room.last is not None:
                    legs[room.last] = None
            case RoomDeleted():
                self._stop_recording(room_id)
                if room.legs:
                    room.agent, room.deleted = None, True
                else:
                    del self._rooms[room_id]
            case _:
                pass
        return list(legs)

    def awaits(self, leg_id: str) -> bool:
        """Whether a leg has left a room where a recording that it is on goes on."""
        return leg_id in self._gone

    def _stop_recording(self, room_id: str) -> None:
        room = self._rooms[room_id]
        room.recording = None
        for leg_id in list(room.gone):
            self._is_back(room_id, leg_id)

    def _is_back(self, room_id: str, leg_id: str) -> None:
        """Wait no longer on behalf of a leg."""
        gone = self._rooms[room_id].gone
        if leg_id in gone:
            del gone[leg_id]
            awaiting = self._gone[leg_id]
            awaiting.discard(room_id)
            if not awaiting:
                del self._gone[leg_id]
                self._on_free(leg_id)
