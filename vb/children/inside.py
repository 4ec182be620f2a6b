"""What a process of the server's own does at its start, and what it says of itself."""

from __future__ import annotations

import os
import select
import signal
import threading
from contextlib import suppress
from typing import Final

LOOK_EVERY_S: Final = 1.0
FAULT_STATUS: Final = 3
"""Exit status of a process one of whose threads failed."""


def settle_in(niceness: int) -> tuple[int, int]:
    """Leave signals to the server and the core to calls; returns where messages come from and go to.

    Args:
        niceness: added to the server's.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # They come from a terminal and mean the server, which then closes the pipe.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Whoever runs the server may forbid either, as the systemd unit does: the work is done all the same.
    with suppress(OSError):
        if os.sched_getscheduler(0) != os.SCHED_OTHER:  # a server before everything else is that alone
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with suppress(OSError):
        os.nice(niceness)
    outgoing = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints stays out of the messages
    return 0, outgoing


def end_with_any_thread() -> None:
    """Have the process end when one of its threads fails: without it the others would wait for ever.

    The server starts another process; the trace goes to standard error, where the server reads it.
    """
    threading.excepthook = _end


def _end(args: threading.ExceptHookArgs) -> None:
    threading.__excepthook__(args)
    os._exit(FAULT_STATUS)  # an exit by an exception would end this thread only


def read_while_owned(pipe: int, size: int, parent: int) -> bytes:
    """Return what comes next; nothing at the end of the pipe, or once its owner is gone and all is read.

    A pipe may be held open by another than its owner, and then has no end. To be called by a thread that ends
    with the process.

    Args:
        pipe: that is read.
        size: bytes that are read at most.
        parent: the process that started this one.
    """
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while True:
        gone = os.getppid() != parent  # asked first: what is not here then never comes
        if poll.poll(0 if gone else LOOK_EVERY_S * 1000):
            return os.read(pipe, size)
        if gone:
            return b""


def write_while_owned(pipe: int, data: bytes, parent: int) -> None:
    """Write all of it, waiting for room as long as the owner is there.

    A pipe that another than its owner holds open has no end, and nobody makes room in it.

    Args:
        pipe: that is written to.
        data: all of it is written.
        parent: the process that started this one.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    poll = select.poll()
    poll.register(pipe, select.POLLOUT)
    rest = memoryview(data)
    while rest:
        gone = os.getppid() != parent
        if poll.poll(0 if gone else LOOK_EVERY_S * 1000):
            rest = rest[os.write(pipe, rest[: select.PIPE_BUF]) :]  # so much has room, if any has
        elif gone:
            raise BrokenPipeError


def write_all(pipe: int, data: bytes) -> None:
    """Write all of it.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(pipe, rest) :]


def resident_kb() -> int:
    """Return how much memory this process has; 0 where nobody can say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            pages = int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024
