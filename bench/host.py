"""What the operating system knows of a process: CPU time, memory, which cores it may use."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
NICENESS: Final = 10
"""Of a load that shares the cores of what it measures."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def parse_cpu_s(stat: str, ticks_per_s: int) -> float:
    """Return user and system time of a whole process from the text of /proc/PID/stat."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / ticks_per_s


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used, all threads together."""
    return parse_cpu_s(Path(f"/proc/{pid}/stat").read_text(), _CLOCK_TICKS)


def core_wait_s(pid: int) -> float:
    """Return how long the main thread of a process was ready to run while its core did something else."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def move_children(pid: int, cores: frozenset[int]) -> int:
    """Let the processes that a process has started run on other cores; returns how many there are."""
    # A child counts as that of the thread which started it, and servers start some from threads.
    children = set[int]()
    for each in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # that thread has just ended, and its children are another's now
            children.update(map(int, each.read_text().split()))
    for child in children:
        for thread in os.listdir(f"/proc/{child}/task"):
            os.sched_setaffinity(int(thread), cores)
    return len(children)


def raise_open_files() -> None:
    """Allow this process and those it starts as many open files as the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a process runs.

    Attributes:
        cores: the only ones that it may use.
        realtime: whether it runs there before everything else, which takes a right that few have.
        yields: whether it lets others go first.
    """

    cores: frozenset[int]
    realtime: bool
    yields: bool = False

    def apply(self, pid: int) -> None:
        """Place a process that was just started, and all its threads to come.

        Raises:
            PermissionError: `realtime` is not permitted.
        """
        os.sched_setaffinity(pid, self.cores)
        if self.yields:
            os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
        elif self.realtime:
            os.sched_setscheduler(pid, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def placements(*, realtime: bool, server_cores: int = 1) -> tuple[Placement, Placement]:
    """Return places for the server and for the load: different cores unless there are too few."""
    cores = sorted(os.sched_getaffinity(0))
    server = cores[:server_cores]
    load = cores[server_cores:]
    return (
        Placement(frozenset(server), realtime),
        Placement(frozenset(load or cores), realtime, yields=not load and server_cores > 1),
    )


@contextmanager
def placed(placement: Placement) -> Iterator[None]:
    """This process on the cores of a placement for the time of the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, placement.cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def load_average() -> float:
    """Return how many tasks wanted to run in the last minute: tells a busy machine from a quiet one."""
    return os.getloadavg()[0]
