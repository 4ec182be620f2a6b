"""What is left of thousands of short calls: nothing at all, and next to no memory."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Final

from bench.bed import SHOWN_FAULTS, Bed, Load, open_bed
from bench.cases import MemoryCase
from bench.figures import Spread
from bench.generator import FinishedCall
from bench.load.churn import QUIET_S, REST_S, Rush
from bench.outcome import MemoryFigures, Options, Outcome, Standing
from bench.server import Server

ROOMS: Final = 100
SETTLE_S: Final = 40.0
"""Transactions linger for 32 s after the last message."""
SPARE_LINES: Final = 1.3


def standing(server: Server) -> Standing:
    """Return what the server holds now."""
    tasks = server.tasks().total()  # first: each of the other questions has tasks of its own for a moment
    metrics = server.metrics()
    legs, rooms = server.request("GET", "/v1/legs"), server.request("GET", "/v1/rooms")
    assert isinstance(legs, list)
    assert isinstance(rooms, list)
    return Standing(
        tasks=tasks,
        open_files=server.open_files(),
        port_pairs=int(metrics["voiceblender_rtp_port_pairs_free"]),
        media_ports=int(metrics["voiceblender_media_ports"]),
        dialogs=int(metrics["voiceblender_sip_calls"]),
        transactions=int(metrics["voiceblender_sip_transactions"]),
        legs=len(legs),
        rooms=len(rooms),
        rss_kb=server.resident_bytes() / 1000,
    )


def differences(before: Standing, after: Standing) -> dict[str, tuple[int, int]]:
    """Return all counts that are not what they were; memory is no count."""
    old, new = asdict(before), asdict(after)
    return {name: (old[name], new[name]) for name in old if name != "rss_kb" and old[name] != new[name]}


def run_memory(case: MemoryCase, checkout: Path, options: Options) -> Outcome:
    """Let short calls come and go, rest after the warm-up and at the end, and compare what is there."""
    lines = int(case.rate * (case.hold_s[1] + QUIET_S + REST_S) * SPARE_LINES)
    with open_bed(checkout, Load(lines), {"VB_PASS_THROUGH": "false"}, options, watched=True) as bed:
        standing(bed.server)
        idle = _at_rest(bed)
        done: list[FinishedCall] = []
        warm = _round(bed, case, case.warm_up, idle, done)
        over = _round(bed, case, case.calls, idle, done)
        left = differences(idle, over)
        faults = [f"{name} {now}, {then} before the first call" for name, (then, now) in left.items()]
        lost_in, lost_out = _lost_in(bed, done), sum(call.lost for call in done)
        right = [call for call in done if call.state == "ended" and call.received]
        offered = case.warm_up + case.calls
        if len(right) != offered:
            faults.append(f"{len(right)} of {offered} calls were answered, heard and ended")
        if lost_in or lost_out:
            faults.append(f"packets lost: {lost_in} on the way in, {lost_out} on the way out")
        faults += bed.application.errors[:SHOWN_FAULTS]
        figures = MemoryFigures(
            calls=len(right),
            offered=offered,
            setup=Spread.of([call.setup_ms for call in right if call.setup_ms is not None]),
            idle=idle,
            warm=warm,
            over=over,
            growth_kb=(over.rss_kb - warm.rss_kb) / case.calls,
            left=len(left),
            lost_in=lost_in,
            lost_out=lost_out,
        )
        return Outcome(figures, tuple(faults))


def _round(bed: Bed, case: MemoryCase, calls: int, idle: Standing, done: list[FinishedCall]) -> Standing:
    """Let so many calls come and go, and return what is there once all has had time to go."""
    names = tuple(f"room-{number}" for number in range(ROOMS))
    rush = Rush(
        count=calls, rate=case.rate, names=names, draw=False, hold_s=case.hold_s, presses={}, seed=calls
    )
    goal = len(done) + calls
    bed.generator.churn(rush)
    deadline = monotonic() + calls / case.rate + 60.0
    while len(done) < goal and monotonic() < deadline:
        bed.wait(1.0)
        done += bed.generator.finished()
    for name in names:
        bed.server.request("DELETE", f"/v1/rooms/{name}")
    bed.application.pump_until(lambda: not differences(idle, standing(bed.server)), SETTLE_S, step_s=1.0)
    return _at_rest(bed)


def _at_rest(bed: Bed) -> Standing:
    """Return what is there once the tasks that answered the last questions are gone."""
    bed.wait(1.0)
    return standing(bed.server)


def _lost_in(bed: Bed, done: list[FinishedCall]) -> int:
    """Return how many packets the generator sent that the server's quality figures do not have."""
    told = bed.application.quality
    return sum(
        abs(call.sent - int(str(told[call.number]["rtp_packets_received"])))
        for call in done
        if call.number in told
    )
