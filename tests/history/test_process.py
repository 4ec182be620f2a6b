"""The process that writes a history: what it does, and what becomes of calls when it fails."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

import vb
from tests.history.conftest import LosableDatabase
from tests.history.keepers import OTHER, end_reasons, keeper, reader
from tests.history.making import change
from tests.history.servers import HANGS, WITHIN_S, gone, next_process, wait_for
from tests.support.history import history_of
from vb.children.tasks.process import HelperProcess, launcher
from vb.events.base import Published
from vb.events.bus import EventBus
from vb.events.history import CallRecorded, HistoryFailed, HistoryRecovered
from vb.events.leg import Cdr, LegDisconnected, LegRinging
from vb.history.edge import list_calls
from vb.history.keeper import Keeper, Kept
from vb.history.tasks import History, apart, open_history
from vb.history.wire import Start
from vb.ids import SystemIds

pytestmark = pytest.mark.integration

KILLS = 2


class Bed:
    """A bus with what was told on it, and the processes that were started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bus = EventBus("edge-1", SystemIds())
        self.recorded: Counter[str] = Counter()
        self.told: list[str] = []
        self.pids: list[int] = []
        self._moved = trio.Event()
        self.bus.subscribe(self._take)
        really = apart.launch_program()

        async def launch() -> HelperProcess:
            process = await really()
            self.pids.append(process._process.pid)  # type: ignore[attr-defined]
            return process

        monkeypatch.setattr(apart, "launch_program", lambda: launch)

    def _take(self, published: Published) -> None:
        event = published.event
        if isinstance(event, CallRecorded):
            self.recorded[event.call_id] += 1
        elif isinstance(event, HistoryFailed):
            self.told.append(f"{event.part} failed")
        elif isinstance(event, HistoryRecovered):
            self.told.append(f"{event.part} recovered")
        self._moved.set()
        self._moved = trio.Event()

    def ring(self) -> str:
        """Let a call come."""
        leg_id = str(uuid.uuid4())
        self.bus.publish(LegRinging(leg_id=leg_id, leg_type="sip_inbound"))
        return leg_id

    def end(self, leg_id: str) -> None:
        """Let it end."""
        cdr = Cdr(reason="busy", duration_total=0, duration_answered=0)  # it cannot have lasted longer
        self.bus.publish(LegDisconnected(leg_id=leg_id, cdr=cdr))

    def calls(self, number: int) -> list[str]:
        """Let calls come and end."""
        found = [self.ring() for _ in range(number)]
        for leg_id in found:
            self.end(leg_id)
        return found

    async def stored(self, *leg_ids: str) -> None:
        """Wait until calls are told to be stored."""
        with trio.fail_after(WITHIN_S):
            while not self.recorded.keys() >= set(leg_ids):
                await self._moved.wait()

    async def hears(self, line: str) -> None:
        """Wait until something is told."""
        with trio.fail_after(WITHIN_S):
            while line not in self.told:
                await self._moved.wait()


@pytest.fixture
def bed(monkeypatch: pytest.MonkeyPatch) -> Bed:
    monkeypatch.setattr("vb.history.tasks.service.RETRY_S", 0.2)
    return Bed(monkeypatch)


@asynccontextmanager
async def opened(bed: Bed, url: str, folder: Path) -> AsyncIterator[History]:
    async with open_history(history_of(url, folder, own_process=True), bed.bus) as history:
        yield history


def total(url: str) -> int:
    """How many calls there are that have ended."""
    store = reader(url)
    try:
        return list_calls(store, [("durationMin", "0s"), ("pageSize", "1")]).total or 0
    finally:
        store.close()


async def test_calls_are_stored_and_told_and_the_end_leaves_nothing(
    database_url: str, tmp_path: Path, bed: Bed
) -> None:
    async with opened(bed, database_url, tmp_path / "queue") as history:
        calls = bed.calls(700)
        await bed.stored(*calls)
        assert await history.read(lambda store: list_calls(store, []).total) == 700
        await history.keeper.wait_done()  # calls are told of in the middle of a round, figures at its end
        status = history.keeper.status
        assert (status.starts, status.queued, history.problem) == (1, 0, None)
        assert status.written >= 700
        calls += bed.calls(50)  # just before the end
    assert bed.recorded == Counter(calls)
    assert total(database_url) == 750
    assert list((tmp_path / "queue").iterdir()) == []
    assert gone(bed.pids[0])
    assert bed.told == []


