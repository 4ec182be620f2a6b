"""A history that is written by a process of its own: the server's end of its pipes."""

from __future__ import annotations

import math
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog
import trio

from vb.blocking import Bell
from vb.children.framing import Garbage, Splitter, fields_of
from vb.children.pulse import PING_S, ChildFault, Pulse
from vb.children.restarts import Restarts
from vb.children.tasks.process import HelperProcess, Launch, launcher
from vb.history.change import Change
from vb.history.keeper import Keeper, Kept, Status
from vb.history.tasks.keeping import Report
from vb.history.wire import (
    MAX_BODY_BYTES,
    Kind,
    Start,
    pack_changes,
    unpack_kept,
    unpack_status,
    with_fields,
)

log = structlog.get_logger(__name__)

LATE_S: Final = 20.0
"""A round that takes so long is told: whoever the process waits for does not answer."""
CLOSE_S: Final = 6.0
"""How long a process may take to let go of everything."""
WRITE_S: Final = 0.5
"""How long a round waits for the database: what happens meanwhile is told the process all the same then."""
END_S: Final = 3.0
"""How long its end is waited for before what it has not taken is kept here."""
_OF_LIBPQ: Final = ("PG*", "KRB5*", "SSL_*", "OPENSSL_*", "LC_*", "LANG", "TZ", "HOME", "USER", "LOGNAME")
PASSED_ON: Final = (*_OF_LIBPQ, "LD_LIBRARY_PATH", "PYTHONHOME")
"""What libpq reads of the environment, and what it and the interpreter are found by."""
LEVELS: Final = frozenset({"debug", "info", "warning", "error", "critical"})
_READ_BYTES: Final = 65_536
_ENDED: Final = "ended"


def launch_program() -> Launch:
    """Return what starts the process that writes."""
    return launcher([sys.executable, "-P", "-m", "vb.history.program"], PASSED_ON)


@dataclass(slots=True)
class Asked:
    """What was handed to the process, and is not known to lie anywhere yet."""

    number: int
    changes: Sequence[Change]


