"""A WAV file to which channels are added while it is being written.

A WAV file has one number of channels from its first sample to its last, but participants come late. So a
new channel opens a new, wider temporary file in which the recording goes on at the same position; the
samples before it are copied over little by little while nobody joins, and the rest at the end. The stop of
a long recording is quick, memory stays the same, and each temporary file is a valid recording by itself.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.media.wav_file import WavFile

_PIECE_BYTES: Final = 256 * 1024
"""What is copied in one go: short, because it holds the interpreter's lock."""


@dataclass(slots=True)
class _Stretch:
    """Consecutive frames that lie in one file; in none where no channel existed yet."""

    file: WavFile | None
    start: int
    stop: int


class GrowingWav:
    """The file while it is written; every method blocks.

    Args:
        directory: where the file will be.
        token: makes the temporary names unique.
        rate_hz: samples a second.
    """

    def __init__(self, directory: Path, *, token: str, rate_hz: int) -> None:
        self.channels = 0
        self.frames = 0
        self._directory = directory
        self._token = token
        self._rate_hz = rate_hz
        self._file: WavFile | None = None
        self._narrower: list[WavFile] = []
        self._stretches: list[_Stretch] = []

    def widen(self, channels: int) -> None:
        """Go on with more channels.

        Raises:
            OSError: there is no room for them; everything stays as it was.
        """
        name = f"{self._token}-{channels}"
        file = WavFile(self._directory / f"{name}.wav", token=name, channels=channels)
        try:
            file.announce(self._rate_hz)
            file.skip(self.frames)
        except OSError:
            file.discard()
            raise
        if self._file is not None:
            self._narrower.append(self._file)
        self._file, self.channels = file, channels
        self._drop_copied()

    def append(self, samples: NDArray[np.int16]) -> None:
        """Append interleaved samples, shape ``(frames, channels)``.

        Raises:
            OSError: not everything could be written; what fitted stays valid.
        """
        if self._file is None:
            self._extend(None, len(samples))
            return
        before = self._file.frames
        try:
            self._file.append(samples)
        finally:
            self._extend(self._file, self._file.frames - before)

    def skip(self, frames: int) -> None:
        """Append silence, which takes no space.

        Raises:
            OSError: the file would be too long for its format.
        """
        if self._file is not None:
            self._file.skip(frames)
        self._extend(None, frames)

    def _extend(self, file: WavFile | None, frames: int) -> None:
        last = self._stretches[-1] if self._stretches else None
        if last is not None and last.file is file:
            last.stop += frames
        else:
            self._stretches.append(_Stretch(file, self.frames, self.frames + frames))
        self.frames += frames

    def catch_up(self, max_bytes: int | None = None) -> bool:
        """Copy what still lies in narrower files.

        Args:
            max_bytes: roughly how much at most; everything when None.

        Returns:
            Whether something is left to copy.

        Raises:
            OSError: it cannot be read or written.
        """
        left = max_bytes
        while (index := self._next_to_copy()) is not None:
            if left is not None and left <= 0:
                return True
            copied = self._copy_piece(index)
            if left is not None:
                left -= copied
        return False

    def _next_to_copy(self) -> int | None:
        for index, stretch in enumerate(self._stretches):
            if stretch.file is not None and stretch.file is not self._file:
                return index
        return None

    def _copy_piece(self, index: int) -> int:
        """Copy the beginning of a stretch; returns the bytes that were written."""
        stretch, target = self._stretches[index], self._file
        assert stretch.file is not None
        assert target is not None
        count = min(stretch.stop - stretch.start, max(_PIECE_BYTES // target.frame_bytes, 1))
        wide = np.zeros((count, target.channels), np.int16)
        wide[:, : stretch.file.channels] = stretch.file.read(stretch.start, count)
        target.overwrite(stretch.start, wide)
        copied = _Stretch(target, stretch.start, stretch.start + count)
        stretch.start += count
        before = self._stretches[index - 1] if index else None
        if before is not None and before.file is target:
            before.stop = copied.stop
        else:
            self._stretches.insert(index, copied)
            index += 1
        if stretch.start == stretch.stop:
            del self._stretches[index]
            self._drop_copied()
        return count * target.frame_bytes

    def _drop_copied(self) -> None:
        """Remove the narrower files of which nothing is needed any more."""
        needed = [stretch.file for stretch in self._stretches]
        for file in [file for file in self._narrower if not any(file is other for other in needed)]:
            file.discard()
            self._narrower.remove(file)

    def finish(self, path: Path) -> Path | None:
        """Complete the file durably and return its name; None when it would be empty.

        Raises:
            OSError: it could not be; it is discarded.
        """
        file = self._file
        try:
            if file is None or not self.frames:
                return None
            self.catch_up()
            file.path = path
            return file.finish(self._rate_hz)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the temporary files; a file that was finished stays under its final name."""
        for file in (*self._narrower, self._file):
            if file is not None:
                file.discard()
        self._narrower.clear()
        self._file = None
