"""The steady window: what the server costs, and how late it is, while nothing is set up or ends."""

from __future__ import annotations

import signal
import time
from typing import Final

from bench.bed import Bed
from bench.host import load_average
from bench.outcome import Options, Window
from bench.server import late_percent

TICK_S: Final = 0.02


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
