"""Keepers of calls as tests start, stop and kill them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy.exc import OperationalError

from vb.history.edge import list_calls
from vb.history.keeper import Keeper
from vb.history.store import Store
from vb.history.writer import Recorded

RUN = uuid.UUID(int=1)
OTHER = uuid.UUID(int=2)


class Clock:
    """Wall clock and monotonic clock of a test."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def wall_ns(self) -> int:
        return round(self.now_s * 1e9)

    def monotonic(self) -> float:
        return self.now_s


def keeper(url: str, folder: Path, run: uuid.UUID = RUN, clock: Clock | None = None) -> tuple[Keeper, Store]:
    """A keeper and its store; nothing is opened yet."""
    clock = clock or Clock()
    store = Store(url, run_id=run, instance_id=f"run {run.int}")
    return Keeper(store, folder, wall_clock_ns=clock.wall_ns, monotonic=clock.monotonic), store


def away(*_: object, **__: object) -> None:
    """What a database that is away does."""
    raise OperationalError("BEGIN", {}, Exception("gone"))


def kill(lost: Keeper) -> None:
    """Leave everything as a killed process does: files stay, their locks go, nothing is said."""
    queue = lost._queue
    assert queue is not None
    queue._store._db.close()
    lost._store.close()


def ids(recorded: Iterable[Recorded]) -> list[uuid.UUID]:
    """Ids of calls that were recorded."""
    return [call.call_id for call in recorded]


def reader(url: str) -> Store:
    """A store that is only read."""
    store = Store(url, run_id=uuid.UUID(int=77))
    store.open()
    return store


def end_reasons(url: str) -> list[str | None]:
    """Why each call ended, the oldest first."""
    store = reader(url)
    try:
        page = list_calls(store, [("sort", "created"), ("pageSize", "200")])
        return [call.end_reason for call in page.results]
    finally:
        store.close()
