"""Recordings of legs and rooms: one at a time for each, finished durably however they end."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog
import trio

from vb.blocking import Blocking
from vb.errors import BadRequest, Conflict, InternalError, NotFound
from vb.events.media import RecordingPaused, RecordingResumed
from vb.ids import IdSource
from vb.media.recording_names import chosen_name, recording_name
from vb.media.wav_file import why_unwritable
from vb.owner import Owner
from vb.recording.recording_task import Outcome, RecordingOptions, RecordingTask
from vb.recording.salvage import salvage
from vb.recording.storage import RecordingStorage
from vb.rooms.room import RECORDING_SLOT
from vb.slots import SlotsClosed, SlotTaken, TaskHandle

log = structlog.get_logger(__name__)

OUTCOMES: Final = ("complete", "incomplete", "not_begun")
"""What becomes of recordings: the last is for want of a file; what a request is refused for is none."""


def check_name(name: str) -> str | None:
    """Return the file name for the one that a client chose, None when it chose none.

    Raises:
        BadRequest: it cannot be a file name.
    """
    if not name:
        return None
    try:
        return chosen_name(name)
    except ValueError as exc:
        raise BadRequest(str(exc)) from None


@dataclass
class Recorders:
    """All recordings of a server, by their owner's id.

    Args:
        directory: where files are written.
        ids: source of file name tokens.
        blocking: runs the file operations.
        storage: the way into buckets.
        clock: monotonic seconds.
        local_time: the time that names the files.

    Attributes:
        outcomes: how many recordings ended in which of `OUTCOMES`.
    """

    directory: str
    ids: IdSource
    blocking: Blocking
    storage: RecordingStorage
    clock: Callable[[], float] = trio.current_time
    local_time: Callable[[], datetime] = datetime.now
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    _running: dict[str, RecordingTask] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    async def start(self, owner: Owner, options: RecordingOptions) -> str:
        """Start recording and return the path that the file will have.

        A leg is recorded in stereo, a room in mono. The owner's slot is taken before anything is waited
        for, so whatever ends the owner meanwhile ends the start with it.

        Raises:
            BadRequest: the bucket does not exist, or its server is where requests may not lead to.
            Conflict: a recording runs already, the owner is ending or empty, or the name is taken.
            InternalError: the file cannot be created.
        """
        if owner.slots.get(RECORDING_SLOT) is not None:
            raise Conflict("recording already in progress")
        token = self.ids.token(4)
        name = options.name or recording_name(self.local_time(), token)
        path = self._folder / name
        self._reserve(name)
        try:
            task = RecordingTask(
                owner,
                options,
                path=path,
                token=token,
                blocking=self.blocking,
                storage=self.storage,
                clock=self.clock,
                local_time=self.local_time,
            )
            handle = self._launch(task, name)
        except BaseException:
            self._names.discard(name)
            raise
        await task.settled.wait()
        if task.failure is not None:
            await handle.join()  # a start that is corrected finds the place free
            raise task.failure
        return str(path)

    @property
    def _folder(self) -> Path:
        return Path(os.path.abspath(self.directory))

    def _reserve(self, name: str) -> None:
        if name in self._names:
            raise Conflict("a recording of that name is in progress")
        self._names.add(name)

    def _launch(self, task: RecordingTask, name: str) -> TaskHandle:
        key = task.owner.key

        async def record() -> None:
            try:
                await task.run()
            finally:
                self._note(task)
                self._names.discard(name)
                if self._running.get(key) is task:
                    del self._running[key]

        try:
            handle = task.owner.slots.start(RECORDING_SLOT, record)
        except SlotTaken:
            raise Conflict("recording already in progress") from None
        except SlotsClosed:
            raise Conflict("it is ending") from None
        self._running[key] = task
        return handle

    def _note(self, task: RecordingTask) -> None:
        """Count what became of a recording, and log what the server owes: nobody need have read the event."""
        facts = {"owner": task.owner.key, "file": str(task.path)}
        if isinstance(task.failure, InternalError):
            self.outcomes["not_begun"] += 1
            log.error("recording not begun", **facts, problem=task.failure.message)
        elif task.failure is None and task.outcome.fault is not None:
            self.outcomes["incomplete"] += 1
            log.error("recording incomplete", **facts, problem=task.outcome.fault)
        elif task.failure is None:
            self.outcomes["complete"] += 1

    async def stop(self, owner: Owner) -> Outcome:
        """Finish a recording; return what became of it once that is safe.

        Raises:
            NotFound: none runs.
        """
        task = self._find(owner)
        handle = task.owner.slots.get(RECORDING_SLOT)
        task.recorder.stop()
        if handle is not None:
            await handle.join()  # from now on the next recording may start
        return task.outcome

    def pause(self, owner: Owner) -> bool:
        """Record silence from now on; returns False when it was paused already.

        Raises:
            NotFound: none runs.
        """
        task = self._find(owner)
        changed = task.recorder.pause()
        if changed:
            task.owner.tell(RecordingPaused, file=str(task.path))
        return changed

    def resume(self, owner: Owner) -> bool:
        """Record audio again; returns False when it was not paused.

        Raises:
            NotFound: none runs.
        """
        task = self._find(owner)
        changed = task.recorder.resume()
        if changed:
            task.owner.tell(RecordingResumed, file=str(task.path))
        return changed

    def _find(self, owner: Owner) -> RecordingTask:
        task = self._running.get(owner.key)
        if task is None or not task.under_way:
            raise NotFound("no recording in progress")
        return task

    async def recover(self) -> None:
        """Complete what a process that was killed has left in the directory; to be run at the start.

        A directory in which nothing can be written is logged: the first recording may be days away.
        """
        directory, before_s = self._folder, self.local_time().timestamp()
        problem = await self.blocking(lambda: why_unwritable(directory))
        if problem is not None:
            log.error("no recording can be written", folder=str(directory), problem=problem)
        for found in await self.blocking(lambda: salvage(directory, before_s=before_s)):
            if found.error is not None:
                log.error("recording not recovered", temporary=found.temporary, problem=found.error)
            elif found.file:
                log.warning("recording recovered", file=found.file)
