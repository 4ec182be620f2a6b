"""A room as the plane sees it: an immutable value that replaces its predecessor between two ticks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vb.mixer.frames import RATES_HZ, FrameSink, FrameSource
from vb.mixer.port import Port


@dataclass(frozen=True, slots=True)
class Member:
    """One participant of a room."""

    port: Port


@dataclass(frozen=True, slots=True, eq=False)
class MixPlan:
    """Who is mixed with whom in one room.

    Attributes:
        room_id: the room; a plan replaces the one published before under the same id.
        rate_hz: mixing rate, 8000, 16000 or 48000.
        members: participants; each hears the others.
        sources: room playback, heard by everybody.
        taps: get the full mix of unmuted members and sources.
        comfort_noise: whether an all-silent mix is replaced by faint noise.
        hears: (members, members) row hears column, or None when everybody hears everybody.
        handles: (members,) of their ports.
    """

    room_id: str
    rate_hz: int
    members: tuple[Member, ...] = ()
    sources: tuple[FrameSource, ...] = ()
    taps: tuple[FrameSink, ...] = ()
    comfort_noise: bool = True
    hears: NDArray[np.bool_] | None = None
    handles: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.rate_hz not in RATES_HZ:
            raise ValueError(f"no room mixes at {self.rate_hz} Hz")
        count = len(self.members)
        handles = np.array([member.port.handle for member in self.members], np.int64)
        object.__setattr__(self, "handles", handles)
        if self.hears is not None and self.hears.shape != (count, count):
            raise ValueError(f"hears is {self.hears.shape} for {count} members")

    @property
    def plain(self) -> bool:
        """Whether members hear each other and nothing else takes part."""
        return not self.sources and not self.taps and self.hears is None
