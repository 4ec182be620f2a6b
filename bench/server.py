"""A server of some checkout, run as its users run it, and what it says about itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.figures import Spread
from bench.host import Placement, core_wait_s, cpu_s, resident_bytes

ROOT: Final = Path(__file__).resolve().parents[1]
START_S: Final = 30.0
STOP_S: Final = 20.0
ANSWER_S: Final = 5.0
SETTINGS: Final = {
    "HTTP_ADDR": "127.0.0.1:0",
    "SIP_BIND_IP": "127.0.0.1",
    "SIP_PORT": "0",
    "SIP_CODECS": "PCMU",
    "RTP_PORT_MIN": "12000",
    "RTP_PORT_MAX": "31998",
    "DEFAULT_SAMPLE_RATE": "16000",
    "VB_DATABASE_URL": "off",
}
_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class ServerFailed(Exception):
    """The server did not start or did not go."""


@dataclass(frozen=True, slots=True)
class StagesTold:
    """What `bench/staged.py` tells: CPU by stage, and the lateness of ticks."""

    spent_s: Mapping[str, float]
    late_ms: Sequence[float]


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `watch` is where it tells what it has counted when asked to."""

    pid: int
    http_host: str
    http_port: int
    sip_host: str
    sip_port: int
    watch: Path | None = None

    def cpu_s(self) -> float:
        """CPU time used so far, all threads together."""
        return cpu_s(self.pid)

    def core_wait_s(self) -> float:
        """Time spent waiting for a core so far."""
        return core_wait_s(self.pid)

    def resident_bytes(self) -> int:
        """Resident memory now."""
        return resident_bytes(self.pid)

    def open_files(self) -> int:
        """Open file descriptors now."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def tasks(self) -> Counter[str]:
        """Tasks of its event loop now, by name.

        Raises:
            ServerFailed: it does not answer.
        """
        return Counter(self._ask()["tasks"])

    def stages(self) -> StagesTold:
        """What the stages of its ticks have cost so far, and how late each tick was since the last question.

        Raises:
            ServerFailed: it does not answer.
        """
        answer = self._ask()
        return StagesTold(answer["spent_s"], answer["late_ms"])

    def _ask(self) -> dict[str, Any]:
        """Return what the wrapper around it tells."""
        assert self.watch is not None
        before = self.watch.read_text() if self.watch.exists() else ""
        self.signal(signal.SIGUSR1)
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            text = self.watch.read_text() if self.watch.exists() else ""
            if text != before:
                answer: dict[str, Any] = json.loads(text)
                return answer
            time.sleep(0.01)  # noqa: TID251 - this process has no event loop
        raise ServerFailed("it does not tell what it has counted")

    def request(self, method: str, path: str) -> object:
        """Answer of a REST route."""
        url = f"http://{self.http_host}:{self.http_port}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as response:
            return json.loads(response.read())

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def wait_ended(self) -> None:
        """Wait until the process has ended by itself, for STOP_S at most."""
        deadline = time.monotonic() + STOP_S
        while _state(self.pid) != "Z" and time.monotonic() < deadline:
            time.sleep(0.05)  # noqa: TID251 - this process has no event loop

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by its name with labels."""
        with urllib.request.urlopen(
            f"http://{self.http_host}:{self.http_port}/metrics", timeout=10
        ) as response:
            return parse_metrics(response.read().decode())


