"""Browsers in pairs: the cost of a leg with Opus, SRTP and consent, beside that of a plain one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.cases import WebRtcCase
from bench.codecs import Speaker
from bench.figures import Spread
from bench.generator import Heard, LoadLateness
from bench.hearing import check_hearing
from bench.host import Placement, load_average, placements
from bench.outcome import MediaFigures, Options, Outcome, Window
from bench.server import ROOT, Server, ServerFailed, late_percent, running_server, tick_lateness

SETTLE_S: Final = 2.0
UP_LIMIT_S: Final = 90.0
TICK_S: Final = 0.02


def _heard(packets: list[tuple[int, str]]) -> Heard:
    stamps = np.array([stamp for stamp, _ in packets], np.uint32)
    return Heard(stamps, [bytes.fromhex(payload) for _, payload in packets])


@contextmanager
def _callers(server: Server, case: WebRtcCase, place: Placement) -> Iterator[subprocess.Popen[bytes]]:
    url = f"http://{server.http_host}:{server.http_port}"
    command = [sys.executable, "-m", "bench.load.webrtc", url, str(case.legs), str(case.amplitude)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        place.apply(process.pid)
        yield process
    finally:
        process.kill()
        process.wait()


def run_webrtc(case: WebRtcCase, checkout: Path, options: Options) -> Outcome:
    """Let all connect, read the cost of a steady window, check what was heard.

    Raises:
        ServerFailed: it did not start, did not end, or did not connect all.
    """
    server_place, load_place = placements(realtime=options.realtime)
    with tempfile.TemporaryDirectory() as name:
        settings = {"VB_PASS_THROUGH": "false", "ICE_SERVERS": "none"}
        with running_server(checkout, Path(name), server_place, settings) as server:
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
                time.sleep(options.window_s)  # noqa: TID251 - this process has no event loop
                took = time.monotonic() - began
                used, waited = server.cpu_s() - used, server.core_wait_s() - waited
                after = server.metrics()
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
    speakers = [Speaker("opus")] * case.legs
    heard = [_heard(payloads) for payloads in told["heard"]]
    tones = check_hearing(heard, speakers, np.arange(case.legs) // 2, case.amplitude)
    dropped = sum(value for name, value in after.items() if name.startswith("voiceblender_webrtc_dropped"))
    faults = list(tones.wrong)
    if dropped or sum(told["lost"]):
        faults.append(f"packets lost: {dropped:.0f} on the way in, {sum(told['lost'])} on the way out")
    figures = MediaFigures(
        window,
        tick_lateness(after),
        memory_kb,
        int(dropped),
        sum(told["lost"]),
        tones.weakest_mate,
        tones.loudest_other,
    )
    return Outcome(figures, tuple(faults))
