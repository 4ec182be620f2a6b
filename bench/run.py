"""Runs one case against one server and returns its figures and its faults."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from bench.agents import run_agents, run_own_agents
from bench.agents_faulty import run_faulty_agents
from bench.application import CALL_EVENTS
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
from bench.beside import run_beside
from bench.bursts import run_burst
from bench.cases import (
    PAIR_AMPLITUDE,
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
    rooms_of,
)
from bench.delay import read_bursts
from bench.events import lost_events, order_faults
from bench.features import run_features
from bench.figures import Spread
from bench.generator import Generator, LoadLateness
from bench.histories import run_histories
from bench.memory import run_memory
from bench.outcome import CallFigures, DelayFigures, MediaFigures, Options, Outcome
from bench.programs import run_websocket
from bench.server import tick_lateness
from bench.signalling import run_signalling
from bench.soak import run_soak
from bench.speakers import run_speakers
from bench.tones import check_tones, in_order, tone_frequencies
from bench.transcripts import run_transcripts
from bench.voices import run_voices
from bench.webrtc import run_webrtc
from bench.window import TICK_S, measure

PACKET_MS: Final = 20
CHECKED_PACKETS: Final = 75
OBSERVERS: Final = 2
"""VSI clients that read along while calls are offered."""


def run_case(case: Case, checkout: Path, options: Options) -> Outcome:
    """Run a case against the server of a checkout.

    Raises:
        ServerFailed: it did not start or did not end.
    """
    match case:
        case MediaCase():
            return run_media(case, checkout, options)
        case SpeakersCase():
            return run_speakers(case, checkout, options)
        case WebRtcCase():
            return run_webrtc(case, checkout, options)
        case DelayCase():
            return run_delay(case, checkout, options)
        case VoiceCase():
            return run_voices(case, checkout, options)
        case CallCase():
            return run_calls(case, checkout, options)
        case FeaturesCase():
            return run_features(case, checkout, options)
        case BesideCase():
            return run_beside(case, checkout, options)
        case WebSocketCase():
            return run_websocket(case, checkout, options)
        case TranscriptsCase():
            return run_transcripts(case, checkout, options)
        case AgentsCase():
            return run_agents(case, checkout, options)
        case OwnAgentsCase():
            return run_own_agents(case, checkout, options)
        case FaultyAgentsCase():
            return run_faulty_agents(case, checkout, options)
        case MemoryCase():
            return run_memory(case, checkout, options)
        case SoakCase():
            return run_soak(case, checkout, options)
        case SignallingCase():
            return run_signalling(case, checkout, options)
        case HistoriesCase():
            return run_histories(case, checkout, options)
        case BurstCase():
            return run_burst(case, checkout, options)


def run_media(case: MediaCase, checkout: Path, options: Options) -> Outcome:
    """Set the calls up, let everybody talk, read the cost of a steady window, check what was heard."""
    settings = {"VB_PASS_THROUGH": str(case.pass_through).lower()}
    load = Load(case.legs, case.amplitude)
    with open_bed(checkout, load, settings, options) as bed:
        server, generator = bed.server, bed.generator
        server.metrics()
        idle_bytes = server.resident_bytes()
        rooms = rooms_of(case.legs, case.layout)
        faults = set_up(bed, rooms, RAMP_RATE, RAMP_MOST_UNFINISHED)
        bed.wait(SETTLE_S)
        window = measure(bed, case.legs, options)
        memory_kb = (server.resident_bytes() - idle_bytes) / case.legs / 1000
        lateness = tick_lateness(server.metrics())
        generator.capture(CHECKED_PACKETS)
        bed.wait(CHECKED_PACKETS * TICK_S + 0.5)
        bed.hang_up(case.legs)
        heard = [in_order(leg.stamps, leg.payloads) for leg in generator.captured().legs]
        places = np.array([int(room.rpartition("-")[2]) for room in rooms])
        tones = check_tones(heard, places, case.amplitude)
        counts = generator.counts()
        lost_in = packets_lost(counts, bed.application)
        faults += [*call_faults(bed, case.legs, counts), *tones.wrong]
        if lost_in or sum(counts.lost):
            faults.append(f"packets lost: {lost_in} on the way in, {sum(counts.lost)} on the way out")
        figures = MediaFigures(
            window,
            lateness,
            memory_kb,
            lost_in,
            sum(counts.lost),
            tones.weakest_mate,
            tones.loudest_other,
        )
        return Outcome(figures, tuple(faults))


def run_delay(case: DelayCase, checkout: Path, options: Options) -> Outcome:
    """Send bursts of a tone from everybody and follow each to its listener."""
    load = Load(case.legs, burst=(case.burst_packets, case.pause_packets, False), probes=1)
    settings = {"VB_PASS_THROUGH": "false"}
    with open_bed(checkout, load, settings, options) as bed:
        faults = set_up(bed, rooms_of(case.legs, "pairs"), RAMP_RATE, RAMP_MOST_UNFINISHED)
        bed.wait(SETTLE_S)
        packets = case.bursts * (case.burst_packets + case.pause_packets)
        bed.generator.mark()
        bed.generator.capture(packets)
        bed.wait(packets * TICK_S + 0.5)
        lateness = bed.generator.lateness()
        bed.hang_up(case.legs)
        counts = bed.generator.counts()
        faults += call_faults(bed, case.legs, counts)
        lost_in = packets_lost(counts, bed.application)
        if lost_in or sum(counts.lost):
            faults.append(f"packets lost: {lost_in} on the way in, {sum(counts.lost)} on the way out")
        figures = _delay_figures(case, bed.generator, lateness)
    if figures.broken:
        faults.append(f"{figures.broken} of {figures.bursts} bursts did not arrive whole")
    return Outcome(figures, tuple(faults))


def _delay_figures(case: DelayCase, generator: Generator, load: LoadLateness) -> DelayFigures:
    captured = generator.captured()
    frequencies = tone_frequencies(case.legs)
    bursts = []
    for talker in range(case.legs):
        listener = captured.legs[talker ^ 1]
        sent_ns = captured.onsets_ns[captured.onsets_ns[:, 0] == talker, 1]
        whole = (
            sent_ns < listener.arrival_ns.max(initial=0) - (case.burst_packets + 10) * PACKET_MS * 1_000_000
        )
        bursts += read_bursts(
            listener,
            sent_ns[whole],
            frequency=int(frequencies[talker]),
            amplitude=PAIR_AMPLITUDE,
            burst_ms=case.burst_packets * PACKET_MS,
        )
    delays = [burst.delay_ms for burst in bursts if burst.delay_ms is not None]
    return DelayFigures(Spread.of(delays), len(bursts), sum(not burst.unbroken for burst in bursts), load)


def run_calls(case: CallCase, checkout: Path, options: Options) -> Outcome:
    """Offer calls at a rate, whatever becomes of them, and read how long each took to its 200.

    Several clients read all events; each must be told of every call in the same order.
    """
    load = Load(case.calls, observers=OBSERVERS)
    with open_bed(checkout, load, {"VB_PASS_THROUGH": "false"}, options) as bed:
        bed.generator.mark()
        used = bed.server.cpu_s()
        faults = set_up(bed, rooms_of(case.calls, "pairs"), case.rate, None)
        used = bed.server.cpu_s() - used
        lateness = bed.generator.lateness()
        bed.hang_up(case.calls)
        bed.application.catch_up()
        counts = bed.generator.counts()
        logs = bed.application.logs
        # A call whose leg nobody was told of misses all its events.
        legs = [bed.application.legs.get(number, f"of call {number}") for number in range(case.calls)]
        expected = dict.fromkeys(legs, CALL_EVENTS)
        faults += [*call_faults(bed, case.calls, counts), *order_faults(logs, expected)]
        figures = CallFigures(
            Spread.of(counts.setup_ms),
            case.calls,
            len(counts.setup_ms),
            counts.resent,
            bed.application.dropped,
            lost_events(logs, expected),
            len(logs),
            used * 1000 / case.calls,
            lateness,
        )
        return Outcome(figures, tuple(faults))
