"""The history of one server: a subscriber of its events, and a task that hands them to a thread."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final, Protocol, TypeVar
from uuid import UUID, uuid4

import structlog
import trio

from vb.blocking import Bell
from vb.channels import Channel, ChannelFull
from vb.errors import NotFound
from vb.events.base import Published
from vb.events.bus import EventBus
from vb.events.history import CallRecorded, HistoryFailed, HistoryRecovered
from vb.history.change import Change
from vb.history.collector import Collector
from vb.history.intake import Trouble
from vb.history.keeper import Keeper, Kept
from vb.history.quality import SAMPLE_EVERY_S
from vb.history.runs import SEEN_EVERY_S
from vb.history.settings import HistorySettings
from vb.history.sip_trace import Direction, SipMessage
from vb.history.store import Store
from vb.history.tasks.apart import Apart
from vb.history.tasks.keeping import InThread, Keeping, present
from vb.history.wire import Start
from vb.layers import open_layer
from vb.legs.leg import Leg
from vb.metrics import Reading
from vb.storage.address import StoredObject

log = structlog.get_logger(__name__)
T = TypeVar("T")

IDLE_S: Final = 1.0
"""How long changes that are not urgent may wait."""
PAUSE_S: Final = 0.05
"""Between two rounds: what comes meanwhile is written together."""
RETRY_S: Final = 2.0
OPEN_S: Final = 10.0
"""How long a question waits at most for the database to be opened after the start."""
CLOSE_S: Final = 15.0
"""How long the end of the server waits for what writes to let go, and for what that has not taken to be kept;
a thread that still writes is waited for."""
TAKE: Final = 500
TAKE_AT_ONCE: Final = 25
"""Of them, between two passes of the event loop."""
READERS: Final = 3
MAX_TO_DELETE: Final = 10_000
MAX_RECORDED: Final = 10_000
"""Calls of which is known that they were told."""
SAMPLE_STEPS: Final = 50
"""Parts of a round over all legs at most, so that no tick waits for thousands of them."""
SAMPLE_LEAST: Final = 10
"""Legs of a part: to wake up for fewer costs more than they do."""

SAID: Final[dict[Trouble, str]] = {
    "database": "the database does not take calls",
    "queue": "the queue on the disk cannot be written",
    "process": "the process that writes them does not work",
}

DeleteStored = Callable[[str], Awaitable[bool]]
"""Deletes a recording from a bucket, by its address; says whether it is gone."""
FindStored = Callable[[StoredObject], Awaitable["StoredBytes"]]
"""Finds a recording in a bucket, to be read."""


class StoredBytes(Protocol):
    """A recording in a bucket; `size` in bytes."""

    @property
    def size(self) -> int:
        """How many bytes it has."""
        ...

    def part(self, begin: int, end: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Give a part of it inside the block."""
        ...


