"""Run one SIPp scenario and read what it counted."""

from __future__ import annotations

import csv
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from interop.report import NotRun, Report
from interop.server import Server

SCENARIOS = Path(__file__).parent / "scenarios"
COUNTERS = ("refused", "talked")
"""What scenarios count themselves."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many calls a scenario makes, how fast, and how long all of it may take."""

    calls: int
    rate: int
    within_s: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What SIPp says at its end; `counters` are those of `COUNTERS`."""

    successful: int
    failed: int
    exit_status: int
    errors: str
    counters: Mapping[str, int] = field(default_factory=dict)


def find_sipp() -> str:
    """The path of SIPp.

    Raises:
        NotRun: it is not installed.
    """
    path = shutil.which("sipp")
    if path is None:
        raise NotRun("sipp is not installed (Debian, Ubuntu: apt install sip-tester)")
    return path


def free_udp_port() -> int:
    """A UDP port on loopback that nobody uses at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def wait_for_udp_port(port: int, within_s: float = 20.0) -> None:
    """Wait until somebody has bound a UDP port.

    SIPp says nowhere when it has, and a call that comes before is refused.
    """
    with trio.move_on_after(within_s):
        while True:
            if _is_bound(port):
                return
            await trio.sleep(0.05)


def _is_bound(port: int) -> bool:
    rows = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(f":{port:04X}") for row in rows)


def _read_counts(statistics: Path, errors: Path, exit_status: int) -> Counts:
    text = errors.read_text(errors="replace") if errors.exists() else ""
    if not statistics.exists():
        return Counts(0, 0, exit_status, text)
    with statistics.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    last = rows[-1] if rows else {}
    counters = {name: int(last.get(f"{name}(C)") or 0) for name in COUNTERS}
    return Counts(
        int(last.get("SuccessfulCall(C)") or 0),
        int(last.get("FailedCall(C)") or 0),
        exit_status,
        text,
        counters,
    )


async def run_sipp(
    scenario: str,
    load: Load,
    folder: Path,
    *,
    target: Server | None = None,
    user: str = "",
    port: int | None = None,
    keys: Sequence[tuple[str, str]] = (),
    options: Sequence[str] = (),
) -> Counts:
    """Run a scenario to its end: as caller of `user` when a target is given, else as callee on `port`."""
    statistics, errors = folder / f"{scenario}.csv", folder / f"{scenario}.err"
    command = [
        find_sipp(),
        *([f"{target.sip_host}:{target.sip_port}", "-s", user] if target else []),
        *("-sf", str(SCENARIOS / f"{scenario}.xml")),
        *("-i", "127.0.0.1", "-p", str(port or free_udp_port()), "-mp", str(free_udp_port())),
        *("-m", str(load.calls), "-r", str(load.rate), "-l", str(load.calls)),
        *("-timeout", f"{load.within_s}s", "-timeout_error", "-nostdin"),
        *("-trace_stat", "-stf", str(statistics), "-fd", "1", "-trace_err", "-error_file", str(errors)),
        *(part for key, value in keys for part in ("-key", key, value)),
        *options,
    ]
    with trio.move_on_after(load.within_s + 10):
        done = await trio.run_process(
            command, stdin=None, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
        return _read_counts(statistics, errors, done.returncode)
    return _read_counts(statistics, errors, -1)


def check_counts(report: Report, what: str, load: Load, counts: Counts) -> bool:
    """Every call of a run succeeded, none failed."""
    holds = (counts.successful, counts.failed, counts.exit_status) == (load.calls, 0, 0)
    counted = f"{counts.successful} successful, {counts.failed} failed, exit {counts.exit_status}"
    detail = f"{counted}\n{counts.errors[:2000]}"
    return report.check(holds, f"{what}: {load.calls} of {load.calls} calls as SIPp expects", detail)
