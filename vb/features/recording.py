"""Recordings of a leg or a room: one at a time for each, finished durably however they end."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import trio

from vb.errors import Conflict, InternalError, NotFound
from vb.events.media import RecordingFinished, RecordingPaused, RecordingResumed, RecordingStarted
from vb.features.owner import Owner
from vb.ids import IdSource
from vb.media.errors import RecordingError
from vb.media.recorder import Recorded, Recorder, recording_name
from vb.media.tasks.blocking import Blocking
from vb.media.tasks.recorder import run_recorder
from vb.media.wav_file import RecordingWriter
from vb.rooms.room import RECORDING_SLOT
from vb.slots import SlotsClosed, SlotTaken


class _Running:
    """One recording under way; also what its task reports its readiness to."""

    def __init__(self, owner: Owner, recorder: Recorder, path: Path) -> None:
        self.owner = owner
        self.recorder = recorder
        self.path = path
        self.problem: str | None = None
        self.outcome: Recorded | None = None
        self.settled = trio.Event()
        self.finished = trio.Event()
        self.said = recorder.sinks[0]
        self.heard = recorder.sinks[1] if recorder.channels > 1 else None

    def started(self, value: None = None) -> None:
        """The temporary file exists: listen in, and say so."""
        self.owner.add_taps(self.said, self.heard)
        self.owner.publish(RecordingStarted, file=str(self.path))
        self.settled.set()

    async def run(self, writer: RecordingWriter, blocking: Blocking) -> None:
        """Record until stopped; the outcome is published whatever happens."""
        try:
            await run_recorder(self.recorder, writer, blocking=blocking, task_status=self)
        except RecordingError as exc:
            self.problem = str(exc)
        finally:
            self.owner.remove_taps(self.said, self.heard)
            self.outcome = self.recorder.result
            if self.settled.is_set():
                outcome = self.outcome or Recorded("", error="the recording was lost")
                self.owner.publish(RecordingFinished, file=outcome.file, error=outcome.error)
            elif self.problem is None:
                self.problem = "it is ending"
            self.settled.set()
            self.finished.set()


@dataclass
class Recorders:
    """All recordings of a server, by their owner's id.

    Args:
        directory: where files are written.
        ids: source of file name tokens.
        blocking: runs the file operations.
        clock: monotonic seconds.
        local_time: the time that names the files.
    """

    directory: str
    ids: IdSource
    blocking: Blocking
    clock: Callable[[], float] = trio.current_time
    local_time: Callable[[], datetime] = datetime.now
    _running: dict[str, _Running] = field(default_factory=dict)

    async def start(self, owner: Owner, owner_id: str) -> str:
        """Start recording and return the path that the file will have.

        A leg is recorded in stereo, a room in mono.

        Raises:
            Conflict: a recording runs already, or the owner is ending.
            InternalError: the file cannot be created.
        """
        token = self.ids.token(4)
        path = Path(os.path.abspath(self.directory)) / recording_name(self.local_time(), token)
        channels = 1 if owner.room is not None else 2
        recorder = Recorder(channels=channels, clock=self.clock, rate_hz=owner.frame_rate_hz)
        running = _Running(owner, recorder, path)
        writer = RecordingWriter(path, token=token, recorder=recorder)

        async def record() -> None:
            try:
                await running.run(writer, self.blocking)
            finally:
                del self._running[owner_id]

        try:
            owner.slots.start(RECORDING_SLOT, record)
        except SlotTaken:
            raise Conflict("recording already in progress") from None
        except SlotsClosed:
            raise Conflict("it is ending") from None
        self._running[owner_id] = running
        await running.settled.wait()
        if running.problem is not None:
            raise InternalError(running.problem)
        return str(path)

    async def stop(self, owner_id: str) -> str:
        """Finish a recording; return its path once it is safe, or nothing when nothing was kept.

        Raises:
            NotFound: none runs.
        """
        running = self._find(owner_id)
        running.recorder.stop()
        await running.finished.wait()
        return running.outcome.file if running.outcome is not None else ""

    def pause(self, owner_id: str) -> bool:
        """Record silence from now on; returns False when it was paused already.

        Raises:
            NotFound: none runs.
        """
        running = self._find(owner_id)
        changed = running.recorder.pause()
        if changed:
            running.owner.publish(RecordingPaused, file=str(running.path))
        return changed

    def resume(self, owner_id: str) -> bool:
        """Record audio again; returns False when it was not paused.

        Raises:
            NotFound: none runs.
        """
        running = self._find(owner_id)
        changed = running.recorder.resume()
        if changed:
            running.owner.publish(RecordingResumed, file=str(running.path))
        return changed

    def _find(self, owner_id: str) -> _Running:
        running = self._running.get(owner_id)
        if running is None or running.recorder.ended:
            raise NotFound("no recording in progress")
        return running
