"""What becomes of calls when their server is killed: what it has told its process is found by the next."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections import Counter
from pathlib import Path

import pytest
import trio
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from tests.history.conftest import LosableDatabase
from tests.history.keepers import OTHER, RUN, Clock, end_reasons, keeper
from tests.history.making import change
from tests.history.servers import (
    HANGS,
    STARTS,
    WITHIN_S,
    held_up,
    next_process,
    server,
    server_with_calls,
    wait_for,
    wait_gone,
)
from vb.children.tasks.process import HelperProcess, launcher
from vb.history.change import Change
from vb.history.wire import Kind, Start, pack_changes, with_fields

pytestmark = pytest.mark.integration


async def test_a_killed_server_takes_its_process_with_it_and_the_next_closes_its_calls_once(
    database_url: str, tmp_path: Path
) -> None:
    async with server_with_calls(database_url, tmp_path / "queue") as lost:
        await lost.calls("end", 40, "taken")
        await lost.killed()
    closed = []
    for number in (2, 3):
        one, _ = keeper(database_url, tmp_path / "queue", uuid.UUID(int=number))
        closed += one.round([]).closed
        one.close(calls_left=False)
    assert len(closed) == 1
    assert Counter(end_reasons(database_url)) == Counter({"unjoined": 41, "system_error": 1})
    assert list((tmp_path / "queue").iterdir()) == []


async def test_a_database_that_hangs_does_not_keep_the_process_of_a_killed_server(
    postgres_server: str, losable: LosableDatabase, tmp_path: Path
) -> None:
    engine = create_engine(make_url(losable.url).set(drivername="postgresql+psycopg"))
    async with server_with_calls(losable.url, tmp_path / "queue") as lost:
        with engine.connect() as connection, connection.begin():
            connection.execute(text("LOCK TABLE calls IN ACCESS EXCLUSIVE MODE"))
            await lost.calls("end", 40, "taken")
            await lost.killed()
    engine.dispose()
    assert next_process(losable.url, tmp_path / "queue") == {"unjoined": 41, "system_error": 1}


async def test_what_happens_while_a_round_hangs_in_the_database_is_found_by_the_next(tmp_path: Path) -> None:
    url, queue, flag = f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue", tmp_path / "flag"
    async with server_with_calls(url, queue, HANGS.format(flag=str(flag))) as lost:
        flag.touch()
        await lost.calls("end", 1, "sent")
        await wait_for(tmp_path / "flag.seen")
        await lost.calls("end", 40, "taken")
        await lost.calls("ring", 1, "taken")
        await lost.killed()
    assert next_process(url, queue) == {"unjoined": 42, "system_error": 2}


async def test_what_is_told_a_process_that_only_starts_is_found_by_the_next(tmp_path: Path) -> None:
    url, queue, gate = f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue", tmp_path / "gate"
    os.mkfifo(gate)
    async with server(url, queue, STARTS.format(gate=str(gate))) as lost:
        await lost.calls("end", 20, "sent")
        await lost.kill()
        os.close(os.open(gate, os.O_WRONLY))
        await wait_gone(lost.pid)
    assert next_process(url, queue) == {"unjoined": 20}


async def test_what_is_told_a_process_that_gets_no_time_is_found_by_the_next(tmp_path: Path) -> None:
    url, queue = f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue"
    async with server_with_calls(url, queue) as lost:
        os.kill(lost.pid, signal.SIGSTOP)
        await lost.calls("end", 20, "sent")
        await lost.kill()
        os.kill(lost.pid, signal.SIGCONT)
        await wait_gone(lost.pid)
    assert next_process(url, queue) == {"unjoined": 21, "system_error": 1}


# -- the process alone -------------------------------------------------------------------------------------

_IMPATIENT = """
from vb.history import program
program.FINISH_S = 1
program.main()
"""
_MIDDLE = """
import subprocess, sys
process = subprocess.Popen([sys.executable, "-m", "vb.history.program"])
open(sys.argv[1] + ".new", "w").write(str(process.pid))
import os
os.rename(sys.argv[1] + ".new", sys.argv[1])
process.wait()
"""


def _start(url: str, queue: Path) -> Start:
    return Start(url, str(queue), str(RUN), "one", 0, None, 0, False)


async def _tell(process: HelperProcess, start: Start, changes: list[Change]) -> None:
    for message in (start.encode(), *pack_changes(changes, lambda _: None), with_fields(Kind.ROUND, 1)):
        await process.outgoing.send_all(message)


async def _ends(process: HelperProcess) -> None:
    """Wait until it has let go of its pipe."""
    with trio.fail_after(WITHIN_S):
        while await process.incoming.receive_some(1_000):
            pass


async def test_a_disk_that_takes_its_time_has_more_of_it_than_a_database(tmp_path: Path) -> None:
    url, queue = f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue"
    process = await launcher([sys.executable, "-P", "-c", _IMPATIENT])()
    with held_up(queue):
        await _tell(process, _start(url, queue), [change(number) for number in range(20)])
        await process.outgoing.aclose()
        with trio.move_on_after(3) as lives:
            await _ends(process)
        assert lives.cancelled_caught
    await _ends(process)
    await process.end()
    assert next_process(url, queue) == {"hangup": 20}


async def test_a_process_whose_server_has_ended_goes_though_its_pipe_is_held_open(tmp_path: Path) -> None:
    middle = await launcher([sys.executable, "-c", _MIDDLE, str(tmp_path / "pid")])()
    with trio.fail_after(WITHIN_S):
        assert await middle.incoming.receive_some(100)
    middle._process.kill()  # type: ignore[attr-defined]
    await _ends(middle)
    await middle.end()


async def test_what_a_pipe_that_is_held_open_has_of_an_ended_server_is_kept(tmp_path: Path) -> None:
    url, queue = f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue"
    middle = await launcher([sys.executable, "-c", _MIDDLE, str(tmp_path / "pid")])()
    with trio.fail_after(WITHIN_S):
        assert await middle.incoming.receive_some(100)
    await wait_for(tmp_path / "pid")
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    await _tell(middle, _start(url, queue), [change(number) for number in range(60)])
    middle._process.kill()  # type: ignore[attr-defined]
    await middle._process.wait()  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGCONT)
    await _ends(middle)
    await middle.end()
    await wait_gone(pid)
    assert next_process(url, queue) == {"hangup": 60}


async def test_a_process_keeps_what_comes_while_a_round_hangs_and_goes_when_it_is_told_to(
    tmp_path: Path,
) -> None:
    url, queue, flag = f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue", tmp_path / "flag"
    flag.touch()
    code = HANGS.format(flag=str(flag)).replace("program.main()", "program.FINISH_S = 1\nprogram.main()")
    process = await launcher([sys.executable, "-P", "-c", code])()
    await _tell(process, _start(url, queue), [change(1)])
    await wait_for(tmp_path / "flag.seen")
    for number, kind in ((2, Kind.KEEP), (3, Kind.CLOSE)):
        for message in (
            *pack_changes([change(number)], lambda _: None),
            with_fields(kind, number, given=True),
        ):
            await process.outgoing.send_all(message)
    await _ends(process)
    assert await process.end() == 0
    assert next_process(url, queue) == {"hangup": 3}


def test_what_a_process_leaves_that_ends_after_the_next_has_started_is_taken_over(
    database_url: str, tmp_path: Path
) -> None:
    clock = Clock()
    old, _ = keeper(database_url, tmp_path / "queue", uuid.UUID(int=1), clock)
    old.round([change(1, duration_us=None)])
    new, _ = keeper(database_url, tmp_path / "queue", OTHER, clock)
    assert new.round([]).closed == []
    old.close([change(1, version=4, duration_us=None), change(2)], calls_left=True)
    clock.now_s += 6
    new.round([])
    kept = new.round([])
    assert [call.call_id for call in kept.recorded] == [change(2).call_id]
    assert [call.call_id for call in kept.closed] == [change(1).call_id]
    assert new.round([]).closed == []
    new.close(calls_left=False)
    assert Counter(end_reasons(database_url)) == Counter({"hangup": 1, "system_error": 1})
    assert list((tmp_path / "queue").iterdir()) == []
