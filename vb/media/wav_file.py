"""Recordings on disk: WAV files that appear whole under their final name, or not at all.

Audio goes to a hidden temporary file in the same directory. At the end its header is corrected, it is
flushed to the disk and linked to its final name, which never overwrites another file. Everything here
blocks, so it runs in worker threads; a lock keeps a finish from overtaking a write.
"""

import os
import shutil
import threading
from collections import deque
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs.resample import StreamResampler
from vb.media.frames import frame_samples
from vb.media.recorder import Chunk, Recorded, Recorder, Slot
from vb.media.wav import HEADER_BYTES, MAX_DATA_BYTES, build_header

DIRECTORY_MODE: Final = 0o755
FILE_MODE: Final = 0o644
_SILENCE_SLOTS: Final = 50


class WavFile:
    """A 16-bit PCM WAV file while it is being written.

    Args:
        path: final name; the directory is created when missing.
        token: makes the temporary name unique.
        channels: samples per frame.

    Raises:
        OSError: the temporary file cannot be created.
    """

    def __init__(self, path: Path, *, token: str, channels: int) -> None:
        self.path = path
        self._temporary = path.with_name(f".rec-{token}.tmp")
        self._channels = channels
        self.data_bytes = 0
        self._fd = self._create()
        try:
            self._write_header(bytes(HEADER_BYTES))
        except OSError:
            self.discard()
            raise

    def _create(self) -> int:
        """Create the temporary file, readable by its owner only until it is complete."""
        os.makedirs(self.path.parent, mode=DIRECTORY_MODE, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._temporary, flags, 0o600)

    def _write_header(self, header: bytes) -> None:
        if os.pwrite(self._fd, header, 0) != len(header):
            raise OSError("the disk is full")

    def append(self, samples: NDArray[np.int16]) -> None:
        """Append interleaved samples, shape ``(frames, channels)``.

        Raises:
            OSError: not everything could be written, or the file would be too long for its format;
                what fitted stays valid.
        """
        data = memoryview(np.ascontiguousarray(samples, dtype="<i2").tobytes())
        if self.data_bytes + len(data) > MAX_DATA_BYTES:
            raise OSError("the recording has reached the size limit of WAV files")
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], HEADER_BYTES + self.data_bytes + written)
        finally:
            self.data_bytes += written - written % (2 * self._channels)

    def finish(self, rate_hz: int) -> None:
        """Complete the file durably under its final name.

        Raises:
            OSError: it could not be; it is discarded.
        """
        try:
            self._complete(rate_hz)
            try:
                os.link(self._temporary, self.path, follow_symlinks=False)
            except FileNotFoundError:
                self._rescue()
                os.link(self._temporary, self.path, follow_symlinks=False)
            _sync_directory(self.path.parent)
        finally:
            self.discard()

    def _complete(self, rate_hz: int) -> None:
        """Correct the header, cut off a partial write, make the content durable."""
        header = build_header(channels=self._channels, rate_hz=rate_hz, data_bytes=self.data_bytes)
        os.ftruncate(self._fd, HEADER_BYTES + self.data_bytes)
        self._write_header(header)
        os.fchmod(self._fd, FILE_MODE)
        os.fsync(self._fd)

    def _rescue(self) -> None:
        """Copy the content to a new temporary file: somebody has removed the directory."""
        lost = self._fd
        self._fd = self._create()
        try:
            with open(lost, "rb", closefd=False) as source, open(self._fd, "wb", closefd=False) as copy:
                source.seek(0)
                shutil.copyfileobj(source, copy)
        finally:
            os.close(lost)
        os.fchmod(self._fd, FILE_MODE)
        os.fsync(self._fd)

    def discard(self) -> None:
        """Remove the temporary file; a file that was finished stays under its final name."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._temporary.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class RecordingWriter:
    """Moves a recorder's slots into its file; every method blocks and may run in any thread.

    No method raises OSError but `open`: a later failure ends the recording with what was written.

    Args:
        path: final name of the file.
        token: makes the temporary name unique.
        recorder: where the slots come from.
    """

    def __init__(self, path: Path, *, token: str, recorder: Recorder) -> None:
        self.path = path
        self.error: str | None = None
        self._token = token
        self._channels = recorder.channels
        self._queue: deque[Slot] = recorder.queue
        self._recorder = recorder
        self._resamplers: list[tuple[int, StreamResampler] | None] = [None] * recorder.channels
        self._file: WavFile | None = None
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
            duration_ms = file.data_bytes * 1000 // (2 * self._channels * self._rate_hz)
            if not file.data_bytes:
                file.discard()
                return Recorded("", error=error)
            try:
                file.finish(self._rate_hz)
            except OSError as failure:
                return Recorded("", error=error or _describe(failure))
            return Recorded(str(self.path.absolute()), duration_ms, error)

    @property
    def _rate_hz(self) -> int:
        """Rate of the file; it is known from the first slot on."""
        return self._recorder.rate_hz or 8_000

    def _write_pending(self) -> None:
        slots: list[Slot] = []
        while self._queue:
            slots.append(self._queue.popleft())
        if self._file is None or self.error is not None:
            return
        try:
            batch: list[tuple[Chunk | None, ...]] = []
            for slot in slots:
                if isinstance(slot, int):
                    self._append(self._file, batch)
                    batch = []
                    self._append_silence(self._file, slot)
                else:
                    batch.append(slot)
            self._append(self._file, batch)
        except OSError as failure:
            self.error = _describe(failure)

    def _append(self, file: WavFile, batch: list[tuple[Chunk | None, ...]]) -> None:
        """Interleave consecutive slots and append them."""
        step = frame_samples(self._rate_hz)
        samples = np.zeros((len(batch) * step, self._channels), np.int16)
        for position, slot in enumerate(batch):
            for channel, chunk in enumerate(slot):
                if chunk is not None:
                    self._place(samples[position * step : (position + 1) * step, channel], channel, chunk)
        file.append(samples)

    def _append_silence(self, file: WavFile, slots: int) -> None:
        """Append silence in pieces, so that a gap of hours takes no memory."""
        step = frame_samples(self._rate_hz)
        while slots > 0:
            piece = min(slots, _SILENCE_SLOTS)
            file.append(np.zeros((piece * step, self._channels), np.int16))
            slots -= piece

    def _place(self, place: NDArray[np.int16], channel: int, chunk: Chunk) -> None:
        """Put a chunk where it belongs, at the rate of the file."""
        frame, rate_hz = chunk
        if rate_hz != self._rate_hz:
            known = self._resamplers[channel]
            if known is None or known[0] != rate_hz:
                known = self._resamplers[channel] = (rate_hz, StreamResampler(rate_hz, self._rate_hz))
            frame = known[1].process(frame)
        samples = min(frame.size, place.size)
        place[:samples] = frame[:samples]


def _describe(failure: OSError) -> str:
    return f"cannot write the recording: {failure.strerror or failure}"
