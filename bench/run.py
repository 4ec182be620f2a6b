"""Runs one case against one server and returns its figures and its faults."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.application import CALL_EVENTS, Application
from bench.cases import PAIR_AMPLITUDE, CallCase, Case, DelayCase, MediaCase, rooms_of
from bench.delay import read_bursts
from bench.figures import Spread
from bench.generator import Counts, Generator, LoadLateness, running_generator
from bench.host import load_average, placements
from bench.server import ROOT, Server, late_percent, running_server, tick_lateness
from bench.tones import check_tones, in_order, tone_frequencies

TICK_S: Final = 0.02
PACKET_MS: Final = 20
RAMP_RATE: Final = 100.0
RAMP_MOST_UNFINISHED: Final = 16
HANG_UP_RATE: Final = 100.0
SETTLE_S: Final = 2.0
DRAIN_S: Final = 0.3
CHECKED_PACKETS: Final = 75
SHOWN_FAULTS: Final = 5


@dataclass(frozen=True, slots=True)
class Options:
    """How to run.

    Attributes:
        window_s: length of the steady window.
        realtime: run server and generator before everything else on their cores.
        profile: where the server's profile goes; None without a profile.
    """

    window_s: float = 10.0
    realtime: bool = False
    profile: Path | None = None


@dataclass(frozen=True, slots=True)
class MediaFigures:
    """What a media case shows.

    Attributes:
        cpu_us: CPU of the whole server process per leg and tick.
        core_wait_percent: of the window, in which the server could have run but had no core: others' doing.
        egress: how late the server's packets came to ten listeners in the window.
        late_percent: ticks of the window that the server itself calls late, None when it does not say.
        lateness: of the server's ticks in the last minute with all its set-up, None when it does not say.
        memory_kb: resident memory per leg above the idle server.
        lost_in: packets sent by the generator that the server did not count.
        lost_out: packets that the generator missed.
        weakest_mate: lowest level at which a room mate was heard, as a share of what was sent.
        loudest_other: highest level of anybody else.
        load: the generator's own lateness in the window.
        load_average: of the machine: much above 2 means that others were at work.
    """

    cpu_us: float
    core_wait_percent: float
    egress: Spread
    late_percent: float | None
    lateness: Spread | None
    memory_kb: float
    lost_in: int
    lost_out: int
    weakest_mate: float
    loudest_other: float
    load: LoadLateness
    load_average: float


@dataclass(frozen=True, slots=True)
class DelayFigures:
    """What the delay case shows."""

    delay: Spread
    bursts: int
    broken: int
    load: LoadLateness


@dataclass(frozen=True, slots=True)
class CallFigures:
    """What the call case shows; `cpu_ms` is the server's CPU per call with all its media."""

    setup: Spread
    offered: int
    answered: int
    resent: int
    events_dropped: int
    cpu_ms: float
    load: LoadLateness


