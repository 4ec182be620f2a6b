"""Tells whether this machine was too busy to judge anything by the clock."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAMPLE_S = 0.01
STALL_S = 0.05
"""A sleeper that wakes this late has missed more than two packets."""
BUSY_PERCENT = 90.0
"""How much of the last ten seconds somebody waited for a processor; the suite alone is near 30."""
PRESSURE_FILE = Path("/proc/pressure/cpu")
_LAST_TEN_S = re.compile(r"some avg10=([\d.]+)")


class StallWatch:
    """How late a thread that only sleeps woke up, and what the kernel says about the processors."""

    def __init__(self, *, pressure_file: Path = PRESSURE_FILE) -> None:
        self._longest_s = 0.0
        self._pressure_file = pressure_file
        self._stopped = threading.Event()

    def begin(self) -> None:
        """Forgets what was."""
        self._longest_s = 0.0

    def note(self, stall_s: float) -> None:
        """Takes one stall into account."""
        self._longest_s = max(self._longest_s, stall_s)

    @property
    def longest_s(self) -> float:
        """The longest stall since the beginning."""
        return self._longest_s

    def problem(self) -> str:
        """What was wrong with the machine since the beginning; empty when it kept up."""
        if self._longest_s >= STALL_S:
            return f"a stall of {self._longest_s:.2f} s"
        busy = self._busy_percent()
        return f"a machine {busy:.0f}% busy" if busy >= BUSY_PERCENT else ""

    def _busy_percent(self) -> float:
        """The pressure of the last ten seconds; 0 where the kernel does not tell."""
        try:
            found = _LAST_TEN_S.search(self._pressure_file.read_text(encoding="ascii"))
        except OSError:
            return 0.0
        return float(found.group(1)) if found else 0.0

    def sample(self) -> None:
        """Sleeps again and again until the watch is stopped."""
        before = time.monotonic()
        while not self._stopped.wait(SAMPLE_S):
            now = time.monotonic()
            self.note(now - before - SAMPLE_S)
            before = now

    def stop(self) -> None:
        """Ends `sample`."""
        self._stopped.set()


@contextmanager
def watching() -> Iterator[StallWatch]:
    """A watch that runs while the block does."""
    watch = StallWatch()
    thread = threading.Thread(target=watch.sample, name="stall watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()
