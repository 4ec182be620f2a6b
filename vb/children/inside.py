"""What a process of the server's own does at its start, and what it says of itself."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import Final

LOOK_EVERY_S: Final = 1.0


def settle_in(niceness: int) -> tuple[int, int]:
    """Leave signals to the server and the core to calls; returns where messages come from and go to.

    Args:
        niceness: added to the server's.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it means the server, which then closes the pipe
    # Whoever runs the server may forbid either, as the systemd unit does: the work is done all the same.
    with suppress(OSError):
        if os.sched_getscheduler(0) != os.SCHED_OTHER:  # a server before everything else is that alone
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with suppress(OSError):
        os.nice(niceness)
    outgoing = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints stays out of the messages
    return 0, outgoing


def wait_parent_gone() -> None:
    """Return once the process that started this one has ended, be its pipe held open by another.

    To be called by a thread that ends with the process.
    """
    parent, never = os.getppid(), threading.Event()
    while os.getppid() == parent:
        never.wait(LOOK_EVERY_S)


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
