"""Transcripts inside the helper: frames are judged in batches, utterances are written down one by one.

What is complete comes before what is only wanted early, and streams take turns at the latter. Each stream
holds a bounded piece of audio: what an engine cannot keep up with is lost from its oldest end, and said so.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import Pcm
from vb.local_speech.frames import Frame, Kind, samples_of, with_fields
from vb.local_speech.segments import FRAME_MS, FRAME_SAMPLES, Cutting, Segment, Segments
from vb.local_speech.speaking import failure

WAITING_FRAMES: Final = 320
"""Frames of one stream that wait to be judged at most: ten seconds."""
WAITING_SEGMENTS: Final = 4
"""Utterances of one stream that wait to be written down at most."""
PARTIAL_FRAMES: Final = 16
"""New speech after which an utterance is looked at again before it is complete: half a second."""


@dataclass(frozen=True, slots=True)
class Job:
    """An utterance that is to be written down.

    Attributes:
        id: of the transcript.
        segment: what was said.
        final: whether it is complete.
        model: name of the model; "" for the first there is.
        language: such as en; "" for the model's own.
    """

    id: int
    segment: Segment
    final: bool
    model: str
    language: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames that are to be judged together.

    Attributes:
        ids: transcripts, one for each row.
        rows: where an engine keeps what it knows of each.
        frames: int16, (rows, 512).
    """

    ids: tuple[int, ...]
    rows: NDArray[np.intp]
    frames: Pcm


@dataclass(slots=True)
class _Stream:
    id: int
    row: int
    model: str
    language: str
    partials: bool
    segments: Segments
    rest: list[Pcm] = field(default_factory=list)
    """What came since the last whole frame."""
    frames: deque[Pcm | None] = field(default_factory=deque)
    """None is where a FLUSH came."""
    finals: deque[Segment] = field(default_factory=deque)
    judging: bool = False
    writing: bool = False
    looked_at: int = 0
    """Frames of the utterance that the last partial transcript knew."""
    closing: bool = False
    lost_ms: int = 0

    @property
    def idle(self) -> bool:
        return not (self.rest or self.frames or self.finals or self.judging or self.writing)


