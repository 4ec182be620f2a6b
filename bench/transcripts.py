"""Many legs that talk, and what it costs to have each of them transcribed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench.application import Application
from bench.bed import RAMP_MOST_UNFINISHED, RAMP_RATE, SETTLE_S, Bed, Load, call_faults, open_bed, set_up
from bench.cases import TranscriptsCase, rooms_of
from bench.host import placements
from bench.listener import Listener, running_listener
from bench.outcome import Options, Outcome, TranscriptFigures
from bench.server import tick_lateness
from bench.window import measure

BYTES_PER_S: Final = 32_000
_START_S: Final = 10.0
_SHORT: Final = 0.01
"""As much less audio than was said may be on its way when it is counted."""


def run_transcripts(case: TranscriptsCase, checkout: Path, options: Options) -> Outcome:
    """Let everybody talk in rooms of two, first as it is, then with a transcription of each room."""
    _, load_place = placements(realtime=options.realtime)
    with running_listener(load_place) as listener:
        settings = {
            "VB_PASS_THROUGH": "false",
            "DEEPGRAM_API_KEY": "bench",
            "VB_DEEPGRAM_BASE_URL": listener.url,
        }
        with open_bed(checkout, Load(case.legs), settings, options) as bed:
            rooms = rooms_of(case.legs, "pairs")
            faults = set_up(bed, rooms, RAMP_RATE, RAMP_MOST_UNFINISHED)
            bed.wait(SETTLE_S)
            plain = measure(bed, case.legs, options)
            faults += _start(bed, listener, rooms, case.legs)
            bed.wait(SETTLE_S)
            before = listener.heard()
            window = measure(bed, case.legs, options)
            after = listener.heard()
            metrics = bed.server.metrics()
            wanted = case.legs * BYTES_PER_S * options.window_s
            missing = max(0.0, 1 - (after.bytes - before.bytes) / wanted)
            if missing > _SHORT:
                faults.append(f"{missing:.1%} of the audio did not reach the service")
            told = bed.application.counts["stt.text"]
            if told < before.said:
                faults.append(f"{told} stt.text events for {before.said} texts")
            bed.hang_up(case.legs)
            faults += call_faults(bed, case.legs, bed.generator.counts())
            figures = TranscriptFigures(
                window,
                tick_lateness(metrics),
                plain_us=plain.cpu_us,
                messages_per_s=(after.messages - before.messages) / options.window_s,
                frames_dropped=int(metrics.get("voiceblender_stt_frames_dropped", 0)),
                texts=told,
            )
    return Outcome(figures, tuple(faults))


def _start(bed: Bed, listener: Listener, rooms: list[str], legs: int) -> list[str]:
    """Begin a transcription of each room, and wait until the service has all legs."""
    application: Application = bed.application
    for room in dict.fromkeys(rooms):
        application.command("room_stt_start", id=room, provider="deepgram", language="en")
    all_there = application.pump_until(lambda: listener.heard().sockets >= legs, _START_S, step_s=0.1)
    return [] if all_there else [f"{listener.heard().sockets} of {legs} legs are transcribed"]
