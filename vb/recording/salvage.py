"""Completing the recordings that a killed process left behind.

A temporary file tells in its header everything but its length. One that nobody holds a lock on and that was
last written before this process started belongs to a process that is gone. Everything here blocks.
"""

import os
import struct
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from vb.media.recording_names import recovered_name, temporary_token
from vb.media.wav import HEADER_BYTES, MAX_DATA_BYTES, build_header
from vb.media.wav_file import file_mode, hold_orphan, publish

_RATES_HZ: Final = (8_000, 16_000, 24_000, 48_000)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What became of one temporary file.

    ``file`` is the path of the recording, "" when the file held no audio and was removed, or when it could
    not be completed; then ``error`` says why and the temporary file is still there.
    """

    temporary: str
    file: str = ""
    error: str | None = None


def salvage(directory: Path, *, before_s: float) -> list[Salvaged]:
    """Complete what processes that are gone have left in a directory.

    Args:
        directory: where recordings are written; it need not exist.
        before_s: files that were written to at this Unix time or later are left alone.

    Returns:
        One entry per file that was taken on.
    """
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    found: list[Salvaged] = []
    for name in names:
        token = temporary_token(name)
        if token is not None:
            outcome = _salvage_one(directory / name, token, before_s)
            if outcome is not None:
                found.append(outcome)
    return found


def _salvage_one(temporary: Path, token: str, before_s: float) -> Salvaged | None:
    """Complete one file; returns None for a file that is not ours to touch."""
    try:
        if temporary.lstat().st_mtime >= before_s:  # not even locked: its writer may be about to do that
            return None
    except OSError:
        return None
    fd = hold_orphan(temporary)
    if fd is None:
        return None
    try:
        return _complete(fd, temporary, token, os.fstat(fd))
    except (OSError, ValueError) as failure:
        return Salvaged(str(temporary), error=str(failure))
    finally:
        os.close(fd)


def _complete(fd: int, temporary: Path, token: str, facts: os.stat_result) -> Salvaged:
    """Correct the header and publish the file.

    Raises:
        OSError: it cannot be done; the temporary file stays.
        ValueError: its header is not one of ours.
    """
    if facts.st_size <= HEADER_BYTES:
        temporary.unlink(missing_ok=True)
        return Salvaged(str(temporary))
    channels, rate_hz = _format(os.pread(fd, HEADER_BYTES, 0))
    frame_bytes = 2 * channels
    data_bytes = min(facts.st_size - HEADER_BYTES, MAX_DATA_BYTES) // frame_bytes * frame_bytes
    os.ftruncate(fd, HEADER_BYTES + data_bytes)
    os.pwrite(fd, build_header(channels=channels, rate_hz=rate_hz, data_bytes=data_bytes), 0)
    os.fchmod(fd, file_mode())
    os.fsync(fd)
    path = temporary.with_name(recovered_name(datetime.fromtimestamp(facts.st_mtime), token))
    publish(temporary, path)
    temporary.unlink(missing_ok=True)
    return Salvaged(str(temporary), file=str(path))


def _format(header: bytes) -> tuple[int, int]:
    """Return channels and rate, if the header is one that the recorder writes.

    Raises:
        ValueError: it is not.
    """
    channels, rate_hz = struct.unpack_from("<HI", header, 22)
    data_bytes = struct.unpack_from("<I", header, 40)[0]
    if rate_hz not in _RATES_HZ or not channels:
        raise ValueError("not a recording of this server")
    if header != build_header(channels=channels, rate_hz=rate_hz, data_bytes=data_bytes):
        raise ValueError("not a recording of this server")
    return channels, rate_hz
