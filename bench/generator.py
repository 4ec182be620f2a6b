"""The generator's process as the bench sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.codecs import Speaker
from bench.delay import Arrivals
from bench.figures import Spread
from bench.host import Placement
from bench.load.churn import Rush
from bench.server import ROOT, Server

PROBES: Final = 10
"""Legs with kernel time stamps where not all have them."""


class GeneratorFailed(Exception):
    """The generator ended by itself."""


@dataclass(frozen=True, slots=True)
class LoadLateness:
    """How far the generator was behind its own grid, and how busy it was (share of one core)."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    cpu_share: float


@dataclass(frozen=True, slots=True)
class Status:
    """Where the calls stand."""

    planned: int
    unfinished: int
    up: int
    failed: int
    ended: int
    live: int

    @property
    def settled(self) -> bool:
        """Whether nothing is planned or under way."""
        return not self.planned and not self.unfinished


@dataclass(frozen=True, slots=True)
class Counts:
    """Packets and calls since the start; lists have one entry per leg.

    Attributes:
        sent: packets sent.
        received: audio packets received.
        lost: packets missing between the first and the last received.
        send_errors: packets that the system refused to send.
        backwards: packets that came twice or out of order.
        odd: RTP packets that are not one frame of PCMU, or not in the format of their caller.
        setup_ms: from each INVITE to its 200.
        resent: SIP requests sent again.
        refused: failed calls by status, 0 for no answer.
        digit_packets: telephone-event packets received.
    """

    sent: list[int]
    received: list[int]
    lost: list[int]
    send_errors: int
    backwards: int
    odd: int
    setup_ms: list[float]
    resent: int
    refused: dict[str, int]
    digit_packets: int


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """One of many short calls after its end.

    Attributes:
        number: its caller.
        dialled: whom.
        state: `ended`, or `failed` when it never was up.
        setup_ms: from INVITE to 200, None when there was none.
        sent: packets sent.
        received: packets received.
        lost: packets missing between the first and the last received.
    """

    number: int
    dialled: str
    state: str
    setup_ms: float | None
    sent: int
    received: int
    lost: int


@dataclass(frozen=True, slots=True)
class Captured:
    """What every leg received, and when each burst began (leg, wall time in ns)."""

    legs: list[Arrivals]
    onsets_ns: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Heard:
    """What one leg received: RTP times, shape (packets,), and payloads, in the order in which they came."""

    stamps: NDArray[np.uint32]
    payloads: list[bytes]


