"""Browsers in pairs or in one room: what a leg with Opus, SRTP and consent costs."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.bed import RAMP_MOST_UNFINISHED, RAMP_RATE, SETTLE_S, Load, call_faults, open_bed, set_up
from bench.cases import WebRtcCase, rooms_of
from bench.codecs import Speaker
from bench.figures import Spread
from bench.generator import Heard, LoadLateness
from bench.hearing import check_hearing
from bench.host import Placement, load_average, placements
from bench.outcome import Options, Outcome, Stages, WebRtcFigures, Window
from bench.server import Server, ServerFailed, late_percent, running_server, tick_lateness
from bench.services import running_callers
from bench.window import TICK_S, StageWatch, played_ticks

MOST_MISSED: Final = 0.8
"""Share of the further legs that must be up by the end: the last ones come too late."""


def _heard(packets: list[tuple[int, str]]) -> Heard:
    stamps = np.array([stamp for stamp, _ in packets], np.uint32)
    return Heard(stamps, [bytes.fromhex(payload) for _, payload in packets])


@contextmanager
def _callers(server: Server, case: WebRtcCase, place: Placement) -> Iterator[subprocess.Popen[bytes]]:
    url = f"http://{server.http_host}:{server.http_port}"
    talkers = case.legs if case.talkers is None else case.talkers
    room_size = 2 if case.layout == "pairs" else case.legs
    figures = (case.legs, case.amplitude, talkers, room_size, case.listeners)
    with running_callers(["bench.load.webrtc", url, *map(str, figures)], place) as process:
        yield process


@contextmanager
def _further(server: Server, case: WebRtcCase, place: Placement) -> Iterator[subprocess.Popen[bytes] | None]:
    """Further legs that come and go during the block, where the case has any."""
    if not case.handshakes_per_s:
        yield None
        return
    url = f"http://{server.http_host}:{server.http_port}"
    with running_callers(["bench.load.handshakes", url, str(case.handshakes_per_s)], place) as process:
        yield process


def run_webrtc(case: WebRtcCase, checkout: Path, options: Options) -> Outcome:
    """Let all connect, read the cost of a steady window, check what was heard.

    Raises:
        ServerFailed: it did not start, did not end, or did not connect all.
    """
    server_place, load_place = placements(realtime=options.realtime, server_cores=case.cores)
    with tempfile.TemporaryDirectory() as name:
        settings = {
            "VB_PASS_THROUGH": "false",
            "ICE_SERVERS": "none",
            "VB_OPUS_COMPLEXITY": case.complexity,
        }
        with running_server(checkout, Path(name), server_place, settings, staged=True) as server:
            server.metrics()
            idle_bytes = server.resident_bytes()
            with _callers(server, case, load_place) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                if process.stdout.readline() != b"up\n":
                    raise ServerFailed("not all callers have connected")
                time.sleep(SETTLE_S)  # noqa: TID251 - this process has no event loop
                before = server.metrics()
                began, used, waited = time.monotonic(), server.cpu_s(), server.core_wait_s()
                with _further(server, case, load_place) as further:
                    # What a leg costs is read first, in a window of its own: to count stages has its price.
                    time.sleep(options.window_s)  # noqa: TID251 - this process has no event loop
                    took = time.monotonic() - began
                    used, waited = server.cpu_s() - used, server.core_wait_s() - waited
                    after = server.metrics()
                    watch = StageWatch(server)
                    time.sleep(options.window_s)  # noqa: TID251 - this process has no event loop
                    stages, at_last = watch.read(case.legs), server.metrics()
                    faults = _further_faults(further, case, time.monotonic() - began)
                memory_kb = (server.resident_bytes() - idle_bytes) / case.legs / 1000
                process.stdin.write(b"x")
                process.stdin.flush()
                told: dict[str, Any] = json.loads(process.stdout.readline())
    late = Spread.of(told["lateness_ms"])
    load = LoadLateness(late.p50_ms, late.p95_ms, late.p99_ms, late.max_ms, told["cpu_s"] / told["took_s"])
    window = Window(
        cpu_us=used * 1e6 / (case.legs * took / TICK_S),
        core_wait_percent=waited * 100 / took,
        load=load,
        egress=Spread(float("nan"), float("nan"), float("nan"), float("nan")),
        late_percent=late_percent(before, after),
        load_average=load_average(),
    )
    talkers = case.legs if case.talkers is None else case.talkers
    speakers = [
        Speaker("opus", sound="tone" if leg < talkers else case.listeners) for leg in range(case.legs)
    ]
    places = np.arange(case.legs) // 2 if case.layout == "pairs" else np.zeros(case.legs, np.int64)
    heard = [_heard(payloads) for payloads in told["heard"]]
    tones = check_hearing(heard, speakers, places, case.amplitude)
    dropped = sum(value for name, value in at_last.items() if name.startswith("voiceblender_webrtc_dropped"))
    if case.checked:
        faults += tones.wrong
    if dropped or sum(told["lost"]):
        faults.append(f"packets lost: {dropped:.0f} on the way in, {sum(told['lost'])} on the way out")
    phones: Stages | None = None
    if case.phones:
        phones, further_faults = _phones(case, checkout, options)
        faults += further_faults
    figures = WebRtcFigures(
        window,
        tick_lateness(at_last),
        memory_kb,
        int(dropped),
        sum(told["lost"]),
        tones.weakest_mate,
        tones.loudest_other,
        stages,
        used * 1e6 / (case.legs * played_ticks(before, after, took)),
        phones,
    )
    return Outcome(figures, tuple(faults))


def _phones(case: WebRtcCase, checkout: Path, options: Options) -> tuple[Stages, list[str]]:
    """Let as many phones talk in the same rooms; returns what they cost, and what went wrong."""
    load = Load(case.legs, case.amplitude)
    with open_bed(checkout, load, {"VB_PASS_THROUGH": "false"}, options, staged=True) as bed:
        faults = set_up(bed, rooms_of(case.legs, case.layout), RAMP_RATE, RAMP_MOST_UNFINISHED)
        bed.wait(SETTLE_S)
        watch = StageWatch(bed.server)
        bed.wait(options.window_s)
        stages = watch.read(case.legs)
        bed.hang_up(case.legs)
        faults += call_faults(bed, case.legs, bed.generator.counts())
    return stages, faults


def _further_faults(process: subprocess.Popen[bytes] | None, case: WebRtcCase, took_s: float) -> list[str]:
    """Return what is wrong with the legs that came and went for so long."""
    if process is None:
        return []
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"x")
    process.stdin.flush()
    told = json.loads(process.stdout.readline() or b"{}")
    wanted = case.handshakes_per_s * took_s * MOST_MISSED
    if told.get("connected", 0) < wanted:
        return [f"only {told.get('connected', 0)} of at least {wanted:.0f} further legs have connected"]
    return []
