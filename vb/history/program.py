"""The process that writes a history: one thread that reads, one that keeps, one that writes, one that tends.

What comes over the pipe is read and put into the durable queue at once, whatever the database does. It all
lives as long as the pipe and the server do: at the end of either it reads what there is, puts all of it into
the queue, and goes within a few seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import MutableMapping
from queue import SimpleQueue
from typing import Any, Final, NoReturn
from uuid import UUID

import structlog

from vb.children.framing import Garbage, Message, Splitter, fields_of
from vb.children.inside import (
    end_with_any_thread,
    read_while_owned,
    resident_kb,
    settle_in,
    write_while_owned,
)
from vb.history.change import Change
from vb.history.intake import Unkept
from vb.history.keeper import TEND_EVERY_S, TEND_PAUSE_S, Keeper, Kept, tend
from vb.history.wire import (
    MAX_BODY_BYTES,
    Kind,
    Start,
    pack_kept,
    pack_told,
    unpack_changes,
    with_fields,
)
from vb.history.write_store import WriteStore

NICENESS: Final = 5
"""Calls come first; but on a busy machine 10 would be close to never."""
FINISH_S: Final = 5
"""How long the database may take at the end, once all lies in the queue."""
ORPHAN_S: Final = 60
"""How long it lives without its pipe, however long the disk takes. The kernel ends it then."""
BUSY_S: Final = 120.0
"""A round that takes so long hangs: each of its statements is given up long before."""
_READ_BYTES: Final = 262_144
_GARBAGE_STATUS: Final = 2

Job = tuple[Kind | None, int, list[Change], dict[str, Any]]
"""None for the end of the pipe, with the changes that belong to no message yet."""


class Program:
    """Its threads and what they share.

    Args:
        incoming: where messages come from.
        outgoing: where they go to.
    """

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._parent = os.getppid()
        self._pipe = threading.Condition()
        """Held by whoever writes."""
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        """For who keeps. The server asks for the next one only when it knows where the changes of one lie."""
        self._rounds: SimpleQueue[tuple[int, Unkept, bool] | None] = SimpleQueue()
        """For who writes; None for the end. Each is a job of before."""
        self._waiting: list[Change] = []
        self._keeps_since: float | None = None
        self._writes_since: float | None = None
        self._ends = False
        self._calls_left = True
        self._faults = 0
        self._store: WriteStore | None = None

    def run(self) -> NoReturn:
        """Work until the pipe ends; the process ends with it."""
        threading.Thread(target=self._read, name="pipe", daemon=True).start()
        self._send(with_fields(Kind.READY))
        kind, _, _, start = self._jobs.get()
        if kind is not Kind.START:
            os._exit(_GARBAGE_STATUS if kind else 0)
        keeper = self._keeper(start["start"])
        writing = threading.Thread(target=self._write, args=(keeper,), name="database", daemon=True)
        writing.start()
        threading.Thread(target=self._tend, name="tending", daemon=True).start()
        while True:
            kind, number, changes, fields = self._jobs.get()
            self._keeps_since = time.monotonic()
            unkept = keeper.keep(changes)
            if kind is Kind.CLOSE or kind is None:
                break
            # Answered also where nothing could be packed of what was given.
            if fields.get("given") and not unkept.changes:
                self._send(with_fields(Kind.TAKEN, number, queued=keeper.queued))
            if kind is Kind.ROUND or unkept.changes:
                self._rounds.put((number, unkept, bool(fields.get("last"))))
            self._keeps_since = None
        if kind is None and unkept.changes:  # nobody else is there to try it
            self._rounds.put((number, unkept, True))
        self._ends = True
        self._calls_left = bool(fields.get("calls_left", True))
        self._rounds.put(None)
        writing.join(FINISH_S)
        if kind is Kind.CLOSE:
            self._send(with_fields(Kind.CLOSED, number, kept=not unkept.changes))
        os._exit(0)

    def _write(self, keeper: Keeper) -> None:
        while (asked := self._rounds.get()) is not None:
            number, unkept, last = asked
            self._writes_since = time.monotonic()
            kept = keeper.write(unkept, last=last)
            status = keeper.status
            status.faults = self._faults
            for message in pack_kept(kept, number, status):
                self._send(message)
            self._writes_since = None
        keeper.close(calls_left=self._calls_left)

    def _keeper(self, start: Start) -> Keeper:
        self._store = WriteStore(start.url, run_id=UUID(start.run_id), instance_id=start.instance_id)
        return Keeper(
            self._store,
            start.path,
            retention_days=start.retention_days,
            recordings_folder=start.recordings_folder,
            seen_us=start.seen_us,
            again=start.again,
            tell=self._tell,
        )

    def _tell(self, kept: Kept) -> None:
        for message in pack_told(kept, 0):
            self._send(message)

    # -- the pipe ------------------------------------------------------------------------------------------

    def _read(self) -> None:
        messages = Splitter(Kind, MAX_BODY_BYTES)
        while data := read_while_owned(self._incoming, _READ_BYTES, self._parent):
            try:
                for message in messages.feed(data):
                    self._take(message)
            except Garbage as exc:
                print(f"garbage on the pipe: {exc}", file=sys.stderr, flush=True)
                os._exit(_GARBAGE_STATUS)
        self._ends = True
        signal.alarm(ORPHAN_S)
        self._jobs.put((None, 0, self._waiting, {}))

    def _take(self, message: Message) -> None:
        kind, number, body = message
        match kind:
            case Kind.START:
                self._jobs.put((Kind.START, number, [], {"start": Start.decode(body)}))
            case Kind.CHANGES:
                self._waiting += unpack_changes(body)
            case Kind.ROUND | Kind.KEEP | Kind.CLOSE:
                changes, self._waiting = self._waiting, []
                self._jobs.put((Kind(kind), number, changes, fields_of(body)))
            case Kind.PING:
                self._send(with_fields(Kind.PONG, number, **self._pulse()))
            case _:
                raise Garbage(f"{Kind(kind).name} is nothing a server says")

    def _pulse(self) -> dict[str, Any]:
        store, now = self._store, time.monotonic()
        busy_s = max(now - (since or now) for since in (self._keeps_since, self._writes_since))
        # To bring a large SQLite file up to date takes as long as it takes.
        patient = store is not None and store.kind == "sqlite" and not store.is_open
        return {"busy_s": busy_s, "hangs": busy_s > BUSY_S and not patient, "rss_kb": resident_kb()}

    def _send(self, message: bytes) -> None:
        with self._pipe:
            try:
                write_while_owned(self._outgoing, message, self._parent)
            except BrokenPipeError:
                pass  # the end of the other pipe tells it, and what is here is still kept

    def say(self, _logger: object, level: str, event: MutableMapping[str, Any]) -> str:
        """Hand a line of the log to the server; for structlog."""
        self._send(with_fields(Kind.SAID, 0, level=level, **{name: _text(event[name]) for name in event}))
        raise structlog.DropEvent

    # -- tending -------------------------------------------------------------------------------------------

    def _tend(self) -> None:
        """Count words and lay out calls, so that questions are fast, beside the writing."""
        store, ends = self._store, threading.Event()
        assert store is not None
        done = True
        while not self._ends:
            ends.wait(TEND_EVERY_S if done else TEND_PAUSE_S)
            done = tend(store, lambda: self._ends, self._note_fault)

    def _note_fault(self) -> None:
        self._faults += 1


def _text(value: object) -> object:
    return value if isinstance(value, bool | int | float | None) else str(value)[:8_192]


def main() -> NoReturn:
    """Serve standard input and output as messages until input ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever stops all of a service stops the server first
    end_with_any_thread()
    program = Program(*settle_in(NICENESS))
    structlog.configure(processors=[structlog.processors.format_exc_info, program.say])
    program.run()


if __name__ == "__main__":
    main()
