"""When users speak: judged by the detector of local speech, for all agents of the server at once.

The media plane gives frames of 20 ms and never waits. They are cut into those of 32 ms that the detector
takes; one task asks about the newest of every user together. Each frame also has a verdict by its loudness,
which counts where there is no detector, or while it does not keep up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog
import trio

from vb.agents.runtime.ear import VoiceActivity
from vb.blocking import Bell
from vb.codecs.pcm import Pcm
from vb.local_speech.rows import MAX_ROWS
from vb.local_speech.segments import FRAME_SAMPLES, RATE_HZ
from vb.local_speech.tasks.speech import LocalSpeech
from vb.local_speech.tasks.watch import Watch
from vb.media.one_rate import OneRate
from vb.metrics import Reading
from vb.providers.failure import ProviderFailed

log = structlog.get_logger(__name__)

TICK_S: Final = 0.02
DETECTOR_S: Final = FRAME_SAMPLES / RATE_HZ
LATE_S: Final = 0.1
"""A batch that takes longer is of no use: loudness decides about it."""
REST_S: Final = 1.0
"""So long the detector is left alone then; it may be loading its model."""
ENTER: Final = 0.5
LEAVE: Final = 0.35
"""Probabilities from which silence becomes speech, and below which speech becomes silence."""
MAX_BEFORE: Final = 3
"""Loud frames just before the first that is surely speech are its beginning, so many at most."""
MAX_WAITING: Final = 8
"""Frames of one user that wait to be judged; of older ones the loudness decides."""


def nothing() -> None:
    """Stand in for another."""


def ignore(at: float) -> None:
    """Stand in for a callback nobody has set."""


@dataclass(slots=True)
class _Frame:
    """A frame for the detector, and what its loudness says."""

    pcm: Pcm
    ended_at: float
    loud: bool
    above_echo: bool


class Ear:
    """One user.

    Args:
        watching: asks the detector.
        voiced: told of each frame with speech: when its last sample came, and its length in seconds.
        sounded: told when a loud frame came of which the detector says later whether it is speech.
        keep_s: how much of the audio is kept, for a turn model.
        detect: whether the detector is asked.
        failed: told that what is told of frames has failed: a fault here ends one conversation, and no other.

    Attributes:
        activity: judges by loudness, and knows what the agent says itself.
        open: whether anything is heard.
    """

    def __init__(
        self,
        watching: Watching,
        voiced: Callable[[float, float], None],
        *,
        sounded: Callable[[float], None] = ignore,
        keep_s: float = 0.0,
        detect: bool = True,
        failed: Callable[[], None] = nothing,
    ) -> None:
        self.failed = failed
        self._detect = detect
        self._sounded = sounded
        self.activity = VoiceActivity()
        self.open = True
        self.row: int | None = None
        self.frames: deque[_Frame] = deque()
        self._watching = watching
        self._voiced = voiced
        self._kept: deque[Pcm] = deque(maxlen=round(keep_s / TICK_S))
        self._rate = OneRate(RATE_HZ)
        self._rest = np.zeros(0, np.int16)
        self._loud = self._above_echo = self._speaking = False
        self._before = 0

    def push(self, frame: Pcm, rate_hz: int, now: float, *, agent_speaks: bool) -> None:
        """Take 20 ms of the user, inside the tick."""
        if not self.open:
            return
        loud = self.activity.judge(frame, agent_speaks=agent_speaks)
        works = self._detect and self._watching.works(now)
        if not works:
            self._fall_back()
            if loud:
                self._voiced(now, TICK_S)
        elif loud:
            self._sounded(now)
        if works or self._kept.maxlen:
            pcm = self._convert(frame, rate_hz)
            self._kept.append(pcm)
            if works:
                self._cut(pcm, now, loud=loud)

    def _convert(self, frame: Pcm, rate_hz: int) -> Pcm:
        pcm = self._rate.convert(frame, rate_hz)
        return frame.copy() if pcm is frame else pcm  # it is only lent

    def _cut(self, pcm: Pcm, now: float, *, loud: bool) -> None:
        self._loud |= loud
        self._above_echo |= self.activity.above_echo
        joined = np.concatenate((self._rest, pcm))
        if joined.size < FRAME_SAMPLES:
            self._rest = joined
            return
        self._rest = joined[FRAME_SAMPLES:]
        ended_at = now - self._rest.size / RATE_HZ
        self.frames.append(_Frame(joined[:FRAME_SAMPLES], ended_at, self._loud, self._above_echo))
        self._loud, self._above_echo = loud, self.activity.above_echo
        if len(self.frames) > MAX_WAITING:
            self.take(self.frames.popleft(), None, now)
        self._watching.bell.ring()

    def _fall_back(self) -> None:
        """Let loudness decide about what waits."""
        if not (self.frames or self._rest.size or self._loud or self._above_echo):
            return
        while self.frames:
            frame = self.frames.popleft()
            self.take(frame, None, frame.ended_at)
        self._rest = self._rest[:0]
        self._loud = self._above_echo = False

    def take(self, frame: _Frame, odds: float | None, now: float) -> None:
        """Take what the detector says of a frame; None when it says nothing."""
        speaks = frame.loud
        if odds is not None:
            speaks = odds >= (LEAVE if self._speaking else ENTER) and frame.above_echo
        before, self._before = self._before, 0
        if speaks:
            self._voiced(frame.ended_at, DETECTOR_S * (1 if self._speaking else 1 + before))
        elif frame.loud:
            self._before = min(before + 1, MAX_BEFORE)
        self._speaking = speaks

    def recent(self) -> Pcm:
        """Return the audio that is kept, at 16 kHz."""
        return np.concatenate(self._kept) if self._kept else np.zeros(0, np.int16)

    def close(self) -> None:
        """Hear nothing any more."""
        self._watching.remove(self)


class Watching:
    """All users that agents of the server listen to.

    Args:
        speech: the engines of this machine; None for none.

    Attributes:
        on_fault: told of each fault that was contained.
    """

    def __init__(self, speech: LocalSpeech | None = None) -> None:
        self.bell = Bell()
        self.on_fault: Callable[[], None] = nothing
        self._watch = Watch(speech) if speech is not None and speech.detects else None
        self._ears: dict[Ear, None] = {}
        self._left: list[int] = []
        self._running = False
        self._rests_until = 0.0
        self._judged = 0
        self._late = 0

    def works(self, now: float) -> bool:
        """Return whether the detector is to be asked now."""
        return self._running and now >= self._rests_until

    def add(
        self,
        voiced: Callable[[float, float], None],
        *,
        sounded: Callable[[float], None] = ignore,
        keep_s: float = 0.0,
        detect: bool = True,
        failed: Callable[[], None] = nothing,
    ) -> Ear:
        """Begin to listen to a user, as `Ear` says; whoever does closes it."""
        ear = Ear(self, voiced, sounded=sounded, keep_s=keep_s, detect=detect, failed=failed)
        self._ears[ear] = None
        return ear

    def remove(self, ear: Ear) -> None:
        """Forget a user; it may be called again."""
        ear.open = False
        if self._ears.pop(ear, self) is None:
            self._leave(ear)

    def _leave(self, ear: Ear) -> None:
        """Give the row back once no batch can be on its way."""
        if ear.row is not None:
            self._left.append(ear.row)
            ear.row = None
            self.bell.ring()

    async def run(self) -> None:
        """Ask the detector until cancelled."""
        watch = self._watch
        if watch is None:
            return
        self._running = True
        try:
            while True:
                for row in self._left:
                    watch.close(row)
                self._left.clear()
                batch = list(self._next(watch))
                if batch:
                    await self._judge(watch, batch)
                else:
                    await self.bell.wait()
        finally:
            self._running = False

    def _next(self, watch: Watch) -> Iterator[tuple[Ear, int, _Frame]]:
        """Take the oldest frame of each user who has one."""
        for ear in [each for each in self._ears if each.frames][:MAX_ROWS]:
            if ear.row is None:
                try:
                    ear.row = watch.open()
                except ProviderFailed:
                    ear.take(ear.frames.popleft(), None, trio.current_time())
                    continue
            yield ear, ear.row, ear.frames.popleft()

    async def _judge(self, watch: Watch, batch: list[tuple[Ear, int, _Frame]]) -> None:
        odds = None
        rows, frames = [row for _, row, _ in batch], np.stack([frame.pcm for _, _, frame in batch])
        try:
            with trio.move_on_after(LATE_S):
                odds = await watch.judge(rows, frames)
        except ProviderFailed as failed:
            log.debug("detector of speech failed", problem=str(failed))
        now = trio.current_time()
        if odds is None:
            self._late += len(batch)
            self._rests_until = now + REST_S
        else:
            self._judged += len(batch)
        for index, (ear, _, frame) in enumerate(batch):
            if ear not in self._ears:
                continue
            if odds is None:
                self._leave(ear)  # what it knows of the user has a gap now
            try:
                ear.take(frame, None if odds is None else float(odds[index]), now)
            except Exception:  # a fault of one conversation is no fault of the others
                log.exception("agent failed by what it heard")
                self.on_fault()
                self.remove(ear)
                ear.failed()

    def readings(self) -> Iterator[Reading]:
        """Give the figures."""
        text = "Frames of users of the server's own agents, by what judged whether they are speech"
        yield "agent_frames_judged", text, self._judged, {"by": "detector"}
        yield "agent_frames_judged", text, self._late, {"by": "loudness"}