Figures = MediaFigures | DelayFigures | CallFigures


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of one run, and what was not as it must be."""

    figures: Figures
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Window:
    """Figures of the steady window; the fields are those of MediaFigures."""

    cpu_us: float
    core_wait_percent: float
    load: LoadLateness
    egress: Spread
    late_percent: float | None


@dataclass(frozen=True, slots=True)
class _Bench:
    """The three processes of a run; the application is this one."""

    server: Server
    generator: Generator
    application: Application

    def wait(self, seconds: float) -> None:
        """Let time pass, handling events."""
        self.application.pump_until(lambda: False, seconds, step_s=seconds)

    def settle(self, seconds: float) -> bool:
        """Wait until nothing is planned or under way."""
        return self.application.pump_until(lambda: self.generator.status().settled, seconds)

    def joined(self, legs: int) -> bool:
        """Wait until the application was told of all joins."""
        return self.application.pump_until(lambda: self.application.counts["leg.joined_room"] >= legs, 10.0)

    def hang_up(self, legs: int) -> None:
        """End all calls and wait until the application was told of all ends."""
        self.generator.hush()
        self.wait(DRAIN_S)
        self.generator.hang_up(HANG_UP_RATE)
        self.settle(legs / HANG_UP_RATE + 40.0)
        self.application.pump_until(lambda: self.application.counts["leg.disconnected"] >= legs, 10.0)


@contextmanager
def _bench(
    checkout: Path,
    *,
    legs: int,
    amplitude: float,
    settings: dict[str, str],
    options: Options,
    burst: tuple[int, int] | None = None,
) -> Iterator[_Bench]:
    server_place, load_place = placements(realtime=options.realtime)
    wrapper = ["bench.profiled", str(options.profile)] if options.profile is not None else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            running_server(checkout, folder, server_place, settings, wrapper) as server,
            running_generator(
                server, folder, load_place, legs=legs, amplitude=amplitude, burst=burst
            ) as generator,
        ):
            application = Application(server)
            try:
                yield _Bench(server, generator, application)
            finally:
                application.close()


def run_case(case: Case, checkout: Path = ROOT, options: Options = Options()) -> Outcome:
    """Run a case against the server of a checkout.

    Raises:
        ServerFailed: it did not start or did not end.
    """
    match case:
        case MediaCase():
            return run_media(case, checkout, options)
        case DelayCase():
            return run_delay(case, checkout, options)
        case CallCase():
            return run_calls(case, checkout, options)


def run_media(case: MediaCase, checkout: Path, options: Options) -> Outcome:
    """Set the calls up, let everybody talk, read the cost of a steady window, check what was heard."""
    settings = {"VB_PASS_THROUGH": str(case.pass_through).lower()}
    with _bench(
        checkout, legs=case.legs, amplitude=case.amplitude, settings=settings, options=options
    ) as bench:
        server, generator = bench.server, bench.generator
        server.metrics()
        idle_bytes = server.resident_bytes()
        rooms = rooms_of(case.legs, case.layout)
        faults = _set_up(bench, rooms, RAMP_RATE, RAMP_MOST_UNFINISHED)
        bench.wait(SETTLE_S)
        window = _measure(bench, case.legs, options)
        memory_kb = (server.resident_bytes() - idle_bytes) / case.legs / 1000
        lateness = tick_lateness(server.metrics())
        generator.capture(CHECKED_PACKETS)
        bench.wait(CHECKED_PACKETS * TICK_S + 0.5)
        bench.hang_up(case.legs)
        heard = [in_order(leg.stamps, leg.payloads) for leg in generator.captured().legs]
        places = np.array([int(room.rpartition("-")[2]) for room in rooms])
        tones = check_tones(heard, places, case.amplitude)
        counts = generator.counts()
        lost_in = _lost_in(counts, bench.application)
        faults += [*_faults(bench, case.legs, counts), *tones.wrong]
        if lost_in or sum(counts.lost):
            faults.append(f"packets lost: {lost_in} on the way in, {sum(counts.lost)} on the way out")
        figures = MediaFigures(
            window.cpu_us,
            window.core_wait_percent,
            window.egress,
            window.late_percent,
            lateness,
            memory_kb,
            lost_in,
            sum(counts.lost),
            tones.weakest_mate,
            tones.loudest_other,
            window.load,
            load_average(),
        )
        return Outcome(figures, tuple(faults))


def _set_up(bench: _Bench, rooms: list[str], rate: float, most_unfinished: int | None) -> list[str]:
    """Place all calls and wait for them; returns what went wrong."""
    bench.generator.call(rooms, rate, most_unfinished)
    faults = []
    if not bench.settle(len(rooms) / rate + 60.0):
        faults.append("calls still under way a minute after the last was due")
    status = bench.generator.status()
    if status.up != len(rooms):
        faults.append(f"{status.up} of {len(rooms)} calls are up")
    if not bench.joined(len(rooms)):
        faults.append(f"{bench.application.counts['leg.joined_room']} of {len(rooms)} legs joined")
    return faults


def _measure(bench: _Bench, legs: int, options: Options) -> _Window:
    """Measure over the window."""
    server, generator = bench.server, bench.generator
    before = server.metrics()
    generator.mark()
    if options.profile is not None:
        server.signal(signal.SIGUSR1)
    began, used, waited = time.monotonic(), server.cpu_s(), server.core_wait_s()
    bench.wait(options.window_s)
    used, waited, took = server.cpu_s() - used, server.core_wait_s() - waited, time.monotonic() - began
    if options.profile is not None:
        server.signal(signal.SIGUSR2)
    return _Window(
        cpu_us=used * 1e6 / (legs * took / TICK_S),
        core_wait_percent=waited * 100 / took,
        load=generator.lateness(),
        egress=generator.egress(),
        late_percent=late_percent(before, server.metrics()),
    )


def _lost_in(counts: Counts, application: Application) -> int:
    """Return how many packets the generator sent that the server's quality figures do not have.

    Legs whose end was never told have no figures; their missing events are a fault of their own.
    """
    return sum(
        abs(counts.sent[leg] - int(str(quality["rtp_packets_received"])))
        for leg, quality in application.quality.items()
    )


def _faults(bench: _Bench, legs: int, counts: Counts) -> list[str]:
    """Return what any case must not show: odd packets, dropped or missing events, refused commands."""
    application = bench.application
    faults = []
    if counts.odd:
        faults.append(f"{counts.odd} RTP packets that are no frame of PCMU")
    if counts.backwards:
        faults.append(f"{counts.backwards} packets out of order")
    for kind in CALL_EVENTS:
        if application.counts[kind] != legs:
            faults.append(f"{application.counts[kind]} {kind} events for {legs} calls")
    dropped = bench.server.metrics().get("voiceblender_vsi_events_dropped_total", 0)
    if application.dropped or dropped:
        faults.append(f"{max(application.dropped, int(dropped))} VSI events dropped")
    return faults + application.errors[:SHOWN_FAULTS]


def run_delay(case: DelayCase, checkout: Path, options: Options) -> Outcome:
    """Send bursts of a tone from everybody and follow each to its listener."""
    burst = (case.burst_packets, case.pause_packets)
    settings = {"VB_PASS_THROUGH": "false"}
    with _bench(
        checkout, legs=case.legs, amplitude=PAIR_AMPLITUDE, settings=settings, options=options, burst=burst
    ) as bench:
        faults = _set_up(bench, rooms_of(case.legs, "pairs"), RAMP_RATE, RAMP_MOST_UNFINISHED)
        bench.wait(SETTLE_S)
        packets = case.bursts * sum(burst)
        bench.generator.mark()
        bench.generator.capture(packets)
        bench.wait(packets * TICK_S + 0.5)
        load = bench.generator.lateness()
        bench.hang_up(case.legs)
        counts = bench.generator.counts()
        faults += _faults(bench, case.legs, counts)
        lost_in = _lost_in(counts, bench.application)
        if lost_in or sum(counts.lost):
            faults.append(f"packets lost: {lost_in} on the way in, {sum(counts.lost)} on the way out")
        figures = _delay_figures(case, bench.generator, load)
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
    """Offer calls at a rate, whatever becomes of them, and read how long each took to its 200."""
    settings = {"VB_PASS_THROUGH": "false"}
    with _bench(
        checkout, legs=case.calls, amplitude=PAIR_AMPLITUDE, settings=settings, options=options
    ) as bench:
        bench.generator.mark()
        used = bench.server.cpu_s()
        faults = _set_up(bench, rooms_of(case.calls, "pairs"), case.rate, None)
        used = bench.server.cpu_s() - used
        load = bench.generator.lateness()
        bench.hang_up(case.calls)
        counts = bench.generator.counts()
        faults += _faults(bench, case.calls, counts)
        figures = CallFigures(
            Spread.of(counts.setup_ms),
            case.calls,
            len(counts.setup_ms),
            counts.resent,
            bench.application.dropped,
            used * 1000 / case.calls,
            load,
        )
        return Outcome(figures, tuple(faults))
