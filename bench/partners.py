"""Everybody with whom agents speak: bots, ears, models and voices, each with a fixed delay and no thought.

Run as `python -m bench.partners`: prints its port as one line of JSON; for each line on standard input it
prints what it has counted, and at the end of it it ends.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bench.figures import percentile
from bench.host import Placement, raise_open_files
from bench.partner_lines import Counted, Line
from bench.services import running_service

_READ_BYTES: Final = 262_144


@dataclass(frozen=True, slots=True)
class Partnership:
    """What was counted.

    Attributes:
        open: WebSockets.
        bytes: of audio that was heard.
        messages: in which it came.
        asked: requests to models and voices.
        cuts: number of the conversation and wall time in ns of each interruption by a partner.
        late_ms: most by which the partners were late themselves since they were asked before.
        late_p95_ms: by how much they were late, or less, in all but one case of twenty.
    """

    open: int
    bytes: int
    messages: int
    asked: int
    cuts: tuple[tuple[int, int], ...]
    late_ms: float
    late_p95_ms: float


class _Service:
    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._poll = select.epoll()
        self._counted = Counted()
        self._lines: dict[int, tuple[socket.socket, Line, bytearray]] = {}
        self._due: list[tuple[float, int, Line, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._late_ms: list[float] = []

    def serve(self) -> None:
        """Serve until standard input ends."""
        print(json.dumps({"port": self._listener.getsockname()[1]}), flush=True)
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)
        while True:
            wait_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            # By itself it waits for whole milliseconds, and rounds up.
            select.select([self._poll], [], [], wait_s)
            for descriptor, events in self._poll.poll(0):
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor == sys.stdin.fileno():
                    if not os.read(descriptor, 4096):
                        return
                    self._tell()
                else:
                    self._move(descriptor, events)
            self._do_due()

    def _tell(self) -> None:
        counted = self._counted
        told = [
            counted.open,
            counted.bytes,
            counted.messages,
            counted.asked,
            counted.cuts,
            max(self._late_ms, default=0.0),
            percentile(self._late_ms, 95) if self._late_ms else 0.0,
        ]
        print(json.dumps(told), flush=True)
        self._late_ms.clear()

    def _do_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            at, _, line, do = heapq.heappop(self._due)
            self._late_ms.append((now - at) * 1000)
            if not line.over:
                do()

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        descriptor, waiting = sock.fileno(), bytearray()

        def send(data: bytes) -> None:
            waiting.extend(data)
            self._flush(descriptor)

        def later(seconds: float, do: Callable[[], None]) -> None:
            at = time.monotonic() + seconds
            heapq.heappush(self._due, (at, next(self._numbers), line, lambda: self._do(descriptor, line, do)))

        line = Line(send, later, self._counted)
        self._lines[descriptor] = sock, line, waiting
        self._poll.register(descriptor, select.EPOLLIN)

    def _do(self, descriptor: int, line: Line, do: Callable[[], None]) -> None:
        do()
        if line.over:
            self._end(descriptor)

    def _flush(self, descriptor: int) -> None:
        sock, line, waiting = self._lines[descriptor]
        try:
            del waiting[: sock.send(waiting)]
        except BlockingIOError:
            pass
        except OSError:
            line.over = True
        wanted = (0 if line.deaf else select.EPOLLIN) | (select.EPOLLOUT if waiting else 0)
        self._poll.modify(descriptor, wanted)

    def _move(self, descriptor: int, events: int) -> None:
        if descriptor not in self._lines:
            return
        sock, line, _ = self._lines[descriptor]
        try:
            if events & select.EPOLLOUT:
                self._flush(descriptor)
            if events & (select.EPOLLIN | select.EPOLLHUP):
                data = sock.recv(_READ_BYTES)
                line.over = line.over or not data
                line.take(data)
        except OSError:
            line.over = True
        if line.over:
            self._end(descriptor)

    def _end(self, descriptor: int) -> None:
        sock, line, _ = self._lines.pop(descriptor, (None, None, None))
        if sock is not None and line is not None:
            line.end()
            self._poll.unregister(descriptor)
            sock.close()


class Partners:
    """The running services."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.port = port
        self.http_url = f"http://127.0.0.1:{port}"
        self.ws_url = f"ws://127.0.0.1:{port}"
        self._process = process

    def counted(self) -> Partnership:
        """Return what was counted up to now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        sockets, size, messages, asked, cuts, *late_ms = json.loads(self._process.stdout.readline())
        return Partnership(sockets, size, messages, asked, tuple((leg, at) for leg, at in cuts), *late_ms)


@contextmanager
def running_partners(placement: Placement) -> Iterator[Partners]:
    """Partners for the time of the block."""
    with running_service("bench.partners", placement) as (process, port):
        yield Partners(process, port)


if __name__ == "__main__":
    raise_open_files()
    _Service().serve()
