"""Agents whose partners fail in every way: what is left of them in the server afterwards."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Final

from bench.agents import attach, settings_of, start_own
from bench.bed import RAMP_MOST_UNFINISHED, RAMP_RATE, SETTLE_S, Bed, Load, call_faults, open_bed, set_up
from bench.cases import FaultyAgentsCase
from bench.figures import FaultyAgentFigures
from bench.host import placements
from bench.open_files import connections_to, open_files
from bench.outcome import Options, Outcome
from bench.partner_lines import FAULTS
from bench.partners import Partners, running_partners

OWN_FAULTS: Final = ("refuse", "drop", "stall")
"""What may be wrong with a model."""
_WARM_UP: Final = len(FAULTS) + len(OWN_FAULTS)
"""So many rounds before: what is made at the first need and kept, such as idle connections, is no leak."""
_KEPT: Final = "voiceblender_web_connections_kept"
LIVE_S: Final = 0.6
GONE_S: Final = 20.0
SHOWN: Final = 5


def run_faulty_agents(case: FaultyAgentsCase, checkout: Path, options: Options) -> Outcome:
    """Let agents come and go, and compare what the server holds before and after."""
    _, load_place = placements(realtime=options.realtime)
    with (
        running_partners(load_place) as partners,
        open_bed(checkout, Load(case.legs), settings_of(partners), options, watched=True) as bed,
    ):
        faults = set_up(bed, [f"room-{leg}" for leg in range(case.legs)], RAMP_RATE, RAMP_MOST_UNFINISHED)
        for number in range(_WARM_UP):
            _round(bed, partners, case.legs, number)
        bed.wait(SETTLE_S)
        before = _held(bed, partners)
        for begin in range(0, case.sessions, case.legs):
            _round(bed, partners, case.legs, _WARM_UP + begin // case.legs)
        sessions = case.legs * (_WARM_UP + len(range(0, case.sessions, case.legs)))
        began, left = time.monotonic(), Counter[str]()

        def nothing_is_left() -> bool:
            nonlocal left
            left = _held(bed, partners) - before
            return not left

        bed.application.pump_until(nothing_is_left, GONE_S, step_s=0.5)
        took_s = time.monotonic() - began
        faults += [f"left over: {count} {what}" for what, count in left.most_common(SHOWN)]
        # Who is told that there is no agent any more, or not yet, is told the truth.
        errors = bed.application.errors
        errors[:] = [error for error in errors if "'code': 404" not in error and "not ready" not in error]
        bed.hang_up(case.legs)
        faults += call_faults(bed, case.legs, bed.generator.counts())
        ended = bed.application.counts["agent.disconnected"]
    figures = FaultyAgentFigures(sessions, ended, left.total(), took_s)
    return Outcome(figures, tuple(faults))


def _round(bed: Bed, partners: Partners, legs: int, number: int) -> None:
    """Give each call an agent with another fault than before, and end those that have not ended."""
    told = bed.application.counts
    wanted = told["agent.disconnected"] + legs
    for leg in range(legs):
        fault = (leg + number) % (len(FAULTS) + len(OWN_FAULTS))
        if fault < len(FAULTS):
            attach(bed, partners, 20, leg, fault=FAULTS[fault])
        else:
            start_own(bed, leg, greeting="Hello.", model=OWN_FAULTS[fault - len(FAULTS)])
            bed.application.command(
                "leg_agent_message", id=bed.application.legs[leg], message="x", respond=True
            )
    bed.wait(LIVE_S)
    for leg in range(legs):
        bed.application.command("leg_agent_stop", id=bed.application.legs[leg])
    bed.application.pump_until(lambda: told["agent.disconnected"] >= wanted, GONE_S)


def _held(bed: Bed, partners: Partners) -> Counter[str]:
    """Return tasks by name, open files by what they are, and processes that the server has started.

    Connections to the partners that wait for another request are no agent's: the server says how many there
    are, and closes them after half a minute.
    """
    held = Counter(bed.server.tasks()) + open_files(bed.server.pid)
    held[connections_to(partners.port)] -= round(bed.server.metrics().get(_KEPT, 0.0))
    for thread in os.listdir(f"/proc/{bed.server.pid}/task"):
        children = Path(f"/proc/{bed.server.pid}/task/{thread}/children").read_text().split()
        held["processes"] += len(children)
    return held
