"""Runs scenarios in several processes at once; each has its own servers, receivers and event loop.

A worker (``python -m conformance.workers``) takes scenario names, one a line, and answers each with its
outcome as a line of JSON; it ends when its input does. Processes keep the timing of the peers apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import trio

from conformance.registry import Scenario, load_all
from conformance.runner import ATTEMPTS, PAUSE_S, Outcome, open_runner
from conformance.targets import START_TIMEOUT_S, STOP_TIMEOUT_S

MARGIN_S = START_TIMEOUT_S + 2 * STOP_TIMEOUT_S + 60


def to_line(outcome: Outcome) -> bytes:
    """An outcome as a worker writes it."""
    return json.dumps(asdict(outcome)).encode() + b"\n"


def from_line(line: bytes) -> Outcome:
    """An outcome as a worker wrote it."""
    fields = json.loads(line)
    return Outcome(**{**fields, "used": tuple(fields["used"]), "fields": tuple(fields["fields"])})


class _Lines:
    """Lines of a byte stream."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def next(self) -> bytes | None:
        """The next whole line, or None at the end."""
        while b"\n" not in self._buffer:
            chunk = await self._stream.receive_some(65536)
            if not chunk:
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


# -- the worker -----------------------------------------------------------------------------------


async def work() -> None:
    """Runs what standard input names until it ends."""
    scenarios = load_all()
    lines = _Lines(trio.lowlevel.FdStream(os.dup(0)))
    async with open_runner() as runner:
        while (name := await lines.next()) is not None:
            outcome = await runner.run(scenarios[name.decode()])
            sys.stdout.buffer.write(to_line(outcome))
            sys.stdout.buffer.flush()


# -- the employer ---------------------------------------------------------------------------------


class _Worker:
    """One worker process as its employer sees it."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._lines = _Lines(process.stdout)

    async def run(self, item: Scenario) -> Outcome | None:
        """Has a scenario run; None when the worker died or hangs."""
        with trio.move_on_after(ATTEMPTS * (item.timeout_s + MARGIN_S + PAUSE_S)):
            try:
                await self._stdin.send_all(item.name.encode() + b"\n")
            except trio.BrokenResourceError:
                return None
            line = await self._lines.next()
            return from_line(line) if line is not None else None
        return None


@asynccontextmanager
async def _employed() -> AsyncIterator[_Worker]:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "conformance.workers"],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield _Worker(process)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 2 * STOP_TIMEOUT_S):
            assert process.stdin is not None
            await process.stdin.aclose()
            with trio.move_on_after(STOP_TIMEOUT_S):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _employ(waiting: deque[Scenario], outcomes: dict[str, Outcome]) -> None:
    """Keeps one worker busy until nothing waits; one that died is replaced."""
    while waiting:
        async with _employed() as worker:
            while waiting:
                item = waiting.popleft()
                outcome = await worker.run(item)
                died = Outcome(item.name, item.what, 0.0, "its worker", "an outcome", "none")
                outcomes[item.name] = outcome or died
                print(outcomes[item.name].line(), flush=True)
                if outcome is None:
                    break


async def run_parallel(scenarios: Sequence[Scenario], jobs: int) -> list[Outcome]:
    """Runs the scenarios in ``jobs`` processes, the longest first, printing each outcome as it comes."""
    waiting = deque(sorted(scenarios, key=lambda item: -item.timeout_s))
    outcomes: dict[str, Outcome] = {}
    async with trio.open_nursery() as nursery:
        for _ in range(min(jobs, len(waiting))):
            nursery.start_soon(_employ, waiting, outcomes)
    return [outcomes[item.name] for item in scenarios]


if __name__ == "__main__":
    trio.run(work)
