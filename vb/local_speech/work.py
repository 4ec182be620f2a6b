"""What a helper does with frames: which engine works on what, and what comes of it.

It knows no threads. Each kind of engine asks for a job, does it beside all else, and calls what it gets back
for the frames to send; everything here but the jobs themselves happens one thing at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from vb.codecs.pcm import Pcm
from vb.local_speech.engines.base import Activity, EngineFailed, Engines, Written
from vb.local_speech.frames import Frame, Kind, samples_of, with_fields
from vb.local_speech.hearing import Batch, Hearing, Job
from vb.local_speech.rows import Rows
from vb.local_speech.rows import read as read_rows
from vb.local_speech.speaking import Piece, Speaking, failure

Finish: TypeAlias = Callable[[], list[Frame]]
"""Takes what came of a job and returns what is to be sent."""
Labour: TypeAlias = Callable[[], Finish]
"""The job itself, which takes long."""

_BROKEN: Final = "the local engine failed"
"""What clients are told of a fault that nobody expected."""
_VOICE_KINDS: Final = frozenset({Kind.VOICE, Kind.TEXT, Kind.END, Kind.MORE})
_EAR_KINDS: Final = frozenset({Kind.STREAM, Kind.AUDIO, Kind.FLUSH, Kind.CLOSE})
MAX_TURNS: Final = 16
"""Turns that wait to be judged at most: who asks has a few hundred milliseconds."""
MAX_BATCHES: Final = 8
"""Batches of watched streams that wait at most; older ones are out of date."""


class Work:
    """The work of one helper.

    Args:
        engines: what does it.
        rows: how many transcripts there may be, and how many watched streams.
    """

    def __init__(self, engines: Engines, rows: int) -> None:
        self._engines = engines
        self._rows = rows
        self._speaking = Speaking()
        self._hearing = Hearing(rows)
        self._watched: deque[tuple[int, Rows]] = deque()
        self._turns: deque[tuple[int, Pcm]] = deque()
        self._activity: Activity | None = None
        self._since: dict[str, float] = {}

    @property
    def waiting(self) -> int:
        """Return how many utterances and transcripts there are."""
        return len(self._speaking) + len(self._hearing)

    def busy_s(self, now: float) -> float:
        """Return for how long the slowest engine has been doing what it does."""
        return max((now - since for since in self._since.values()), default=0.0)

    def ready(self) -> Frame:
        """Return the first frame that is sent."""
        voices, ears = self._engines.voices, self._engines.ears
        return with_fields(
            Kind.READY, 0, voices=[each.name for each in voices], models=[each.name for each in ears]
        )

    def take(self, frame: Frame) -> list[Frame]:
        """Take a frame and return what is to be answered at once.

        Raises:
            Garbage: it is not what its kind says.
        """
        if frame.kind in _VOICE_KINDS:
            return self._speaking.take(frame)
        if frame.kind in _EAR_KINDS:
            return self._hearing.take(frame)
        if frame.kind is Kind.CANCEL:
            self._turns = deque(each for each in self._turns if each[0] != frame.id)
            return self._speaking.take(frame) + self._hearing.take(frame)
        if frame.kind is Kind.TURN:
            self._turns.append((frame.id, samples_of(frame.body)))
            if len(self._turns) > MAX_TURNS:
                return [failure(self._turns.popleft()[0], "service_unavailable", "too many turns at a time")]
            return []
        if frame.kind is Kind.FRAMES:
            self._watched.append((frame.id, read_rows(frame.body, self._rows)))
            if len(self._watched) > MAX_BATCHES:
                return [Frame(Kind.ODDS, self._watched.popleft()[0])]
        return []

    def voice_job(self, now: float) -> Labour | None:
        """Return what there is to be spoken next."""
        piece = self._speaking.next()
        if piece is None:
            self._since.pop("voice", None)
            return None
        self._since["voice"] = now
        return lambda: self._speak(piece)

    def _speak(self, piece: Piece) -> Finish:
        try:
            rate_hz, pcm = self._engines.voice(piece.voice, piece.language).speak(piece.text)
        except EngineFailed as exc:
            text = str(exc)
            return lambda: self._speaking.failed(piece, "permanent_input", text)
        except Exception:  # a fault of an engine ends what it worked on, and nothing else
            return lambda: self._speaking.failed(piece, "unknown", _BROKEN)
        return lambda: list(self._speaking.said(piece, rate_hz, pcm))

    def ear_job(self, now: float) -> Labour | None:
        """Return what there is to be written down next."""
        job = self._hearing.next_job()
        if job is None:
            self._since.pop("ear", None)
            return None
        self._since["ear"] = now
        return lambda: self._listen(job)

    def _listen(self, job: Job) -> Finish:
        try:
            written = (
                self._engines.ear(job.model).listen(job.segment.pcm, job.language)
                if len(job.segment.pcm)
                else Written("", 0.0)
            )
        except EngineFailed as exc:
            text = str(exc)
            return lambda: self._hearing.failed(job, "permanent_input", text)
        except Exception:  # as above
            return lambda: self._hearing.failed(job, "unknown", _BROKEN)
        return lambda: self._hearing.heard(job, written.text, written.confidence) + self._hearing.ended()

    def turn_job(self, now: float) -> Labour | None:
        """Return the turn that is to be judged next."""
        if not self._turns:
            self._since.pop("turn", None)
            return None
        self._since["turn"] = now
        number, pcm = self._turns.popleft()
        return lambda: self._judge_turn(number, pcm)

    def _judge_turn(self, number: int, pcm: Pcm) -> Finish:
        try:
            odds = np.array([self._engines.turns().judge(pcm)], "<f4").tobytes()
        except EngineFailed as exc:
            text = str(exc)
            return lambda: [failure(number, "permanent_input", text)]
        except Exception:  # as above
            return lambda: [failure(number, "unknown", _BROKEN)]
        return lambda: [Frame(Kind.FINISHED, number, odds)]

    def activity_job(self, now: float) -> Labour | None:
        """Return the frames that are to be judged next: watched streams come before transcripts."""
        self._since.pop("activity", None)
        if self._watched:
            self._since["activity"] = now
            number, asked = self._watched.popleft()
            return lambda: self._watch(number, asked)
        batch = self._hearing.next_batch()
        if batch is None:
            return None
        self._since["activity"] = now
        fresh: list[int] = []
        if batch.ids:
            fresh, self._hearing.fresh = self._hearing.fresh, []
        return lambda: self._judge(batch, fresh)

    def _detector(self) -> Activity:
        if self._activity is None:  # transcripts have the upper half of its rows
            self._activity = self._engines.activity(2 * self._rows)
        return self._activity

    def _judge(self, batch: Batch, fresh: list[int]) -> Finish:
        probabilities = np.zeros(0, np.float32)
        if batch.ids:
            detector = self._detector()
            if fresh:
                detector.forget(np.array(fresh, np.intp) + self._rows)
            probabilities = detector.judge(batch.rows + self._rows, batch.frames)
        return lambda: self._hearing.judged(batch, probabilities) + self._hearing.ended()

    def _watch(self, number: int, asked: Rows) -> Finish:
        detector = self._detector()
        if len(asked.fresh):
            detector.forget(asked.fresh)
        odds = detector.judge(asked.rows, asked.frames)
        return lambda: [Frame(Kind.ODDS, number, odds.astype("<f4").tobytes())]
