"""Many legs with everything on: speaking detection for all of them, a recording of every tenth."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from bench.application import Application
from bench.bed import (
    RAMP_MOST_UNFINISHED,
    RAMP_RATE,
    SETTLE_S,
    SHOWN_FAULTS,
    Bed,
    Load,
    call_faults,
    open_bed,
    packets_lost,
    set_up,
)
from bench.cases import PAIR_AMPLITUDE, FeaturesCase, rooms_of
from bench.events import Message
from bench.figures import Spread
from bench.outcome import FeatureFigures, Options, Outcome
from bench.recordings import Channel, Checked, Recording, check_recording
from bench.server import Server, tick_lateness
from bench.tones import tone_frequencies
from bench.window import TICK_S, measure

PAUSE_S: Final = 1.0
"""More than the silence after which speech has stopped, and the play-out delay before it."""
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def wall_ns(timestamp: str) -> int:
    """Return an event's time stamp in ns since 1970, whatever its number of fractional digits."""
    whole, _, fraction = timestamp.removesuffix("Z").partition(".")
    seconds = (datetime.fromisoformat(f"{whole}+00:00") - _EPOCH) // timedelta(seconds=1)
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0") or "0")


@dataclass(slots=True)
class _Take:
    """One recording as it is told."""

    started_ns: int = 0
    stopped_ns: int = 0
    finished_ns: int = 0
    file: str = ""
    error: str = ""


@dataclass(slots=True)
class _Speech:
    """What was told of one leg's speech: kinds in their order, and times of every start."""

    kinds: list[str] = field(default_factory=list)
    started_ns: list[int] = field(default_factory=list)


class FeatureApplication(Application):
    """Notes who speaks and what is recorded.

    Attributes:
        speech: by leg.
        takes: recordings by leg.
        rooms: the room of each leg.
        misplaced: speaking events that name another room than that of their leg.
    """

    def __init__(self, server: Server, observers: int = 0) -> None:
        super().__init__(server, observers)
        self.speech: defaultdict[str, _Speech] = defaultdict(_Speech)
        self.takes: defaultdict[str, _Take] = defaultdict(_Take)
        self.rooms: dict[str, str] = {}
        self.misplaced = 0

    def react(self, message: Message) -> None:
        """Note what the case is about; everything else as usual."""
        super().react(message)
        kind, leg_id = str(message.get("type")), str(message.get("leg_id"))
        if kind == "leg.joined_room":
            self.rooms[leg_id] = str(message["room_id"])
        elif kind.startswith("speaking."):
            self.misplaced += message.get("room_id") != self.rooms.get(leg_id)
            self.speech[leg_id].kinds.append(kind)
            if kind == "speaking.started":
                self.speech[leg_id].started_ns.append(wall_ns(str(message["timestamp"])))
        elif kind == "recording.started":
            self.takes[leg_id].started_ns = wall_ns(str(message["timestamp"]))
        elif kind == "recording.finished":
            take = self.takes[leg_id]
            take.finished_ns = wall_ns(str(message["timestamp"]))
            take.file, take.error = str(message["file"]), str(message.get("error", ""))


def recorded_legs(case: FeaturesCase) -> list[int]:
    """Return which callers are recorded: in turn the first and the second of a room."""
    step = case.legs // case.recorded
    return [place * step + place % 2 for place in range(case.recorded)]


def run_features(case: FeaturesCase, checkout: Path, options: Options) -> Outcome:
    """Set the calls up, record some, read the cost of a steady window, then check speech and recordings."""
    load = Load(
        case.legs, burst=(case.burst_packets, case.pause_packets, True), application=FeatureApplication
    )
    settings = {"VB_PASS_THROUGH": "false", "SPEECH_DETECTION_ENABLED": "true"}
    with open_bed(checkout, load, settings, options) as bed:
        server, application = bed.server, bed.application
        assert isinstance(application, FeatureApplication)
        server.metrics()
        idle_bytes = server.resident_bytes()
        faults = set_up(bed, rooms_of(case.legs, "pairs"), RAMP_RATE, RAMP_MOST_UNFINISHED)
        faults += _record(bed, application, case)
        late_ms = bed.generator.egress().max_ms
        bed.wait(SETTLE_S)
        window = measure(bed, case.legs, options)
        memory_kb = (server.resident_bytes() - idle_bytes) / case.legs / 1000
        lateness = tick_lateness(server.metrics())
        bed.generator.finish_bursts()
        bed.wait(case.burst_packets * TICK_S + PAUSE_S)
        faults += _stop_recording(bed, application, case)
        late_ms += bed.generator.egress().max_ms
        onsets = _onsets(bed)
        bed.hang_up(case.legs)
        counts = bed.generator.counts()
        lost_in = packets_lost(counts, application)
        faults += call_faults(bed, case.legs, counts)
        if lost_in or sum(counts.lost):
            faults.append(f"packets lost: {lost_in} on the way in, {sum(counts.lost)} on the way out")
        speech_wrong, speech_ms = _check_speech(application, onsets, case)
        checked = _check_recordings(application, onsets, case, late_ms / 1000)
        faults += speech_wrong + [fault for recording in checked for fault in recording.faults]
        figures = FeatureFigures(
            window,
            lateness,
            memory_kb,
            lost_in,
            sum(counts.lost),
            recordings=len(checked),
            recordings_whole=sum(not recording.faults for recording in checked),
            recorded_bursts=sum(recording.bursts for recording in checked),
            recorded_offset=Spread.of([ms for recording in checked for ms in recording.offsets_ms]),
            speech_expected=2 * sum(len(times) for times in onsets.values()),
            speech_told=application.counts["speaking.started"] + application.counts["speaking.stopped"],
            speech_delay=Spread.of(speech_ms),
        )
    return Outcome(figures, tuple(faults))


