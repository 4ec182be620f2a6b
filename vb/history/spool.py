"""What waits for the database, on the disk: the durable queue as the history uses it.

A process that was killed leaves its file behind, and the next one that uses the folder takes that over. The
topic of an item is the run that it comes from, and every run has one item that only its good end crosses out:
what is found of another run is what a killed process has left, be it a mark and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from vb.durable.folder import folder_lock, open_own, take_over
from vb.durable.store import Record, StoreBusy, StoreDamaged

log = structlog.get_logger(__name__)

NAME: Final = "history-queue"
MAX_BYTES: Final = 512 * 1_048_576
_MARK: Final = "run"


class QueueFull(Exception):
    """The queue holds as much as it may."""


class Waiting(NamedTuple):
    """An item of the queue.

    Attributes:
        number: orders items, and names this one.
        run_id: the process that it comes from.
    """

    number: int
    run_id: UUID
    data: bytes


class Spool:
    """The queue of one run. Threads take turns at it; all of it may block on the disk.

    Args:
        folder: made when missing; any number of processes may share it.
        run_id: of this process.
        max_bytes: what it may hold.

    Attributes:
        size: bytes that wait.
        left: runs that were killed; what they had not handed on waits here too.
        damaged: files that could not be read as a whole.

    Raises:
        OSError: the folder cannot be used.
    """

    def __init__(self, folder: Path, run_id: UUID, *, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._run_id = run_id
        self._prefix = token_hex(8)
        """Tells its keys from those of another file of this run, should both end up in one."""
        self._max_bytes = max_bytes
        self._marks: dict[UUID, int] = {}
        self._sizes: dict[int, int] = {}
        self._last = 0
        self._turn = threading.Lock()
        """Never held while a database is waited for."""
        try:
            self._store, self.damaged = open_own(folder, NAME)
        except (StoreBusy, StoreDamaged) as exc:
            raise OSError(str(exc)) from exc
        try:
            self._read()
        except BaseException:
            self._store.close()
            raise

    def _read(self) -> None:
        marks: dict[UUID, int] = {}
        sizes: dict[int, int] = {}
        strange: list[int] = []
        last = 0
        try:
            for record in self._store.records():
                last = record.number
                try:
                    run_id = UUID(record.topic)
                except ValueError:
                    strange.append(record.number)
                    continue
                if record.label == _MARK:
                    marks[run_id] = record.number
                else:
                    sizes[record.number] = len(record.data)
        except StoreDamaged as exc:
            raise OSError(str(exc)) from exc
        own: list[Record] = []
        if self._run_id not in marks:  # else an earlier process of this run has left it
            last += 1
            own.append(Record(last, str(self._run_id), _MARK, _MARK, b""))
            marks[self._run_id] = last
        self._apply(own, strange)
        self._marks, self._sizes, self._last = marks, sizes, last
        self.left = [run_id for run_id in marks if run_id != self._run_id]

    def take_over(self) -> None:
        """Take what processes have left that ended since the folder was last looked at.

        Raises:
            OSError: the folder or the queue cannot be used.
        """
        try:
            with self._turn:
                if take_over(self._folder, NAME, self._store):
                    self._read()
        except (StoreBusy, StoreDamaged) as exc:
            raise OSError(str(exc)) from exc

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return sum(self._sizes.values())

    def put(self, items: Sequence[bytes]) -> None:
        """Keep items, all or none.

        Raises:
            OSError: they cannot be kept.
            QueueFull: there is no room for them.
        """
        with self._turn:
            if self.size + sum(len(item) for item in items) > self._max_bytes:
                raise QueueFull(str(self._folder))
            topic = str(self._run_id)
            records = [
                Record(number, topic, f"{self._prefix}-{number}", "", item)
                for number, item in enumerate(items, self._last + 1)
            ]
            self._last += len(records)  # before, as no number may be given twice, whatever the disk says
            self._apply(records, ())
            self._sizes.update((record.number, len(record.data)) for record in records)

    def take(self, limit: int) -> list[Waiting]:
        """Return the oldest items; they stay until they are acknowledged.

        Raises:
            OSError: the queue cannot be read.
        """
        try:
            with self._turn:
                numbers = list(islice(self._sizes, limit))
                found = self._store.records_of(numbers)
                for gone in set(numbers) - {record.number for record in found}:
                    del self._sizes[gone]  # the disk let go of it and said that it had not
        except StoreDamaged as exc:
            raise OSError(str(exc)) from exc
        return [Waiting(record.number, UUID(record.topic), record.data) for record in found]

    def ack(self, numbers: Iterable[int]) -> None:
        """Let go of items.

        Raises:
            OSError: the queue cannot be written; the items come again.
        """
        done = list(numbers)
        with self._turn:
            self._apply((), done)
            for number in done:
                self._sizes.pop(number, None)

    def settle(self, run_id: UUID) -> None:
        """Take note that a run is over and that nothing of it is left.

        Raises:
            OSError: the queue cannot be written; the run is found again.
        """
        with self._turn:
            mark = self._marks.get(run_id)
            if mark is not None:
                self._apply((), [mark])
                del self._marks[run_id]
            self.left = [found for found in self.left if found != run_id]

    def _apply(self, added: Sequence[Record], done: Sequence[int]) -> None:
        try:
            self._store.apply(added, done)
        except (StoreBusy, StoreDamaged) as exc:
            raise OSError(str(exc)) from exc

    def close(self) -> None:
        """Let go of the file; one that is empty is removed."""
        with self._turn:
            try:
                with folder_lock(self._folder):
                    self._store.close()
            except OSError:
                self._store.close()
