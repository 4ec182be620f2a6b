"""A durable queue: what is put into it is delivered at least once, also by a later process.

`put` and `done` never wait. A task writes what has come since its last write in one transaction, in a worker
thread: when it is committed it survives the process. What cannot be written stays in memory, is tried again,
and is counted. Items wait for their owner in order of their numbers; which of them is served next is the
owner's business.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import structlog
import trio

from vb.durable.folder import folder_lock, open_own
from vb.durable.store import Record, Store, StoreBusy, StoreDamaged

log = structlog.get_logger(__name__)

MAX_ITEMS: Final = 1_000_000
MAX_BYTES: Final = 64 * 1_048_576
MAX_ITEM_BYTES: Final = 1_048_576
MAX_UNWRITTEN_BYTES: Final = 8 * 1_048_576
BATCH_ITEMS: Final = 1000
RETRY_S: Final = 1.0
CLOSE_S: Final = 5.0
_ITEM_BYTES: Final = 64
"""About what the file needs for an item besides its texts."""

Failure = Literal["write", "full", "damaged"]
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_PROBLEMS: Final = (OSError, StoreBusy, StoreDamaged)


InThread = Callable[..., Awaitable[Any]]
"""Runs a function with arguments in a worker thread, one at a time."""


def one_thread() -> InThread:
    """Return what runs functions one after the other; who is cancelled does not wait for the thread."""
    limiter = trio.CapacityLimiter(1)

    async def run(work: Callable[..., Any], *args: object) -> Any:
        return await trio.to_thread.run_sync(partial(work, *args), limiter=limiter, abandon_on_cancel=True)

    return run


class Item:
    """One item that is not done.

    Attributes:
        topic: which queue it belongs to.
        key: tells it from others of its topic.
        label: what its owner has to know of it without its data.
        size: bytes that it counts for.
        data: the item itself as long as it is only in memory.
    """

    __slots__ = ("data", "has_failed", "is_open", "key", "label", "number", "size", "topic")

    def __init__(self, number: int, topic: str, key: str, label: str, size: int, data: bytes | None) -> None:
        self.number = number
        self.topic = topic
        self.key = key
        self.label = label
        self.size = size
        self.data = data
        self.is_open = True
        self.has_failed = False


class DurableQueue:
    """The queue of one process; made by `open`.

    Attributes:
        failures: how often an item could not be written or not be crossed out (`write`), found no room
            (`full`), and an item or file could not be read (`damaged`).
    """

    def __init__(
        self, directory: Path, name: str, wall_clock_ns: Callable[[], int], in_thread: InThread
    ) -> None:
        self.failures: dict[Failure, int] = {"write": 0, "full": 0, "damaged": 0}
        self._directory = directory
        self._name = name
        self._number = wall_clock_ns()
        self._store: Store | None = None
        self._items: dict[int, Item] = {}
        self._bytes = 0
        self._unwritten: dict[int, Item] = {}
        self._unwritten_bytes = 0
        self._writing: set[int] = set()
        self._done: list[int] = []
        self._in_thread = in_thread
        self._wakeup = trio.Event()
        self._progress = trio.Event()
        self._failing = False
        self._closed = False

    @classmethod
    async def open(
        cls,
        directory: str,
        name: str = "queue",
        *,
        wall_clock_ns: Callable[[], int] = time.time_ns,
        in_thread: InThread | None = None,
    ) -> DurableQueue:
        """Open the queue of this process, with what others that are gone have left in the folder.

        Args:
            directory: made when missing; any number of processes may share it.
            name: of the files in it.
            wall_clock_ns: Unix time; new items come after those of earlier processes.
            in_thread: does the blocking work; made by `one_thread` when None.

        Raises:
            OSError: the folder cannot be used. A full disk is only counted and logged.
        """
        queue = cls(Path(directory), name, wall_clock_ns, in_thread or one_thread())
        try:
            queue._store, damaged, items = await queue._in_thread(queue._open_store)
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            queue._failed("write", str(error))
            return queue
        queue.failures["damaged"] += damaged
        for item in items:
            queue._enter(item)
        return queue

    def __len__(self) -> int:
        return len(self._items)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._store.size if self._store is not None else 0

    def waiting(self, topic: str) -> list[Item]:
        """Return all items of a topic that are not done, oldest first."""
        return sorted((item for item in self._items.values() if item.topic == topic), key=_number_of)

    # -- use -----------------------------------------------------------------------------------------------

    def put(self, topic: str, key: str, data: bytes, label: str = "") -> Item | None:
        """Note an item, never waiting; its data can be read at once.

        Returns:
            None when there is no room for it, which is counted and logged.
        """
        if self._closed:
            return None
        size = _size(key, label, data)
        if size > MAX_ITEM_BYTES or self._bytes + size > MAX_BYTES or len(self._items) >= MAX_ITEMS:
            self._failed("full", "there is no room left in it")
            return None
        if self._unwritten_bytes + size > MAX_UNWRITTEN_BYTES:
            self._failed("write", "too much waits to be written")
            return None
        self._number += 1
        item = Item(self._number, topic, key, label, size, data)
        self._enter(item)
        self._unwritten[item.number] = item
        self._unwritten_bytes += size
        self._wakeup.set()
        return item

    def done(self, item: Item) -> None:
        """Cross an item out. Doing so again is harmless."""
        if not item.is_open:
            return
        item.is_open = False
        del self._items[item.number]
        self._bytes -= item.size
        if self._closed:
            return
        if self._unwritten.pop(item.number, None) is not None:
            self._unwritten_bytes -= item.size
            if item.number not in self._writing and not item.has_failed:
                return  # it never gets to the disk
        self._done.append(item.number)
        self._wakeup.set()

    async def read(self, items: Sequence[Item]) -> list[bytes | None]:
        """Return the data of items; None for one that cannot be read any more, which counts as damaged."""
        data = {item.number: item.data for item in items if item.data is not None}
        rest = [item.number for item in items if item.data is None]
        if rest and self._store is not None:
            try:
                data |= await self._in_thread(self._store.read, rest)
            except _PROBLEMS as error:
                log.error("durable queue cannot be read", queue=self._name, problem=str(error))
        missing = sum(item.number not in data for item in items)
        self.failures["damaged"] += missing
        if missing:
            log.error("items of a durable queue cannot be read", queue=self._name, items=missing)
        return [data.get(item.number) for item in items]

    async def written(self) -> None:
        """Wait until everything that was put so far is on the disk, or could not be written."""
        last = self._number
        while self._unwritten:
            oldest = next(iter(self._unwritten.values()))
            if oldest.number > last or oldest.has_failed:
                return
            await self._progress.wait()

    # -- writing -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write what comes, until cancelled. Cancellation: `close` writes the rest."""
        while True:
            await self._wakeup.wait()
            self._wakeup = trio.Event()
            while self._unwritten or self._done:
                if not await self._write():
                    await trio.sleep(RETRY_S)

    async def close(self) -> None:
        """Write what is left, within CLOSE_S, and let go of the file; an empty one is removed."""
        if self._closed:
            return
        self._closed = True
        with trio.move_on_after(CLOSE_S, shield=True):
            while self._unwritten or self._done:
                if not await self._write():
                    break
            await self._in_thread(self._close_store)

    async def _write(self) -> bool:
        """Write a batch, and let those go on who wait for it; False when that failed."""
        try:
            return await self._write_batch()
        finally:
            self._progress.set()
            self._progress = trio.Event()

    async def _write_batch(self) -> bool:
        """Write a batch; False when that failed.

        Cancellation: the thread is left to itself. Whether it succeeds or not, the same may be written again.
        """
        added = [self._unwritten[number] for number in list(self._unwritten)[:BATCH_ITEMS]]
        done, self._done = self._done, []
        records = [_record(item) for item in added]
        self._writing = {item.number for item in added}
        problem: BaseException | None = None
        try:
            await self._in_thread(self._apply, records, done)
        except _PROBLEMS as error:
            problem = error
        except trio.Cancelled:
            self._done = done + self._done
            for item in added:
                item.has_failed = True  # perhaps it has not
            raise
        finally:
            self._writing = set()
        if problem is not None:
            self._done = done + self._done
            self._note_failure(added, str(problem))
            return False
        for item in added:
            item.data, item.has_failed = None, False
            if self._unwritten.pop(item.number, None) is not None:
                self._unwritten_bytes -= item.size
        self._works()
        return True

    def _note_failure(self, added: Iterable[Item], problem: str) -> None:
        """Count items that could not be written; that of one that is tried again is counted once."""
        fresh = [item for item in added if not item.has_failed]
        for item in fresh:
            item.has_failed = True
            self._failed("write", problem)
        if not self._failing:
            self._failed("write", problem)  # nothing new, so it is about what was to be crossed out

    async def adopt(self, records: list[Record]) -> None:
        """Write items that came from elsewhere, and let them wait under their numbers or the next free ones.

        Raises:
            OSError: they could not be written; nothing has changed.
        """
        try:
            items = await self._in_thread(self._adopt, records)
        except (StoreBusy, StoreDamaged) as error:
            raise OSError(str(error)) from error
        for item in items:
            if item.number not in self._items:
                self._enter(item)

    # -- in the thread -------------------------------------------------------------------------------------

    def _apply(self, records: list[Record], done: list[int]) -> None:
        if self._store is None:
            # There was no room for it before. What others may have left meanwhile waits for the next start.
            self._store, _ = open_own(self._directory, self._name)
        self._store.apply(records, done)

    def _open_store(self) -> tuple[Store, int, list[Item]]:
        store, damaged = open_own(self._directory, self._name)
        return store, damaged, [_item(record) for record in store.records()]

    def _adopt(self, records: list[Record]) -> list[Item]:
        if self._store is None:
            raise OSError(errno.ENOSPC, "there is no file")
        self._store.adopt(records)
        return [_item(record) for record in self._store.records()]

    def _close_store(self) -> None:
        if self._store is not None:
            with folder_lock(self._directory):
                self._store.close()

    # -- state ---------------------------------------------------------------------------------------------

    def _enter(self, item: Item) -> None:
        self._items[item.number] = item
        self._bytes += item.size
        self._number = max(self._number, item.number)

    def _failed(self, reason: Failure, problem: str) -> None:
        """Count a failure; only the first of a row is logged."""
        self.failures[reason] += 1
        if not self._failing:
            self._failing = True
            log.error("durable queue fails", queue=self._name, reason=reason, problem=problem)

    def _works(self) -> None:
        if self._failing:
            self._failing = False
            log.warning("durable queue works again", queue=self._name, **self.failures)


def _number_of(item: Item) -> int:
    return item.number


def _item(record: Record) -> Item:
    size = _size(record.key, record.label, record.data)
    return Item(record.number, record.topic, record.key, record.label, size, None)


def _record(item: Item) -> Record:
    assert item.data is not None
    return Record(item.number, item.topic, item.key, item.label, item.data)


def _size(key: str, label: str, data: bytes) -> int:
    return len(data) + len(label) + len(key) + _ITEM_BYTES
