"""What a keeper does first, without waiting for a database: it packs changes and puts them into the queue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

import structlog

from vb.history.change import Change
from vb.history.spool import QueueFull, Spool
from vb.history.writer import CallWrite, encode, prepare

log = structlog.get_logger(__name__)

Trouble = Literal["queue", "database", "process"]


@dataclass(frozen=True, slots=True)
class Unkept:
    """Changes that the queue did not take, none as a rule.

    Attributes:
        changes: all of them.
        writes: what of them could be packed.
        behind: whether others lie in the queue, among which may be earlier versions of them.
    """

    changes: Sequence[Change] = ()
    writes: Sequence[CallWrite] = ()
    behind: bool = False


ALL_KEPT: Final = Unkept()


@dataclass(slots=True)
class Troubles:
    """What does not work. Two threads may use it, each for a part of its own.

    Attributes:
        now: what it is → why.
        counts: how often it failed, since the start.
    """

    now: dict[Trouble, str] = field(default_factory=dict)
    counts: dict[Trouble, int] = field(default_factory=lambda: {"queue": 0, "database": 0})

    def failed(self, what: Trouble, problem: Exception) -> None:
        """Take note that something fails; that it begins to is logged."""
        self.counts[what] += 1
        text = first_line(problem)
        if what not in self.now:
            log.error("call history fails", part=what, problem=text)
        self.now[what] = text

    def works(self, what: Trouble) -> None:
        """Take note that something works."""
        if self.now.pop(what, None) is not None:
            log.warning("call history works again", part=what)


class Intake:
    """The way into the queue of one server. For one thread at a time, beside the one that empties it.

    Args:
        folder: where the queue lies.
        run_id: of the server.
        troubles: told whether the queue works.

    Attributes:
        queue: None before it could be opened.
        damaged: records that could not be made, and files that could not be read.
    """

    def __init__(self, folder: Path, run_id: UUID, troubles: Troubles) -> None:
        self.queue: Spool | None = None
        self.damaged = 0
        self._folder = folder
        self._run_id = run_id
        self._troubles = troubles

    def keep(self, changes: Sequence[Change]) -> Unkept:
        """Put changes into the queue, all or none; the first call opens it, be it with none."""
        writes = list(self._packed(changes))
        if not writes and self.queue is not None:
            return ALL_KEPT
        try:
            if self.queue is None:
                self.queue = Spool(self._folder, self._run_id)
                self.damaged += self.queue.damaged
            if writes:
                self.queue.put([encode(write) for write in writes])
        except (OSError, QueueFull) as exc:
            self._troubles.failed("queue", exc)
            return Unkept(changes, writes, bool(self.queue)) if writes else ALL_KEPT
        self._troubles.works("queue")
        return ALL_KEPT

    def _packed(self, changes: Iterable[Change]) -> Iterator[CallWrite]:
        for change in changes:
            try:
                yield prepare(change)
            except Exception:  # the boundary of a call: what it is made of must not hold up the others
                self.damaged += 1
                log.exception("a record of a call cannot be made", call_id=str(change.call_id))


def first_line(problem: Exception) -> str:
    """Return what happened; further lines of a driver's error repeat what was to be written."""
    return str(problem).partition("\n")[0][:300] or type(problem).__name__
