"""Where log lines go: whoever writes one neither waits nor fails, because calls must do neither."""

from __future__ import annotations

import atexit
import json
import os
import select
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, TextIO

BUFFER_BYTES: Final = 1 << 20
"""What waits for a reader at most; a line longer than that waits alone."""
PORTION_BYTES: Final = select.PIPE_BUF
"""A pipe or socket that has room at all has room for so much, and takes it in one piece."""
FINISH_S: Final = 1.0
"""How long the end of the process waits for a reader."""


class LogStream:
    """Log lines on their way to a file, a pipe, a socket or a terminal.

    What finds room at once is written by the caller. The rest waits in a buffer, in order, for a thread that
    writes it and sleeps otherwise. A line that finds the buffer full is left out, as is one that a full disk
    or a closed pipe does not take; the next one stands behind one that tells how many these were.

    Signal handlers and finalizers may log, in the middle of a `write` of their own thread too: `_gate` lets a
    thread in again, and nobody waits for `_writing`: who does not get it leaves the line to who has it.

    Args:
        target: standard error, or what takes its place; None for nowhere.

    Attributes:
        lost: lines that were left out, since the start.
    """

    def __init__(self, target: TextIO | None) -> None:
        self.lost = 0
        self._target = target
        self._gate = threading.RLock()  # of the next four and `lost`; held for a moment only
        self._waiting: deque[tuple[bytes, int]] = deque()  # what to write, and the lost lines it tells of
        self._bytes = 0
        self._untold = 0
        self._portion: list[tuple[bytes, int]] = []
        self._writing = threading.Lock()  # of the next two and of the descriptor
        self._rest = memoryview(b"")
        self._torn = False
        self._wanted = threading.Lock()  # let go when the thread shall go on with `_writing`
        self._wanted.acquire()
        try:
            self._fd = target.fileno() if target is not None else None
        except OSError:  # it is no file, as in tests
            self._fd = None
        if self._fd is not None:
            # A terminal says that it has room when it has some, and then waits for more.
            self._can_tell = not os.isatty(self._fd)
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLOUT)
            threading.Thread(target=self._write_what_waits, name="log", daemon=True).start()
            atexit.register(self.finish)

    def write(self, line: str) -> int:
        """Write a line with its end, keep it for when there is room, or leave it out."""
        if self._fd is None:
            self._write_elsewhere(line)
            return len(line)
        data = line.encode("utf-8", "backslashreplace")
        if self._untold or self._waiting or not self._write_alone(data):
            self._keep(data)
        self._write_at_once()
        return len(line)

    def flush(self) -> None:
        """Do nothing: what waits is written as soon as it can be."""

    def finish(self) -> None:
        """Wait until nothing is left to be written, for a second at most."""
        if self._writing.acquire(timeout=FINISH_S):
            self._writing.release()
            self._write_at_once()

    def readings(self) -> Iterator[tuple[str, str, float, Mapping[str, str]]]:
        """Give the figure of the log for the metrics."""
        yield (
            "log_lines_lost",
            "Log lines that whoever reads the log took too slowly, or a disk not",
            self.lost,
            {},
        )

    def _write_elsewhere(self, line: str) -> None:
        try:
            if self._target is not None:
                self._target.write(line)
                self._target.flush()
                return
        except OSError:
            pass
        self.lost += 1

    def _write_alone(self, data: bytes) -> bool:
        """Write a line as most are: nothing waits, and there is room. False if it has to be kept first."""
        assert self._fd is not None
        if not self._writing.acquire(blocking=False):
            return False
        try:
            if self._rest or self._torn or len(data) > PORTION_BYTES or not self._has_room():
                return False
            written = os.write(self._fd, data)
            self._torn = 0 < written < len(data)
            return written == len(data)
        except OSError:
            return False
        finally:
            self._writing.release()

    def _has_room(self) -> bool:
        return self._can_tell and bool(self._poll.poll(0))

    def _keep(self, data: bytes) -> None:
        # A number is changed in one step here, after what is called for it: this thread may come in again.
        size = len(data)
        with self._gate:
            if self._bytes and self._bytes + size > BUFFER_BYTES:
                self._untold += 1
                self.lost += 1
                return
            if self._untold:
                untold, self._untold = self._untold, 0
                lost = {"lines": untold, "event": "log lines lost", "level": "warning"}
                notice = json.dumps(lost).encode() + b"\n"
                notice_size = len(notice)
                self._bytes += notice_size
                self._waiting.append((notice, untold))
            self._bytes += size
            self._waiting.append((data, 0))

    def _write_at_once(self) -> None:
        """Write what waits as far as there is room, and leave the rest to the thread."""
        # Once more after letting go: a line may have come whose writer did not get the lock.
        while self._waiting and self._writing.acquire(blocking=False):
            done = True
            try:
                done = self._drain(wait=False)
            finally:
                (self._writing if done else self._wanted).release()
            if not done:
                return

    def _write_what_waits(self) -> None:
        while True:
            self._wanted.acquire()
            self._drain(wait=True)
            self._writing.release()
            self._write_at_once()

    def _drain(self, *, wait: bool) -> bool:
        """Write what waits; False if one would have to wait. Only for who holds `_writing`."""
        assert self._fd is not None
        while self._rest or self._waiting:
            if not self._rest:
                self._take()
            if not wait and not self._has_room():
                return False
            try:
                written = os.write(self._fd, self._rest[:PORTION_BYTES])
            except BlockingIOError:  # others have made it such a descriptor
                if not wait:
                    return False
                self._poll.poll()
            except OSError:
                self._lose()
            else:
                self._rest = self._rest[written:]
                self._torn = self._torn and bool(self._rest)
        return True

    def _take(self) -> None:
        """Take as many whole lines as go in one piece, one at least."""
        with self._gate:
            data, told = self._waiting.popleft()
            self._portion = [(data, told)]
            while self._waiting and len(data) + len(self._waiting[0][0]) < PORTION_BYTES:
                self._portion.append(self._waiting.popleft())
                data += self._portion[-1][0]
            size = len(data)
            self._bytes -= size
        self._rest = memoryview(b"\n" + data if self._torn else data)

    def _lose(self) -> None:
        """Give up what is left of a portion; a line that has been begun must not spoil the next one."""
        left = len(self._rest)
        with self._gate:
            for data, told in reversed(self._portion):
                if left <= 0:
                    break
                self._untold += told or 1
                self.lost += not told
                left -= len(data)
        self._torn = left != 0
        self._rest = memoryview(b"")
