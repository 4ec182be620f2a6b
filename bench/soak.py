"""A long run under constant load: standing calls with audio, others that come and go, samples all along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

from bench.bed import RAMP_MOST_UNFINISHED, RAMP_RATE, SHOWN_FAULTS, Bed, Load, open_bed, set_up
from bench.cases import SoakCase
from bench.generator import FinishedCall
from bench.load.churn import Rush
from bench.outcome import Options, Outcome, Sample, SoakFigures
from bench.scripts import PRESSES, SCRIPTS, ScriptedApplication
from bench.server import tick_lateness
from bench.trend import Tolerance, Trend, trend_of

LINES: Final = 160
"""Standing calls and those that come and go, with room for all that may be up at a time."""
HOLD_S: Final = (4.0, 8.0)
"""The shortest call lasts longer than any script."""
LINGER_S: Final = 40.0
"""Transactions stay for 32 s after the last message; from then on the load is what it stays."""
RECORD_S: Final = 60.0

TOLERANCES: Final = {
    "rss_mb": Tolerance(0.03, 1.0),
    "open_files": Tolerance(0.05, 3.0),
    "tasks": Tolerance(0.05, 5.0),
    "transactions": Tolerance(0.1, 10.0),
    "cpu_percent": Tolerance(0.15, 1.0),
    "lateness_p99_ms": Tolerance(0.25, 5.0),
}
"""What the last third may show beyond the first; lateness has room for what others do on the machine."""

HELD: Final = ("rss_mb", "open_files", "tasks", "transactions")
"""What is wrong when it drifts; time is the machine's too, so that the table alone tells of it."""


@dataclass(slots=True)
class _Watcher:
    """Takes samples, and keeps some standing calls recorded."""

    bed: Bed
    recorded: int
    began: float
    calls: int = 0
    failed: int = 0
    lost_out: int = 0
    _cpu: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        """Begin to record, and to count the server's time."""
        self._cpu = (monotonic(), self.bed.server.cpu_s())
        self._record("leg_record_start")

    def _record(self, command: str) -> None:
        for number in range(self.recorded):
            self.bed.application.command(command, id=self.bed.application.legs[number])

    def turn_recordings(self) -> None:
        """Finish all recordings and begin new ones."""
        self._record("leg_record_stop")
        self._record("leg_record_start")

    def count(self, calls: list[FinishedCall]) -> None:
        """Take note of short calls that ended."""
        self.calls += len(calls)
        self.failed += sum(call.state != "ended" for call in calls)
        self.lost_out += sum(call.lost for call in calls)

    def sample(self) -> Sample:
        """Read everything once."""
        server = self.bed.server
        metrics = server.metrics()
        lateness = tick_lateness(metrics)
        now, used = monotonic(), server.cpu_s()
        (then, before), self._cpu = self._cpu, (now, used)
        return Sample(
            at_s=now - self.began,
            rss_mb=server.resident_bytes() / 1e6,
            open_files=server.open_files(),
            tasks=server.tasks().total(),
            legs=int(metrics["voiceblender_media_ports"]),
            transactions=int(metrics["voiceblender_sip_transactions"]),
            cpu_percent=(used - before) * 100 / (now - then),
            lateness_p99_ms=lateness.p99_ms if lateness is not None else 0.0,
            lateness_max_ms=lateness.max_ms if lateness is not None else 0.0,
            calls=self.calls,
        )


def run_soak(case: SoakCase, checkout: Path, options: Options) -> Outcome:
    """Keep the load constant for so many minutes, then let it end and see what is left."""
    rooms = tuple(f"standing-{number}" for number in range(case.rooms))
    application = partial(ScriptedApplication, standing=case.standing, rooms=rooms, seed=case.seed)
    load = Load(LINES, digits=True, observers=1, application=application)
    with open_bed(checkout, load, {"VB_PASS_THROUGH": "false"}, options, watched=True) as bed:
        bed.application.greeted()
        bed.wait(1.0)
        idle = bed.server.tasks(), bed.server.open_files()
        dialled = [rooms[number % len(rooms)] for number in range(case.standing)]
        faults = set_up(bed, dialled, RAMP_RATE, RAMP_MOST_UNFINISHED)
        watcher = _Watcher(bed, case.recorded, monotonic())
        bed.generator.churn(
            Rush(
                count=None,
                rate=case.rate,
                names=tuple(SCRIPTS),
                draw=True,
                hold_s=HOLD_S,
                presses=PRESSES,
                seed=case.seed,
            ),
            first_line=case.standing,
        )
        print("  " + "".join(f"{name:>10}" for name in COLUMNS), flush=True)
        samples = list(_samples(case, watcher))
        bed.generator.end_churn()
        bed.application.pump_until(lambda: bed.generator.status().live == case.standing, HOLD_S[1] + 40.0)
        watcher.count(bed.generator.finished())
        lost_standing = sum(bed.generator.counts().lost[: case.standing])
        faults += _end(bed, rooms, case, idle)
        faults += _faults(bed, watcher, lost_standing)
        trends = _trends(samples)
        drifting = [name for name in HELD if name in trends and not trends[name].is_steady]
        faults += [
            f"{name} is not steady: {trends[name].last:.1f} after {trends[name].first:.1f}"
            for name in drifting
        ]
        assert isinstance(bed.application, ScriptedApplication)
        return Outcome(
            SoakFigures(
                tuple(samples),
                trends,
                watcher.calls,
                watcher.failed,
                bed.application.astray.total(),
                bed.application.dropped,
                watcher.lost_out + lost_standing,
            ),
            tuple(faults),
        )


