"""One recording from its start to its last word."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from vb.blocking import Blocking
from vb.errors import Conflict, InternalError, VbError
from vb.events.media import ChannelInfo, RecordingFinished, RecordingStarted
from vb.media.errors import RecordingError
from vb.media.recording_names import multi_channel_name
from vb.owner import Owner
from vb.recording.participants import Participants
from vb.recording.recorder import Recorder
from vb.recording.recording_writer import ParticipantsWriter, RecordingWriter
from vb.recording.storage import RecordingStorage
from vb.recording.tasks.recorder import run_recorder
from vb.recording.uploads import Upload
from vb.storage.s3 import S3Target

KEEP_TIMEOUT_S: Final = 20.0
"""How long a stop waits for the file of the participants and for uploads, which then go on by themselves."""
HURRIED_KEEP_TIMEOUT_S: Final = 4.0
"""The same when the leg or room ends, whose last event waits for it."""


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """What a client asked for.

    Attributes:
        target: the bucket to upload to, None for none.
        name: file name with extension, None to draw one.
        multi_channel: whether a room gets a file with one channel per participant too.
    """

    target: S3Target | None = None
    name: str | None = None
    multi_channel: bool = False


@dataclass
class Outcome:
    """What became of a recording: paths or addresses, what went wrong, and what goes on."""

    file: str = ""
    multi_channel_file: str | None = None
    channels: dict[str, ChannelInfo] | None = None
    omitted_legs: list[str] | None = None
    errors: list[str] = field(default_factory=list)
    goes_on: list[str] = field(default_factory=list)

    @property
    def fault(self) -> str | None:
        """What went wrong in one line, None when nothing did."""
        return "; ".join(dict.fromkeys(self.errors)) or None

    @property
    def error(self) -> str | None:
        """All that clients are told besides, in one line; None when there is nothing."""
        return "; ".join(dict.fromkeys((*self.errors, *self.goes_on))) or None


class RecordingTask:
    """A recording under way; also what its writing reports its readiness to.

    Args:
        owner: the leg or room.
        options: what was asked for.
        path: the file that will be.
        token: makes the temporary names unique.
        blocking: runs the file operations.
        storage: the way into buckets.
        clock: monotonic seconds.
        local_time: the time that names the file of the participants.
    """

    def __init__(
        self,
        owner: Owner,
        options: RecordingOptions,
        *,
        path: Path,
        token: str,
        blocking: Blocking,
        storage: RecordingStorage,
        clock: Callable[[], float],
        local_time: Callable[[], datetime],
    ) -> None:
        self.owner = owner
        self.path = path
        self._rate_hz = owner.frame_rate_hz
        self.recorder = Recorder(channels=owner.sides, clock=clock, rate_hz=self._rate_hz)
        self.failure: VbError | None = None
        self.outcome = Outcome()
        self.settled = trio.Event()
        self._finished = trio.Event()
        self._options = options
        self._token = token
        self._blocking = blocking
        self._storage = storage
        self._local_time = local_time
        self._sinks = self.recorder.sinks
        self._capture_scope = trio.CancelScope()
        self._keep_scope = trio.CancelScope()
        self._hurried = False
        self._participants: Participants | None = None
        self._channels_writer: ParticipantsWriter | None = None
        if options.multi_channel and owner.crowd is not None:
            self._participants = Participants(owner.crowd, self.recorder)
            self._channels_writer = ParticipantsWriter(path.parent, token=token, rate_hz=self._rate_hz)

    @property
    def under_way(self) -> bool:
        """Whether audio is taken: it has started and nobody has stopped it."""
        return self.settled.is_set() and self.failure is None and not self.recorder.ended

    def started(self, value: None = None) -> None:
        """The temporary file exists: listen in, and say so."""
        said, *heard = self._sinks
        self.owner.add_taps(said, heard[0] if heard else None)
        if self._participants is not None:
            self._participants.start()
        self.owner.tell(RecordingStarted, file=str(self.path))
        self.settled.set()

    async def run(self) -> None:
        """Record until stopped or cancelled; the outcome is published whatever happens.

        Cancellation: the files are completed; what comes after that is hurried.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._live)
            try:
                await self._finished.wait()
            finally:
                self._hurry()

    def _hurry(self) -> None:
        """End the capture, and leave little time for what comes after it."""
        self._hurried = True
        self._capture_scope.cancel()
        self._keep_scope.deadline = min(self._keep_scope.deadline, self._end_of_patience())

    def _end_of_patience(self) -> float:
        patience_s = HURRIED_KEEP_TIMEOUT_S if self._hurried else KEEP_TIMEOUT_S
        return min(trio.current_time() + patience_s, self.owner.stop_deadline)

    async def _live(self) -> None:
        with trio.CancelScope(shield=True):
            try:
                with self._capture_scope:
                    await self._capture()
                self._unplug()
                await self._conclude()
            finally:
                self._unplug()
                self._say_the_end()

    async def _capture(self) -> None:
        writer = RecordingWriter(
            self.path, token=self._token, recorder=self.recorder, participants=self._channels_writer
        )
        try:
            if self._options.name is not None and await self._blocking(partial(os.path.lexists, self.path)):
                raise Conflict("a recording of that name exists")
            if self._options.target is not None:
                await self._storage.check(self._options.target, self._options.name)
            await run_recorder(self.recorder, writer, blocking=self._blocking, task_status=self)
        except VbError as exc:
            self.failure = exc
        except RecordingError as exc:
            self.failure = InternalError(str(exc))

    def _unplug(self) -> None:
        """Stop listening in; harmless when it is over already."""
        self.owner.remove_taps(*self._sinks)
        if self._participants is not None:
            self._participants.stop()

    async def _conclude(self) -> None:
        """Complete the second file and bring both to where they belong, while there is time."""
        result = self.recorder.result
        if not self.settled.is_set() or result is None:
            return
        self.outcome.file = result.file
        if result.error is not None:
            self.outcome.errors.append(result.error)
        self._keep_scope.deadline = self._end_of_patience()
        uploads: list[Upload] = []
        with self._keep_scope:
            if self._participants is not None and self._channels_writer is not None:
                await self._finish_channels(self._participants, self._channels_writer)
            uploads = self._upload()
            for upload in uploads:
                await upload.settled.wait()
        self._report(uploads or self._upload())

    def _say_the_end(self) -> None:
        if self.settled.is_set():
            outcome = self.outcome
            fields: dict[str, Any] = {"file": outcome.file, "error": outcome.error}
            if self.owner.crowd is not None:
                fields |= {
                    "multi_channel_file": outcome.multi_channel_file,
                    "channels": outcome.channels,
                    "omitted_legs": outcome.omitted_legs,
                }
            self.owner.tell(RecordingFinished, **fields)
        elif self.failure is None:
            empty = self.owner.crowd is not None and not self.owner.crowd.members
            self.failure = Conflict("room has no participants" if empty else "it is ending")
        self.settled.set()
        self._finished.set()

    async def _finish_channels(self, participants: Participants, writer: ParticipantsWriter) -> None:
        name = multi_channel_name(self._local_time(), self._token)
        problem = "the file with a channel per participant was not completed in time"
        try:
            file = await self._blocking(lambda: writer.finish(self.path.with_name(name)))
            problem = writer.error or ""
        finally:
            if problem:
                self.outcome.errors.append(problem)
        if file:
            self.outcome.multi_channel_file = file
            total_ms = writer.frames * 1000 // self._rate_hz
            self.outcome.channels = participants.channels(writer.channels, total_ms)
        self.outcome.omitted_legs = participants.omitted(writer.channels if file else 0) or None

    def _upload(self) -> list[Upload]:
        """Begin the uploads of what there is, if it was asked for."""
        if self._options.target is None:
            return []
        files = [file for file in (self.outcome.file, self.outcome.multi_channel_file) if file]
        return self._storage.upload(self._options.target, files)

    def _report(self, uploads: list[Upload]) -> None:
        """Note where the files are now; those on their way are still here."""
        outcome = self.outcome
        places: dict[str, str] = {}
        for upload in uploads:
            places[str(upload.path)], problem = upload.report()
            if problem is not None:
                (outcome.errors if upload.outcome else outcome.goes_on).append(problem)
        outcome.file = places.get(outcome.file, outcome.file)
        if outcome.multi_channel_file is not None:
            outcome.multi_channel_file = places.get(outcome.multi_channel_file, outcome.multi_channel_file)
