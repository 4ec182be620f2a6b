"""The server's end of the pipes to the process that writes a history; the processes do what a test wants."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import trio
import trio.testing

from tests.history.making import change
from tests.support.history import history_of
from vb.children.framing import Splitter
from vb.children.tasks.process import HelperProcess, launcher
from vb.events.bus import EventBus
from vb.history.change import Change
from vb.history.keeper import Kept, Status
from vb.history.tasks import apart, open_history
from vb.history.tasks.apart import Apart
from vb.history.wire import MAX_BODY_BYTES, Kind, Start, unpack_changes, with_fields
from vb.ids import SystemIds

WITHIN_S = 20
START = Start("", "", "", "", 0, None, 0, False)


class Writing:
    """A process that answers as the real one does, until it is told to be gone.

    Attributes:
        changes: those it was given.
        asked: what else it was.
        answers: whether it answers what it is asked.
        takes: whether it says that it has taken changes, and its database hangs then.
        done: fields of its next DONE; as they should be when None.
        ends: whether it can be ended.
    """

    def __init__(self) -> None:
        self._stream, self._other = trio.testing.memory_stream_pair()
        self.changes: list[Change] = []
        self.asked: list[Kind] = []
        self.answers = True
        self.takes = False
        self.done: dict[str, Any] | None = None
        self.ends = trio.Event()
        self.ends.set()
        self.last_words = "the last of it"

    @property
    def incoming(self) -> trio.abc.ReceiveStream:
        return self._stream

    @property
    def outgoing(self) -> trio.abc.SendStream:
        return self._stream

    async def listen(self) -> str:
        await trio.Event().wait()
        return ""

    async def end(self) -> int:
        await self._stream.aclose()
        await self.ends.wait()
        return 9

    async def die(self) -> None:
        """End without having been asked to."""
        await self._other.aclose()

    async def run(self) -> None:
        """Answer until the pipe ends."""
        messages = Splitter(Kind, MAX_BODY_BYTES)
        try:
            await self._other.send_all(with_fields(Kind.READY))
            while data := await self._other.receive_some(65_536):
                for kind, number, body in messages.feed(bytes(data)):
                    await self._answer(Kind(kind), number, body)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass

    async def _answer(self, kind: Kind, number: int, body: bytes) -> None:
        if kind is Kind.CHANGES:
            self.changes += unpack_changes(body)
        elif kind is Kind.PING:
            await self._other.send_all(with_fields(Kind.PONG, 0, busy_s=0.0, hangs=False, rss_kb=1))
        elif kind is not Kind.START:
            self.asked.append(kind)
            if self.takes and kind is not Kind.CLOSE:
                await self._other.send_all(with_fields(Kind.TAKEN, number, queued=len(self.changes)))
            elif self.answers and kind is Kind.ROUND:
                as_it_is = {"refused": False, "unknown": False, "status": asdict(Status())}
                await self._other.send_all(with_fields(Kind.DONE, number, **(self.done or as_it_is)))
            elif self.answers:
                await self._other.send_all(with_fields(Kind.CLOSED, number, kept=True))


class Bed:
    """A keeper that starts such processes, and what it reports."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.processes: list[Writing] = []
        self.refused: list[Change] = []
        self.rescued: list[Change] = []
        self.problem: Exception | None = None
        self._nursery = nursery
        self.keeper = Apart(START, self._report, lambda: self, self._launch, lambda: 0.0)  # type: ignore[arg-type, return-value]

    async def _launch(self) -> HelperProcess:
        if self.problem is not None:
            problem, self.problem = self.problem, None
            raise problem
        self.processes.append(Writing())
        self._nursery.start_soon(self.processes[-1].run)
        return self.processes[-1]

    def _report(self, kept: Kept) -> None:
        self.refused += kept.refused

    def close(self, changes: Sequence[Change], *, calls_left: bool) -> None:
        """Be the keeper that takes what no process has taken."""
        self.rescued += changes


@asynccontextmanager
async def opened() -> AsyncIterator[Bed]:
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            bed = Bed(nursery)
            nursery.start_soon(bed.keeper.run)
            try:
                yield bed
            finally:
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("passes", range(12))
async def test_a_round_that_is_asked_between_two_processes_is_given_back_or_done(passes: int) -> None:
    async with opened() as bed:
        await bed.keeper.wait_free()
        await bed.processes[0].die()
        for _ in range(passes):
            await trio.lowlevel.checkpoint()
        await bed.keeper.round([change()])
        assert bed.refused == [change()]
        await bed.keeper.wait_free()
        await bed.keeper.round([change(2)])
        assert bed.processes[1].changes == [change(2)]


async def test_the_end_gives_the_next_process_what_the_one_before_had_not_acknowledged() -> None:
    async with opened() as bed, trio.open_nursery() as nursery:
        await bed.keeper.wait_free()
        bed.processes[0].answers = False
        nursery.start_soon(bed.keeper.round, [change()])
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(bed.processes[0].die)
        await bed.keeper.close([change(2)], calls_left=False)
        assert bed.processes[1].asked == [Kind.CLOSE]
        assert bed.processes[1].changes == [change(), change(2)]
        assert bed.rescued == []


