"""Journals of the webhook spool as earlier versions wrote them: read once, then removed.

A journal holds a line for every event that waits, and a line for each that is done. Whoever uses one holds a
lock on it, so that a journal without a lock belongs to a run that is gone.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from vb.durable.store import Record

log = structlog.get_logger(__name__)

PATTERN: Final = "webhooks-*.jsonl"
MAX_LINE_BYTES: Final = 1_048_576
_MAX_ID_CHARS: Final = 256


@dataclass(frozen=True, slots=True)
class Line:
    """An event as it was noted; `label` has its type and hook."""

    number: int
    event_id: str
    label: str
    body: bytes

    def record(self, topic: str, latest: int) -> Record:
        """Return it as an item of a queue, with a number of at most `latest`."""
        return Record(min(self.number, latest), topic, self.event_id, self.label, self.body)


class Journals:
    """All journals of a folder that no run uses.

    Attributes:
        entries: events that wait, oldest first.
        damaged: lines and files that cannot be read.
    """

    def __init__(self, directory: str) -> None:
        self.damaged = 0
        self._files: list[tuple[Path, int]] = []
        found: list[Line] = []
        passed: set[str] = set()
        for path in _by_age(Path(directory)):
            self._read(path, found, passed)
        self.entries: list[Line] = []
        for line in sorted(found, key=lambda line: line.number):
            if line.event_id not in passed:
                passed.add(line.event_id)
                self.entries.append(line)

    def remove(self) -> None:
        """Delete the journals, which are in the queue now."""
        for path, _ in self._files:
            with suppress(OSError):  # one that cannot be deleted is at worst sent again
                path.unlink()

    def close(self) -> None:
        """Let go of the files; their locks end."""
        for _, fd in self._files:
            os.close(fd)
        self._files.clear()

    def _read(self, path: Path, found: list[Line], passed: set[str]) -> None:
        damaged = 0
        try:
            fd = _adopt(path)
            if fd is None:
                return
            self._files.append((path, fd))
            for text in _lines(fd):
                try:
                    _take(text, found, passed)
                except (ValueError, RecursionError):
                    damaged += 1
        except OSError as error:
            self.damaged += 1
            log.error("webhook journal cannot be read", journal=path.name, problem=error.strerror)
            return
        if damaged:
            self.damaged += damaged
            log.error("damaged lines in a webhook journal", journal=path.name, lines=damaged)


def _adopt(path: Path) -> int | None:
    """Open and lock a journal; None when its run lives, or it has gone meanwhile.

    Raises:
        OSError: it is no file, or may not be read and written.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    ours = False
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if not ours:
            os.close(fd)
    return fd if ours else None


def _lines(fd: int) -> Iterator[bytes]:
    """Yield each line, and of one that is too long only its first piece."""
    new = True
    with open(fd, "rb", closefd=False) as file:
        while piece := file.readline(MAX_LINE_BYTES + 1):
            if new:
                yield piece
            new = piece.endswith(b"\n")


def _take(text: bytes, found: list[Line], done: set[str]) -> None:
    """Note what a line says.

    Raises:
        ValueError: nothing that can be used.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("not an object")
    if "done" in values:
        done.add(_text(values, "done"))
        return
    label = {"type": _text(values, "type")}
    if "url" in values:
        label |= {"url": _text(values, "url"), "secret": _text(values, "secret")}
    number, event_id = values.get("n", 0), _text(values, "id")
    if type(number) is not int or number < 0 or not _is_header_value(event_id):
        raise ValueError("not an entry")
    found.append(
        Line(number, event_id, json.dumps(label, separators=(",", ":")), _text(values, "body").encode())
    )


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value


def _is_header_value(event_id: str) -> bool:
    return 0 < len(event_id) <= _MAX_ID_CHARS and event_id.isascii() and event_id.isprintable()


def _by_age(directory: Path) -> list[Path]:
    """Return the journals of a folder, the one that was written to last at the end."""
    ages: list[tuple[int, Path]] = []
    for path in sorted(directory.glob(PATTERN)):
        with suppress(FileNotFoundError):
            ages.append((path.stat(follow_symlinks=False).st_mtime_ns, path))
    return [path for _, path in sorted(ages)]
