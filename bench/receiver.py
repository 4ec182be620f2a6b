"""A receiver of webhooks in a process of its own: `python -m bench.receiver`.

It prints its port, answers every POST with 200, and prints the ids of all events that came, in their order,
as one line of JSON for each line that it reads.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.host import Placement
from bench.server import ROOT

_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Receiver:
    """The receiver's process as the bench sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def ids(self) -> list[str]:
        """Return the ids of all events so far, in the order in which they came."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found = json.loads(self._read())
        assert isinstance(found, list)
        return found


@contextmanager
def running_receiver(placement: Placement) -> Iterator[Receiver]:
    """A receiver for the time of the block."""
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.receiver"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        placement.apply(process.pid)
        yield Receiver(process)
    finally:
        process.communicate()


async def _take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ids: list[str]) -> None:
    """Serve one connection until it ends."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            await reader.readexactly(int(fields["content-length"]))
            ids.append(fields["x-event-id"])
            writer.write(_ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main() -> None:
    ids: list[str] = []
    server = await asyncio.start_server(lambda reader, writer: _take(reader, writer, ids), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(ids), flush=True)
    os._exit(0)  # nobody listens any more, whatever is still connected


if __name__ == "__main__":
    asyncio.run(_main())
