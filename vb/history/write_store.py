"""The history's database as who writes to it needs it. All of it blocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vb.errors import Conflict, NotFound, Unavailable
from vb.history import runs
from vb.history.database import (
    empty_log,
    is_of_database,
    open_engine,
    parse_url,
    reading,
    upgrade,
    writing,
)
from vb.history.removal import Removed, bar, doomed, forget_removed, outdated, remove
from vb.history.schema import CALLS
from vb.history.seal import tend_segments
from vb.history.tend import tend_words
from vb.history.writer import CallWrite, Recorded, Writer

REMOVE_AT_ONCE: Final = 200
MERGE_PAGES: Final = 1_000
"""Of the index of words that are laid out at once: a fraction of what others wait for before they give up."""
MERGE_PAUSE_S: Final = 0.12
"""SQLite looks every tenth of a second whether it may write."""
_STEPS: Final = 8
_CHANGES: Final = 2
"""A merge that has nothing to do makes fewer."""
NEVER_SEEN: Final = 0
"""When a process was last there of which nobody knows more than that it has left calls."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of calls that were written.

    Attributes:
        recorded: those that are over, and were not so in the database before.
        known: whether the database knew of their process.
    """

    recorded: tuple[Recorded, ...]
    known: bool


class WriteStore:
    """The calls of one database, as far as they are written.

    Args:
        url: of an SQLite file or a PostgreSQL database.
        run_id: of this process.
        instance_id: its name.

    Raises:
        ConfigError: the URL cannot be used.
    """

    def __init__(self, url: str, *, run_id: UUID, instance_id: str = "") -> None:
        parsed = parse_url(url)
        self.run_id = run_id
        self._instance_id = instance_id
        self._engine: Engine = open_engine(parsed)
        self._writer = Writer(run_id)
        self._ready = False

    @property
    def kind(self) -> str:
        """Name of the database: sqlite or postgresql."""
        return self._engine.dialect.name

    def open(self) -> None:
        """Make the tables, or bring them up to date.

        Raises:
            OSError: the file cannot be made.
            SQLAlchemyError: the database cannot be used.
        """
        upgrade(self._engine)
        self._ready = True

    @property
    def is_open(self) -> bool:
        """Whether the tables are as they should be."""
        return self._ready

    def admit(self) -> None:
        """Take note that somebody else has opened the database: it may be asked now."""
        self._ready = True

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # -- writing -------------------------------------------------------------------------------------------

    def write(
        self,
        writes: Iterable[CallWrite],
        run_id: UUID | None = None,
        *,
        seen_us: int = NEVER_SEEN,
        in_doubt: Container[UUID] = (),
    ) -> Written:
        """Write calls, in one transaction.

        Args:
            run_id: the process whose calls they are, when it is not this one.
            seen_us: when that process was last there, in case that the database does not know of it.
            in_doubt: calls that may have been written before, though nobody was told that they were.

        Raises:
            SQLAlchemyError: none of them is written.
        """
        writer = self._writer if run_id is None else Writer(run_id)
        with writing(self._engine) as connection:
            name = self._instance_id if run_id is None else ""
            known = runs.ensure(connection, run_id or self.run_id, name, seen_us)
            return Written(tuple(writer.write(connection, writes, in_doubt)), known)

    def alive(self, now_us: int) -> bool:
        """Say that this process is there; returns whether the database still knew it."""
        with writing(self._engine) as connection:
            return runs.register(connection, self.run_id, self._instance_id, now_us)

    def leave(self) -> None:
        """Say that this process has ended in good order."""
        with writing(self._engine) as connection:
            runs.unregister(connection, self.run_id)

    def close_gone(
        self, now_us: int, but: Iterable[UUID] = (), is_there: Callable[[UUID], bool] = lambda _: False
    ) -> Iterator[Recorded]:
        """Close the calls of processes that are gone, but for some; gives each once it is closed.

        Args:
            but: whose calls are somebody else's business.
            is_there: whether a process that has been silent for too long is known to live.
        """
        with reading(self._engine) as connection:
            found = runs.gone(connection, now_us)
        kept = {self.run_id, *but}
        for run_id in found:
            if run_id not in kept and not is_there(run_id):
                yield from self.close_run(run_id, now_us)

    def close_run(self, run_id: UUID, now_us: int) -> list[Recorded]:
        """Close the calls of a process that is known to be gone; returns which these are."""
        with writing(self._engine) as connection:
            return runs.close_calls(connection, run_id, now_us)

    def prune(self, before_us: int | None) -> Removed:
        """Remove some ended calls that were made before a time, or that their policy deletes.

        Returns:
            What was removed; nothing once there are no more.
        """
        with writing(self._engine) as connection:
            keys = [*connection.scalars(doomed(REMOVE_AT_ONCE))]
            ids = select(CALLS.c.call_id).where(CALLS.c.call_key.in_(keys))
            bar(connection, connection.scalars(ids).all(), _now_us())  # their last messages may come yet
            if before_us is not None and len(keys) < REMOVE_AT_ONCE:
                keys += connection.scalars(outdated(before_us, REMOVE_AT_ONCE - len(keys)))
            return remove(connection, keys)

    def forget_removed(self, before_us: int) -> None:
        """Let go of the ids of calls that were deleted before a time; until then nothing brings them back."""
        with writing(self._engine) as connection:
            forget_removed(connection, before_us)

    def rewrite_words(self, pause: Callable[[float], object] | None = None) -> None:
        """Lay out the index of words of an SQLite file anew: it goes on to have those of deleted calls.

        That takes seconds for a million calls. Who writes meanwhile does so between two steps.

        Args:
            pause: lets others write for so many seconds; None to wait for them.

        Raises:
            SQLAlchemyError: some of it is as it was.
        """
        if self.kind != "sqlite":
            return
        wait = pause or threading.Event().wait
        with reading(self._engine) as connection:
            pages = connection.exec_driver_sql("SELECT count(*) FROM call_words_idx").scalar() or 0
        merge = "INSERT INTO call_words (call_words, rank) VALUES ('merge', ?)"
        # The first step says that all is to become one, the others go on; as others write, perhaps for ever.
        for step in range(_STEPS + 2 * pages // MERGE_PAGES):
            with writing(self._engine) as connection:
                before = connection.exec_driver_sql("SELECT total_changes()").scalar_one()
                connection.exec_driver_sql(merge, (MERGE_PAGES if step else -MERGE_PAGES,))
                after = connection.exec_driver_sql("SELECT total_changes()").scalar_one()
            if after - before < _CHANGES:
                return
            wait(MERGE_PAUSE_S)

    def empty_log(self) -> bool:
        """Let nothing of deleted calls be left in the log of an SQLite file; returns whether nothing is."""
        return empty_log(self._engine)

    def tend(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Do some of what makes questions fast: see `vb.history.tend` and `vb.history.seal`.

        Args:
            stop: whether nothing further is to be begun.

        Returns:
            Whether nothing is left to be done for now.

        Raises:
            SQLAlchemyError: the database is away.
        """
        if not self._ready:
            return True
        return tend_words(self._engine, stop=stop) and tend_segments(self._engine, stop=stop)

    def delete(self, call_id: UUID) -> Removed:
        """Remove one ended call.

        Raises:
            NotFound: there is no such call.
            Conflict: it goes on.
        """
        with available(), writing(self._engine) as connection:
            row = connection.execute(select(CALLS).where(CALLS.c.call_id == call_id)).one_or_none()
            if row is None:
                raise NotFound("call not found")
            if not row.ended_us:
                raise Conflict("the call goes on")
            bar(connection, [call_id], _now_us())
            return remove(connection, [row.call_key])


def _now_us() -> int:
    return time.time_ns() // 1_000


@contextmanager
def available() -> Iterator[None]:
    """Turn a database that is away into an answer."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as exc:
        if isinstance(exc, DBAPIError) and not is_of_database(exc):
            raise
        raise Unavailable("the call history is not available") from exc
