"""Figures as text: each beside its bar, and beside the baseline's as a ratio."""

from __future__ import annotations

import json
import math
import pstats
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.cases import (
    DELAY_P50_MS,
    DELAY_P95_MS,
    LATE_TICKS_PERCENT,
    LATENESS_P99_MS,
    MEMORY_KB,
    SETUP_P99_MS,
    CallCase,
    Case,
    DelayCase,
    MediaCase,
)
from bench.run import TICK_S, CallFigures, DelayFigures, Figures, MediaFigures, Outcome

SHOWN: Final = 8
PROFILE_ROWS: Final = 45
SURROUNDINGS: Final = ("generator", "load average", "time without", "bursts")
"""Figures that say how the measurement went, and nothing of the server: there is no point in their ratio."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one case: the best of all runs.

    Attributes:
        name: what it is, with its unit.
        value: the figure, None when the server does not say.
        bar: the most it may be, None without a bar.
        baseline: the same figure of the baseline.
    """

    name: str
    value: float | None
    bar: float | None = None
    baseline: float | None = None

    @property
    def ratio(self) -> float | None:
        """The figure over the baseline's."""
        if self.value is None or not self.baseline:
            return None
        return self.value / self.baseline

    def text(self) -> str:
        value = "not told" if self.value is None else f"{self.value:.2f}"
        bar = "" if self.bar is None else f"bar {self.bar:g}"
        verdict = ""
        if self.bar is not None and self.value is not None:
            verdict = "ok" if self.value <= self.bar else "OVER"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} × baseline {self.baseline:.2f}"
        return f"  {self.name:<44}{value:>10}   {bar:<9}{verdict:<6}{ratio}".rstrip()


Reader = tuple[str, Callable[[Figures], float | None], float | None]


def _readers(case: Case) -> list[Reader]:
    match case:
        case MediaCase():
            return _media_readers(case)
        case DelayCase():
            return _delay_readers()
        case CallCase():
            return _call_readers()


def _media_readers(case: MediaCase) -> list[Reader]:
    def read(field: Callable[[MediaFigures], float | None]) -> Callable[[Figures], float | None]:
        return lambda figures: field(figures) if isinstance(figures, MediaFigures) else None

    return [
        ("CPU, µs per leg and tick", read(lambda f: f.cpu_us), case.bar_us),
        ("time without a core, % of the window", read(lambda f: f.core_wait_percent), None),
        ("tick lateness at listeners p50, ms", read(lambda f: f.egress.p50_ms), None),
        ("tick lateness at listeners p99, ms", read(lambda f: f.egress.p99_ms), LATENESS_P99_MS),
        ("tick lateness at listeners max, ms", read(lambda f: f.egress.max_ms), None),
        ("ticks over 5 ms late by the server, %", read(lambda f: f.late_percent), LATE_TICKS_PERCENT),
        ("… p50 with set-up, ms", read(lambda f: f.lateness.p50_ms if f.lateness else None), None),
        ("… p99 with set-up, ms", read(lambda f: f.lateness.p99_ms if f.lateness else None), None),
        ("… max with set-up, ms", read(lambda f: f.lateness.max_ms if f.lateness else None), None),
        ("memory per leg, kB", read(lambda f: f.memory_kb), MEMORY_KB),
        ("packets lost on the way in", read(lambda f: float(f.lost_in)), 0.0),
        ("packets lost on the way out", read(lambda f: float(f.lost_out)), 0.0),
        ("loudest of those not to be heard, share", read(lambda f: f.loudest_other), None),
        ("generator lateness p99, ms", read(lambda f: f.load.p99_ms), None),
        ("generator lateness max, ms", read(lambda f: f.load.max_ms), None),
        ("generator, share of a core", read(lambda f: f.load.cpu_share), None),
        ("load average of the machine", read(lambda f: f.load_average), None),
    ]


def _delay_readers() -> list[Reader]:
    def read(field: Callable[[DelayFigures], float | None]) -> Callable[[Figures], float | None]:
        return lambda figures: field(figures) if isinstance(figures, DelayFigures) else None

    return [
        ("delay p50, ms", read(lambda f: f.delay.p50_ms), DELAY_P50_MS),
        ("delay p95, ms", read(lambda f: f.delay.p95_ms), DELAY_P95_MS),
        ("delay max, ms", read(lambda f: f.delay.max_ms), None),
        ("bursts", read(lambda f: float(f.bursts)), None),
        ("broken bursts", read(lambda f: float(f.broken)), 0.0),
        ("generator lateness p99, ms", read(lambda f: f.load.p99_ms), None),
    ]


