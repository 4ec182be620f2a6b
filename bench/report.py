"""Figures as text: each beside its bar, and beside the baseline's as a ratio."""

from __future__ import annotations

import json
import math
import pstats
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bench.cases import (
    FEW_SHARE,
    AgentsCase,
    BesideCase,
    BurstCase,
    CallCase,
    Case,
    DelayCase,
    FaultyAgentsCase,
    FeaturesCase,
    HistoriesCase,
    MediaCase,
    MemoryCase,
    OwnAgentsCase,
    SignallingCase,
    SoakCase,
    SpeakersCase,
    TranscriptsCase,
    VoiceCase,
    WebRtcCase,
    WebSocketCase,
)
from bench.outcome import Outcome, SoakFigures, WebRtcFigures
from bench.row import Row
from bench.rows import rows_of, stage_lines
from bench.window import TICK_S

SHOWN: Final = 8
PROFILE_ROWS: Final = 45


def case_text(case: Case, runs: Sequence[Outcome], baseline: Sequence[Outcome] = ()) -> str:
    """Return a case as printed: its figures, then what was wrong in any run."""
    title = f"{case.name}: {_describe(case)}" + (f" (best of {len(runs)})" if len(runs) > 1 else "")
    trends = [
        line for run in runs if isinstance(run.figures, SoakFigures) for line in trend_lines(run.figures)
    ]
    browsers = [run.figures for run in runs if isinstance(run.figures, WebRtcFigures)]
    if browsers:
        trends += stage_lines(min(browsers, key=lambda figures: figures.stages.cpu_us))
    faults = [f"  WRONG {fault}" for run in runs for fault in run.faults]
    if len(faults) > SHOWN:
        faults[SHOWN:] = [f"  WRONG … and {len(faults) - SHOWN} more"]
    if isinstance(case, MediaCase | SpeakersCase | WebRtcCase) and runs and not faults:
        faults = ["  every listener hears exactly its room mates and never itself"]
    return "\n".join([title, *(row.text() for row in rows_of(case, runs, baseline)), *trends, *faults])


def share_text(
    case: WebRtcCase, results: Sequence[tuple[Case, Sequence[Outcome], Sequence[Outcome]]]
) -> str | None:
    """Return what a case costs of another one that was run as well, None where it was not.

    Both are what a tick that was played costs a leg, so that it does not matter how many were.
    """
    costs = {
        other.name: (_tick_us(runs), _tick_us(baseline))
        for other, runs, baseline in results
        if isinstance(other, WebRtcCase)
    }
    own, all_of_it = costs.get(case.name), costs.get(case.share_of or "")
    if own is None or all_of_it is None:
        return None
    shares = [few / whole if few and whole else None for few, whole in zip(own, all_of_it, strict=True)]
    return Row(f"a played tick, of {case.share_of}", shares[0], FEW_SHARE, shares[1]).text()


def _tick_us(runs: Sequence[Outcome]) -> float | None:
    """Return the least that a tick that was played cost a leg in any run."""
    figures = [run.figures for run in runs]
    return min((one.tick_us for one in figures if isinstance(one, WebRtcFigures)), default=None)


def trend_lines(figures: SoakFigures) -> list[str]:
    """Return a table of where each figure of a soak went: its last third against its first."""
    if not figures.trends:
        return ["  too short to tell whether a figure drifts"]
    lines = [f"  {'drift':<20}{'first third':>12}{'last third':>12}{'an hour':>12}{'at most':>12}"]
    for name, trend in figures.trends.items():
        columns = (trend.first, trend.last, trend.per_hour, trend.limit)
        verdict = "steady" if trend.is_steady else "DRIFTS"
        lines.append(f"  {name:<20}" + "".join(f"{value:>12.2f}" for value in columns) + f"   {verdict}")
    return lines


def _describe(case: Case) -> str:
    match case:
        case MediaCase():
            rooms = "2-party rooms" if case.layout == "pairs" else "one room"
            passing = "on" if case.pass_through else "off"
            return f"{case.legs} legs, {rooms} at 16 kHz, PCMU, everybody talking, pass-through {passing}"
        case SpeakersCase():
            rooms = f"rooms of {case.room_size}" if case.room_size else "one room"
            talking = f"{case.talkers} talk" if case.talkers else "everybody talking"
            formats = case.codec or "all formats and packet times"
            return f"{case.legs} legs, {rooms} at 16 kHz, {formats}, {talking}"
        case WebRtcCase():
            rooms = "2-party rooms" if case.layout == "pairs" else "one room"
            talking = f"{case.talkers} talk" if case.talkers else "everybody talking"
            talking += " and the others pause" if case.listeners == "pause" else ""
            further = f", {case.handshakes_per_s:g} further ones a second" if case.handshakes_per_s else ""
            level = "" if case.complexity == "auto" else f" at complexity {case.complexity}"
            cores = f", on {case.cores} cores" if case.cores > 1 else ""
            return (
                f"{case.legs} browsers, {rooms} at 16 kHz, Opus{level} over SRTP, {talking}{further}{cores}"
            )
        case DelayCase():
            return f"leg to leg at {case.legs} legs, 2-party rooms, {case.bursts} bursts each"
        case VoiceCase():
            return (
                f"a kept utterance said {case.rounds} times to each of {case.legs} legs, one after the other"
            )
        case FeaturesCase():
            return (
                f"{case.legs} legs, 2-party rooms at 16 kHz, PCMU, bursts of speech told for all, "
                f"{case.recorded} recorded, pass-through off"
            )
        case BesideCase():
            return f"{case.legs} browsers in 2-party rooms, then as many callers by {case.kind}"
        case WebSocketCase():
            return f"{case.legs} programs on WebSockets, 2-party rooms at 16 kHz, then as many phones"
        case TranscriptsCase():
            return f"{case.legs} legs, 2-party rooms at 16 kHz, PCMU, everybody talking, each transcribed"
        case AgentsCase():
            return (
                f"{case.legs} callers and agents that run elsewhere, all talking at once, "
                f"{case.block_ms} ms of audio to a message"
            )
        case OwnAgentsCase():
            return (
                f"{case.legs} callers and agents of the server's own; ears, model and voice have fixed delays"
            )
        case FaultyAgentsCase():
            return f"{case.sessions} agents whose partners fail, {case.legs} at a time"
        case MemoryCase():
            return f"{case.warm_up} and {case.calls} short calls with media, {case.rate:g} a second"
        case SoakCase():
            return (
                f"{case.standing} standing legs in {case.rooms} rooms, {case.recorded} of them recorded, "
                f"{case.rate:g} scripted calls a second, {case.minutes:g} minutes"
            )
        case SignallingCase():
            return (
                f"{case.calls} calls answered by a command, {case.rate:g} a second, "
                f"hung up after {case.hold_s * 1000:g} ms, no audio from callers"
            )
        case HistoriesCase():
            return (
                f"{case.calls} calls, {case.rate:g} a second, {case.rounds} times in turn: "
                "without a history, in SQLite, in PostgreSQL"
            )
        case BurstCase():
            return f"{case.legs} calls, nearly all in one room without audio, end at once: {case.kind}"
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
