"""One file of a durable queue: an SQLite database in WAL mode that one process owns.

Everything here blocks, so the driver calls it in a worker thread. A commit reaches the system's page cache
and is not forced to the disk: it survives the end of the process however that comes, though a power cut may
take the last of them. Items may hold secrets, so only their owner may read the file.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

_SLACK_PAGES: Final = 256
"""Pages that may lie free in the file before they are given back."""
_LOG_BYTES: Final = 1_048_576
_SUFFIXES: Final = ("", "-wal", "-shm")
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS item (
    number INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    label TEXT NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (topic, key)
) STRICT
"""
_ALL: Final = "SELECT number, topic, key, label, data FROM item ORDER BY number"
_ONE: Final = "SELECT number, topic, key, label, data FROM item WHERE number = ?"
_ADD: Final = "INSERT OR IGNORE INTO item (number, topic, key, label, data) VALUES (?, ?, ?, ?, ?)"


_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What the library raises; the latter when it tells of a name that is damaged."""
_TYPES: Final = [int, str, str, str, bytes]
"""Of the columns of `_ALL`."""
_LOCKED: Final = "the database is locked by another process"
_ERRNO: Final[dict[int | None, int]] = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EACCES,
}


class StoreBusy(Exception):
    """The file belongs to another process, or something else has it locked."""


class StoreDamaged(Exception):
    """The file is no database of ours, or is broken."""


@dataclass(frozen=True, slots=True)
class Record:
    """An item as it lies in the file.

    Attributes:
        number: orders items.
        topic: which queue it belongs to.
        key: tells it from others of its topic; the same key is kept once.
        label: what its owner has to know of it without reading the data.
        data: the item.
    """

    number: int
    topic: str
    key: str
    label: str
    data: bytes


class Store:
    """A file that this process owns from now on, made when missing.

    Args:
        path: of the file.

    Raises:
        StoreBusy: somebody else owns it.
        StoreDamaged: it cannot be read as a whole.
        OSError: it cannot be made or opened, or there is no room for it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _make(path)
        # Any thread may be the one that works on it, but the driver lets only one at a time.
        # Whose file it is has it for life: a wait would make a start beside many others take seconds.
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        self._db.text_factory = _text
        try:
            self._open()
        except _ERRORS as error:
            self._db.close()
            raise _meaning(error) from error

    def _open(self) -> None:
        run = self._db.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA auto_vacuum = INCREMENTAL")
        if run("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise sqlite3.OperationalError(_LOCKED)
        run("PRAGMA synchronous = NORMAL")
        run(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        run("BEGIN IMMEDIATE")  # from here on the lock is ours
        run(_TABLE)
        run("COMMIT")
        # The quick check would not look at the index, by which items are added.
        if run("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("the database is damaged")

    def records(self) -> Iterator[Record]:
        """Give all items, oldest first.

        Raises:
            StoreDamaged: one cannot be read.
        """
        with _told(), closing(self._db.execute(_ALL)) as rows:
            for row in rows:
                yield Record(*row)

    def records_of(self, numbers: Iterable[int]) -> list[Record]:
        """Return items by their numbers, in that order, without those that are not there.

        Raises:
            StoreDamaged: the file is broken.
            OSError: the file cannot be read.
        """
        with _told():
            rows = (self._db.execute(_ONE, (number,)).fetchone() for number in numbers)
            return [Record(*row) for row in rows if row is not None]

    def apply(self, added: Iterable[Record], done: Iterable[int]) -> None:
        """Add items and take others out, all of it or nothing; a key that is there stays as it is.

        Raises:
            StoreDamaged: the file is broken.
            OSError: there is no room, or the file is locked.
        """
        with _told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                rows = ((item.number, item.topic, item.key, item.label, item.data) for item in added)
                self._db.executemany(_ADD, rows)
                self._db.executemany("DELETE FROM item WHERE number = ?", ((number,) for number in done))
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has rolled back already
                    self._db.execute("ROLLBACK")
                raise
            # What was asked for is done: room that a full disk does not let go of now goes the next time.
            with suppress(sqlite3.Error):
                if self._db.execute("PRAGMA freelist_count").fetchone()[0] > _SLACK_PAGES:
                    # A script, as `execute` would give back one page only.
                    self._db.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")

    def adopt(self, records: Iterable[Record]) -> None:
        """Add items of other files under their numbers, or the next free ones; all of them or none.

        Raises:
            StoreDamaged: the file is broken.
            OSError: there is no room, or the file is locked.
        """
        fresh: list[Record] = []
        with _told():
            taken = {row[0] for row in self._db.execute("SELECT number FROM item")}
        for item in sorted(records, key=lambda item: item.number):
            number = item.number
            while number in taken:
                number += 1
            taken.add(number)
            fresh.append(replace(item, number=number))
        if fresh:
            self.apply(fresh, ())

    def clear(self) -> None:
        """Take everything out.

        Raises:
            StoreDamaged: the file is broken.
            OSError: there is no room, or the file is locked.
        """
        with _told():
            self._db.execute("DELETE FROM item")

    def read(self, numbers: Iterable[int]) -> dict[int, bytes]:
        """Return the data of items, without those that are not there.

        Raises:
            StoreDamaged: the file is broken.
            OSError: the file cannot be read.
        """
        found: dict[int, bytes] = {}
        with _told():
            for number in numbers:
                row = self._db.execute("SELECT data FROM item WHERE number = ?", (number,)).fetchone()
                if row is not None:
                    found[number] = row[0]
        return found

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        total = 0
        for path in _files(self.path):
            with suppress(OSError):
                total += path.stat().st_size
        return total

    def close(self) -> None:
        """Let go of the file; one without any item in it is removed."""
        empty = False
        with suppress(sqlite3.Error):
            empty = self._db.execute("SELECT 1 FROM item LIMIT 1").fetchone() is None
        with suppress(sqlite3.Error):
            self._db.close()
        if empty:
            for path in _files(self.path):
                with suppress(OSError):  # at worst an empty file is found at the next start
                    path.unlink()


def _make(path: Path) -> None:
    """Make the file with its mode if there is none; one that is there is not opened and closed.

    That would end the locks that this process has on it.

    Raises:
        OSError: it cannot be made, or is no file.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(errno.EINVAL, "not a regular file") from None


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be used, so that somebody may look at it; returns its new name.

    Raises:
        OSError: it cannot be renamed.
    """
    target = path.with_suffix(".damaged")
    number = 1
    while target.exists():
        number += 1
        target = path.with_suffix(f".damaged{number}")
    path.rename(target)
    for old in _files(path)[1:]:
        old.unlink(missing_ok=True)
    return target


def salvage(path: Path) -> list[Record]:
    """Return what can still be read of a damaged file."""
    found: dict[int, Record] = {}
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = _text
        # Else nothing is read of a file that is shorter than it says itself.
        db.execute("PRAGMA writable_schema = ON")
        for order in ("", " DESC"):
            with suppress(*_ERRORS):
                for row in db.execute(_ALL + order):
                    if [type(value) for value in row] == _TYPES:
                        found.setdefault(row[0], Record(*row))
    return [found[number] for number in sorted(found)]


def _text(data: bytes) -> str:
    """Decode a text, which in a damaged file need not be one: its owner will see that."""
    return data.decode("utf-8", "replace")


def _files(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in _SUFFIXES]


class _told:  # noqa: N801 - reads as a word at its places
    """Translates SQLite's errors into what a caller can act on."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, _ERRORS):
            raise _meaning(error) from error


def _meaning(error: Exception) -> Exception:
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or str(error) == _LOCKED:
        return StoreBusy(str(error))
    number = _ERRNO.get(primary)
    return StoreDamaged(str(error)) if number is None else OSError(number, str(error))
