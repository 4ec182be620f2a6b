"""MoQ legs beside browsers: what a leg over QUIC costs in terms of one over SRTP, in one run."""

from __future__ import annotations

import json
import socket
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.cases import MoqCase
from bench.codecs import Speaker
from bench.figures import Spread
from bench.generator import Heard
from bench.hearing import check_hearing
from bench.host import Placement, load_average, placements
from bench.outcome import MoqFigures, Options, Outcome
from bench.server import Server, ServerFailed, running_server
from bench.services import running_callers

SETTLE_S: Final = 2.0
TICK_S: Final = 0.02
ROOM_SIZE: Final = 2
HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class _Told:
    """What one kind of caller cost and heard.

    Attributes:
        cpu_us: of the server, for each leg and tick.
        load_cpu: share of a core that the callers took.
        counted: what they have told.
    """

    cpu_us: float
    load_cpu: float
    counted: dict[str, Any]


def _measure(server: Server, case: MoqCase, command: list[str], place: Placement, options: Options) -> _Told:
    """Let callers talk over a steady window.

    Raises:
        ServerFailed: not all of them have connected.
    """
    with running_callers(command, place) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != b"up\n":
            raise ServerFailed(f"not all callers of {command[0]} have connected")
        time.sleep(SETTLE_S)  # noqa: TID251 - this process has no event loop
        began, used = time.monotonic(), server.cpu_s()
        time.sleep(options.window_s)  # noqa: TID251 - this process has no event loop
        took, used = time.monotonic() - began, server.cpu_s() - used
        process.stdin.write(b"x")
        process.stdin.flush()
        counted: dict[str, Any] = json.loads(process.stdout.readline())
    return _Told(used * 1e6 / (case.legs * took / TICK_S), counted["cpu_s"] / counted["took_s"], counted)


def _hang_up_all(url: str) -> None:
    """End every leg of the server."""
    with urllib.request.urlopen(f"{url}/v1/legs", timeout=10) as reply:
        legs = [str(leg["id"]) for leg in json.loads(reply.read())]
    for leg_id in legs:
        request = urllib.request.Request(f"{url}/v1/legs/{leg_id}", method="DELETE")
        with urllib.request.urlopen(request, timeout=10):
            pass


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def run_moq(case: MoqCase, checkout: Path, options: Options) -> Outcome:
    """Let browsers talk over a steady window, then MoQ callers, and check what those heard.

    Raises:
        ServerFailed: it did not start, did not end, or did not connect all.
    """
    server_place, load_place = placements(realtime=options.realtime)
    port = _free_port()
    settings = {
        "VB_PASS_THROUGH": "false",
        "ICE_SERVERS": "none",
        "VB_OPUS_COMPLEXITY": "0",  # costs are compared at one that does not follow the load
        "MOQ_ENABLED": "true",
        "MOQ_LISTEN_ADDR": f"{HOST}:{port}",
        "MOQ_OPUS_BITRATE": "28000",  # as browsers are sent
    }
    with (
        tempfile.TemporaryDirectory() as name,
        running_server(checkout, Path(name), server_place, settings) as server,
    ):
        url = f"http://{server.http_host}:{server.http_port}"
        figures = [str(case.legs), str(case.amplitude)]
        browsers = ["bench.load.webrtc", url, *figures, str(case.legs), str(ROOM_SIZE)]
        programs = ["bench.load.moq", HOST, str(port), *figures, str(ROOM_SIZE)]
        webrtc = _measure(server, case, browsers, load_place, options)
        _hang_up_all(url)  # a browser that has only vanished would be missed for half a minute
        time.sleep(SETTLE_S)  # noqa: TID251 - this process has no event loop
        moq = _measure(server, case, programs, load_place, options)
    told = moq.counted
    heard = [
        Heard(np.array([stamp for stamp, _ in kept], np.uint32), [bytes.fromhex(data) for _, data in kept])
        for kept in told["heard"]
    ]
    speakers = [Speaker("opus") for _ in range(case.legs)]
    tones = check_hearing(heard, speakers, np.arange(case.legs) // ROOM_SIZE, case.amplitude)
    faults = list(tones.wrong)
    if sum(told["lost"]):
        faults.append(f"frames lost: {sum(told['lost'])}")
    return Outcome(
        MoqFigures(moq.cpu_us, webrtc.cpu_us, moq.load_cpu, Spread.of(told["lateness_ms"]), load_average()),
        tuple(faults),
    )
