"""Servers with a history that tests kill, processes that do what a test wants, and what the next finds."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import trio

import vb
from tests.history.keepers import OTHER, end_reasons, keeper

WITHIN_S: Final = 50
"""A process takes a second to start, and many of them on a busy machine."""

HANGS: Final = """
import os, sys, threading
from pathlib import Path
from vb.history import program
from vb.history.write_store import WriteStore

really = WriteStore.write

def write(*args, **named):
    if Path({flag!r}).exists():
        Path({flag!r} + ".seen").touch()
        threading.Event().wait()
    return really(*args, **named)

WriteStore.write = write
program.main()
"""
"""A process whose database never answers once a file is there; it makes another one then."""

STARTS: Final = """
from vb.history import program
open({gate!r}).read()
program.main()
"""
"""A process that starts once somebody has opened a named pipe."""

_SERVER: Final = """
import sys, uuid, trio, trio.testing
from pathlib import Path
from vb.children import pulse
from vb.children.tasks.process import launcher
from vb.events.bus import EventBus
from vb.events.leg import Cdr, LegDisconnected, LegRinging
from vb.history.settings import HistorySettings
from vb.history.tasks import apart, open_history
from vb.ids import SystemIds

url, queue, program = sys.argv[1:]
pulse.SILENCE_S = pulse.START_S = 600.0  # a test stops the process for as long as it takes
if program:
    apart.launch_program = lambda: launcher([sys.executable, "-P", "-c", program])

async def main():
    bus = EventBus("edge-1", SystemIds())
    really = apart.launch_program()
    async def launch():
        process = await really()
        print("pid", process._process.pid, flush=True)
        return process
    apart.launch_program = lambda: launch
    def take(published):
        if published.event.type == "call.recorded":
            print("stored", flush=True)
    bus.subscribe(take)
    async with open_history(HistorySettings(url, Path(queue)), bus) as history:
        keeper = history.keeper
        while line := (await trio.to_thread.run_sync(sys.stdin.readline)).split():
            for number in range(int(line[1])):
                leg_id = str(uuid.uuid4())
                bus.publish(LegRinging(leg_id=leg_id, leg_type="sip_inbound"))
                if line[0] == "end":
                    cdr = Cdr(reason="busy", duration_total=1, duration_answered=0)
                    bus.publish(LegDisconnected(leg_id=leg_id, cdr=cdr))
            while history.collector.waiting or keeper._outbox:
                await trio.sleep(0.01)
            await trio.testing.wait_all_tasks_blocked()
            print("sent", line[2], flush=True)
            await keeper.wait_free()
            print("taken", line[2], flush=True)

trio.run(main)
"""
"""On `end 40 7` it lets calls come that end, on `ring 1 8` one that does not, and says how far they got."""


class Server:
    """A server of its own process; `pid` is that of the process that writes for it."""

    def __init__(self, process: trio.Process) -> None:
        self.pid = 0
        self._process = process
        self._said: list[str] = []
        self._rest = ""
        self._asked = 0

    async def calls(self, what: str, number: int, until: str) -> None:
        """Let calls come; returns once they are `sent` to the process, or `taken` by it."""
        assert self._process.stdin is not None
        self._asked += 1
        await self._process.stdin.send_all(f"{what} {number} {self._asked}\n".encode())
        await self.says(f"{until} {self._asked}")

    async def says(self, line: str) -> str:
        """Wait until it has said a line that begins like that, and return what follows there."""
        assert self._process.stdout is not None
        with trio.fail_after(WITHIN_S):
            while True:
                for said in self._said:
                    if said.startswith(line):
                        return said.removeprefix(line)
                part = await self._process.stdout.receive_some(1_000)
                assert part
                *lines, self._rest = (self._rest + part.decode()).split("\n")
                self._said += lines

    async def kill(self) -> None:
        """Kill it, and wait until it is gone; its process may live."""
        self._process.kill()
        await self._process.wait()

    async def killed(self) -> None:
        """Kill it, and wait until both are gone."""
        await self.kill()
        await wait_gone(self.pid)


@asynccontextmanager
async def server(url: str, queue: Path, program: str = "") -> AsyncIterator[Server]:
    """A server whose process has been started, and runs a program of a test's own if there is one."""
    environment = {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", _SERVER, url, str(queue), program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(vb.__path__[0]).parent,
        env=environment,
    )
    one = Server(process)
    try:
        one.pid = int(await one.says("pid"))
        yield one
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        if one.pid and not gone(one.pid):
            os.kill(one.pid, signal.SIGKILL)
        for stream in (process.stdout, process.stdin):
            assert stream is not None
            await stream.aclose()


@asynccontextmanager
async def server_with_calls(url: str, queue: Path, program: str = "") -> AsyncIterator[Server]:
    """Such a server with one call up and one stored."""
    async with server(url, queue, program) as one:
        await one.calls("ring", 1, "taken")
        await one.calls("end", 1, "sent")
        await one.says("stored")
        yield one


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def wait_gone(pid: int) -> None:
    """Wait until a process has ended."""
    with trio.fail_after(WITHIN_S):
        while not gone(pid):  # noqa: ASYNC110 - nothing tells
            await trio.sleep(0.02)


async def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    with trio.fail_after(WITHIN_S):
        while not await trio.Path(path).exists():  # noqa: ASYNC110 - nothing tells
            await trio.sleep(0.02)


def next_process(url: str, queue: Path) -> Counter[str | None]:
    """Let the next process write what it finds, and return why the calls of the database ended."""
    one, _ = keeper(url, queue, OTHER)
    try:
        for _ in range(100):
            one.round([])
            if not one.queued and not one.problems:
                break
        assert (one.queued, one.problems) == (0, {})
    finally:
        one.close(calls_left=False)  # else the next test is told of connections that nobody has closed
    return Counter(end_reasons(url))


@contextmanager
def held_up(folder: Path) -> Iterator[None]:
    """Let nobody open a file of a queue inside the block, as a disk does that takes its time."""
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)
