"""What is seen of the server from outside its protocols: memory, descriptors, log, and /metrics."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import trio

from conformance.peers.http import HttpClient
from conformance.targets import Target

INTERVAL_S = 0.25
STARVED_INTERVAL_S = 0.05
IDLE_NAMES = (
    "voiceblender_sip_calls",
    "voiceblender_sip_transactions",
    "voiceblender_media_ports",
    "voiceblender_rtp_port_pairs_free",
    "voiceblender_active_legs",
    "voiceblender_active_rooms",
    "voiceblender_vsi_clients",
)
_SAMPLE = re.compile(r"^([a-z_]+)(?:\{[^}]*\})? ([0-9.e+-]+|NaN)$", re.MULTILINE)


@dataclass(frozen=True)
class Starved:
    """How long the server could have run and was not let run, because others had the CPU.

    Attributes:
        longest_s: most of it within one step of sampling.
    """

    longest_s: float
    total_s: float


NOT_STARVED = Starved(0.0, 0.0)


@dataclass
class Watch:
    """Memory and descriptors of a server process, sampled all the time: in /proc if it was started here, else
    as /metrics tells.
    """

    target: Target
    pid: int | None
    peak_rss_mib: float = 0.0
    starved: Starved = NOT_STARVED
    _seen_faults: int = 0
    _seen_log: int = 0

    @classmethod
    def of(cls, target: Target) -> Watch:
        """A watch over a target."""
        return cls(target, target.process.pid if target.process is not None else None)

    async def memory_mib(self) -> float:
        """Resident memory now."""
        if self.pid is None:
            return (await self.metrics())["process_resident_memory_bytes"] / (1 << 20)
        return _resident_mib(self.pid)

    async def descriptors(self) -> int:
        """Open file descriptors."""
        if self.pid is None:
            return int((await self.metrics())["process_open_fds"])
        return _open_files(self.pid)

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self.peak_rss_mib = max(self.peak_rss_mib, await self.memory_mib())
            await trio.sleep(INTERVAL_S)

    async def watch_waiting(self) -> None:
        """Sample how long the server waits for a CPU until cancelled."""
        last = _waited_s(self.pid)
        while True:
            await trio.sleep(STARVED_INTERVAL_S)
            now = _waited_s(self.pid)
            step, last = now - last, now
            self.starved = Starved(max(self.starved.longest_s, step), self.starved.total_s + step)

    def take_starved(self) -> Starved:
        """How the server was starved since the last call."""
        starved, self.starved = self.starved, NOT_STARVED
        return starved

    def take_peak(self) -> float:
        """The peak of memory since the last call."""
        peak, self.peak_rss_mib = self.peak_rss_mib, 0.0
        return peak

    def new_fault(self) -> str | None:
        """The end of the log's newest trace, when there is one more than at the last call."""
        if self.target.faults() <= self._seen_faults:
            return None
        self._seen_faults = self.target.faults()
        return self.target.log_problem()

    def new_log_bytes(self) -> int:
        """How much the server has logged since the last call."""
        grown, self._seen_log = len(self.target.log) - self._seen_log, len(self.target.log)
        return grown

    async def metrics(self) -> dict[str, float]:
        """The samples of /metrics; those with labels are summed."""
        reply = await HttpClient(*self.target.http).ask("GET", "/metrics")
        values: dict[str, float] = {}
        for name, value in _SAMPLE.findall(reply.body.decode()):
            values[name] = values.get(name, 0.0) + float(value)
        return values

    async def wait_idle(
        self, wanted: dict[str, float], names: tuple[str, ...], within_s: float
    ) -> dict[str, str]:
        """Wait until metrics are as wanted; returns what still differs."""
        deadline = time.monotonic() + within_s
        while True:
            now = await self.metrics()
            wrong = {
                name: f"{now.get(name):g}, before {wanted.get(name):g}"
                for name in names
                if now.get(name) != wanted.get(name)
            }
            if not wrong or time.monotonic() > deadline:
                return wrong
            await trio.sleep(0.5)


def _resident_mib(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    match = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(match[1]) / 1024 if match else 0.0


def _waited_s(pid: int | None) -> float:
    """How long the main thread of a process has waited for a CPU; 0 where the kernel does not tell."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _open_files(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0