async def test_what_happens_while_a_round_hangs_is_told_all_the_same_and_is_not_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apart, "WRITE_S", 0.0)
    async with opened() as bed:
        await bed.keeper.wait_free()
        bed.processes[0].takes = True
        await bed.keeper.round([change()])
        await bed.keeper.round([change(2)])
        assert bed.processes[0].asked == [Kind.ROUND, Kind.KEEP]
        assert bed.processes[0].changes == [change(), change(2)]
        assert bed.keeper.status.queued == 2
        await bed.processes[0].die()
        await bed.keeper.wait_done()
        await bed.keeper.wait_free()
        await bed.keeper.round([change(3)])
        assert (bed.refused, bed.processes[1].asked) == ([], [Kind.ROUND])


async def test_two_rounds_that_find_it_free_at_once_are_both_taken_by_the_same_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apart, "WRITE_S", 0.0)
    async with opened() as bed:
        await bed.keeper.wait_free()
        bed.processes[0].takes = True
        async with trio.open_nursery() as rounds:
            for number in (1, 2):
                rounds.start_soon(bed.keeper.round, [change(number)])
        (process,) = bed.processes
        assert len(process.changes) == 2
        assert bed.refused == []
        assert bed.keeper.status.failures.get("process", 0) == 0


async def test_a_round_that_is_cancelled_before_its_turn_gives_its_changes_back() -> None:
    async with opened() as bed:
        await bed.keeper.wait_free()
        (process,) = bed.processes
        process.answers = False
        async with trio.open_nursery() as rounds:
            rounds.start_soon(bed.keeper.round, [change(1)])
            await trio.testing.wait_all_tasks_blocked()
            rounds.start_soon(bed.keeper.round, [late := change(2)])
            await trio.testing.wait_all_tasks_blocked()
            rounds.cancel_scope.cancel()
        assert bed.refused == [late]
        assert len(process.changes) == 1


async def test_what_is_only_to_be_kept_asks_nothing_of_the_database() -> None:
    async with opened() as bed:
        await bed.keeper.wait_free()
        bed.processes[0].takes = True
        await bed.keeper.round([change()], write=False)
        await bed.keeper.round([], write=False)
        assert bed.processes[0].asked == [Kind.KEEP]


async def test_changes_whose_answer_is_garbage_are_given_back() -> None:
    async with opened() as bed:
        await bed.keeper.wait_free()
        bed.processes[0].done = {"refused": False, "status": {"written": "many"}}
        await bed.keeper.round([change()])
        assert bed.refused == [change()]
        assert bed.keeper.status.problems["process"] == "garbage: the status is malformed"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [({"queued": 0}, "an answer to nothing"), ({"queued": "x"}, "TAKEN lacks something")],
)
async def test_a_process_that_takes_what_nobody_gave_it_is_ended(
    fields: dict[str, Any], problem: str
) -> None:
    async with opened() as bed:
        await bed.keeper.wait_free()
        await trio.testing.wait_all_tasks_blocked()
        await bed.processes[0]._other.send_all(with_fields(Kind.TAKEN, 7, **fields))
        await trio.testing.wait_all_tasks_blocked()
        assert bed.keeper.status.problems["process"] == f"garbage: {problem}"


async def test_a_start_that_fails_in_whatever_way_is_tried_again() -> None:
    async with opened() as bed:
        await bed.keeper.wait_free()
        bed.problem = ValueError("embedded null byte")
        with structlog.testing.capture_logs() as logs:
            await bed.processes[0].die()
            await trio.testing.wait_all_tasks_blocked()
            await bed.keeper.wait_free()
        reasons = [line["reason"] for line in logs if "reason" in line]
        assert reasons == ["it ended with status 9", "cannot be started: ValueError"]
        assert bed.keeper.status.faults == 1


async def test_the_end_waits_for_no_process_that_cannot_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "CLOSE_S", 0.05)
    monkeypatch.setattr(apart, "END_S", 0.05)
    ended = False
    with trio.move_on_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            bed = Bed(nursery)
            nursery.start_soon(bed.keeper.run)
            await bed.keeper.wait_free()
            bed.processes[0].answers, bed.processes[0].ends = False, trio.Event()
            with trio.fail_after(2):
                await bed.keeper.close([change()], calls_left=False)
            ended = True
            bed.processes[0].ends.set()
            assert bed.rescued == [change()]
    assert ended


async def test_a_history_is_closed_in_time_whatever_its_keeper_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.history.tasks.service.CLOSE_S", 0.1)

    async def never(*_: object, **__: object) -> None:
        await trio.sleep_forever()

    with trio.fail_after(5):
        bus = EventBus("edge-1", SystemIds())
        async with open_history(history_of(f"sqlite:///{tmp_path}/calls.db", tmp_path), bus) as history:
            close = history.keeper.close
            monkeypatch.setattr(history.keeper, "close", never)
        await close([], calls_left=False)


async def test_the_log_has_the_last_words_of_a_process_that_ended() -> None:
    code = "import sys; sys.stderr.write('a line\\n' + 'y' * 300 + '\\n'); sys.exit(7)"
    seen: list[str] = []
    launch = launcher([sys.executable, "-P", "-c", code])
    keeper = Apart(START, lambda _: None, lambda: None, launch, lambda: 0.0)  # type: ignore[arg-type, return-value]
    with trio.fail_after(WITHIN_S), structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run)
            while not seen:
                await trio.sleep(0.01)
                seen = [line["said"] for line in logs if "said" in line]
            nursery.cancel_scope.cancel()
    assert seen[0] == "y" * 200
