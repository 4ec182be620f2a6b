"""The processes of a run: the server, the load generator, and the application, which is this process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.application import CALL_EVENTS, Application
from bench.cases import PAIR_AMPLITUDE
from bench.codecs import Speaker
from bench.generator import Counts, Generator, running_generator
from bench.host import placements
from bench.outcome import Options
from bench.server import Server, running_server

RAMP_RATE: Final = 100.0
RAMP_MOST_UNFINISHED: Final = 16
HANG_UP_RATE: Final = 100.0
SETTLE_S: Final = 2.0
DRAIN_S: Final = 0.3
SHOWN_FAULTS: Final = 5


@dataclass(frozen=True, slots=True)
class Bed:
    """The three processes of a run; the application is this one. Recordings go to `folder`."""

    server: Server
    generator: Generator
    application: Application
    folder: Path

    def wait(self, seconds: float) -> None:
        """Let time pass, handling events."""
        self.application.pump_until(lambda: False, seconds, step_s=seconds)

    def settle(self, seconds: float) -> bool:
        """Wait until nothing is planned or under way."""
        return self.application.pump_until(lambda: self.generator.status().settled, seconds)

    def joined(self, legs: int) -> bool:
        """Wait until the application was told of all joins."""
        return self.application.pump_until(lambda: self.application.counts["leg.joined_room"] >= legs, 10.0)

    def hang_up(self, legs: int) -> None:
        """End all calls and wait until the application was told of all ends."""
        self.generator.hush()
        self.wait(DRAIN_S)
        self.generator.hang_up(HANG_UP_RATE)
        self.settle(legs / HANG_UP_RATE + 40.0)
        self.application.pump_until(lambda: self.application.counts["leg.disconnected"] >= legs, 10.0)


@dataclass(frozen=True, slots=True)
class Load:
    """What a case needs of the generator and the application.

    Attributes:
        legs: most calls at a time.
        amplitude: level of every talker's tone.
        burst: packets of tone and packets of silence in turn, and whether talkers take turns too; an unbroken
            tone when None.
        probes: of how many legs one has kernel time stamps; ten have them when None.
        digits: whether callers offer telephone-events.
        talkers: the first so many callers have audio; all have when None.
        observers: VSI clients beside the one in charge.
        application: makes the one in charge.
        talks: whether callers send audio.
        speakers: what each of them sends, PCMU when None.
    """

    legs: int
    amplitude: float = PAIR_AMPLITUDE
    burst: tuple[int, int, bool] | None = None
    probes: int | None = None
    digits: bool = False
    observers: int = 0
    talkers: int | None = None
    application: Callable[[Server, int], Application] = Application
    talks: bool = True
    speakers: Sequence[Speaker] | None = None


@contextmanager
def open_bed(
    checkout: Path,
    load: Load,
    settings: Mapping[str, str],
    options: Options,
    *,
    watched: bool = False,
    staged: bool = False,
) -> Iterator[Bed]:
    """Server, generator and application for the time of the block.

    Args:
        checkout: whose server.
        load: what is asked of the others.
        settings: of the server.
        options: how to run.
        watched: whether the server can be asked for its tasks.
        staged: whether it can be asked for the stages of its ticks.
    """
    server_place, load_place = placements(realtime=options.realtime)
    wrapper = ["bench.profiled", str(options.profile)] if options.profile is not None else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            running_server(
                checkout, folder, server_place, settings, wrapper, watched=watched, staged=staged
            ) as server,
            running_generator(
                server,
                folder,
                load_place,
                legs=load.legs,
                amplitude=load.amplitude,
                burst=load.burst,
                probes=load.probes,
                digits=load.digits,
                talks=load.talks,
                speakers=load.speakers,
                talkers=load.talkers,
            ) as generator,
        ):
            application = load.application(server, load.observers)
            try:
                yield Bed(server, generator, application, folder)
            finally:
                application.close()


def set_up(
    bed: Bed, rooms: list[str], rate: float, most_unfinished: int | None, *, last_first: bool = False
) -> list[str]:
    """Place all calls and wait for them; returns what went wrong."""
    bed.generator.call(rooms, rate, most_unfinished, last_first=last_first)
    faults = []
    if not bed.settle(len(rooms) / rate + 60.0):
        faults.append("calls still under way a minute after the last was due")
    status = bed.generator.status()
    if status.up != len(rooms):
        faults.append(f"{status.up} of {len(rooms)} calls are up")
    if not bed.joined(len(rooms)):
        faults.append(f"{bed.application.counts['leg.joined_room']} of {len(rooms)} legs joined")
    return faults


def packets_lost(counts: Counts, application: Application) -> int:
    """Return how many packets the generator sent that the server's quality figures do not have.

    Legs whose end was never told have no figures; their missing events are a fault of their own.
    """
    return sum(
        abs(counts.sent[leg] - int(str(quality["rtp_packets_received"])))
        for leg, quality in application.quality.items()
    )


def call_faults(bed: Bed, legs: int, counts: Counts) -> list[str]:
    """Return what any case must not show: odd packets, dropped or missing events, refused commands."""
    application = bed.application
    faults = []
    if counts.odd:
        faults.append(f"{counts.odd} RTP packets that are no frame of PCMU")
    if counts.backwards:
        faults.append(f"{counts.backwards} packets out of order")
    for kind in CALL_EVENTS:
        if application.counts[kind] != legs:
            faults.append(f"{application.counts[kind]} {kind} events for {legs} calls")
    dropped = bed.server.metrics().get("voiceblender_vsi_events_dropped_total", 0)
    if application.dropped or dropped:
        faults.append(f"{max(application.dropped, int(dropped))} VSI events dropped")
    return faults + application.errors[:SHOWN_FAULTS]
