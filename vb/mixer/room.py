"""The state of one room's mix, changed by plain calls and turned into plans for the plane."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vb.mixer.frames import FrameSink, FrameSource
from vb.mixer.plan import Member, MixPlan
from vb.mixer.port import Port

Hears = Callable[[tuple[Port, ...]], NDArray[np.bool_] | None]
"""Works out who hears whom, (members, members), or None for a full mesh."""


class RoomMix:
    """Who and what takes part in a room.

    Changes are visible to commands at once and to ears with the next tick after `plan` was published.

    Args:
        room_id: the room.
        rate_hz: its mixing rate.
        comfort_noise: whether silence is filled with faint noise.
        on_change: called after each change; must not wait.
    """

    def __init__(
        self,
        room_id: str,
        rate_hz: int,
        *,
        comfort_noise: bool = True,
        on_change: Callable[[], object] | None = None,
    ) -> None:
        self.room_id = room_id
        self.rate_hz = rate_hz
        self.on_change = on_change
        self._comfort_noise = comfort_noise
        self._members: dict[str, Member] = {}
        self._sources: tuple[FrameSource, ...] = ()
        self._taps: tuple[FrameSink, ...] = ()
        self._hears: Hears | None = None

    @property
    def members(self) -> dict[str, Port]:
        """A copy of the members by id, in order of joining."""
        return {member_id: member.port for member_id, member in self._members.items()}

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()

    @property
    def size(self) -> int:
        """How many take part."""
        return len(self._members)

    def join(self, member_id: str, port: Port) -> None:
        """Let a participant in; the one who had the same id is replaced and keeps its place."""
        self._members[member_id] = Member(port)
        self._changed()

    def leave(self, member_id: str, port: Port | None = None) -> bool:
        """Let a participant go.

        Args:
            member_id: who.
            port: when given, only if it is still this one: a late notice never evicts one who came back.

        Returns:
            Whether anybody left.
        """
        present = self._members.get(member_id)
        if present is None or (port is not None and present.port is not port):
            return False
        del self._members[member_id]
        self._changed()
        return True

    def add_source(self, source: FrameSource) -> None:
        """Play to everybody."""
        self._sources = (*self._sources, source)
        self._changed()

    def remove_source(self, source: FrameSource) -> None:
        """Stop playing; a source that is not there changes nothing."""
        self._sources = tuple(other for other in self._sources if other is not source)
        self._changed()

    def add_tap(self, tap: FrameSink) -> None:
        """Listen to the full mix."""
        self._taps = (*self._taps, tap)
        self._changed()

    def remove_tap(self, tap: FrameSink) -> None:
        """Stop listening; a tap that is not there changes nothing."""
        self._taps = tuple(other for other in self._taps if other is not tap)
        self._changed()

    def route(self, hears: Hears | None) -> None:
        """Set who hears whom; None is a full mesh."""
        self._hears = hears
        self._changed()

    def plan(self) -> MixPlan:
        """Return the present state for the plane."""
        members = tuple(self._members.values())
        return MixPlan(
            room_id=self.room_id,
            rate_hz=self.rate_hz,
            members=members,
            sources=tuple(source for source in self._sources if not source.finished),
            taps=self._taps,
            comfort_noise=self._comfort_noise,
            hears=None if self._hears is None else self._hears(tuple(member.port for member in members)),
        )
