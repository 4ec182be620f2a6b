"""The steady window: what the server costs, and how late it is, while nothing is set up or ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from typing import Final

from bench.bed import Bed
from bench.figures import Spread
from bench.host import load_average
from bench.outcome import Options, Stages, Window
from bench.server import Server, late_percent

TICK_S: Final = 0.02


def played_ticks(before: Mapping[str, float], after: Mapping[str, float], took_s: float) -> float:
    """Return how many ticks were played between two readings of the metrics, one at least.

    Args:
        before: at the beginning.
        after: at the end.
        took_s: time in between, which stands for the ticks of a server that does not count them.
    """
    name = "voiceblender_ticks"
    if name not in after:
        return max(1.0, took_s / TICK_S)
    return max(1.0, after[name] - before.get(name, 0.0))


class StageWatch:
    """Reads what the stages of a server's ticks cost between its making and `read`.

    Args:
        server: that can be asked for them.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before = server.stages()
        self._began, self._used = time.monotonic(), server.cpu_s()

    def read(self, legs: int) -> Stages:
        """Return what they cost of each leg."""
        due = (time.monotonic() - self._began) / TICK_S
        used = self._server.cpu_s() - self._used
        after = self._server.stages()
        ticks = max(1, len(after.late_ms))
        share = 1e6 / (legs * ticks)
        of_it = {
            stage: (spent_s - self._before.spent_s.get(stage, 0.0)) * share
            for stage, spent_s in after.spent_s.items()
        }
        left_out = max(0.0, 1 - ticks / due) * 100
        return Stages(used * share, of_it, Spread.of(after.late_ms), left_out, used / (ticks * TICK_S))


def measure(bed: Bed, legs: int, options: Options) -> Window:
    """Measure over the window."""
    server, generator = bed.server, bed.generator
    before = server.metrics()
    generator.mark()
    if options.profile is not None:
        server.signal(signal.SIGUSR1)
    began, used, waited = time.monotonic(), server.cpu_s(), server.core_wait_s()
    bed.wait(options.window_s)
    used, waited, took = server.cpu_s() - used, server.core_wait_s() - waited, time.monotonic() - began
    if options.profile is not None:
        server.signal(signal.SIGUSR2)
    return Window(
        cpu_us=used * 1e6 / (legs * took / TICK_S),
        core_wait_percent=waited * 100 / took,
        load=generator.lateness(),
        egress=generator.egress(),
        late_percent=late_percent(before, server.metrics()),
        load_average=load_average(),
    )
