"""SIPp calls vb and is called: hang-up by either side, CANCEL and its races, busy, no codec, retransmission,
hold, transfer in both roles.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import trio

from interop.application import (
    Application,
    answer,
    answer_after,
    answer_then_hang_up,
    application,
    carry_out_transfer,
    refuse_busy,
    ring,
    transfer,
)
from interop.carrier import CARRIER_RULES, run_carrier
from interop.report import Report, run_peer
from interop.server import Server, running_server
from interop.sipp_races import RACE_RULES, run_races
from interop.sipp_runner import Load, check_counts, find_sipp, free_udp_port, run_sipp, wait_for_udp_port

HOLD_S = 10.0
RULES = {
    "remote-bye": answer,
    "server-bye": answer_then_hang_up(HOLD_S),
    "cancel": ring,
    "busy": refuse_busy,
    "retransmitted": answer_after(0.2),
    "hold": answer,
    "transferred": transfer("sip:carol@example.com"),
    "transferring": carry_out_transfer,
    **CARRIER_RULES,
    **RACE_RULES,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One scenario: who is dialled, and what the application must have seen of it."""

    scenario: str
    user: str
    load: Load
    end: str | None
    connected: bool
    options: tuple[str, ...] = ()


CASES = (
    Case("caller_hangs_up", "remote-bye", Load(200, 20, 60), "remote_bye", connected=True),
    Case("server_hangs_up", "server-bye", Load(200, 20, 60), "api_hangup", connected=True),
    Case("cancel", "cancel", Load(50, 20, 30), "caller_cancel", connected=False),
    Case("busy", "busy", Load(50, 20, 30), "busy", connected=False),
    Case("wrong_codec", "wrong-codec", Load(50, 20, 30), None, connected=False),
    # SIPp's own retransmission handling is off: it would hide the repeated 200 that the scenario waits for.
    Case("retransmitted", "retransmitted", Load(20, 20, 30), "remote_bye", connected=True, options=("-nr",)),
    Case("hold", "hold", Load(50, 20, 30), "remote_bye", connected=True),
    Case("is_transferred", "transferred", Load(50, 20, 30), "transfer_completed", connected=True),
    Case("asks_for_transfer", "transferring", Load(50, 20, 30), "transfer_completed", connected=True),
)


async def run_case(report: Report, case: Case, server: Server, app: Application, folder: Path) -> None:
    """Run one scenario and compare both sides' counts."""
    counts = await run_sipp(
        case.scenario, case.load, folder, target=server, user=case.user, options=case.options
    )
    check_counts(report, case.scenario, case.load, counts)
    wanted = {case.end: case.load.calls} if case.end else {}
    await app.wait(lambda: app.ends(case.user) == wanted, 15)
    report.equal(app.ends(case.user), wanted, f"{case.scenario}: one leg.disconnected per call")
    legs = case.load.calls if case.end else 0
    wanted_events = {"leg.ringing": legs, "leg.connected": legs if case.connected else 0}
    if case.scenario == "hold":
        wanted_events |= {"leg.hold": legs, "leg.unhold": legs}
    if case.end == "transfer_completed":
        wanted_events |= {"leg.transfer_completed": legs, "leg.transfer_failed": 0}
    for kind, number in wanted_events.items():
        report.equal(len(app.of(case.user, kind)), number, f"{case.scenario}: {kind}")


async def check_outbound(report: Report, server: Server, app: Application, folder: Path) -> None:
    """The server calls SIPp 50 times and hangs up each call after a second."""
    load, port = Load(50, 20, 40), free_udp_port()

    async def call(number: int) -> None:
        await trio.sleep(number / load.rate)
        leg_id = await app.dial(f"sip:callee@127.0.0.1:{port}", "outbound")
        if await app.wait_for(leg_id, "leg.connected") is not None:
            await trio.sleep(1)
            await app.command("delete_leg", id=leg_id)

    async def callee() -> None:
        check_counts(report, "callee", load, await run_sipp("callee", load, folder, port=port))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(callee)
        await wait_for_udp_port(port)
        for number in range(load.calls):
            nursery.start_soon(call, number)
    await app.wait(lambda: len(app.of("outbound", "leg.disconnected")) >= load.calls, 15)
    report.equal(app.ends("outbound"), {"api_hangup": load.calls}, "outbound: one leg.disconnected per call")


async def check_idle(report: Report, server: Server, app: Application) -> None:
    """Nothing is left of all those calls."""
    async with httpx.AsyncClient(base_url=server.http_url) as client:
        legs = (await client.get("/v1/legs")).json()
        rooms = (await client.get("/v1/rooms")).json()
    report.equal(legs, [], "no leg is left")
    report.equal(rooms, [], "no room is left")
    report.equal(app.failures, [], "no command failed and no event was dropped")


async def run(report: Report, only: tuple[str, ...] = ()) -> None:
    """Run every scenario, or the named ones, against one server.

    Raises:
        NotRun: SIPp is not installed.
    """
    find_sipp()
    with tempfile.TemporaryDirectory(prefix="interop-sipp-") as name:
        folder = Path(name)
        settings = {"VB_RTP_TIMEOUT": "0"}  # SIPp sends no audio, and the session timers take a minute
        async with running_server(folder, settings) as server, application(server.vsi_url, RULES) as app:
            for case in CASES:
                if not only or case.scenario in only:
                    await run_case(report, case, server, app, folder)
            if not only or "callee" in only:
                await check_outbound(report, server, app, folder)
            await run_races(report, server, app, folder, only)
            await run_carrier(report, server, app, folder, only)
            await check_idle(report, server, app)


def main() -> int:
    """Run the scenarios named on the command line, or all of them."""
    report = Report("sipp")
    run_peer(report, partial(run, only=tuple(sys.argv[1:])))
    return 1 if report.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
