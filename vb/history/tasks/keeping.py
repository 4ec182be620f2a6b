"""Where a history is written: what both ways have in common, and the one in a thread of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

import trio

from vb.history.change import Change
from vb.history.keeper import TEND_EVERY_S, TEND_PAUSE_S, Keeper, Kept, Status, tend
from vb.history.presence import Presence
from vb.history.write_store import WriteStore

PRESENT_S: Final = 2.0
"""How long the disk may take to note that a server is there; it starts and ends without that as well."""

Report = Callable[[Kept], None]
"""Told of what has been done, whoever waits for it; what is refused there is to be given again."""


class Keeping(Protocol):
    """Keeps the calls of one server."""

    @property
    def status(self) -> Status:
        """How it goes."""
        ...

    async def run(self) -> None:
        """Work until cancelled."""
        ...

    async def wait_free(self) -> None:
        """Wait until changes can be given."""
        ...

    async def wait_done(self) -> None:
        """Wait until no round is under way."""
        ...

    async def round(self, changes: Sequence[Change], *, write: bool = True, last: bool = False) -> None:
        """Keep changes, write what waits and look after the rest; what came of it is reported.

        A process need not have written them when this returns, but it has them on its disk.

        Args:
            changes: new ones.
            write: whether the database is tried; else changes are only kept.
            last: whether the server stops.

        Cancellation: the round is done all the same.
        """
        ...

    async def close(self, changes: Sequence[Change], *, calls_left: bool) -> None:
        """Keep changes and let go of everything.

        Args:
            changes: new ones.
            calls_left: whether calls are open that the next server has to close.

        Cancellation: to be shielded.
        """
        ...


@asynccontextmanager
async def present(folder: Path, run_id: UUID) -> AsyncIterator[None]:
    """Let others that share the folder know inside the block that this server is there."""
    presence = Presence(folder, run_id)
    try:
        with trio.move_on_after(PRESENT_S):
            await trio.to_thread.run_sync(presence.begin, abandon_on_cancel=True)
        yield
    finally:
        with trio.move_on_after(PRESENT_S, shield=True):
            await trio.to_thread.run_sync(presence.end, abandon_on_cancel=True)


class InThread:
    """Keeps calls in a thread of the server.

    Args:
        keeper: what does it.
        store: where it writes.
        report: told what was done.
    """

    def __init__(self, keeper: Keeper, store: WriteStore, report: Report) -> None:
        self._keeper = keeper
        self._store = store
        self._report = report
        self._faults = 0
        self._ends = False
        self._writing = trio.CapacityLimiter(1)
        self._tending = trio.CapacityLimiter(1)

    @property
    def status(self) -> Status:
        """How it goes."""
        status = self._keeper.status
        status.faults = self._faults
        return status

    async def run(self) -> None:
        """Count words and lay out calls, so that questions are fast, in a thread that nobody waits for."""
        done = True
        work = partial(tend, self._store, lambda: self._ends, self._note_fault)
        try:
            while True:
                await trio.sleep(TEND_EVERY_S if done else TEND_PAUSE_S)
                done = await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._tending)
        finally:
            self._ends = True

    def _note_fault(self) -> None:
        self._faults += 1

    async def wait_free(self) -> None:
        """Return at once: rounds take turns by themselves."""
        await trio.lowlevel.checkpoint()

    async def wait_done(self) -> None:
        """Return at once: whoever gave a round waits for its end."""
        await trio.lowlevel.checkpoint()

    async def round(self, changes: Sequence[Change], *, write: bool = True, last: bool = False) -> None:
        """Keep changes; see `Keeping`. It waits for the database, however long that takes."""
        work = partial(self._keeper.round, changes, write=write, last=last)
        with trio.CancelScope(shield=True):
            self._report(await trio.to_thread.run_sync(work, limiter=self._writing))

    async def close(self, changes: Sequence[Change], *, calls_left: bool) -> None:
        """Keep changes and let go of everything; see `Keeping`."""
        self._ends = True
        work = partial(self._keeper.close, changes, calls_left=calls_left)
        await trio.to_thread.run_sync(work, limiter=self._writing)