def _record(bed: Bed, application: FeatureApplication, case: FeaturesCase) -> list[str]:
    """Begin all recordings."""
    bed.generator.mark()
    for number in recorded_legs(case):
        if number in application.legs:
            application.command("leg_record_start", id=application.legs[number])
    return _await(bed, "recording.started", case.recorded)


def _stop_recording(bed: Bed, application: FeatureApplication, case: FeaturesCase) -> list[str]:
    """End all recordings."""
    bed.generator.mark()
    for leg_id, take in application.takes.items():
        take.stopped_ns = time.time_ns()
        application.command("leg_record_stop", id=leg_id)
    return _await(bed, "recording.finished", case.recorded)


def _await(bed: Bed, kind: str, wanted: int) -> list[str]:
    counts = bed.application.counts
    in_time = bed.application.pump_until(lambda: counts[kind] >= wanted, 10.0)
    bed.wait(TICK_S * 10)
    return [] if in_time else [f"{counts[kind]} {kind} events for {wanted} recordings"]


def _onsets(bed: Bed) -> dict[int, list[int]]:
    """Return the wall times of every caller's bursts."""
    onsets: defaultdict[int, list[int]] = defaultdict(list)
    for number, at in bed.generator.onsets_ns():
        onsets[number].append(at)
    return onsets


def _check_speech(
    application: FeatureApplication, onsets: dict[int, list[int]], case: FeaturesCase
) -> tuple[list[str], list[float]]:
    """Return what was told otherwise than it was spoken, and how long after its begin each burst was told."""
    wrong: list[str] = []
    delays_ms: list[float] = []
    for number in range(case.legs):
        speech = application.speech[application.legs.get(number, "")]
        sent_ns = onsets.get(number, [])
        if speech.kinds != ["speaking.started", "speaking.stopped"] * len(sent_ns):
            told = Counter(speech.kinds)
            wrong.append(f"caller {number} spoke {len(sent_ns)} times, told {dict(told)}")
            continue
        delays_ms += [(told - sent) / 1e6 for told, sent in zip(speech.started_ns, sent_ns, strict=True)]
    if application.misplaced:
        wrong.append(f"{application.misplaced} speaking events name another room")
    shown = wrong[:SHOWN_FAULTS]
    return shown + (
        [f"… and {len(wrong) - SHOWN_FAULTS} more"] if len(wrong) > SHOWN_FAULTS else []
    ), delays_ms


def _check_recordings(
    application: FeatureApplication, onsets: dict[int, list[int]], case: FeaturesCase, late_s: float
) -> list[Checked]:
    frequencies = tone_frequencies(case.legs)
    checked = []
    for number in recorded_legs(case):
        take, mate = application.takes.get(application.legs.get(number, ""), _Take()), number ^ 1
        if not take.file or take.error:
            checked.append(Checked((f"no recording of caller {number}: {take.error}",), 0, ()))
            continue
        left = Channel("left", int(frequencies[number]), onsets.get(number, []))
        right = Channel("right", int(frequencies[mate]), onsets.get(mate, []))
        recording = Recording(
            Path(take.file), take.started_ns, take.stopped_ns, take.finished_ns, (left, right)
        )
        burst_s = case.burst_packets * TICK_S
        checked.append(
            check_recording(recording, frequencies, amplitude=PAIR_AMPLITUDE, burst_s=burst_s, late_s=late_s)
        )
    return checked
