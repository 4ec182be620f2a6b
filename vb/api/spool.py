"""The durable webhook spool: what is not delivered yet, in journals that outlive the process.

Every event is written before it is tried, and crossed out after. What a stop or a kill left behind is found
at the next start and goes out with the same event id. A write goes to the page cache, so it survives the
process, though not a power cut. Journals hold webhook secrets, so only their owner may read them.

A journal that has grown is set aside for a new one. Once less than half of it still waits, that is copied to
the end of the newest one, whose numbers keep the order, so no more than twice what waits lies on the disk.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import structlog

from vb.api.spool_journal import (
    MAX_LINE_BYTES,
    PREFIX,
    SUFFIX,
    Entry,
    Journal,
    Scan,
    body_of,
    done_line,
    entry_line,
)
from vb.events.hooks import Hook
from vb.metrics import Reading

log = structlog.get_logger(__name__)

JOURNAL_BYTES: Final = 1_048_576
MAX_BYTES: Final = 64 * 1_048_576
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

Failure = Literal["write", "full", "damaged"]


class Spool:
    """The spool of one run; opening it takes over what earlier runs left in the folder.

    Any number of servers may share a folder: each left-over goes to one of them.

    Args:
        directory: where journals lie; created when missing.
        token: makes the names of this run's journals unique.
        wall_clock_ns: Unix time; new entries come after those of earlier runs.

    Attributes:
        failures: how often an event or a note could not be written (`write`), an event found no room
            (`full`), and a line or file of an earlier run could not be read (`damaged`).

    Raises:
        OSError: the folder cannot be used. A full disk is only counted and logged.
    """

    def __init__(
        self, directory: str, *, token: str, wall_clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.failures: dict[Failure, int] = {"write": 0, "full": 0, "damaged": 0}
        self._directory = Path(directory)
        self._token = token
        self._made = 0
        self._failing = False
        self._closed = False
        self._journals: list[Journal] = []
        self._current: Journal | None = None
        self._number = wall_clock_ns()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._newest()
        except OSError as exc:
            if exc.errno not in _DISK_FULL:
                raise
            self._failed("write", exc.strerror)
        self._take_over()

    def __len__(self) -> int:
        return sum(len(journal.open) for journal in self._journals)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(journal.size for journal in self._journals)

    def entries(self) -> list[Entry]:
        """Return everything that is not delivered, oldest first."""
        waiting = [entry for journal in self._journals for entry in journal.open.values()]
        return sorted(waiting, key=_number_of)

    def readings(self) -> Iterator[Reading]:
        """Give the metrics of the spool."""
        yield "webhook_spool_events", "Events that the spool keeps", len(self), {}
        yield "webhook_spool_bytes", "What the spool takes up on the disk", self.size, {}
        text = "Events and notes that the spool could not write, keep or read"
        for reason, count in self.failures.items():
            yield "webhook_spool_failures", text, count, {"reason": reason}

    # -- keeping -------------------------------------------------------------------------------------------

    def append(self, event_id: str, kind: str, body: bytes, hook: Hook | None) -> Entry | None:
        """Note an event before it is tried.

        Args:
            event_id: goes out with it.
            kind: its type.
            body: UTF-8.
            hook: where it belongs; None for the global hook.

        Returns:
            None when it could not be kept, which is counted and logged.
        """
        if self._closed:
            return None
        line = entry_line(self._number + 1, event_id, kind, body, hook)
        if len(line) > MAX_LINE_BYTES or self.size + len(line) > MAX_BYTES:
            self._failed("full", "there is no room left in it")
            return None
        try:
            journal = self._newest()
            offset = journal.append(line)
        except OSError as exc:
            self._failed("write", exc.strerror)
            return None
        self._works()
        self._number += 1
        entry = Entry(event_id, kind, hook, self._number, journal, offset, len(line))
        journal.hold(entry)
        return entry

    def read(self, entry: Entry) -> bytes:
        """Return the body of an entry.

        Raises:
            ValueError: it cannot be read any more.
        """
        try:
            return body_of(entry.journal.read(entry))
        except (OSError, ValueError) as exc:
            self._failed("damaged", str(exc))
            raise ValueError("the spooled event cannot be read") from exc

    def settle(self, entry: Entry) -> None:
        """Cross out an entry: it was delivered or given up for good. Doing so again is harmless."""
        journal = entry.journal
        if self._closed or not journal.let_go(entry):
            return
        try:
            if not journal.open and journal is not self._current:
                self._discard(journal)
            elif not journal.open and journal.size >= JOURNAL_BYTES:
                journal.clear()
            else:
                journal.append(done_line(entry.event_id))
        except OSError as exc:
            self._failed("write", exc.strerror)
        if _is_sparse(journal):
            self._move(journal)

    def close(self) -> None:
        """Let go of the folder; journals without anything in them are removed. Closing again is fine."""
        if self._closed:
            return
        self._closed = True
        for journal in self._journals:
            if journal.open:
                journal.close()
            else:
                journal.remove()

    # -- journals ------------------------------------------------------------------------------------------

    def _newest(self) -> Journal:
        """Return the journal to write to, a new one when the last one has grown.

        Raises:
            OSError: it cannot be made.
        """
        if self._current is None or (self._current.size >= JOURNAL_BYTES and self._current.open):
            token = f"{self._token}-{self._made}" if self._made else self._token
            self._current = Journal.create(self._directory, token)
            self._made += 1
            self._journals.append(self._current)
        return self._current

    def _move(self, journal: Journal) -> None:
        """Copy what waits in a journal to the newest one, and delete the journal."""
        waiting = list(journal.open.values())
        try:
            target = self._newest()
            if target is journal:
                return
            offset = target.append(b"".join(journal.read(entry) for entry in waiting))
        except OSError as exc:
            journal.stuck_bytes = journal.open_bytes
            self._failed("write", exc.strerror)
            return
        for entry in waiting:
            journal.let_go(entry)
            entry.journal, entry.offset = target, offset
            target.hold(entry)
            offset += entry.length
        self._discard(journal)

    def _discard(self, journal: Journal) -> None:
        self._journals.remove(journal)
        journal.remove()

    # -- taking over ---------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Adopt what earlier runs left behind; journals that another server uses are left alone."""
        found: list[Entry] = []
        passed: set[str] = set()
        adopted: list[Journal] = []
        for path in _by_age(self._directory):
            result = self._adopt(path)
            if result is not None:
                adopted.append(result[0])
                found += result[1].entries
                passed |= result[1].done
        for entry in sorted(found, key=_number_of):
            if entry.event_id not in passed:
                passed.add(entry.event_id)
                entry.journal.hold(entry)
            self._number = max(self._number, entry.number)
        self._journals += adopted
        for journal in adopted:
            if not journal.open:
                self._discard(journal)
            elif journal.size < JOURNAL_BYTES or _is_sparse(journal):
                self._move(journal)

    def _adopt(self, path: Path) -> tuple[Journal, Scan] | None:
        journal = None
        try:
            journal = Journal.adopt(path)
            if journal is None:
                return None
            scan = journal.scan()
        except OSError as exc:
            if journal is not None:
                journal.close()
            self.failures["damaged"] += 1
            log.error("webhook journal cannot be read", journal=path.name, problem=exc.strerror)
            return None
        if scan.damaged:
            self.failures["damaged"] += scan.damaged
            log.error("damaged lines in a webhook journal", journal=path.name, lines=scan.damaged)
        return journal, scan

    # -- failures ------------------------------------------------------------------------------------------

    def _failed(self, reason: Failure, problem: str | None) -> None:
        """Count a failure; only the first of a row is logged."""
        self.failures[reason] += 1
        if not self._failing:
            self._failing = True
            log.error("webhook spool fails", reason=reason, problem=problem)

    def _works(self) -> None:
        if self._failing:
            self._failing = False
            log.warning("webhook spool works again", **self.failures)


def _number_of(entry: Entry) -> int:
    return entry.number


def _is_sparse(journal: Journal) -> bool:
    """Whether most of a journal is done; after a failed move, only once half of the rest is done too."""
    if journal.size < JOURNAL_BYTES or not journal.open or journal.open_bytes * 2 >= journal.size:
        return False
    return journal.stuck_bytes is None or journal.open_bytes * 2 <= journal.stuck_bytes


def _by_age(directory: Path) -> list[Path]:
    """Return the journals of a folder, the one that was written to last at the end."""
    ages: list[tuple[int, Path]] = []
    for path in sorted(directory.glob(f"{PREFIX}*{SUFFIX}")):
        try:
            ages.append((path.stat(follow_symlinks=False).st_mtime_ns, path))
        except FileNotFoundError:
            continue
    return [path for _, path in sorted(ages)]
