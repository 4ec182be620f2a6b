"""Legs of another kind beside browsers: what one of them costs in terms of the other, in one run."""

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

from bench.cases import BesideCase
from bench.codecs import Speaker
from bench.figures import Spread
from bench.generator import Heard
from bench.hearing import check_hearing
from bench.host import Placement, load_average, placements
from bench.outcome import BesideFigures, Options, Outcome
from bench.server import Server, ServerFailed, running_server
from bench.services import running_callers
from conformance.peers.certificates import Authority

SETTLE_S: Final = 2.0
TICK_S: Final = 0.02
ROOM_SIZE: Final = 2
HOST: Final = "127.0.0.1"
TICKS: Final = "voiceblender_ticks"
SETTINGS: Final = {
    "VB_PASS_THROUGH": "false",
    "ICE_SERVERS": "none",
    "VB_OPUS_COMPLEXITY": "0",  # costs are compared at one that does not follow the load
}


@dataclass(frozen=True, slots=True)
class _Told:
    """What one kind of caller cost and heard.

    Attributes:
        cpu_us: of the server, for each leg and tick that was played.
        left_out_percent: ticks that were due and not played.
        load_cpu: share of a core that the callers took.
        counted: what they have told.
    """

    cpu_us: float
    left_out_percent: float
    load_cpu: float
    counted: dict[str, Any]


def _measure(
    server: Server, case: BesideCase, command: list[str], place: Placement, options: Options
) -> _Told:
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
        before = server.metrics()[TICKS]
        began, used = time.monotonic(), server.cpu_s()
        time.sleep(options.window_s)  # noqa: TID251 - this process has no event loop
        took, used = time.monotonic() - began, server.cpu_s() - used
        ticks = server.metrics()[TICKS] - before
        process.stdin.write(b"x")
        process.stdin.flush()
        counted: dict[str, Any] = json.loads(process.stdout.readline())
    left_out = max(0.0, 1 - ticks / (took / TICK_S)) * 100
    cpu_us = used * 1e6 / (case.legs * ticks)
    return _Told(cpu_us, left_out, counted["cpu_s"] / counted["took_s"], counted)


def _hang_up_all(url: str) -> None:
    """End every leg of the server."""
    with urllib.request.urlopen(f"{url}/v1/legs", timeout=10) as reply:
        legs = [str(leg["id"]) for leg in json.loads(reply.read())]
    for leg_id in legs:
        request = urllib.request.Request(f"{url}/v1/legs/{leg_id}", method="DELETE")
        with urllib.request.urlopen(request, timeout=10):
            pass


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class _Others:
    """Callers of the other kind.

    Attributes:
        settings: what the server needs for them.
        command: their module, and its arguments but for the figures of the case.
    """

    settings: dict[str, str]
    command: list[str]


def _programs() -> _Others:
    port = _free_port(socket.SOCK_DGRAM)
    settings = {
        "MOQ_ENABLED": "true",
        "MOQ_LISTEN_ADDR": f"{HOST}:{port}",
        "MOQ_OPUS_BITRATE": "28000",  # as browsers are sent
    }
    return _Others(settings, ["bench.load.moq", HOST, str(port)])


def _whatsapp_users(folder: Path) -> _Others:
    port, authority = _free_port(socket.SOCK_STREAM), Authority(folder / "edge")
    certificate, key = map(str, authority.issue(HOST))
    settings = {
        "SIP_TLS_PORT": "0",
        "SIP_TLS_CERT": certificate,
        "SIP_TLS_KEY": key,
        "SIP_TLS_CA_FILE": str(authority.ca_file),
        "VB_WHATSAPP_EDGE": f"{HOST}:{port}",
    }
    return _Others(settings, ["bench.load.whatsapp", str(port), certificate, key])


def run_beside(case: BesideCase, checkout: Path, options: Options) -> Outcome:
    """Let browsers talk over a steady window, then the others, and check what those heard.

    Raises:
        ServerFailed: it did not start, did not end, or did not connect all.
    """
    server_place, load_place = placements(realtime=options.realtime)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        others = _programs() if case.kind == "MoQ" else _whatsapp_users(folder)
        with running_server(checkout, folder, server_place, {**SETTINGS, **others.settings}) as server:
            url = f"http://{server.http_host}:{server.http_port}"
            figures = [str(case.legs), str(case.amplitude)]
            browsers = ["bench.load.webrtc", url, *figures, str(case.legs), str(ROOM_SIZE), "silence"]
            webrtc = _measure(server, case, browsers, load_place, options)
            _hang_up_all(url)  # a browser that has only vanished would be missed for half a minute
            time.sleep(SETTLE_S)  # noqa: TID251 - this process has no event loop
            command = [*others.command, url, *figures, str(ROOM_SIZE)]
            measured = _measure(server, case, command, load_place, options)
    told = measured.counted
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
        BesideFigures(
            measured.cpu_us,
            webrtc.cpu_us,
            max(measured.left_out_percent, webrtc.left_out_percent),
            measured.load_cpu,
            Spread.of(told["lateness_ms"]),
            load_average(),
        ),
        tuple(faults),
    )