class Generator:
    """Commands to the generator's process, each answered at once."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def _ask(self, action: str, **values: object) -> dict[str, object]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": action, **values}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise GeneratorFailed(f"no answer to {action}")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def call(
        self, rooms: list[str], rate: float, most_unfinished: int | None = None, *, last_first: bool = False
    ) -> None:
        """Let every leg dial its room, `rate` calls a second; each talks as soon as it is answered.

        The leg that dials first, the last one if `last_first`, is also the first that hangs up.
        """
        self._ask("call", rooms=rooms, rate=rate, most_unfinished=most_unfinished, last_first=last_first)

    def hang_up(self, rate: float) -> None:
        """Let every leg hang up, `rate` a second."""
        self._ask("hang_up", rate=rate)

    def churn(self, rush: Rush, *, first_line: int = 0) -> None:
        """Let short calls come and go on all lines from `first_line` on."""
        self._ask("churn", rush=asdict(rush), first_line=first_line)

    def end_churn(self) -> None:
        """Let no further short call come."""
        self._ask("end_churn")

    def finished(self) -> list[FinishedCall]:
        """Short calls that ended since the last time.

        Raises:
            GeneratorFailed: a call was due and no line was free, so less was offered than asked for.
        """
        answer = self._ask("finished")
        if answer["short_of_lines"]:
            raise GeneratorFailed(f"{answer['short_of_lines']} calls were due without a free line")
        calls = answer["calls"]
        assert isinstance(calls, list)
        return [FinishedCall(*call) for call in calls]

    def hush(self) -> None:
        """Stop sending audio."""
        self._ask("hush")

    def finish_bursts(self) -> None:
        """Let everybody finish the burst that is being sent, and begin no other."""
        self._ask("finish_bursts")

    def onsets_ns(self) -> list[tuple[int, int]]:
        """Leg and wall time of every burst that began since the capture, or the start."""
        onsets = self._ask("onsets")["onsets"]
        assert isinstance(onsets, list)
        return [(int(leg), int(at)) for leg, at in onsets]

    def mark(self) -> None:
        """Begin the window of `lateness`."""
        self._ask("mark")

    def lateness(self) -> LoadLateness:
        """How late it was since `mark`."""
        return LoadLateness(**{name: float(str(v)) for name, v in self._ask("lateness").items()})

    def egress(self) -> Spread:
        """How late the server's packets came since `mark`, by the grid of each stream."""
        return Spread(**{name: float(str(v)) for name, v in self._ask("egress").items()})

    def status(self) -> Status:
        """Where the calls stand."""
        return Status(**{name: int(str(v)) for name, v in self._ask("status").items()})

    def counts(self) -> Counts:
        """All counters."""
        return Counts(**self._ask("counts"))  # type: ignore[arg-type]  # our own process answers with its fields

    def capture(self, packets: int) -> None:
        """Keep the next packets of every leg."""
        self._ask("capture", packets=packets)

    def captured(self) -> Captured:
        """What was kept of frames of PCMU."""
        with np.load(self._dump()) as arrays:
            count, payloads = arrays["count"], arrays["payloads"]
            stamps, arrival_ns = arrays["stamps"], arrays["arrival_ns"]
            onsets_ns = arrays["onsets_ns"]
        legs = [
            Arrivals(arrival_ns[leg, :kept], stamps[leg, :kept], payloads[leg, :kept])
            for leg, kept in enumerate(count)
        ]
        return Captured(legs, onsets_ns)

    def heard(self) -> list[Heard]:
        """What was kept of payloads of any length."""
        with np.load(self._dump()) as arrays:
            count, payloads, sizes = arrays["count"], arrays["payloads"], arrays["sizes"]
            stamps = arrays["stamps"]
        return [
            Heard(
                stamps[leg, :kept],
                [payloads[leg, place, : sizes[leg, place]].tobytes() for place in range(kept)],
            )
            for leg, kept in enumerate(count.tolist())
        ]

    def _dump(self) -> Path:
        path = self._folder / "captured.npz"
        self._ask("dump", path=str(path))
        return path


@contextmanager
def running_generator(
    server: Server,
    folder: Path,
    placement: Placement,
    *,
    legs: int,
    amplitude: float,
    burst: tuple[int, int, bool] | None = None,
    probes: int | None = None,
    digits: bool = False,
    talks: bool = True,
    speakers: Sequence[Speaker] | None = None,
    talkers: int | None = None,
) -> Iterator[Generator]:
    """A generator for the time of the block.

    Args:
        server: whom to call.
        folder: for its log and its captures.
        placement: where it runs.
        legs: most calls at a time.
        amplitude: level of every talker's tone.
        burst: packets of tone and packets of silence in turn, and whether talkers take turns too; an unbroken
            tone when None.
        probes: of how many legs one is read with kernel time stamps; ten have them when None.
        digits: whether callers offer telephone-events.
        talks: whether callers send audio.
        speakers: what each of them sends, PCMU when None.
        talkers: the first so many callers have audio, the others offer none; all have when None.
    """
    setup = {
        "legs": legs,
        "server": [server.sip_host, server.sip_port],
        "amplitude": amplitude,
        "probes": probes or max(1, legs // PROBES),
        "burst": burst,
        "digits": digits,
        "talks": talks,
        "speakers": None if speakers is None else [asdict(speaker) for speaker in speakers],
        "talkers": sys.maxsize if talkers is None else talkers,
    }
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(ROOT),
        "OPENBLAS_NUM_THREADS": "1",
    }
    with (folder / "generator.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.load", json.dumps(setup)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        placement.apply(process.pid)
        yield Generator(process, folder)
    except (GeneratorFailed, BrokenPipeError):
        raise GeneratorFailed((folder / "generator.log").read_text()[-2000:]) from None
    finally:
        process.communicate()
