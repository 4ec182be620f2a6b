"""What keeps the history of one server: it takes changes, writes them, and looks after what others have left.

All of it blocks, so it lives in a process or a thread of its own. Changes go into the durable queue first,
where no database is waited for, and from there into the database, in batches. Whatever fails is told once,
counted, and tried again later; nothing that was taken is let go before it lies in one of both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from vb.history.change import Change
from vb.history.database import is_of_database
from vb.history.files import delete_files
from vb.history.intake import ALL_KEPT, Intake, Trouble, Troubles, Unkept, first_line
from vb.history.presence import forget, is_there
from vb.history.runs import GONE_AFTER_US, SEEN_EVERY_S
from vb.history.schema import DAY_US, KEY_BITS
from vb.history.spool import Spool
from vb.history.write_store import WriteStore
from vb.history.writer import CallWrite, Recorded, decode

log = structlog.get_logger(__name__)

BATCH: Final = 200
DRAIN_S: Final = 0.25
"""How long one round hands on what waits: all else must not wait for the whole of a long queue."""
AWAY_US: Final = 3 * round(SEEN_EVERY_S * 1_000_000)
"""Who could not say for so long that it is there, knows nothing of the others either."""
SWEEP_EVERY_S: Final = 60.0
REMOVED_KEPT_US: Final = 30 * DAY_US
"""How long a deleted call is kept from coming back with what a killed process has left of it."""
SWEEP_ROUNDS: Final = 5
"""Batches of old calls that one round removes at most, so that writing is not held up."""

TEND_EVERY_S: Final = 60.0
TEND_PAUSE_S: Final = 0.5
"""Between two rounds of tending while much is to be done."""


@dataclass(slots=True)
class Status:
    """How the writing goes, for metrics and readiness.

    Attributes:
        problems: what does not work now → why.
        failures: how often it did not, since the start.
        written: changes that went into the database.
        pruned: calls that were removed for their age or policy.
        damaged: records that could not be made or read.
        queued: changes in the durable queue, those of lost processes too.
        faults: faults that were contained.
        sweeping: whether calls are left that are to be removed.
        is_open: whether the database is, and its tables as they should be.
        seen_us: when the database was last told that this server is there.
        starts: processes that were started for it.
        rss_kb: memory of such a process.
    """

    problems: dict[Trouble, str] = field(default_factory=dict)
    failures: dict[Trouble, int] = field(default_factory=lambda: {"queue": 0, "database": 0, "process": 0})
    written: int = 0
    pruned: int = 0
    damaged: int = 0
    queued: int = 0
    faults: int = 0
    sweeping: bool = False
    is_open: bool = False
    seen_us: int = 0
    starts: int = 0
    rss_kb: int = 0


@dataclass(slots=True)
class Kept:
    """What one round has done.

    Attributes:
        refused: changes that lie nowhere yet.
        recorded: calls that have ended and are in the database now.
        closed: calls of lost processes that were closed.
        left: recordings of removed calls that lie elsewhere than in the folder.
        unknown: whether the database had taken this process for gone.
    """

    refused: list[Change] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    closed: list[Recorded] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unknown: bool = False


class Keeper:
    """Keeps the calls of one server. To be used by one thread at a time; but `keep` may have one to itself.

    Args:
        store: the database.
        folder: where the durable queue lies.
        retention_days: how long ended calls are kept; 0 for ever.
        recordings_folder: where recordings lie that are deleted with their call.
        seen_us: when an earlier keeper of this server was last there; 0 when there was none.
        again: whether there was one, so that nobody may have heard of what it wrote last.
        tell: told of calls that are in the database before the queue lets go of them, for whoever would not
            hear of them when this keeper ended then; they are told by it only. None leaves that to `round`.
        wall_clock_ns: Unix time.
        monotonic: seconds.

    Attributes:
        problems: what does not work now → why.
        failures: how often it did not, since the start.
        written: changes that went into the database.
        pruned: calls that were removed for their age or policy.
    """

    def __init__(
        self,
        store: WriteStore,
        folder: Path,
        *,
        retention_days: float = 0,
        recordings_folder: str | None = None,
        seen_us: int = 0,
        again: bool = False,
        tell: Callable[[Kept], None] | None = None,
        wall_clock_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.written = 0
        self.pruned = 0
        self._damaged = 0
        self._troubles = Troubles()
        self.problems = self._troubles.now
        self.failures = self._troubles.counts
        self._intake = Intake(folder, store.run_id, self._troubles)
        self._store = store
        self._folder = folder
        self._retention_days = retention_days
        self._recordings_folder = recordings_folder
        self._wall_clock_ns = wall_clock_ns
        self._monotonic = monotonic
        self._in_doubt: set[UUID] = set()
        self._again = again
        self._began_us = self._now_us()
        self._cleared: set[UUID] = set()
        """Calls that were over when it began and that it has written; no more than were held then."""
        self._tell = tell
        self._seen_at = float("-inf")
        self._seen_us = seen_us
        self._judges_at_us = 0
        self._swept_at = float("-inf")
        self._sweeping = False

    @property
    def _queue(self) -> Spool | None:
        return self._intake.queue

    @property
    def damaged(self) -> int:
        """Records that could not be made or read."""
        return self._intake.damaged + self._damaged

    @property
    def queued(self) -> int:
        """Changes in the durable queue, those of lost processes too."""
        return len(self._queue) if self._queue is not None else 0

    @property
    def status(self) -> Status:
        """How it goes."""
        return Status(
            dict(self.problems),
            {"process": 0, **self.failures},
            self.written,
            self.pruned,
            self.damaged,
            self.queued,
            sweeping=self._sweeping,
            is_open=self._store.is_open,
            seen_us=self._seen_us,
        )

    def round(self, changes: Sequence[Change], *, write: bool = True, last: bool = False) -> Kept:
        """Keep changes, write what waits, and look after the rest when it is time.

        Args:
            changes: new ones.
            write: whether the database is tried though the queue has taken them.
            last: whether the server stops.
        """
        unkept = self.keep(changes)
        return self.write(unkept, last=last) if write or unkept.changes else Kept()

    def keep(self, changes: Sequence[Change]) -> Unkept:
        """Put changes into the queue, which waits for the disk only; returns what it did not take."""
        return self._intake.keep(changes)

    def write(self, unkept: Unkept = ALL_KEPT, *, last: bool = False) -> Kept:
        """Write what waits, and look after the rest when it is time.

        Args:
            unkept: what the queue did not take: the disk is full or away, but perhaps the database is not.
            last: whether the server stops.
        """
        kept = Kept(refused=list(unkept.changes))
        queue = self._queue
        try:
            self._open()
            if not unkept.behind:
                self._write_unkept(unkept, kept)
            if queue is not None:
                try:
                    empty = self._empty(queue, kept)
                except OSError:  # written is what lay there, only the disk does not let go of it
                    self._write_unkept(unkept, kept)
                    raise
                if empty:
                    self._write_unkept(unkept, kept)
                    self._close_left(queue, kept)
            self._look_after(kept, last=last)
        except (SQLAlchemyError, OSError) as exc:
            self._troubles.failed("database", exc)
        else:
            self._troubles.works("database")
        return kept

    def _write_unkept(self, unkept: Unkept, kept: Kept) -> None:
        """Write what the queue did not take, unless that is done."""
        if kept.refused:
            self._write(unkept.writes, kept)
            kept.refused = []

    # -- the queue -----------------------------------------------------------------------------------------

    def _empty(self, queue: Spool, kept: Kept) -> bool:
        """Write what the queue holds, for a while; returns whether that was all."""
        until = self._monotonic() + DRAIN_S
        while items := queue.take(BATCH):
            writes: dict[UUID, list[CallWrite]] = {}
            for item in items:
                try:
                    writes.setdefault(item.run_id, []).append(decode(item.data))
                except ValueError:
                    self._damaged += 1
                    log.error("a record of a call cannot be read")
            for run_id, of_run in writes.items():
                self._write(of_run, kept, None if run_id == self._store.run_id else run_id)
            self._tell_at_once(kept)
            queue.ack([item.number for item in items])
            if self._monotonic() > until:
                break
        return not len(queue)

    def _tell_at_once(self, kept: Kept) -> None:
        if self._tell is not None and (kept.recorded or kept.closed):
            self._tell(Kept(recorded=kept.recorded, closed=kept.closed))
            kept.recorded, kept.closed = [], []

    def _write(self, writes: Sequence[CallWrite], kept: Kept, run_id: UUID | None = None) -> None:
        if not writes:
            return
        seen_us = self._now_us() if run_id is None else _newest_us(writes)
        old = set[UUID]()
        if self._again and run_id is None:
            old = {write.call_id for write in writes if 0 < write.ended_us <= self._began_us}
        in_doubt = self._in_doubt | (old - self._cleared)
        try:
            done = self._store.write(writes, run_id, seen_us=seen_us, in_doubt=in_doubt)
        except (DBAPIError, ArithmeticError, ValueError) as exc:
            if isinstance(exc, DBAPIError) and is_of_database(exc):
                # Perhaps it was lost in the middle of a commit that was done all the same.
                self._in_doubt.update(write.call_id for write in writes if write.ended_us)
                raise
            if len(writes) > 1:  # one of them is to blame, and must not hold up the others
                for write in writes:
                    self._write([write], kept, run_id)
                return
            self._damaged += 1
            log.error("a record of a call is refused", problem=first_line(exc))
            return
        self.written += len(writes)
        self._in_doubt.difference_update([write.call_id for write in writes])
        self._cleared |= old
        kept.recorded += done.recorded
        if run_id is None:
            self._met(kept, known=done.known)

    # -- the database --------------------------------------------------------------------------------------

    def _open(self) -> None:
        if not self._store.is_open:
            self._store.open()

    def _close_left(self, queue: Spool, kept: Kept) -> None:
        """Close the calls of runs that were killed, once all that they have left is written."""
        for run_id in queue.left:
            if is_there(self._folder, run_id):  # it has lost what writes for it, and starts that again
                continue
            closed = self._store.close_run(run_id, self._now_us())
            self._told_closed(closed)
            kept.closed += closed
            self._tell_at_once(kept)
            queue.settle(run_id)
            forget(self._folder, run_id)

    def _look_after(self, kept: Kept, *, last: bool) -> None:
        if last:
            return
        now = self._monotonic()
        if now - self._seen_at >= SEEN_EVERY_S:
            now_us = self._now_us()
            self._met(kept, known=self._store.alive(now_us))
            was_away = now_us - self._seen_us > AWAY_US if self._seen_us else self.failures["database"] > 0
            if was_away:  # the others may have been away as well, and may need longer to come back
                self._judges_at_us = now_us + GONE_AFTER_US
            self._seen_at, self._seen_us = now, now_us
            self._take_over()
            if now_us >= self._judges_at_us:
                left = self._queue.left if self._queue is not None else ()
                before = len(kept.closed)
                for call in self._store.close_gone(now_us, left, partial(is_there, self._folder)):
                    kept.closed.append(call)  # one by one: the next process's may fail
                self._told_closed(kept.closed[before:])
        if now - self._swept_at >= SWEEP_EVERY_S:
            self._sweeping = not self._sweep(kept)
            if not self._sweeping:
                self._store.empty_log()
                self._swept_at = now

    def _take_over(self) -> None:
        """Take what was left by processes that ended since the start, such as one that had to finish then."""
        if self._queue is not None:
            try:
                self._queue.take_over()
            except OSError as exc:
                log.warning("what others have left cannot be taken over", problem=first_line(exc))

    def _met(self, kept: Kept, *, known: bool) -> None:
        """Take note of whether the database still knew this process, once it was told of it."""
        kept.unknown = kept.unknown or (not known and self._seen_us > 0)

    def _sweep(self, kept: Kept) -> bool:
        """Remove some calls that are too old, or that their policy removes; returns whether none is left."""
        before_us = self._now_us() - round(self._retention_days * DAY_US) if self._retention_days else None
        self._store.forget_removed(self._now_us() - REMOVED_KEPT_US)
        for _ in range(SWEEP_ROUNDS):
            removed = self._store.prune(before_us)
            if not removed.calls:
                return True
            self.pruned += len(removed.calls)
            kept.left += delete_files(removed.files, self._recordings_folder)
        return False

    def _told_closed(self, closed: Sequence[Recorded]) -> None:
        if closed:
            log.warning("calls of a lost server process are closed", calls=len(closed))

    def _now_us(self) -> int:
        return self._wall_clock_ns() // 1_000

    # -- the end -------------------------------------------------------------------------------------------

    def close(self, changes: Sequence[Change] = (), *, calls_left: bool) -> None:
        """Let go of everything. What the queue still holds is found by the next server.

        Args:
            changes: that are only kept; the next server writes them.
            calls_left: whether calls are open that the next server has to close.
        """
        if changes:
            self.keep(changes)
        queue = self._queue
        if queue is not None:
            if self._store.is_open and not len(queue) and not calls_left:
                try:
                    self._store.leave()
                    queue.settle(self._store.run_id)
                except (SQLAlchemyError, OSError) as exc:
                    self._troubles.failed("database", exc)
            queue.close()
        self._intake.queue = None
        self._store.close()


def tend(store: WriteStore, stop: Callable[[], bool], note_fault: Callable[[], None]) -> bool:
    """Do some of what makes questions fast; returns whether nothing is left to be done for now.

    Args:
        store: that is open, or may become so.
        stop: whether nothing further is to be begun.
        note_fault: told of a fault that was contained.
    """
    try:
        return store.tend(stop)
    except SQLAlchemyError as exc:  # only searches are slower; the writing tells what is wrong
        log.warning("the call history is not tended", problem=type(exc).__name__)
    except Exception:  # the boundary of tending: without it searches are slower, and no more
        note_fault()
        log.exception("the call history is not tended")
    return True


def _newest_us(writes: Sequence[CallWrite]) -> int:
    """Return a time at which the process of some calls was there, as late as they tell."""
    return max(max(write.key >> KEY_BITS, write.joined_us, write.ended_us) for write in writes)
