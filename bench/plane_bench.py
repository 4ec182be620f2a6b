"""CPU, lateness, loss and delay of the media plane over real UDP, with the load in another process.

    python bench/plane_bench.py --legs 200 500 1000 --room 200 --delay 100

Prints per run: µs of CPU of this whole process per leg and 20 ms tick, and by section with --sections.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import threadpoolctl
import trio

from vb.codecs.base import CODECS
from vb.ids import SystemIds
from vb.mixer.plan import Member, MixPlan
from vb.mixer.plane import Plane
from vb.mixer.port import RtpPort
from vb.mixer.tasks import SocketIo, run_plane
from vb.rtp.ports import PortPool
from vb.rtp.tasks import RtpEndpoint, bind_endpoint
from vb.sdp import Agreed, MediaAddress

PCMU = CODECS["PCMU"]
ROOM_TALKERS = 4


def agreed(port: int) -> Agreed:
    return Agreed(
        remote_rtp=MediaAddress("127.0.0.1", port),
        remote_rtcp=MediaAddress("127.0.0.1", port + 1),
        rtcp_mux=False,
        send_codec=PCMU,
        send_payload_type=0,
        receive={0: PCMU},
        telephone_event_send=None,
        telephone_event_receive={},
        direction="sendrecv",
        remote_held=False,
        ptime_ms=20,
    )


def resident_kb() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def start_load() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("plane_load.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def tones_for(groups: list[list[int]], room: bool) -> tuple[list[int], list[list[int]]]:
    """Give each talker a tone in multiples of 50 Hz; a big room has a few talkers' tones shared out."""
    count = sum(len(group) for group in groups)
    tones = [0] * count
    hears: list[list[int]] = [[] for _ in range(count)]
    for group in groups:
        for k, member in enumerate(group):
            tones[member] = 300 + 50 * ((member * 7) % 56)
            if room:
                tones[member] = 300 + 50 * k if k < ROOM_TALKERS else 0
        if len(group) == 2 and tones[group[0]] == tones[group[1]]:
            tones[group[1]] += 50
        for member in group:
            hears[member] = sorted({tones[other] for other in group if other != member} - {0})
    return tones, hears


async def one_run(args: argparse.Namespace, legs: int, mode: str, sections: bool) -> dict[str, object]:
    base_kb = resident_kb()
    io = SocketIo()
    plane = Plane(io, SystemIds(), pass_through=args.pass_through)
    pool = PortPool(20000, 20000 + 4 * legs + 200)
    endpoints: list[RtpEndpoint] = []
    ports: list[RtpPort] = []
    plane.set_time(trio.current_time())
    for _ in range(legs):
        endpoint = bind_endpoint(pool, "127.0.0.1")
        endpoints.append(endpoint)
        ports.append(plane.open_port(endpoint))
    room = mode == "room"
    groups = [list(range(legs))] if room else [[i, i + 1] for i in range(0, legs, 2)]
    tones, hears = tones_for(groups, room)
    partners = [0] * legs
    for group in groups:
        for k, member in enumerate(group):
            partners[member] = group[(k + 1) % len(group)]
    config = {
        "ports": [endpoint.rtp_port for endpoint in endpoints],
        "tones": tones,
        "hears": hears,
        "partners": partners,
        "seconds": args.seconds + args.settle,
        "settle_s": args.settle,
        "mode": mode,
    }
    load = start_load()
    assert load.stdin is not None
    assert load.stdout is not None
    load.stdin.write(json.dumps(config) + "\n")
    load.stdin.flush()
    local_ports = json.loads(load.stdout.readline())["local_ports"]
    for port, local in zip(ports, local_ports, strict=True):
        port.configure(agreed(local))
        port.sending = True
    for number, group in enumerate(groups):
        members = tuple(Member(ports[i]) for i in group)
        plane.publish(MixPlan(f"r{number}", args.rate, members))
    gc.collect()
    gc.freeze()
    timer = Sections(plane) if sections else None
    result: dict[str, object] = {}
    async with trio.open_nursery() as nursery:
        grid = await nursery.start(run_plane, plane)
        load.stdin.write("go\n")
        load.stdin.flush()
        await trio.sleep(args.settle)
        ticks, cpu = plane.statistics.ticks, time.process_time()
        if timer:
            timer.reset()
        await trio.sleep(args.seconds - 0.5)
        cpu, ticks = time.process_time() - cpu, plane.statistics.ticks - ticks
        lateness = grid.lateness()
        result |= {
            "legs": legs,
            "us_per_leg_tick": round(cpu * 1e6 / ticks / legs, 2),
            "late_p50_p99_max_ms": [
                round(value, 2) for value in (lateness.p50_ms, lateness.p99_ms, lateness.max_ms)
            ],
            "skipped": grid.skipped,
            "kb_per_leg": (resident_kb() - base_kb) // legs,
        }
        if timer:
            result["sections"] = timer.report(ticks, legs)
        await trio.sleep(1.2)
        nursery.cancel_scope.cancel()
    report = await trio.to_thread.run_sync(load.stdout.readline)
    load.wait()
    statistics = [port.statistics() for port in ports]
    result |= json.loads(report)
    result |= {
        "late": sum(s.late for s in statistics),
        "underruns": sum(s.underruns for s in statistics),
        "concealed": sum(s.concealed for s in statistics),
        "shifts": sum(s.shifts for s in statistics),
        "errors": dict(io.errors),
        "dropped": dict(plane.statistics.dropped),
    }
    for port, endpoint in zip(ports, endpoints, strict=True):
        port.close()
        endpoint.close()
    io.close()
    return result


class Sections:
    """Wall time of each stage, by wrapping the plane's own methods."""

    def __init__(self, plane: Plane) -> None:
        self.times: dict[str, float] = {}
        core = plane._core
        for owner, name in (
            (core.io, "drain"),
            (core.io, "send"),
            (plane._ingest, "receive"),
            (plane._playback, "play"),
            (plane._mixer, "mix"),
            (plane._mixer, "_gather"),
            (plane._mixer, "_sum"),
            (plane._mixer, "_hand_out"),
            (plane._egress, "send"),
            (plane, "_control"),
            (plane, "tick"),
        ):
            self._wrap(owner, name)

    def _wrap(self, owner: object, name: str) -> None:
        inner = getattr(owner, name)
        key = f"{type(owner).__name__}.{name}"
        self.times[key] = 0.0

        def timed(*args: object, **kwargs: object) -> object:
            begun = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.times[key] += time.perf_counter() - begun

        setattr(owner, name, timed)

    def reset(self) -> None:
        for key in self.times:
            self.times[key] = 0.0

    def report(self, ticks: int, legs: int) -> dict[str, float]:
        return {key: round(value * 1e6 / ticks / legs, 3) for key, value in self.times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--legs", type=int, nargs="*", default=[])
    parser.add_argument("--room", type=int, nargs="*", default=[])
    parser.add_argument("--delay", type=int, nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--settle", type=float, default=2.0)
    parser.add_argument("--rate", type=int, default=16000)
    parser.add_argument("--pass-through", action="store_true")
    parser.add_argument("--sections", action="store_true")
    args = parser.parse_args()
    runs = [(legs, "pairs") for legs in args.legs]
    runs += [(legs, "room") for legs in args.room] + [(legs, "delay") for legs in args.delay]
    with threadpoolctl.threadpool_limits(1):
        for legs, mode in runs:
            print(mode, json.dumps(trio.run(one_run, args, legs, mode, args.sections)), flush=True)


if __name__ == "__main__":
    main()
