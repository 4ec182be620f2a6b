"""Kept speech: how soon its first audio is on the wire after the request."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import numpy as np

from bench.bed import RAMP_MOST_UNFINISHED, RAMP_RATE, SETTLE_S, Load, call_faults, open_bed, set_up
from bench.cases import VoiceCase
from bench.delay import read_bursts
from bench.figures import Spread
from bench.outcome import Options, Outcome, VoiceFigures
from bench.window import TICK_S

RATE_HZ: Final = 16_000
HERTZ: Final = 500
AMPLITUDE: Final = 12_000.0
UTTERANCE_MS: Final = 300
PAUSE_S: Final = 0.7
VOICE: Final = "21m00Tcm4TlvDq8ikWAM"
TEXT: Final = "Thank you for calling."


@dataclass
class _Service:
    """A provider that says one tone, and counts how often."""

    url: str
    asked: list[float] = field(default_factory=list)


@contextmanager
def _service() -> Iterator[_Service]:
    clock = np.arange(RATE_HZ * UTTERANCE_MS // 1000) / RATE_HZ
    tone = (AMPLITUDE * np.sin(2 * np.pi * HERTZ * clock)).astype("<i2").tobytes()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            service.asked.append(time.monotonic())
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "audio/pcm")
            self.send_header("Content-Length", str(len(tone)))
            self.end_headers()
            self.wfile.write(tone)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service = _Service(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run_voices(case: VoiceCase, checkout: Path, options: Options) -> Outcome:
    """Have one utterance kept, then said to everybody again and again, one leg after the other."""
    load = Load(case.legs, probes=1)
    with _service() as service, tempfile.TemporaryDirectory() as folder:
        settings = {
            "VB_PASS_THROUGH": "false",
            "ELEVENLABS_API_KEY": "bench",
            "VB_ELEVENLABS_BASE_URL": service.url,
            "TTS_CACHE_ENABLED": "true",
            "TTS_CACHE_DIR": folder,
        }
        with open_bed(checkout, load, settings, options) as bed:
            application = bed.application
            faults = set_up(bed, [f"room-{leg}" for leg in range(case.legs)], RAMP_RATE, RAMP_MOST_UNFINISHED)
            bed.wait(SETTLE_S)
            application.command("leg_tts", id=application.legs[0], text=TEXT, voice=VOICE)
            application.pump_until(lambda: application.counts["tts.finished"] >= 1, 10.0)
            round_s = case.legs * case.step_s + PAUSE_S
            # On a busy machine rounds take longer than they should.
            bed.generator.capture(int(2 * case.rounds * round_s / TICK_S) + 100)
            asked_ns: list[list[int]] = [[] for _ in range(case.legs)]
            for _ in range(case.rounds):
                for leg in range(case.legs):
                    asked_ns[leg].append(time.time_ns())
                    application.command("leg_tts", id=application.legs[leg], text=TEXT, voice=VOICE)
                    bed.wait(case.step_s)
                bed.wait(PAUSE_S)
            wanted = case.legs * case.rounds + 1
            if not application.pump_until(lambda: application.counts["tts.finished"] >= wanted, 10.0):
                faults.append(f"{application.counts['tts.finished']} of {wanted} utterances finished")
            bed.wait(0.5)
            captured = bed.generator.captured()
            bed.hang_up(case.legs)
            faults += call_faults(bed, case.legs, bed.generator.counts())
        heard = [
            burst
            for leg in range(case.legs)
            for burst in read_bursts(
                captured.legs[leg],
                np.array(asked_ns[leg], np.int64),
                frequency=HERTZ,
                amplitude=AMPLITUDE,
                burst_ms=UTTERANCE_MS,
            )
        ]
        delays = [burst.delay_ms for burst in heard if burst.delay_ms is not None]
        figures = VoiceFigures(
            Spread.of(delays), len(heard), sum(not burst.unbroken for burst in heard), len(service.asked)
        )
    if figures.broken:
        faults.append(f"{figures.broken} of {figures.said} utterances were not heard whole")
    if figures.asked != 1:
        faults.append(f"the provider was asked {figures.asked} times")
    return Outcome(figures, tuple(faults))
