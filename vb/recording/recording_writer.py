"""From a recorder's queue to its files, in worker threads; a lock keeps a finish behind a write."""

import threading
from collections import deque
from pathlib import Path
from typing import Final

import numpy as np

from vb.media.frames import frame_samples
from vb.media.growing_wav import GrowingWav
from vb.media.wav_file import WavFile
from vb.recording.interleave import Interleaver
from vb.recording.recorder import Chunk, Recorded, Recorder, Slot

MAX_PARTICIPANTS: Final = 128
"""How many channels one recording with a channel per participant has at most."""
_SILENCE_SLOTS: Final = 50
_CATCH_UP_BYTES: Final = 8 * 1024 * 1024
"""How much is copied after each batch; a batch comes every half second."""
_QUIET_SLOTS: Final = 500
"""Copying begins when nobody has joined for ten seconds."""

_Row = tuple[Chunk | None, ...]


def describe(failure: OSError) -> str:
    """Return what became of a recording that could not be written."""
    return f"cannot write the recording: {failure.strerror or failure}"


class ParticipantsWriter:
    """The file with one channel per participant: everything in the slots after the first chunk.

    No method raises OSError: a failure costs the channels that it concerns, or ends this file alone.

    Args:
        directory: where the file will be.
        token: makes the temporary names unique.
        rate_hz: its rate.
    """

    def __init__(self, directory: Path, *, token: str, rate_hz: int) -> None:
        self.error: str | None = None
        self._rate_hz = rate_hz
        self._file = GrowingWav(directory, token=token, rate_hz=rate_hz)
        self._interleaver = Interleaver(first=1)
        self._refused = False
        self._quiet_slots = 0
        self._lock = threading.Lock()
        self._finished = False

    @property
    def channels(self) -> int:
        """How many participants have a channel; later ones could not get one."""
        return self._file.channels

    @property
    def frames(self) -> int:
        """Length in samples per channel."""
        return self._file.frames

    def write(self, slots: list[Slot]) -> None:
        """Append slots; after a failure they are dropped."""
        with self._lock:
            if self._finished or self.error is not None:
                return
            try:
                for rows in _runs(slots):
                    self._append(rows)
                if self._quiet_slots >= _QUIET_SLOTS:
                    self._file.catch_up(_CATCH_UP_BYTES)
            except OSError as failure:
                self.error = describe(failure)

    def _append(self, rows: list[_Row] | int) -> None:
        step = frame_samples(self._rate_hz)
        if isinstance(rows, int):
            self._file.skip(rows * step)
            self._quiet_slots += rows
            return
        self._make_room(max(len(row) for row in rows) - 1)
        self._quiet_slots += len(rows)
        if self._file.channels:
            self._file.append(self._interleaver.render(rows, self._file.channels, self._rate_hz))
        else:
            self._file.skip(len(rows) * step)

    def _make_room(self, wanted: int) -> None:
        """Add channels, as many as there may be; once they are refused they stay refused."""
        channels = min(wanted, MAX_PARTICIPANTS)
        if channels <= self._file.channels or self._refused:
            return
        try:
            self._file.widen(channels)
            self._quiet_slots = 0
        except OSError:
            self._refused = True

    def finish(self, path: Path) -> str:
        """Complete the file and return its path; "" when there is none, `error` tells why."""
        with self._lock:
            self._finished = True
            try:
                finished = self._file.finish(path)
            except OSError as failure:
                self.error = self.error or describe(failure)
                return ""
            return str(finished.absolute()) if finished is not None else ""


class RecordingWriter:
    """Moves a recorder's slots into its file; every method blocks and may run in any thread.

    No method raises OSError but `open`: a later failure ends the recording with what was written.

    Args:
        path: final name of the file.
        token: makes the temporary name unique.
        recorder: where the slots come from; the file has the channels that it has now.
        participants: takes the channels that come later.
    """

    def __init__(
        self, path: Path, *, token: str, recorder: Recorder, participants: ParticipantsWriter | None = None
    ) -> None:
        self.path = path
        self.error: str | None = None
        self._token = token
        self._channels = recorder.channels
        self._queue: deque[Slot] = recorder.queue
        self._recorder = recorder
        self._participants = participants
        self._interleaver = Interleaver()
        self._file: WavFile | None = None
        self._announced = False
        self._closed = False
        self._lock = threading.Lock()

    def open(self) -> None:
        """Create the temporary file.

        Raises:
            OSError: it cannot be created.
        """
        with self._lock:
            if not self._closed:
                self._file = WavFile(self.path, token=self._token, channels=self._channels)

    def write_pending(self) -> None:
        """Write every slot that is queued now; after a failure they are dropped."""
        with self._lock:
            self._write_pending()

    def finish(self) -> Recorded:
        """Write the rest and complete the file; nothing captured leaves nothing behind."""
        with self._lock:
            self._closed = True
            self._write_pending()
            file, self._file = self._file, None
            if file is None:
                return Recorded("", error=self.error)
            error = self.error or self._recorder.error
            duration_ms = file.frames * 1000 // self._rate_hz
            if not file.data_bytes:
                file.discard()
                return Recorded("", error=error)
            try:
                path = file.finish(self._rate_hz)
            except OSError as failure:
                return Recorded("", error=error or describe(failure))
            return Recorded(str(path.absolute()), duration_ms, error)

    @property
    def _rate_hz(self) -> int:
        """Rate of the file; it is known from the first slot on."""
        return self._recorder.rate_hz or 8_000

    def _write_pending(self) -> None:
        slots: list[Slot] = []
        while self._queue:
            slots.append(self._queue.popleft())
        self._write(slots)
        if self._participants is not None:
            self._participants.write(slots)

    def _write(self, slots: list[Slot]) -> None:
        file = self._file
        if file is None or self.error is not None or not slots:
            return
        try:
            if not self._announced:
                self._announced = True
                file.announce(self._rate_hz)
            for rows in _runs(slots):
                if isinstance(rows, int):
                    self._append_silence(file, rows)
                else:
                    file.append(self._interleaver.render(rows, self._channels, self._rate_hz))
        except OSError as failure:
            self.error = describe(failure)

    def _append_silence(self, file: WavFile, slots: int) -> None:
        """Append silence in pieces, so that a gap of hours takes no memory."""
        step = frame_samples(self._rate_hz)
        while slots > 0:
            piece = min(slots, _SILENCE_SLOTS)
            file.append(np.zeros((piece * step, self._channels), np.int16))
            slots -= piece


def _runs(slots: list[Slot]) -> list[list[_Row] | int]:
    """Put consecutive slots with audio together; silence stays a number."""
    runs: list[list[_Row] | int] = []
    for slot in slots:
        if isinstance(slot, int):
            runs.append(slot)
        elif runs and isinstance(runs[-1], list):
            runs[-1].append(slot)
        else:
            runs.append([slot])
    return runs