def _state(pid: int) -> str:
    """Return the state of a process of ours by its letter: Z once it has ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def parse_metrics(text: str) -> dict[str, float]:
    """Return the samples of a Prometheus text by name and labels, such as `x{a="b"}`."""
    return {
        name + (f"{{{labels}}}" if labels else ""): float(value)
        for name, labels, value in _SAMPLE.findall(text)
    }


def tick_lateness(metrics: Mapping[str, float]) -> Spread | None:
    """Return how late ticks were, None when the server does not say."""
    found = {name: value for name, value in metrics.items() if "tick_lateness" in name}
    values = {}
    for wanted, quantile in (("p50", "0.5"), ("p99", "0.99"), ("max", "1")):
        for name, value in found.items():
            if f'quantile="{quantile}"' in name or f'"{wanted}"' in name or f"_{wanted}_" in name:
                values[wanted] = value * (1 if "_ms" in name else 1000)
    if len(values) < 3:
        return None
    return Spread(values["p50"], float("nan"), values["p99"], values["max"])


def late_percent(before: Mapping[str, float], after: Mapping[str, float]) -> float | None:
    """Return the share of ticks that were late between two readings, None when the server does not say."""
    late, ticks = "voiceblender_ticks_late", "voiceblender_ticks"
    if late not in after or ticks not in after or after[ticks] <= before[ticks]:
        return None
    return (after[late] - before[late]) * 100 / (after[ticks] - before[ticks])


def command(checkout: Path, wrapper: list[str], stages: Path | None = None) -> list[str]:
    """Return the command line that serves from a checkout, with its own interpreter where it has one.

    Args:
        checkout: the folder that holds its `vb` package.
        wrapper: module and arguments to run instead of `vb`.
        stages: where it tells what the stages of its ticks cost, None when it need not.
    """
    own = checkout / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    if stages is not None:
        # By its path, for a checkout that has no such file; the modules beside it are not to be imported.
        return [python, "-P", str(ROOT / "bench" / "staged.py"), str(stages), "serve"]
    return [python, "-m", *(wrapper or ["vb"]), "serve"]


def _addresses(log: Path) -> tuple[str, int, str, int] | None:
    for line in log.read_text(errors="replace").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and "http" in value and "sip" in value:
            http = str(value["http"]).rpartition("//")[2].strip("/").rpartition(":")
            udp = next(str(a) for a in value["sip"] if str(a).startswith("udp:")).split(":")
            return http[0], int(http[2]), udp[1], int(udp[2])
    return None


@contextmanager
def running_server(
    checkout: Path,
    folder: Path,
    placement: Placement,
    settings: Mapping[str, str],
    wrapper: list[str] | None = None,
    *,
    watched: bool = False,
    staged: bool = False,
) -> Iterator[Server]:
    """A server for the time of the block.

    Args:
        checkout: the folder that holds its `vb` package.
        folder: for its log.
        placement: where it runs.
        settings: added to SETTINGS.
        wrapper: module and arguments to run instead of `vb`.
        watched: whether it can be asked for its tasks.
        staged: whether it can be asked for the stages of its ticks.

    Raises:
        ServerFailed: it did not start, or ended otherwise than with status 0.
    """
    log = folder / "server.log"
    watch = folder / "watch.json" if watched or staged else None
    if watched:
        wrapper = ["bench.watched", str(watch)]
    environment = {
        "PATH": os.defpath + ":/sbin:/usr/sbin",
        "PYTHONPATH": str(checkout),
        "RECORDING_DIR": str(folder),
        **SETTINGS,
        **settings,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(checkout, wrapper or [], watch if staged else None),
            cwd=checkout,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        placement.apply(process.pid)
        yield Server(process.pid, *_wait_for_addresses(process, log), watch)
        if process.poll() is None:
            process.terminate()
        status = process.wait(STOP_S)
        if status != 0:
            raise ServerFailed(f"exit status {status}: {_tail(log)}")
    except subprocess.TimeoutExpired:
        raise ServerFailed(f"still there {STOP_S:g} s after SIGTERM: {_tail(log)}") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait_for_addresses(process: subprocess.Popen[bytes], log: Path) -> tuple[str, int, str, int]:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        addresses = _addresses(log)
        if addresses is not None:
            return addresses
        time.sleep(0.05)  # noqa: TID251 - this process has no event loop
    raise ServerFailed(f"no address line (exit status {process.poll()}): {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
