"""A WAV file on disk that appears whole under its final name, or not at all.

Audio goes to a hidden temporary file in the same directory, which its writer keeps locked. At the end its
header is corrected, it is flushed to the disk and linked to its final name, which never overwrites another
file. The header tells everything but the length from early on, so that `vb.recording.salvage` can complete
the file of a process that was killed. Everything here blocks, so it runs in worker threads.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.media.recording_names import temporary_name
from vb.media.wav import HEADER_BYTES, MAX_DATA_BYTES, build_header

DIRECTORY_MODE: Final = 0o755
_FILE_MODE: Final = 0o644
_PROCESS_STATUS: Final = "/proc/self/status"
_UMASK = re.compile(rb"^Umask:\s*([0-7]+)$", re.MULTILINE)
_SAMPLE_BYTES: Final = 2
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def file_mode() -> int:
    """Return the permissions of a complete recording: whoever runs the server may narrow them by its umask.

    The kernel tells it only by a file: to ask with `os.umask` would change it for other threads meanwhile.
    """
    try:
        with open(_PROCESS_STATUS, "rb") as status:
            found = _UMASK.search(status.read())
    except OSError:
        found = None
    return _FILE_MODE & ~(int(found[1], 8) if found is not None else 0)


def why_unwritable(directory: Path) -> str | None:
    """Return why no file could be made in a directory, which is made when missing; None when one could."""
    try:
        os.makedirs(directory, mode=DIRECTORY_MODE, exist_ok=True)
        is_read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
    except OSError as exc:
        return exc.strerror or type(exc).__name__
    if os.access(directory, os.W_OK | os.X_OK):
        return None
    return os.strerror(errno.EROFS if is_read_only else errno.EACCES)


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
        self.channels = channels
        self.data_bytes = 0
        self._token = token
        self._temporary = path.with_name(temporary_name(token))
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
        fd = os.open(self._temporary, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass  # a file system without locks: only the recovery of another process could mistake the file
        return fd

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return _SAMPLE_BYTES * self.channels

    @property
    def frames(self) -> int:
        """Length of what was written, in samples per channel."""
        return self.data_bytes // self.frame_bytes

    def announce(self, rate_hz: int) -> None:
        """Write a header that lacks nothing but the length.

        Raises:
            OSError: it cannot be written.
        """
        self._write_header(build_header(channels=self.channels, rate_hz=rate_hz, data_bytes=0))

    def _write_header(self, header: bytes) -> None:
        if os.pwrite(self._fd, header, 0) != len(header):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def append(self, samples: NDArray[np.int16]) -> None:
        """Append interleaved samples, shape ``(frames, channels)``.

        Raises:
            OSError: not everything could be written, or the file would be too long for its format;
                what fitted stays valid.
        """
        data = memoryview(np.ascontiguousarray(samples, dtype="<i2").tobytes())
        self._check_length(self.data_bytes + len(data))
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], HEADER_BYTES + self.data_bytes + written)
        finally:
            self.data_bytes += written - written % self.frame_bytes

    def skip(self, frames: int) -> None:
        """Append silence without writing it: a hole that reads as zeros.

        Raises:
            OSError: the file would be too long for its format.
        """
        self._check_length(self.data_bytes + frames * self.frame_bytes)
        self.data_bytes += frames * self.frame_bytes

    def _check_length(self, data_bytes: int) -> None:
        if data_bytes > MAX_DATA_BYTES:
            raise OSError(errno.EFBIG, "the recording has reached the size limit of WAV files")

    def overwrite(self, frame: int, samples: NDArray[np.int16]) -> None:
        """Fill in samples before the end.

        Raises:
            OSError: not everything could be written.
        """
        data = memoryview(np.ascontiguousarray(samples, dtype="<i2").tobytes())
        start, written = HEADER_BYTES + frame * self.frame_bytes, 0
        while written < len(data):
            written += os.pwrite(self._fd, data[written:], start + written)

    def read(self, frame: int, count: int) -> NDArray[np.int16]:
        """Return samples that were written, shape ``(count, channels)``; where nothing was, zeros.

        Raises:
            OSError: they cannot be read.
        """
        wanted = count * self.frame_bytes
        data = os.pread(self._fd, wanted, HEADER_BYTES + frame * self.frame_bytes)
        samples = np.frombuffer(data.ljust(wanted, b"\0"), "<i2").reshape(count, self.channels)
        return samples.astype(np.int16, copy=False)

    def finish(self, rate_hz: int) -> Path:
        """Complete the file durably and return its name.

        That is the name it was made for, or one next to it when somebody has taken that meanwhile.

        Raises:
            OSError: it could not be; it is discarded.
        """
        try:
            self._complete(rate_hz)
            try:
                path = self._publish()
            except FileNotFoundError:
                self._rescue()
                path = self._publish()
            _sync_directory(self.path.parent)
            return path
        finally:
            self.discard()

    def _complete(self, rate_hz: int) -> None:
        """Correct the header, cut off a partial write, make the content durable."""
        header = build_header(channels=self.channels, rate_hz=rate_hz, data_bytes=self.data_bytes)
        os.ftruncate(self._fd, HEADER_BYTES + self.data_bytes)
        self._write_header(header)
        os.fchmod(self._fd, file_mode())
        os.fsync(self._fd)

    def _publish(self) -> Path:
        try:
            publish(self._temporary, self.path)
            return self.path
        except FileExistsError:
            beside = self.path.with_stem(f"{self.path.stem}_{self._token}")
            publish(self._temporary, beside)
            return beside

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
        os.fchmod(self._fd, file_mode())
        os.fsync(self._fd)

    def discard(self) -> None:
        """Remove the temporary file; a file that was finished stays under its final name."""
        if self._fd >= 0:
            self._temporary.unlink(missing_ok=True)  # before the lock goes
            os.close(self._fd)
            self._fd = -1


def hold_orphan(temporary: Path) -> int | None:
    """Open a temporary file that nobody writes or completes, and keep others from that until it is closed.

    Returns:
        A descriptor, to be closed; None for a file that is not ours to touch, or is not there.
    """
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        facts = os.fstat(fd)
        # Whoever had it a moment ago may have completed or removed it.
        still_there = os.path.samestat(facts, os.lstat(temporary))
        if still_there and stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid():
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def publish(temporary: Path, path: Path) -> None:
    """Give a complete temporary file its final name, which it has besides its own or instead of it.

    Raises:
        FileExistsError: the name is taken.
        OSError: it cannot be done.
    """
    try:
        os.link(temporary, path, follow_symlinks=False)
    except OSError as failure:
        if failure.errno not in _NO_LINKS:
            raise
        # No hard links here: hold the name with an empty file of ours, then put the real one in its place.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        os.replace(temporary, path)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
