"""What a process does at its start, and what it gets from the server."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import trio

from vb.children.inside import FAULT_STATUS, write_while_owned
from vb.children.tasks.process import HelperProcess, launcher

pytestmark = pytest.mark.integration

WITHIN_S = 30

_FORBIDDEN = """
import os

def forbidden(*_):
    raise PermissionError(1, "Operation not permitted")

os.nice = os.sched_getscheduler = os.sched_setscheduler = forbidden
from vb.children.inside import settle_in, write_all
write_all(settle_in(5)[1], b"ready")
"""

_NOT_SET = """
import os

def forbidden(*_):
    raise PermissionError(1, "Operation not permitted")

os.sched_getscheduler = lambda _: os.SCHED_RR
os.sched_setscheduler = forbidden
from vb.children.inside import settle_in, write_all
write_all(settle_in(5)[1], b"%d" % os.nice(0))
"""


_THREAD_FAILS = """
import threading
from vb.children.inside import end_with_any_thread

end_with_any_thread()
threading.Thread(target=lambda: 1 / 0).start()
threading.Event().wait()
"""


async def _output(process: HelperProcess) -> str:
    said = b""
    with trio.fail_after(WITHIN_S):
        while part := await process.incoming.receive_some(4096):
            said += part
        await process.end()
    return said.decode()


async def _said(*command: str) -> str:
    return await _output(await launcher([sys.executable, "-P", *command])())


async def test_a_process_ends_with_the_first_of_its_threads_that_fails() -> None:
    with trio.fail_after(WITHIN_S):
        command = [sys.executable, "-c", _THREAD_FAILS]
        ended = await trio.run_process(command, capture_stderr=True, check=False)
    assert ended.returncode == FAULT_STATUS
    assert b"ZeroDivisionError" in ended.stderr


async def test_a_process_that_may_not_stand_back_works_all_the_same() -> None:
    assert await _said("-c", _FORBIDDEN) == "ready"


async def test_what_is_forbidden_does_not_keep_it_from_what_is_not() -> None:
    assert await _said("-c", _NOT_SET) == str(min(19, os.nice(0) + 5))


async def test_a_strange_entry_of_the_path_keeps_no_process_from_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, b"/bytes", None])
    assert await _said("-c", "print('started', end='')") == "started"


def test_what_is_written_whole_waits_for_room() -> None:
    incoming, outgoing = os.pipe()
    data = os.urandom(300_000)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_while_owned, outgoing, data, os.getppid())
        read = b""
        while len(read) < len(data):
            read += os.read(incoming, 10_000)
        writing.result()
    assert read == data
    os.close(incoming)
    os.close(outgoing)


def test_nobody_waits_for_room_that_an_owner_who_is_gone_cannot_make() -> None:
    incoming, outgoing = os.pipe()
    os.set_blocking(outgoing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(outgoing, bytes(65_536))
    os.set_blocking(outgoing, True)
    with pytest.raises(BrokenPipeError):
        write_while_owned(outgoing, b"more", parent=-1)
    os.close(incoming)
    os.close(outgoing)
