"""An owner of utterances that hears them as fast as they come, or as a test says."""

from __future__ import annotations

from typing import Any

import numpy as np
import trio

from vb.codecs.pcm import Pcm
from vb.events.base import LegOrRoomEvent
from vb.mixer.frames import FrameSink, FrameSource
from vb.rooms.room import Room
from vb.slots import TaskSlots

RATE_HZ = 16_000
TIMEOUT_S = 10.0


class Listener:
    """A leg as voices see it; `hear` stands in for the plane's clock.

    Attributes:
        told: events, as types and fields.
        heard: every frame.
    """

    stop_deadline = float("inf")
    frame_rate_hz = RATE_HZ
    sides = 2
    crowd: Room | None = None

    def __init__(self, key: str = "leg a") -> None:
        self.key = key
        self.slots = TaskSlots(key)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.heard: list[Pcm] = []
        self.sources: list[FrameSource] = []

    def tell(self, kind: type[LegOrRoomEvent], **fields: Any) -> None:
        self.told.append((kind.type, kind(**fields).payload()))

    def check_playable(self) -> None: ...

    def check_recordable(self) -> None: ...

    def add_source(self, source: FrameSource) -> None:
        self.sources.append(source)

    def remove_source(self, source: FrameSource) -> None:
        if source in self.sources:
            self.sources.remove(source)

    def add_taps(self, said: FrameSink, heard: FrameSink | None) -> None: ...

    def remove_taps(self, *sinks: FrameSink | None) -> None: ...

    def tick(self) -> None:
        """Hear the next 20 ms; nothing is kept of silence."""
        frames = [frame for source in list(self.sources) if (frame := source.take(RATE_HZ)) is not None]
        if frames:
            self.heard.append(np.sum(frames, axis=0, dtype=np.int16))

    async def hear_until(self, *kinds: str, count: int = 1) -> dict[str, Any]:
        """Hear until one of these events was told so often; returns the last.

        Raises:
            trio.TooSlowError: it is not.
        """
        with trio.fail_after(TIMEOUT_S):
            while len(found := [fields for kind, fields in self.told if kind in kinds]) < count:
                self.tick()
                await trio.sleep(0.0005)
        return found[-1]

    @property
    def kinds(self) -> list[str]:
        """The types of what was told."""
        return [kind for kind, _ in self.told]

    @property
    def pcm(self) -> Pcm:
        """All that was heard."""
        return np.concatenate(self.heard) if self.heard else np.zeros(0, np.int16)
