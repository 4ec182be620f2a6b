"""CANCEL against an answer, with SIPp in both roles: each call ends once and nothing is left."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import trio

from interop.application import Application, CommandFailed, Rule
from interop.report import Report
from interop.server import Server
from interop.sipp_runner import Load, check_counts, free_udp_port, run_sipp, wait_for_udp_port

CANCEL_AFTER_S = 0.1
"""What `cancel_race.xml` lets pass from the 180 to its CANCEL."""
STEP_S = 0.001
STEPS = 8
"""The answers of a round are spread over as many milliseconds before the CANCEL and after it."""
REPEATS = 10
MAX_ROUNDS = 4
RACE = Load(2 * STEPS * REPEATS, 40, 60)
LATE = Load(50, 20, 40)
IDLE = ("voiceblender_sip_calls", "voiceblender_media_ports", "voiceblender_active_legs")
IDLE_S = 20.0
CALLER, CALLEE = "cancel-race", "late-answer"


class Sweep:
    """When the next call is to be answered: each at another distance from the caller's CANCEL."""

    def __init__(self) -> None:
        self._calls = 0
        self.middle_s = CANCEL_AFTER_S
        self.commands = Counter[str]()

    async def rule(self, app: Application, leg_id: str) -> None:
        """Ring, and answer at about the time of the CANCEL."""
        step = self._calls % (2 * STEPS) - STEPS
        self._calls += 1
        await app.command("leg_ring", id=leg_id)
        await trio.sleep(self.middle_s + step * STEP_S)
        try:
            await app.command("answer_leg", id=leg_id)
            self.commands["answered"] += 1
        except CommandFailed:  # the leg has gone, which its reason must show
            self.commands["refused"] += 1

    def follow(self, ends: Mapping[str, int]) -> None:
        """Answer earlier when every CANCEL came first, later when none did."""
        shift_s = STEPS * STEP_S
        if not ends.get("remote_bye"):
            self.middle_s = max(STEPS * STEP_S, self.middle_s - shift_s)
        elif not ends.get("caller_cancel"):
            self.middle_s += shift_s


SWEEP = Sweep()
RACE_RULES: dict[str, Rule] = {CALLER: SWEEP.rule}


async def check_caller(report: Report, server: Server, app: Application, folder: Path) -> None:
    """SIPp cancels while the application answers: 487, or 200 with ACK and BYE."""
    calls = 0
    both = False
    for number in range(MAX_ROUNDS):
        before = Counter(app.ends(CALLER))
        counts = await run_sipp("cancel_race", RACE, folder, target=server, user=CALLER)
        check_counts(report, f"cancel_race, round {number + 1}", RACE, counts)
        calls += RACE.calls
        await app.wait(_ended(app, CALLER, calls), 10)
        ends = Counter(app.ends(CALLER)) - before
        seen = {"caller_cancel": counts.counters.get("refused"), "remote_bye": counts.counters.get("talked")}
        report.equal(
            {reason: ends[reason] for reason in seen}, seen, "cancel_race: ends as SIPp saw its calls end"
        )
        SWEEP.follow(ends)
        both = both or len(ends) == 2
        if both:
            break
    report.check(both, "cancel_race: some calls were cancelled and some answered", app.ends(CALLER))
    _check_once(report, app, CALLER, calls, "cancel_race")
    connected = {str(event["leg_id"]) for event in app.of(CALLER, "leg.connected")}
    hung_up = app.ends(CALLER).get("remote_bye", 0)
    report.equal(len(connected), hung_up, "cancel_race: leg.connected for each answered call, for no other")


async def check_callee(report: Report, app: Application, folder: Path) -> None:
    """The server cancels, SIPp answers nevertheless: it gets ACK and BYE."""
    port = free_udp_port()

    async def call(number: int) -> None:
        await wait_for_udp_port(port)
        await trio.sleep(number / LATE.rate)
        leg_id = await app.dial(f"sip:callee@127.0.0.1:{port}", CALLEE)
        if await app.wait_for(leg_id, "leg.ringing") is not None:
            with suppress(CommandFailed):  # shows in the reasons below
                await app.command("delete_leg", id=leg_id)

    async with trio.open_nursery() as nursery:
        for number in range(LATE.calls):
            nursery.start_soon(call, number)
        counts = await run_sipp("answered_after_cancel", LATE, folder, port=port)
        check_counts(report, "answered_after_cancel", LATE, counts)
    await app.wait(_ended(app, CALLEE, LATE.calls), 10)
    report.equal(
        app.ends(CALLEE), {"api_hangup": LATE.calls}, "answered_after_cancel: one leg.disconnected per call"
    )
    _check_once(report, app, CALLEE, LATE.calls, "answered_after_cancel")
    report.equal(len(app.of(CALLEE, "leg.connected")), 0, "answered_after_cancel: leg.connected")


def _ended(app: Application, user: str, calls: int) -> Callable[[], bool]:
    return lambda: len(app.of(user, "leg.disconnected")) >= calls


def _check_once(report: Report, app: Application, user: str, calls: int, what: str) -> None:
    """Every leg has rung and ended exactly once."""
    for kind in ("leg.ringing", "leg.disconnected"):
        times = Counter(str(event["leg_id"]) for event in app.of(user, kind))
        report.equal(
            (len(times), max(times.values(), default=0)), (calls, 1), f"{what}: legs and times of {kind}"
        )


async def check_nothing_left(report: Report, server: Server) -> None:
    """No call, no port and no leg is left of the races."""
    left: dict[str, float] = {}
    async with httpx.AsyncClient(base_url=server.http_url) as client:
        with trio.move_on_after(IDLE_S):
            while True:
                text = (await client.get("/metrics")).text
                found = {name: re.search(rf"^{name} (\S+)$", text, re.MULTILINE) for name in IDLE}
                left = {name: float(match[1]) if match else -1.0 for name, match in found.items()}
                if not any(left.values()):
                    break
                await trio.sleep(0.1)
    report.equal(left, dict.fromkeys(IDLE, 0.0), "races: nothing is left")


async def run_races(
    report: Report, server: Server, app: Application, folder: Path, only: tuple[str, ...]
) -> None:
    """Run both races, or the named ones."""
    if not only or "cancel_race" in only:
        await check_caller(report, server, app, folder)
    if not only or "answered_after_cancel" in only:
        await check_callee(report, app, folder)
    await check_nothing_left(report, server)