def _samples(case: SoakCase, watcher: _Watcher) -> Iterator[Sample]:
    """Yield a sample after each interval, the first when the load has become what it stays."""
    bed = watcher.bed
    bed.wait(LINGER_S)
    watcher.start()
    next_at = monotonic() + case.sample_s
    turn_at = monotonic() + RECORD_S
    end_at = monotonic() + case.minutes * 60
    while next_at <= end_at + 0.5:
        bed.application.pump_until(_passed(next_at), next_at - monotonic() + 1.0)
        next_at += case.sample_s
        watcher.count(bed.generator.finished())
        sample = watcher.sample()
        print(sample_text(sample), flush=True)
        yield sample
        if monotonic() >= turn_at:
            turn_at += RECORD_S
            watcher.turn_recordings()


def _passed(at: float) -> Callable[[], bool]:
    return lambda: monotonic() >= at


def _end(bed: Bed, rooms: tuple[str, ...], case: SoakCase, idle: tuple[Counter[str], int]) -> list[str]:
    """Hang everybody up, delete the rooms, and tell what is left that was not there at the start."""
    bed.hang_up(case.standing)
    for room in rooms:
        bed.server.request("DELETE", f"/v1/rooms/{room}")
    bed.application.pump_until(lambda: bed.server.metrics()["voiceblender_sip_transactions"] == 0, LINGER_S)
    bed.application.catch_up()
    bed.application.pump_until(lambda: (bed.server.tasks(), bed.server.open_files()) == idle, 5.0)
    tasks, open_files = bed.server.tasks(), bed.server.open_files()
    faults = [f"{count} more tasks than at the start: {name}" for name, count in (tasks - idle[0]).items()]
    if open_files != idle[1]:
        faults.append(f"{open_files} open files, {idle[1]} at the start")
    return faults


def _faults(bed: Bed, watcher: _Watcher, lost_standing: int) -> list[str]:
    application = bed.application
    assert isinstance(application, ScriptedApplication)
    faults = list(application.examples[:SHOWN_FAULTS])
    if application.astray:
        faults.append(f"calls that did not go by their script: {dict(application.astray)}")
    if watcher.failed:
        faults.append(f"{watcher.failed} of {watcher.calls} short calls failed")
    if application.dropped:
        faults.append(f"{application.dropped} VSI events dropped")
    if len({tuple(log.ids) for log in application.logs}) > 1:
        faults.append("the VSI clients were not told the same")
    if watcher.lost_out or lost_standing:
        faults.append(
            f"packets lost on the way out: {watcher.lost_out} of short, {lost_standing} of standing calls"
        )
    return faults + application.errors[:SHOWN_FAULTS]


def _trends(samples: list[Sample]) -> dict[str, Trend]:
    if len(samples) < 3:
        return {}
    times = [sample.at_s for sample in samples]
    return {
        name: trend_of(times, [float(getattr(sample, name)) for sample in samples], tolerance)
        for name, tolerance in TOLERANCES.items()
    }


COLUMNS: Final = ("min", "RSS MB", "fds", "tasks", "legs", "trans.", "CPU %", "late p99", "late max", "calls")


def sample_text(sample: Sample) -> str:
    """Return a sample as a line of the table; lateness is in milliseconds."""
    values = (
        f"{sample.at_s / 60:.1f}",
        f"{sample.rss_mb:.2f}",
        f"{sample.open_files}",
        f"{sample.tasks}",
        f"{sample.legs}",
        f"{sample.transactions}",
        f"{sample.cpu_percent:.1f}",
        f"{sample.lateness_p99_ms:.1f}",
        f"{sample.lateness_max_ms:.1f}",
        f"{sample.calls}",
    )
    return "  " + "".join(f"{value:>10}" for value in values)
