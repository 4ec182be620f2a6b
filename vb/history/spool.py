"""The durable queue between calls and the database, in a file of its own for each run of the server.

What is in it outlives the process: the next server that uses the folder finds it, whether the database was
away, or the process was killed. A file that another process has open is left alone; its lock goes with the
process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

import structlog

log = structlog.get_logger(__name__)

MAX_BYTES: Final = 512 * 1_048_576
_NAME: Final = re.compile(r"history-([0-9a-f]{32})\.spool")
_BUSY_S: Final = 1.0


class QueueFull(Exception):
    """The queue holds as much as it may."""


class DurableQueue(Protocol):
    """What the history needs of a queue that outlives the process. All of it may block on the disk."""

    def put(self, items: Sequence[bytes]) -> None:
        """Keep items, all or none.

        Raises:
            OSError: they cannot be kept.
            QueueFull: there is no room for them.
        """
        ...

    def take(self, limit: int) -> list[tuple[int, bytes]]:
        """Return the oldest items with their numbers; they stay until they are acknowledged.

        Raises:
            OSError: the queue cannot be read.
        """
        ...

    def ack(self, numbers: Iterable[int]) -> None:
        """Let go of items.

        Raises:
            OSError: the queue cannot be written; the items come again.
        """
        ...

    def close(self) -> None:
        """Let go of the file; one that is empty is removed."""
        ...

    def __len__(self) -> int:
        """Return how many items are kept."""
        ...


class Spool:
    """A queue in an SQLite file. To be used by one thread at a time.

    Args:
        path: the file; made when it is missing.
        max_bytes: what it may hold.

    Attributes:
        size: bytes that it holds.

    Raises:
        OSError: the file cannot be used, or another process does.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._db = self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(self.path, isolation_level=None, timeout=_BUSY_S, check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("CREATE TABLE IF NOT EXISTS item (number INTEGER PRIMARY KEY, data BLOB NOT NULL)")
            count, size, last = db.execute(
                "SELECT count(*), coalesce(sum(length(data)), 0), coalesce(max(number), 0) FROM item"
            ).fetchone()
        except sqlite3.Error as exc:
            raise OSError(f"{self.path}: {exc}") from exc
        self._count, self.size, self._last = int(count), int(size), int(last)
        return db

    def __len__(self) -> int:
        return self._count

    def put(self, items: Sequence[bytes]) -> None:
        """Keep items, all or none; see `DurableQueue`."""
        size = sum(len(item) for item in items)
        if self.size + size > self._max_bytes:
            raise QueueFull(str(self.path))
        rows = list(enumerate(items, self._last + 1))
        self._execute("INSERT INTO item VALUES (?, ?)", rows)
        self._last += len(rows)
        self._count += len(rows)
        self.size += size

    def take(self, limit: int) -> list[tuple[int, bytes]]:
        """Return the oldest items with their numbers; see `DurableQueue`."""
        try:
            return self._db.execute(
                "SELECT number, data FROM item ORDER BY number LIMIT ?", (limit,)
            ).fetchall()
        except sqlite3.Error as exc:
            raise OSError(f"{self.path}: {exc}") from exc

    def ack(self, numbers: Iterable[int]) -> None:
        """Let go of items; see `DurableQueue`."""
        self._execute("DELETE FROM item WHERE number = ?", [(number,) for number in numbers])
        try:
            count, size = self._db.execute(
                "SELECT count(*), coalesce(sum(length(data)), 0) FROM item"
            ).fetchone()
        except sqlite3.Error as exc:
            raise OSError(f"{self.path}: {exc}") from exc
        self._count, self.size = int(count), int(size)

    def _execute(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(statement, rows)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as exc:
            raise OSError(f"{self.path}: {exc}") from exc

    def close(self) -> None:
        """Let go of the file; one that is empty is removed. Doing so again is harmless."""
        if self._lock < 0:
            return
        try:
            self._db.close()
            if not self._count:
                for suffix in ("", "-wal", "-shm", ".lock"):
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        except (OSError, sqlite3.Error):
            pass  # what is left is looked at by the next server
        finally:
            os.close(self._lock)
            self._lock = -1


def spool_path(folder: Path, run_id: UUID) -> Path:
    """Return where a run's queue lies."""
    return folder / f"history-{run_id.hex}.spool"


def abandoned(folder: Path, own: UUID) -> list[tuple[UUID, Spool]]:
    """Open what earlier runs have left in a folder, except what other processes use.

    Raises:
        OSError: the folder cannot be read.
    """
    found: list[tuple[UUID, Spool]] = []
    for path in sorted(folder.glob("history-*.spool")):
        match = _NAME.fullmatch(path.name)
        if match is None or UUID(match[1]) == own:
            continue
        try:
            found.append((UUID(match[1]), Spool(path)))
        except BlockingIOError:  # its process is there
            continue
        except OSError as exc:
            log.error("a queue of the call history cannot be read, and is set aside", problem=str(exc))
            path.rename(f"{path}.damaged")
    return found