class History:
    """The history of one server; see `open_history`."""

    def __init__(self, settings: HistorySettings, bus: EventBus, *, run_id: UUID) -> None:
        instance_id = bus.instance_id
        self._bus = bus
        self.settings = settings
        self.collector = Collector(instance_id, headers=settings.headers, sip=settings.sip)
        self._waiting = Bell()
        self.collector.on_waiting = self._waiting.ring
        self.store = Store(settings.url, run_id=run_id, instance_id=instance_id)
        self.keeper: Keeping = (
            Apart(self._start(), self._take, self._keeper)
            if settings.own_process
            else InThread(self._keeper(), self.store, self._take)
        )
        self.faults = 0
        self._told: dict[Trouble, str] = {}
        self.delete_stored: DeleteStored | None = None
        self.find_stored: FindStored | None = None
        self.live_legs: Callable[[], Iterable[Leg]] = tuple
        self.left = 0
        self._to_delete: Channel[str] = Channel(MAX_TO_DELETE, overflow="refuse", name="recordings to delete")
        self._reading = trio.CapacityLimiter(READERS)
        self._known = trio.Event()
        """Whether the database can be used, or cannot."""
        self._recorded: dict[UUID, None] = {}
        self._refused = False
        self._tried_at = float("-inf")
        """When the database was last asked to take what waits, of Trio's clock."""
        self._wakeup = trio.Event()

    def _keeper(self) -> Keeper:
        settings = self.settings
        return Keeper(
            self.store,
            settings.folder,
            retention_days=settings.retention_days,
            recordings_folder=settings.recordings_folder,
        )

    def _start(self) -> Start:
        settings = self.settings
        return Start(
            url=settings.url,
            folder=str(settings.folder),
            run_id=str(self.store.run_id),
            instance_id=self._bus.instance_id,
            retention_days=settings.retention_days,
            recordings_folder=settings.recordings_folder,
            seen_us=0,
            again=False,
        )

    # -- events --------------------------------------------------------------------------------------------

    def observe(self, published: Published) -> None:
        """Take note of an event; subscribe this to the bus. Neither waits nor raises."""
        try:
            urgent = self.collector.observe(published)
        except Exception:  # the boundary of the history: a fault here must not reach who published
            self.faults += 1
            log.exception("an event is missing in the call history", type=published.event.type)
            return
        if urgent:
            self._wakeup.set()

    def meet(self, leg: Leg) -> None:
        """Take note of a leg that has come into being. Neither waits nor raises."""
        try:
            self.collector.tell(leg.facts(), time.time_ns() // 1_000)
        except Exception:  # the boundary of the history: a fault here must not end the leg
            self.faults += 1
            log.exception("what a leg knows is missing in the call history", leg_id=leg.id)

    def sip_message(self, direction: Direction, data: bytes) -> None:
        """Take note of a SIP message that has come in, or is about to go out. Neither waits nor raises."""
        try:
            self.collector.sip_message(SipMessage(direction, data, time.time_ns()))
        except Exception:  # the boundary of the history: a fault here must not touch the call
            self.faults += 1
            log.exception("a SIP message is missing in the call history")

    def uploading(self, path: str, stored: StoredObject) -> None:
        """Take note of where a recording is about to move. Neither waits nor raises."""
        self.collector.uploading(path, stored)

    @property
    def problem(self) -> str | None:
        """What does not work now, for the readiness of the server; None when all does.

        Anybody may ask for that, so why it does not work is left to the log.
        """
        return (
            "; ".join(f"call history: {SAID[part]}" for part in sorted(self.keeper.status.problems)) or None
        )

    def readings(self) -> Iterable[Reading]:
        """Give the metrics of the history."""
        yield from _readings(self)

    async def read(self, question: Callable[[Store], T]) -> T:
        """Ask the store something in a thread, once the database was opened or could not be.

        Raises:
            VbError: what the question raises.
        """
        with trio.move_on_after(OPEN_S):
            await self._known.wait()
        return await trio.to_thread.run_sync(partial(question, self.store), limiter=self._reading)

    async def run_sampling(self) -> None:
        """Ask every connected leg each few seconds how it sounds, a few legs at a time, until cancelled."""
        while True:
            legs = list(self.live_legs())
            step = max(SAMPLE_LEAST, -(-len(legs) // SAMPLE_STEPS))
            steps = -(-len(legs) // step) or 1
            for at in range(steps):
                for leg in legs[at * step : (at + 1) * step]:
                    self._sample(leg)
                await trio.sleep(SAMPLE_EVERY_S / steps)

    def _sample(self, leg: Leg) -> None:
        try:
            link = leg.link()
            if link is not None:
                self.collector.sample(leg.id, link, time.time_ns() // 1_000)
        except Exception:  # the boundary of the history: a fault here must not touch the call
            self.faults += 1
            log.exception("how a leg sounds is missing in the call history", leg_id=leg.id)

    async def in_bucket(self, stored: StoredObject) -> StoredBytes:
        """Find a recording that lies in a bucket.

        Raises:
            VbError: it cannot be read there.
        """
        if self.find_stored is None:
            raise NotFound("the call has no recording")
        return await self.find_stored(stored)

    async def remove_recordings(self, files: Iterable[str]) -> None:
        """Delete recordings of removed calls that lie in a bucket; what cannot be deleted is counted."""
        for file in files:
            if self.delete_stored is None or "://" not in file or not await self.delete_stored(file):
                self.left += 1

    async def run_removals(self) -> None:
        """Delete recordings of calls that were removed for their age or policy, until cancelled."""
        while True:
            await self.remove_recordings([await self._to_delete.get()])

    # -- the task ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write what happens until cancelled."""
        while True:
            if not await self._round():
                await trio.sleep(RETRY_S)
                continue
            status = self.keeper.status
            if self.collector.waiting < TAKE and (status.problems or not status.queued):
                if status.problems:  # one state a call then: the queue has to last
                    await trio.sleep(RETRY_S)
                else:
                    await self._wait_for_changes(IDLE_S if status.sweeping else SEEN_EVERY_S)
                self._wakeup = trio.Event()
            await trio.sleep(PAUSE_S)  # also with a long queue: its calls are over, others are not

    async def _wait_for_changes(self, most_s: float) -> None:
        """Wait until changes have waited for long enough, or are urgent, or something else is to be done."""
        with trio.move_on_after(most_s):
            while not self.collector.waiting:
                await self._waiting.wait()
            with trio.move_on_after(IDLE_S):
                await self._wakeup.wait()

    async def _round(self, *, last: bool = False) -> bool:
        """Hand on what has changed; returns whether it was taken, and is kept then even when cancelled.

        A database that fails is tried again after a while; what happens goes into the queue meanwhile.
        """
        with trio.move_on_after(RETRY_S) as patience:
            await self.keeper.wait_free()
        if patience.cancelled_caught:
            self.collector.shed()
            return False
        self._refused = False
        changes: list[Change] = []
        while len(changes) < TAKE and (part := self.collector.take(TAKE_AT_ONCE)):
            changes += part
            await trio.lowlevel.cancel_shielded_checkpoint()
        now = trio.current_time()
        write = last or not self.keeper.status.problems or now >= self._tried_at + RETRY_S
        if write:
            self._tried_at = now
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._shed)
            await self.keeper.round(changes, write=write, last=last)
            nursery.cancel_scope.cancel()
        self.collector.forget(time.time_ns() // 1_000)  # not before: what is on its way may come back
        return not self._refused

    async def _shed(self) -> None:
        """Let go of what there is no room for, as long as nobody takes it."""
        while True:
            await trio.sleep(RETRY_S)
            self.collector.shed()

    def _take(self, kept: Kept) -> None:
        """Take note of what was done; what nobody could keep is told again."""
        if kept.refused:
            self._refused = True
            self.collector.give_back(kept.refused)
            self.collector.shed()
        for file in kept.left:
            try:
                self._to_delete.put(file)
            except ChannelFull:
                self.left += 1
        if kept.unknown:
            self.collector.tell_all()
        self._tell(kept)

    def _tell(self, kept: Kept) -> None:
        """Say which calls lie in the database now, and what has gone wrong."""
        status, told = self.keeper.status, self._told
        if status.is_open and not self.store.is_open:
            self.store.admit()
        if status.is_open or status.problems:
            self._known.set()
        now = status.problems
        for part in now.keys() - told.keys():
            self._bus.publish(HistoryFailed(part=part, error=now[part]))
        for part in told.keys() - now.keys():
            self._bus.publish(HistoryRecovered(part=part))
        self._told = now
        for call in (*kept.recorded, *kept.closed):
            if call.call_id not in self._recorded:  # a keeper that took another's place may say it again
                self._recorded[call.call_id] = None
                self._bus.publish(
                    CallRecorded(call_id=str(call.call_id), leg_id=call.leg_id, app_id=call.app_id)
                )
        while len(self._recorded) > MAX_RECORDED:
            del self._recorded[next(iter(self._recorded))]

    async def drain(self, deadline: float) -> None:
        """Write what has happened so far, until a time of Trio's clock."""
        with trio.move_on_at(deadline):
            while self.collector.waiting:
                if not await self._round(last=True):
                    await trio.sleep(RETRY_S / 10)
            await self.keeper.wait_done()
            queued = 1  # what is told of the queue may be older than what was put into it
            while queued and not self.keeper.status.problems:
                await self.keeper.wait_free()
                await self.keeper.round([], last=True)
                queued = self.keeper.status.queued

    async def close(self) -> None:
        """Let go of the database; what is not written lies in the durable queue.

        Cancellation: shielded; ends within CLOSE_S and a little, whatever a process does.
        """
        left = self.collector.take(self.collector.waiting)
        with trio.move_on_after(CLOSE_S, shield=True):
            await self.keeper.close(left, calls_left=bool(len(self.collector)))
        with trio.move_on_after(RETRY_S, shield=True):
            await trio.to_thread.run_sync(self.store.close, abandon_on_cancel=True)


def _readings(history: History) -> Iterator[Reading]:
    keeper, collector = history.keeper.status, history.collector
    yield "history_calls_waiting", "Calls with changes that lie nowhere yet", collector.waiting, {}
    yield "history_queued", "Changes of calls that wait for the database", keeper.queued, {}
    yield "history_written", "Changes of calls that the database has taken", keeper.written, {}
    yield "history_pruned", "Calls that were removed for their age or policy", keeper.pruned, {}
    yield "history_lost", "Calls that were given up because they could not be kept", collector.lost, {}
    yield "history_damaged", "Records of calls that could not be read", keeper.damaged, {}
    yield "history_recordings_left", "Recordings of removed calls that could not be deleted", history.left, {}
    yield "history_faults", "Faults contained in the call history", history.faults + keeper.faults, {}
    yield "history_process_starts", "How often a process was started that writes calls", keeper.starts, {}
    yield "history_process_memory_bytes", "Its memory", keeper.rss_kb * 1024, {}
    for what, count in keeper.failures.items():
        yield "history_failures", "Times that a part of the history failed", count, {"part": what}


@asynccontextmanager
async def open_history(
    settings: HistorySettings,
    bus: EventBus,
    *,
    run_id: UUID | None = None,
) -> AsyncIterator[History]:
    """Keep the history of a server's calls inside the block.

    Args:
        settings: where and what.
        bus: whose events it sees, and where it tells what it has recorded.
        run_id: of this process; drawn when None.

    Raises:
        ConfigError: the database's URL cannot be used.
    """
    history = History(settings, bus, run_id=run_id or uuid4())
    unsubscribe = bus.subscribe(history.observe)
    async with present(settings.folder, history.store.run_id), open_layer() as layer:
        layer.start_soon(history.keeper.run, name="keeper of calls")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(history.run, name="call history")
                nursery.start_soon(history.run_removals, name="recordings of removed calls")
                nursery.start_soon(history.run_sampling, name="quality of calls")
                try:
                    yield history
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            unsubscribe()
            with trio.move_on_after(CLOSE_S, shield=True):
                await history.drain(trio.current_time() + RETRY_S)
            with trio.move_on_after(CLOSE_S + RETRY_S, shield=True):
                await history.close()
