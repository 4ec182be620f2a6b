"""One file of the webhook spool: a line for every event that waits, and a line for each that is done.

Whoever uses a journal holds a lock on it for as long, so that a journal without a lock belongs to a run that
is gone. Everything here blocks on the disk for as long as a short write to the page cache takes.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vb.events.hooks import Hook

PREFIX: Final = "webhooks-"
SUFFIX: Final = ".jsonl"
MAX_LINE_BYTES: Final = 1_048_576
_MAX_ID_CHARS: Final = 256
_MAX_NUMBER: Final = 2**63
_CREATE_ATTEMPTS: Final = 16
_to_json: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(slots=True, eq=False)
class Entry:
    """An event in a journal; its body stays there.

    Attributes:
        number: orders entries over all journals and runs of a folder.
        hook: where it belongs; None for the global hook of whichever run delivers it.
        offset: where its line begins.
        length: bytes of its line.
    """

    event_id: str
    kind: str
    hook: Hook | None
    number: int
    journal: Journal
    offset: int
    length: int


@dataclass(slots=True)
class Scan:
    """What a journal of an earlier run holds.

    Attributes:
        entries: everything that was noted, done or not.
        done: ids of events that were crossed out.
        damaged: lines that cannot be used.
    """

    entries: list[Entry] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    damaged: int = 0


class Journal:
    """A journal that belongs to this process; made by `create` and `adopt`.

    Attributes:
        size: bytes of all whole lines.
        open: the entries that are not done, by event id.
        open_bytes: what they take up.
        stuck_bytes: what was open when its entries could not be moved elsewhere.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.size = 0
        self.open: dict[str, Entry] = {}
        self.open_bytes = 0
        self.stuck_bytes: int | None = None
        self._fd = fd

    @classmethod
    def create(cls, directory: Path, token: str) -> Journal:
        """Make an empty journal.

        Raises:
            OSError: the folder cannot be written to.
        """
        for attempt in range(_CREATE_ATTEMPTS):
            path = directory / f"{PREFIX}{token}{f'-{attempt}' if attempt else ''}{SUFFIX}"
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            # A server that starts at this moment may take the empty file for a left-over and remove it.
            if _is_ours(fd, path):
                return cls(path, fd)
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))

    @classmethod
    def adopt(cls, path: Path) -> Journal | None:
        """Take a journal over from a run that is gone; None when its run lives, or it has gone meanwhile.

        Raises:
            OSError: it is no file, or may not be read and written.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file")
        return cls(path, fd) if _is_ours(fd, path) else None

    def scan(self) -> Scan:
        """Read a journal that was just adopted; lines that cannot be used are left out.

        Raises:
            OSError: it cannot be read.
        """
        found = Scan()
        hooks: dict[Hook, Hook] = {}
        for offset, line in self._lines():
            if not line.endswith(b"\n") or len(line) > MAX_LINE_BYTES:
                found.damaged += 1
                continue
            self.size = offset + len(line)
            try:
                self._take(line, offset, found, hooks)
            except (ValueError, RecursionError):
                found.damaged += 1
        with suppress(OSError):
            os.ftruncate(self._fd, self.size)
        return found

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield each line with its offset, and of one that is too long only its first piece."""
        offset, new = 0, True
        with open(self._fd, "rb", closefd=False) as file:
            while piece := file.readline(MAX_LINE_BYTES + 1):
                if new:
                    yield offset, piece
                offset += len(piece)
                new = piece.endswith(b"\n")

    def _take(self, line: bytes, offset: int, found: Scan, hooks: dict[Hook, Hook]) -> None:
        values = _parse(line)
        if "done" in values:
            found.done.add(_text(values, "done"))
            return
        hook = None
        if "url" in values:
            hook = Hook(_text(values, "url"), _text(values, "secret"))
            hook = hooks.setdefault(hook, hook)
        number = values.get("n", 0)
        event_id = _text(values, "id")
        if type(number) is not int or not 0 <= number <= _MAX_NUMBER or not _is_header_value(event_id):
            raise ValueError("not an entry")
        _text(values, "body").encode()
        entry = Entry(event_id, _text(values, "type"), hook, number, self, offset, len(line))
        found.entries.append(entry)

    def hold(self, entry: Entry) -> None:
        """Count an entry of this journal as open."""
        self.open[entry.event_id] = entry
        self.open_bytes += entry.length

    def let_go(self, entry: Entry) -> bool:
        """Count an entry as open no more; False when it was not."""
        if self.open.get(entry.event_id) is not entry:
            return False
        del self.open[entry.event_id]
        self.open_bytes -= entry.length
        return True

    def append(self, data: bytes) -> int:
        """Write whole lines at the end and return where they begin.

        Raises:
            OSError: there is no room for them; the journal is as it was.
        """
        offset = self.size
        problem = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            written = os.pwrite(self._fd, data, offset)
        except OSError as exc:
            written, problem = 0, exc
        if written < len(data):
            with suppress(OSError):  # what is torn is overwritten by the next line in any case
                os.ftruncate(self._fd, offset)
            raise problem
        self.size += len(data)
        return offset

    def read(self, entry: Entry) -> bytes:
        """Return the line of an entry.

        Raises:
            OSError: it cannot be read.
        """
        return os.pread(self._fd, entry.length, entry.offset)

    def clear(self) -> None:
        """Forget every line.

        Raises:
            OSError: that cannot be done.
        """
        os.ftruncate(self._fd, 0)
        self.size = 0

    def remove(self) -> None:
        """Delete the file and let go of it."""
        with suppress(OSError):  # one that cannot be deleted is at worst sent again
            self.path.unlink()
        self.close()

    def close(self) -> None:
        """Let go of the file; its lock ends."""
        os.close(self._fd)


def entry_line(number: int, event_id: str, kind: str, body: bytes, hook: Hook | None) -> bytes:
    """Return the line of an entry.

    Raises:
        ValueError: the body is not UTF-8.
    """
    values: dict[str, Any] = {"n": number, "id": event_id, "type": kind, "body": body.decode()}
    if hook is not None:
        values |= {"url": hook.url, "secret": hook.secret}
    return _to_json(values).encode() + b"\n"


def done_line(event_id: str) -> bytes:
    """Return the line that crosses out an entry."""
    return _to_json({"done": event_id}).encode() + b"\n"


def body_of(line: bytes) -> bytes:
    """Return the body in the line of an entry.

    Raises:
        ValueError: the line is damaged.
    """
    try:
        return _text(_parse(line), "body").encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _parse(line: bytes) -> dict[str, Any]:
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError("not an object")
    return values


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value


def _is_header_value(event_id: str) -> bool:
    return 0 < len(event_id) <= _MAX_ID_CHARS and event_id.isascii() and event_id.isprintable()


def _is_ours(fd: int, path: Path) -> bool:
    """Lock an open file that is still the one at its path; if that fails the file is closed.

    Raises:
        OSError: it cannot be locked at all.
    """
    ours = False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if not ours:
            os.close(fd)
    return ours