def _call_readers() -> list[Reader]:
    def read(field: Callable[[CallFigures], float | None]) -> Callable[[Figures], float | None]:
        return lambda figures: field(figures) if isinstance(figures, CallFigures) else None

    return [
        ("INVITE to 200 p50, ms", read(lambda f: f.setup.p50_ms), None),
        ("INVITE to 200 p99, ms", read(lambda f: f.setup.p99_ms), SETUP_P99_MS),
        ("INVITE to 200 max, ms", read(lambda f: f.setup.max_ms), None),
        ("calls not answered", read(lambda f: float(f.offered - f.answered)), 0.0),
        ("VSI events dropped", read(lambda f: float(f.events_dropped)), 0.0),
        ("SIP requests sent again", read(lambda f: float(f.resent)), None),
        ("server CPU per call with its media, ms", read(lambda f: f.cpu_ms), None),
        ("generator lateness p99, ms", read(lambda f: f.load.p99_ms), None),
    ]


def _best(runs: Sequence[Outcome], read: Callable[[Figures], float | None]) -> float | None:
    values = [value for value in (read(run.figures) for run in runs) if value is not None]
    return min(values, default=None)


def rows_of(case: Case, runs: Sequence[Outcome], baseline: Sequence[Outcome] = ()) -> list[Row]:
    """Return every figure of a case, the best of its runs."""
    return [
        Row(name, _best(runs, read), bar, None if name.startswith(SURROUNDINGS) else _best(baseline, read))
        for name, read, bar in _readers(case)
    ]


def case_text(case: Case, runs: Sequence[Outcome], baseline: Sequence[Outcome] = ()) -> str:
    """Return a case as printed: its figures, then what was wrong in any run."""
    title = f"{case.name}: {_describe(case)}" + (f" (best of {len(runs)})" if len(runs) > 1 else "")
    faults = [f"  WRONG {fault}" for run in runs for fault in run.faults]
    if len(faults) > SHOWN:
        faults[SHOWN:] = [f"  WRONG … and {len(faults) - SHOWN} more"]
    if isinstance(case, MediaCase) and runs and not faults:
        faults = ["  every listener hears exactly its room mates and never itself"]
    return "\n".join([title, *(row.text() for row in rows_of(case, runs, baseline)), *faults])


def _describe(case: Case) -> str:
    match case:
        case MediaCase():
            rooms = "2-party rooms" if case.layout == "pairs" else "one room"
            passing = "on" if case.pass_through else "off"
            return f"{case.legs} legs, {rooms} at 16 kHz, PCMU, everybody talking, pass-through {passing}"
        case DelayCase():
            return f"leg to leg at {case.legs} legs, 2-party rooms, {case.bursts} bursts each"
        case CallCase():
            return f"{case.calls} calls offered, {case.rate:g} a second, with media"


def write_json(path: Path, results: Sequence[tuple[Case, Sequence[Outcome], Sequence[Outcome]]]) -> None:
    """Write every run of every case, with the printed rows."""
    document = [
        {
            "case": asdict(case),
            "rows": [{**asdict(row), "ratio": row.ratio} for row in rows_of(case, runs, baseline)],
            "runs": [asdict(run) for run in runs],
            "baseline": [asdict(run) for run in baseline],
        }
        for case, runs, baseline in results
    ]
    path.write_text(json.dumps(_plain(document), indent=1, allow_nan=False) + "\n")


def _plain(value: object) -> object:
    """Return a value as JSON can hold it: no number where there was nothing to measure."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def profile_text(path: Path, legs: int, window_s: float) -> str:
    """Return a profile as µs per leg and tick, dearest first; waiting shows as `poll` of the event loop."""
    entries = pstats.Stats(str(path)).get_stats_profile().func_profiles
    share = 1e6 / (legs * window_s / TICK_S)
    parts = ["profile of the main thread: µs per leg and tick, calls per tick"]
    for heading, read in (("itself", _own_time), ("with all it calls", _whole_time)):
        parts.append(f"  {heading}:")
        ranked = sorted(entries.items(), key=lambda entry: read(entry[1]), reverse=True)[:PROFILE_ROWS]
        for name, entry in ranked:
            calls = int(entry.ncalls.partition("/")[0]) * TICK_S / window_s
            place = f"{Path(entry.file_name).parent.name}/{Path(entry.file_name).name}:{entry.line_number}"
            parts.append(f"    {read(entry) * share:8.3f} {calls:9.1f}  {place} {name}")
    return "\n".join(parts)


def _own_time(entry: pstats.FunctionProfile) -> float:
    return entry.tottime


def _whole_time(entry: pstats.FunctionProfile) -> float:
    return entry.cumtime