class Hearing:
    """The transcripts of one helper.

    Args:
        rows: how many there may be at a time.
    """

    def __init__(self, rows: int) -> None:
        self._streams: dict[int, _Stream] = {}
        self._free = list(range(rows))[::-1]
        self.fresh: list[int] = []
        """Rows whose past an engine has to forget before the next batch."""

    def __len__(self) -> int:
        return len(self._streams)

    def take(self, frame: Frame) -> list[Frame]:
        """Take a frame about a transcript and return what is to be answered."""
        if frame.kind is Kind.STREAM:
            return self._open(frame)
        stream = self._streams.get(frame.id)
        if stream is None:  # cancelled or failed before
            return []
        if frame.kind is Kind.AUDIO:
            self._audio(stream, samples_of(frame.body))
        elif frame.kind is Kind.CANCEL:
            self._drop(stream)
        else:
            self._flush(stream)
            stream.closing = stream.closing or frame.kind is Kind.CLOSE
        return []

    def _open(self, frame: Frame) -> list[Frame]:
        fields = frame.fields
        if not self._free:
            return [failure(frame.id, "service_unavailable", "too many transcripts at a time")]
        silence_ms = int(fields.get("silence_ms") or 0)
        cutting = Cutting(silence_frames=max(2, silence_ms // FRAME_MS)) if silence_ms else Cutting()
        row = self._free.pop()
        self.fresh.append(row)
        self._streams[frame.id] = _Stream(
            frame.id,
            row,
            str(fields.get("model", "")),
            str(fields.get("language", "")),
            bool(fields.get("partials")),
            Segments(cutting),
        )
        return []

    def _drop(self, stream: _Stream) -> None:
        del self._streams[stream.id]
        if not stream.judging:  # a row in use is free once its batch is back
            self._free.append(stream.row)

    def _audio(self, stream: _Stream, pcm: Pcm) -> None:
        stream.rest.append(pcm)
        if sum(map(len, stream.rest)) < FRAME_SAMPLES:
            return
        whole = np.concatenate(stream.rest)
        count = len(whole) // FRAME_SAMPLES
        stream.frames.extend(whole[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES))
        stream.rest = [whole[count * FRAME_SAMPLES :]] if len(whole) % FRAME_SAMPLES else []
        while len(stream.frames) > WAITING_FRAMES:
            if stream.frames.popleft() is not None:
                stream.lost_ms += FRAME_MS

    def _flush(self, stream: _Stream) -> None:
        if stream.rest:
            left = np.concatenate(stream.rest)
            stream.frames.append(np.pad(left, (0, FRAME_SAMPLES - len(left))))
            stream.rest = []
        stream.frames.append(None)

    def next_batch(self) -> Batch | None:
        """Return the next frame of each stream that has one; None when all wait for audio.

        The batch is empty when something else has become due: utterances that were said to be complete.
        """
        found: list[tuple[_Stream, Pcm]] = []
        flushed = False
        for stream in self._streams.values():
            if stream.judging:
                continue
            while stream.frames and stream.frames[0] is None:
                stream.frames.popleft()
                flushed = True
                self._queue(stream, stream.segments.end() or Segment(np.zeros(0, np.int16), 0, 0))
            if stream.frames and (frame := stream.frames.popleft()) is not None:
                stream.judging = True
                found.append((stream, frame))
        if not found and not flushed:
            return None
        return Batch(
            tuple(stream.id for stream, _ in found),
            np.array([stream.row for stream, _ in found], np.intp),
            np.stack([frame for _, frame in found]) if found else np.zeros((0, FRAME_SAMPLES), np.int16),
        )

    def judged(self, batch: Batch, probabilities: NDArray[np.float32]) -> list[Frame]:
        """Take the probabilities of a batch and return what is to be said of it."""
        answers: list[Frame] = []
        for number, row, frame, value in zip(batch.ids, batch.rows, batch.frames, probabilities, strict=True):
            stream = self._streams.get(number)
            if stream is None:
                self._free.append(int(row))
                continue
            stream.judging = False
            spoke = stream.segments.speaking
            ended = stream.segments.put(frame, float(value))
            if not spoke and stream.segments.speaking:
                stream.looked_at = 0
                answers.append(with_fields(Kind.HEARD, number, what="began"))
            if ended is not None:
                self._queue(stream, ended)
        return answers

    def _queue(self, stream: _Stream, segment: Segment) -> None:
        stream.finals.append(segment)
        stream.looked_at = 0
        if len(stream.finals) > WAITING_SEGMENTS:
            lost = stream.finals.popleft()
            stream.lost_ms += lost.end_ms - lost.start_ms

    def next_job(self) -> Job | None:
        """Return what is to be written down next; None when there is nothing new."""
        for stream in self._streams.values():
            if stream.finals and not stream.writing:
                return self._job(stream, stream.finals.popleft(), final=True)
        for stream in self._streams.values():
            if stream.writing or not stream.partials or stream.closing:
                continue
            # A long utterance is looked at less often: all of it is read anew each time.
            step = max(PARTIAL_FRAMES, stream.looked_at // 4)
            if stream.segments.frames - stream.looked_at < step:
                continue
            segment = stream.segments.so_far()
            if segment is not None:
                stream.looked_at = stream.segments.frames
                return self._job(stream, segment, final=False)
        return None

    def _job(self, stream: _Stream, segment: Segment, *, final: bool) -> Job:
        del self._streams[stream.id]  # the others come first from now on
        self._streams[stream.id] = stream
        stream.writing = True
        return Job(stream.id, segment, final, stream.model, stream.language)

    def heard(self, job: Job, text: str, confidence: float) -> list[Frame]:
        """Return what is to be said of an utterance that was written down."""
        stream = self._streams.get(job.id)
        if stream is None:
            return []
        stream.writing = False
        stale = not job.final and (stream.finals or not stream.segments.speaking)
        if stale or (not job.final and not text):
            return []
        lost_ms, stream.lost_ms = stream.lost_ms, 0
        return [
            with_fields(
                Kind.HEARD,
                job.id,
                what="final" if job.final else "partial",
                text=text,
                confidence=round(confidence, 3),
                start_ms=job.segment.start_ms,
                end_ms=job.segment.end_ms,
                lost_ms=lost_ms,
            )
        ]

    def failed(self, job: Job, category: str, text: str) -> list[Frame]:
        """Return what is to be said of an utterance that could not be written down; its transcript ends."""
        stream = self._streams.get(job.id)
        if stream is None:
            return []
        self._drop(stream)
        return [failure(job.id, category, text)]

    def ended(self) -> list[Frame]:
        """Return what is to be said of transcripts that are complete, and forget them."""
        over = [stream for stream in self._streams.values() if stream.closing and stream.idle]
        for stream in over:
            self._drop(stream)
        return [Frame(Kind.DONE, stream.id) for stream in over]
