"""Calls that need nothing but signalling: rung, answered by a command, hung up 100 ms later, no audio."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from bench.application import Application
from bench.bed import SHOWN_FAULTS, Bed, Load, open_bed
from bench.cases import STORED_S, SignallingCase
from bench.events import lost_events
from bench.figures import Spread
from bench.generator import FinishedCall
from bench.host import Placement, move_children, placed, placements
from bench.load.churn import Rush
from bench.outcome import Options, Outcome, SignallingFigures
from bench.server import late_percent, tick_lateness
from tests.support.postgres import running_postgres

EVENTS: Final = ("leg.ringing", "leg.connected", "leg.disconnected")
"""What each call must tell at least."""
REST_S: Final = 2.0
"""Between warm-up and the measured calls, so that nothing of the one is left in the other."""
WRITER_S: Final = 5.0
"""How long the process that writes a history may take to be there."""
PATIENCE_S: Final = 60.0


class Answering(Application):
    """An application that answers every call by a command of its own."""

    def on_ringing(self, leg_id: str, number: int, dialled: str) -> None:
        """Take a new call."""
        self.command("answer_leg", id=leg_id)


def run_signalling(case: SignallingCase, checkout: Path, options: Options) -> Outcome:
    """Offer calls at a rate and read what the server's process used for them.

    The application shares the cores of the generator, so that the server has its own alone. So do a database
    and the server's process that writes to it, as they would run wherever there is room.
    """
    load = Load(case.calls, application=Answering, talks=False)
    _, load_place = placements(realtime=False)
    with (
        _history(case, load_place) as settings,
        open_bed(checkout, load, settings, options) as bed,
        placed(load_place),
    ):
        if case.history:
            _move_writer(bed, load_place)
        warm = _offer(bed, case, case.warm_up)
        bed.wait(REST_S)
        bed.generator.mark()
        before = bed.server.metrics()
        used, waited, began = bed.server.cpu_s(), bed.server.core_wait_s(), monotonic()
        done = _offer(bed, case, case.calls)
        used, waited = bed.server.cpu_s() - used, bed.server.core_wait_s() - waited
        took = monotonic() - began
        after = bed.server.metrics()
        late = late_percent(before, after)
        lateness = bed.generator.lateness()
        application = bed.application
        offered = case.warm_up + case.calls
        stored_s = _wait_stored(bed, offered) if case.history else None
        application.pump_until(lambda: application.counts["leg.disconnected"] >= offered, 10.0)
        legs = [application.legs.get(number, f"of call {number}") for number in range(offered)]
        lost = lost_events(application.logs, dict.fromkeys(legs, EVENTS))
        right = [call for call in done if call.state == "ended"]
        faults = application.errors[:SHOWN_FAULTS]
        if len(right) != case.calls or len(warm) != case.warm_up:
            faults.append(f"{len(right)} of {case.calls} calls were answered and ended")
        if lost or application.dropped:
            faults.append(f"{lost} VSI events lost, {application.dropped} dropped")
        figures = SignallingFigures(
            cpu_us=used * 1e6 / max(1, len(right)),
            setup=Spread.of([call.setup_ms for call in done if call.setup_ms is not None]),
            offered=case.calls,
            answered=len(right),
            resent=bed.generator.counts().resent,
            events_lost=lost,
            core_wait_percent=waited * 100 / took,
            load=lateness,
            late_percent=late,
            stored_s=stored_s,
            lateness=tick_lateness(after),
        )
        if stored_s is not None and stored_s >= STORED_S:
            faults.append(f"not all of {offered} calls were stored within {STORED_S:.0f} s")
        return Outcome(figures, tuple(faults))


@contextmanager
def _history(case: SignallingCase, place: Placement) -> Iterator[dict[str, str]]:
    """Run a database beside the load, if the case has one; gives the settings that lead there."""
    if not case.history:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        url = f"sqlite:///{folder}/calls.db"
        if case.history == "postgresql":
            with placed(place):  # no longer than that: places of others are worked out from this process's
                url = stack.enter_context(running_postgres())
        yield {"VB_DATABASE_URL": url, "VB_DATA_DIR": folder}


def _move_writer(bed: Bed, place: Placement) -> None:
    """Let the process that writes the history run elsewhere; it comes some time after the server is ready."""
    until = monotonic() + WRITER_S
    while not move_children(bed.server.pid, place.cores) and monotonic() < until:
        bed.wait(REST_S / 10)


def _wait_stored(bed: Bed, calls: int) -> float:
    """Wait until the history has all calls, and all ended; returns how long that took."""
    began = monotonic()
    while monotonic() < began + STORED_S:
        page = bed.server.request("GET", "/api/calls?pageSize=1&durationMin=0s")
        assert isinstance(page, dict)
        if page["total"] == calls:
            break
        bed.wait(0.05)
    return monotonic() - began


def _offer(bed: Bed, case: SignallingCase, calls: int) -> list[FinishedCall]:
    """Let so many calls come, and return them once all have ended or been given up."""
    bed.generator.churn(
        Rush(
            count=calls,
            rate=case.rate,
            names=("answered",),
            draw=False,
            hold_s=(case.hold_s, case.hold_s),
            presses={},
            seed=calls,
        )
    )
    done: list[FinishedCall] = []

    def over() -> bool:
        done.extend(bed.generator.finished())
        return len(done) >= calls

    bed.application.pump_until(over, calls / case.rate + PATIENCE_S)
    return done
