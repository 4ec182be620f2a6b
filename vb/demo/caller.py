"""What every caller of the demonstration is, whatever way it calls."""

from __future__ import annotations

from typing import Protocol

import trio

from vb.demo.track import HeardTrack, SpokenTrack
from vb.rtp.stats import Quality


class Caller(Protocol):
    """Somebody in the room.

    Attributes:
        name: word on the screen, by which the application knows the call.
        said: its microphone.
        heard: its ear.
        sent: packets or messages of audio sent.
        spoken: set once the whole speech was said.
    """

    name: str
    said: SpokenTrack
    heard: HeardTrack
    sent: int
    spoken: trio.Event

    def quality(self) -> Quality | None:
        """Return how well it hears so far; None where its transport loses nothing, or before it hears."""
        ...

    def hang_up(self) -> None:
        """End the call, in whatever state it is."""
        ...
