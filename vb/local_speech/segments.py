"""Where speech begins and ends in one stream, by the probabilities of its frames."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from vb.codecs.pcm import Pcm

RATE_HZ: Final = 16_000
FRAME_SAMPLES: Final = 512
FRAME_MS: Final = 32


@dataclass(frozen=True, slots=True)
class Cutting:
    """How speech is cut into utterances.

    Attributes:
        enter: probability from which a frame is speech.
        leave: probability below which a frame inside speech is silence.
        start_frames: frames of speech that begin an utterance.
        silence_frames: frames of silence that end one.
        lead_frames: what is kept from before the beginning.
        max_frames: the longest utterance; a longer one is cut.
    """

    enter: float = 0.5
    leave: float = 0.35
    start_frames: int = 2
    silence_frames: int = 16
    lead_frames: int = 10
    max_frames: int = 780


@dataclass(frozen=True, slots=True)
class Segment:
    """An utterance, or as much of it as there is.

    Attributes:
        pcm: its samples at 16 kHz, with a little from before and after.
        start_ms: when it begins in the stream.
        end_ms: when its last sample of speech was.
    """

    pcm: Pcm
    start_ms: int
    end_ms: int


class Segments:
    """Cuts one stream.

    Attributes:
        speaking: whether somebody speaks now.
    """

    def __init__(self, cutting: Cutting | None = None) -> None:
        self._cutting = cutting or Cutting()
        self._lead: deque[Pcm] = deque(maxlen=self._cutting.lead_frames)
        self._frames: list[Pcm] = []
        self._voiced = 0
        self._silent = 0
        self._count = 0
        self._first = 0
        self.speaking = False

    @property
    def frames(self) -> int:
        """Return how many frames the utterance has that is spoken now."""
        return len(self._frames) if self.speaking else 0

    def put(self, frame: Pcm, probability: float) -> Segment | None:
        """Take a frame and return the utterance that ends with it."""
        cutting = self._cutting
        self._count += 1
        if not self.speaking:
            self._lead.append(frame)
            self._voiced = self._voiced + 1 if probability >= cutting.enter else 0
            if self._voiced >= cutting.start_frames:
                self._begin()
            return None
        self._frames.append(frame)
        self._silent = self._silent + 1 if probability < cutting.leave else 0
        if self._silent >= cutting.silence_frames or len(self._frames) >= cutting.max_frames:
            return self.end()
        return None

    def _begin(self) -> None:
        self.speaking = True
        self._frames = list(self._lead)
        self._first = self._count - len(self._frames)
        self._lead.clear()
        self._voiced = self._silent = 0

    def so_far(self) -> Segment | None:
        """Return the utterance that is spoken now, as much as there is of it."""
        if not self.speaking:
            return None
        end = self._count - self._silent
        return Segment(np.concatenate(self._frames), self._first * FRAME_MS, end * FRAME_MS)

    def end(self) -> Segment | None:
        """End the utterance that is spoken now, if there is one, and return it."""
        found = self.so_far()
        if found is not None:
            tail = self._frames[-self._silent :] if self._silent else []
            self._lead.extend(tail)
            self._frames, self.speaking, self._silent = [], False, 0
        return found