class Apart:
    """Keeps calls in a process of its own.

    Args:
        start: what it has to know.
        report: told what was done.
        rescue: makes a keeper for this process, which puts into the durable queue what the other one has not
            taken when the server ends.
        launch: starts a process.
        draw: gives numbers from 0 to 1 at random, for the spread of restarts.
    """

    def __init__(
        self,
        start: Start,
        report: Report,
        rescue: Callable[[], Keeper],
        launch: Launch | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._start = start
        self._report = report
        self._rescue = rescue
        self._launch = launch or launch_program()
        self._restarts = Restarts(draw)
        self._before = Status()
        """Of the processes that have ended."""
        self._now = Status()
        """Of the one that runs, as it said last."""
        self._pulse = Pulse()
        self._messages = Splitter((), 0)
        self._outbox: deque[Iterable[bytes]] = deque()
        self._wake = Bell()
        self._changed = trio.Event()
        self._asked: Asked | None = None
        self._writes = 0
        """Number of the round that is under way; 0 for none."""
        self._numbers = 0
        self._fault = ""
        self._last_words = ""
        self._process_problem = ""
        self._lives = self._closed = self._gone = False
        self._scope = trio.CancelScope()

    @property
    def status(self) -> Status:
        """How it goes, of all processes that there were."""
        before, now = self._before, self._now
        problems = dict(now.problems)
        if self._process_problem:
            problems["process"] = self._process_problem
        return replace(
            now,
            problems=problems,
            failures={part: count + before.failures.get(part, 0) for part, count in now.failures.items()},
            written=before.written + now.written,
            pruned=before.pruned + now.pruned,
            damaged=before.damaged + now.damaged,
            faults=before.faults + now.faults,
            seen_us=now.seen_us or before.seen_us,
            starts=before.starts,
        )

    # -- what is asked -------------------------------------------------------------------------------------

    async def wait_free(self) -> None:
        """Wait until the process lives, be it that it only starts, and has taken what it was given."""
        while not self._lives or self._asked is not None:
            await self._changed.wait()

    async def wait_done(self) -> None:
        """Wait until the process has done what it was asked, or has ended."""
        while self._asked is not None or self._writes:
            await self._changed.wait()

    async def round(self, changes: Sequence[Change], *, write: bool = True, last: bool = False) -> None:
        """Keep changes; see `Keeping`. To be called when it is free.

        Cancellation: changes that the process was not given yet come back as refused.
        """
        await self._wait_turn(changes)
        if not self._lives:  # it has ended since then, and nobody would answer
            self._report(Kept(refused=list(changes)))
            return
        write = write and not self._writes
        if changes or write:
            asked = self._ask(changes, Kind.ROUND if write else Kind.KEEP, last=last, given=bool(changes))
            while self._asked is asked:
                await self._changed.wait()
        with trio.move_on_after(math.inf if last else WRITE_S):
            await self.wait_done()

    async def _wait_turn(self, changes: Sequence[Change]) -> None:
        """Wait while changes are on their way: two rounds may have found it free before one of them began."""
        try:
            while self._lives and self._asked is not None:
                await self._changed.wait()
        except trio.Cancelled:
            self._report(Kept(refused=list(changes)))
            raise

    def _ask(self, changes: Sequence[Change], kind: Kind, **fields: bool) -> Asked:
        self._numbers += 1
        asked = Asked(self._numbers, changes)
        if kind is Kind.ROUND:
            self._writes = asked.number
        if changes or kind is Kind.CLOSE:
            self._asked = asked
        self._outbox.append(pack_changes(changes, self._note_damaged))
        self._outbox.append([with_fields(kind, asked.number, **fields)])
        self._wake.ring()
        return asked

    def _note_damaged(self, change: Change) -> None:
        self._before.damaged += 1
        log.error("a record of a call cannot be made", call_id=str(change.call_id))

    async def close(self, changes: Sequence[Change], *, calls_left: bool) -> None:
        """Keep changes and let go of everything; see `Keeping`."""
        asked = self._asked
        left = [*(asked.changes if asked is not None else ()), *changes]
        with trio.move_on_after(CLOSE_S):
            if not self._gone and (left or self._pulse.ready):
                await self.wait_free()
                # All of it, as the process that was asked before may have ended meanwhile: what comes twice
                # does no harm.
                asked = self._ask(left, Kind.CLOSE, calls_left=calls_left)
                while self._asked is asked:
                    await self._changed.wait()
        self._scope.cancel()
        with trio.move_on_after(END_S):
            while not self._gone:
                await self._changed.wait()
        if not self._closed:  # the disk may work all the same, and the next server finds what lies there
            work = partial(self._rescue().close, left, calls_left=True)
            await trio.to_thread.run_sync(work, abandon_on_cancel=True)

    # -- its life ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run a process, and another one when it ends, until cancelled."""
        try:
            with self._scope:
                while not self._closed:
                    await self._live_and_rest()
        finally:
            self._gone = True
            self._change()

    async def _live_and_rest(self) -> None:
        started = trio.current_time()
        fault = await self._live()
        if self._closed:
            return
        rest_s = self._restarts.rest_s(trio.current_time() - started)
        log.error(
            "the process that writes the call history stopped",
            reason=fault,
            said=self._last_words,
            restart_in_s=round(rest_s, 1),
        )
        self._before = replace(self.status, problems={})
        self._before.failures["process"] += 1
        self._now = Status(self._now.problems, queued=self._now.queued, is_open=self._now.is_open)
        self._process_problem = fault
        self._give_back()
        await trio.sleep(rest_s)

    def _give_back(self) -> None:
        """Let what the process had not acknowledged be told again."""
        asked, self._asked, self._writes = self._asked, None, 0
        self._report(Kept(refused=list(asked.changes) if asked is not None else []))
        self._change()

    async def _live(self) -> str:
        """Run one process until it ends; returns what went wrong."""
        self._pulse, self._fault, self._last_words = Pulse(), "", ""
        self._messages = Splitter([kind for kind in Kind if kind >= Kind.READY], MAX_BODY_BYTES)
        before = self._before
        start = replace(self._start, seen_us=before.seen_us, again=before.starts > 0)
        self._outbox = deque([[start.encode()]])
        try:
            process = await self._launch()
        except OSError as exc:
            return f"cannot be started: {exc.strerror}"
        except Exception as exc:  # the boundary of a start: the history goes on as long as the server does
            before.faults += 1
            log.exception("the process that writes the call history cannot be started")
            return f"cannot be started: {type(exc).__name__}"
        before.starts += 1
        self._pulse.begin(trio.current_time())
        self._lives = True
        self._change()
        status = 0
        try:
            async with trio.open_nursery() as nursery:
                end = nursery.cancel_scope.cancel
                nursery.start_soon(self._read, process, end)
                nursery.start_soon(self._write, process)
                nursery.start_soon(self._watch, end)
                nursery.start_soon(self._listen, process)
        finally:
            self._lives, self._pulse = False, Pulse()
            with trio.CancelScope(shield=True):
                status = await process.end()
                self._last_words = process.last_words
        return f"it ended with status {status}" if self._fault == _ENDED else self._fault

    def _end(self, fault: str, end: Callable[[], None]) -> None:
        self._fault = self._fault or fault
        end()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _write(self, process: HelperProcess) -> None:
        try:
            while True:
                while self._outbox:
                    for message in self._outbox.popleft():
                        await process.outgoing.send_all(message)
                await self._wake.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # what it has said before is still to be read; that ends as well

    async def _read(self, process: HelperProcess, end: Callable[[], None]) -> None:
        try:
            while data := await process.incoming.receive_some(_READ_BYTES):
                now = trio.current_time()
                self._pulse.heard(now)
                for kind, number, body in self._messages.feed(bytes(data)):
                    self._take(Kind(kind), number, body, now)
                    await trio.lowlevel.checkpoint()  # what is told of many calls makes no tick late
        except (ChildFault, Garbage) as exc:
            self._end(f"garbage: {exc}" if isinstance(exc, Garbage) else str(exc), end)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self._end(_ENDED, end)

    def _take(self, kind: Kind, number: int, body: bytes, now: float) -> None:
        if kind is Kind.READY:
            self._pulse.became_ready(now)
        elif kind is Kind.SAID:
            _say(body)
        elif kind is Kind.PONG:
            self._judge(body)
        elif kind is Kind.KEPT:
            self._report(unpack_kept(body))
        elif kind is Kind.TAKEN:
            self._taken(number, body)
        elif kind is Kind.CLOSED:
            self._end_of(number)
            self._closed = bool(fields_of(body).get("kept"))
            self._change()
        else:
            self._finish(number, body)

    def _end_of(self, number: int) -> Asked:
        asked = self._asked
        if asked is None or asked.number != number:
            raise Garbage("an answer to nothing")
        self._asked = None
        return asked

    def _taken(self, number: int, body: bytes) -> None:
        try:
            self._now.queued = int(fields_of(body)["queued"])
        except (KeyError, TypeError, ValueError):
            raise Garbage("TAKEN lacks something") from None
        self._end_of(number)
        self._change()

    def _finish(self, number: int, body: bytes) -> None:
        asked, fields = self._asked, fields_of(body)
        kept, status = unpack_kept(body), unpack_status(fields)
        if asked is not None and asked.number == number:  # no queue has taken them
            kept.refused = list(asked.changes) if fields.get("refused") else []
            self._asked = None  # not before all of the answer is read: else its changes would lie nowhere
        elif number != self._writes:
            raise Garbage("an answer to nothing")
        if number == self._writes:
            self._writes = 0
        self._now = replace(status, rss_kb=self._now.rss_kb)
        self._process_problem = ""
        self._report(kept)
        self._change()

    def _judge(self, body: bytes) -> None:
        """Take note of how it says it is.

        Raises:
            ChildFault: it hangs.
        """
        fields = fields_of(body)
        try:
            busy_s, self._now.rss_kb = float(fields["busy_s"]), int(fields["rss_kb"])
        except (KeyError, TypeError, ValueError):
            raise Garbage("PONG lacks something") from None
        if fields.get("hangs"):
            raise ChildFault("it has been at one round for too long")
        if busy_s > LATE_S and not self._process_problem:
            self._process_problem = "the database or the disk does not answer"
            self._before.failures["process"] += 1
            log.error("the call history is not written", problem=self._process_problem)
            self._report(Kept())

    async def _watch(self, end: Callable[[], None]) -> None:
        """Ask how it is, and end it when it does not answer."""
        while True:
            # Becoming ready brings the deadline forward, so it is looked at again and again.
            await trio.sleep_until(min(self._pulse.deadline(), trio.current_time() + PING_S))
            try:
                if self._pulse.tick(trio.current_time()):
                    self._outbox.append([with_fields(Kind.PING)])
                    self._wake.ring()
            except ChildFault as exc:
                self._end(str(exc), end)

    async def _listen(self, process: HelperProcess) -> None:
        try:
            said = await process.listen()
        except trio.ClosedResourceError:
            return
        if said:
            log.debug("the process that writes the call history said", text=said)


def _say(body: bytes) -> None:
    """Write a line of the process's log."""
    fields = fields_of(body)
    level, event = fields.pop("level", None), fields.pop("event", None)
    if level not in LEVELS or not isinstance(event, str):
        raise Garbage("SAID lacks something")
    getattr(log, level)(event, **fields)