async def test_a_process_that_is_killed_loses_no_call_and_tells_none_twice(
    database_url: str, tmp_path: Path, bed: Bed
) -> None:
    calls: list[str] = []
    async with opened(bed, database_url, tmp_path / "queue") as history:
        await bed.stored(*bed.calls(1))
        for _ in range(KILLS):
            calls += bed.calls(300)
            before = len(bed.recorded)
            while len(bed.recorded) == before:  # in the middle of what it writes
                await bed._moved.wait()
            os.kill(bed.pids[-1], signal.SIGKILL)
            calls += bed.calls(20)
            await bed.stored(calls[-1])
        await bed.stored(*calls)
        assert history.keeper.status.starts == KILLS + 1
        assert history.keeper.status.failures["process"] == KILLS
    assert set(bed.recorded.values()) == {1}
    assert len(bed.recorded) == 1 + KILLS * 320
    assert bed.told == ["process failed", "process recovered"] * KILLS
    assert total(database_url) == len(bed.recorded)
    assert list((tmp_path / "queue").iterdir()) == []


async def test_a_process_that_hangs_is_ended_and_another_one_goes_on(
    tmp_path: Path, bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.children.pulse.SILENCE_S", 1.5)
    monkeypatch.setattr("vb.children.pulse.PING_S", 0.2)
    monkeypatch.setattr(apart, "PING_S", 0.2)
    async with opened(bed, f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue"):
        await bed.stored(*bed.calls(1))
        os.kill(bed.pids[0], signal.SIGSTOP)
        calls = bed.calls(100)
        await bed.hears("process failed")
        await bed.stored(*calls)
        assert gone(bed.pids[0])
    assert set(bed.recorded.values()) == {1}
    assert bed.told == ["process failed", "process recovered"]


@pytest.mark.parametrize(
    "command",
    [
        ["/nowhere/python"],
        [sys.executable, "-c", "raise SystemExit(1)"],
        [sys.executable, "-c", "import sys; sys.stdout.write('x' * 10_000); sys.stdout.flush(); input()"],
    ],
)
async def test_what_no_process_takes_lies_in_the_queue_after_the_end(
    command: list[str], tmp_path: Path, bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "launch_program", lambda: launcher(command))
    url = f"sqlite:///{tmp_path}/calls.db"
    async with opened(bed, url, tmp_path / "queue") as history:
        calls = [*bed.calls(30)]
        bed.ring()
        await bed.hears("process failed")
        assert history.problem == "call history: the process that writes them does not work"
        assert history.keeper.status.failures["process"] >= 1
    assert (bed.recorded, bed.told) == (Counter(), ["process failed"])
    later, _ = keeper(url, tmp_path / "queue", OTHER)
    kept = later.round([])
    assert {str(call.call_id) for call in kept.recorded} == set(calls)
    assert len(kept.closed) == 1
    later.close(calls_left=False)
    assert Counter(end_reasons(url)) == Counter({"unjoined": 30, "system_error": 1})


async def test_garbage_on_its_pipe_ends_it_with_a_status_of_its_own() -> None:
    process = await apart.launch_program()()
    with trio.fail_after(WITHIN_S):
        await process.incoming.receive_some(100)
        await process.outgoing.send_all(b"\xff" * 100)
        while await process.incoming.receive_some(100):
            pass
        assert await process.end() == 2


async def test_what_lies_in_the_folder_the_server_was_started_in_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(Path(vb.__path__[0]).parent)
    (tmp_path / "struct.py").write_text("raise SystemExit('not mine')")
    monkeypatch.setattr(sys, "path", [root, *(path for path in sys.path if path not in ("", root))])
    monkeypatch.chdir(tmp_path)
    process = await apart.launch_program()()
    with trio.fail_after(WITHIN_S):
        assert await process.incoming.receive_some(100)
        assert await process.end() == 0


async def test_it_gets_what_libpq_reads_of_the_environment_and_no_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PGPASSFILE", "PGPASSWORD", "HOME", "LD_LIBRARY_PATH", "DEEPGRAM_API_KEY", "VB_API_TOKENS"):
        monkeypatch.setenv(name, "x")
    show = "import os, sys; sys.stdout.write(' '.join(os.environ)); sys.stdout.flush()"
    process = await launcher([sys.executable, "-c", show], apart.PASSED_ON)()
    found = b""
    with trio.fail_after(WITHIN_S):
        while part := await process.incoming.receive_some(4096):
            found += part
        await process.end()
    names = set(found.decode().split())
    assert {"PGPASSFILE", "PGPASSWORD", "HOME", "LD_LIBRARY_PATH"} <= names
    assert names.isdisjoint({"DEEPGRAM_API_KEY", "VB_API_TOKENS"})


async def test_a_database_that_is_lost_and_comes_back_costs_no_call(
    losable: LosableDatabase, tmp_path: Path, bed: Bed
) -> None:
    async with opened(bed, losable.url, tmp_path / "queue"):
        await bed.stored(*bed.calls(1))
        losable.lose()
        calls = bed.calls(100)
        await bed.hears("database failed")
        os.kill(bed.pids[0], signal.SIGKILL)  # what lies in the queue is the next one's
        calls += bed.calls(10)
        await bed.hears("process recovered")
        losable.give_back()
        await bed.stored(*calls)
        await bed.hears("database recovered")
    assert set(bed.recorded.values()) == {1}
    assert bed.told.count("database failed") == bed.told.count("database recovered") == 1
    assert total(losable.url) == 111


async def test_a_stop_while_the_disk_is_locked_keeps_everything_for_the_next(
    tmp_path: Path, bed: Bed
) -> None:
    path = tmp_path / "calls.db"
    async with opened(bed, f"sqlite:///{path}", tmp_path / "queue"):
        await bed.stored(*bed.calls(1))
        lock = sqlite3.connect(path, isolation_level=None, timeout=10)
        lock.execute("BEGIN EXCLUSIVE")
        calls = bed.calls(50)
    lock.execute("ROLLBACK")
    lock.close()
    one, _ = keeper(f"sqlite:///{path}", tmp_path / "queue", OTHER)
    assert {str(call.call_id) for call in one.round([]).recorded} == set(calls)
    one.close(calls_left=False)


async def test_a_stop_while_the_database_hangs_keeps_everything_for_the_next(
    tmp_path: Path, bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, flag = f"sqlite:///{tmp_path}/calls.db", tmp_path / "flag"
    launch = launcher([sys.executable, "-P", "-c", HANGS.format(flag=str(flag))])
    monkeypatch.setattr(apart, "launch_program", lambda: launch)
    async with opened(bed, url, tmp_path / "queue") as history:
        await bed.stored(*bed.calls(1))
        flag.touch()
        calls = bed.calls(1)
        await wait_for(tmp_path / "flag.seen")
        calls += bed.calls(600)  # more than one round hands on
    assert history.collector.waiting == 0
    next_process(url, tmp_path / "queue")
    assert total(url) == 1 + len(calls)


async def test_what_is_only_to_be_kept_is_answered_though_nothing_of_it_can_be_packed(tmp_path: Path) -> None:
    url, queue = f"sqlite:///{tmp_path}/calls.db", str(tmp_path / "queue")
    start = Start(url, queue, str(uuid.uuid4()), "one", 0, None, 0, False)
    told: list[Kept] = []

    def rescue() -> Keeper:
        raise AssertionError("there is nothing to rescue")

    process = apart.Apart(start, told.append, rescue, apart.launch_program())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.run)
        with trio.fail_after(WITHIN_S):
            await process.wait_free()
            await process.round([replace(change(1), document={"x": object()})], write=False)
            await process.wait_free()
        nursery.cancel_scope.cancel()
    assert [call for kept in told for call in kept.refused] == []
    assert process.status.damaged == 1
