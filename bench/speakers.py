"""Rooms of callers who speak unlike each other: in formats and packet times, or in how many of them talk."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from bench.bed import (
    RAMP_MOST_UNFINISHED,
    RAMP_RATE,
    SETTLE_S,
    Load,
    call_faults,
    open_bed,
    packets_lost,
    set_up,
)
from bench.cases import SpeakersCase
from bench.codecs import FORMATS, Speaker
from bench.hearing import check_hearing
from bench.outcome import MediaFigures, Options, Outcome
from bench.server import tick_lateness
from bench.window import measure

CAPTURED_S: Final = 2.0
MOST_PER_S: Final = 100
"""Packets of the shortest packet time."""
MIXED: Final = tuple(Speaker(name, ms) for name, form in FORMATS.items() for ms in form.packet_ms)


def speakers_of(case: SpeakersCase) -> list[Speaker]:
    """Return what each leg sends."""
    if case.codec is None:
        return [MIXED[leg % len(MIXED)] for leg in range(case.legs)]
    talker, listener = Speaker(case.codec), Speaker(case.codec, sound=case.listeners)
    return [talker if leg < (case.talkers or case.legs) else listener for leg in range(case.legs)]


def run_speakers(case: SpeakersCase, checkout: Path, options: Options) -> Outcome:
    """Set the calls up, read the cost of a steady window, check what was heard."""
    settings = {"VB_PASS_THROUGH": "false", "SIP_CODECS": "PCMU,PCMA,G722,opus"}
    speakers = speakers_of(case)
    rooms = [f"room-{leg // (case.room_size or case.legs)}" for leg in range(case.legs)]
    load = Load(case.legs, case.amplitude, speakers=speakers)
    with open_bed(checkout, load, settings, options) as bed:
        server, generator = bed.server, bed.generator
        server.metrics()
        idle_bytes = server.resident_bytes()
        faults = set_up(bed, rooms, RAMP_RATE, RAMP_MOST_UNFINISHED)
        bed.wait(SETTLE_S)
        window = measure(bed, case.legs, options)
        memory_kb = (server.resident_bytes() - idle_bytes) / case.legs / 1000
        lateness = tick_lateness(server.metrics())
        generator.capture(int(CAPTURED_S * MOST_PER_S))
        bed.wait(CAPTURED_S)
        heard = generator.heard()
        bed.hang_up(case.legs)
        counts = generator.counts()
        places = np.array([int(room.rpartition("-")[2]) for room in rooms])
        tones = check_hearing(heard, speakers, places, case.amplitude)
        lost_in, lost_out = packets_lost(counts, bed.application), sum(counts.lost)
        faults += call_faults(bed, case.legs, counts)
        if case.checked:
            faults += tones.wrong
        if lost_in or lost_out:
            faults.append(f"packets lost: {lost_in} on the way in, {lost_out} on the way out")
        figures = MediaFigures(
            window, lateness, memory_kb, lost_in, lost_out, tones.weakest_mate, tones.loudest_other
        )
        return Outcome(figures, tuple(faults))
