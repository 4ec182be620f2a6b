"""What carriers ask for, with SIPp on the other side: PRACK and session timers, in both roles.

The scenarios with timers take as long as the smallest timer that RFC 4028 allows; they run side by side.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

from interop.application import Application, CommandFailed, Rule
from interop.report import Report
from interop.server import Server
from interop.sipp_runner import Load, check_counts, free_udp_port, run_sipp, wait_for_udp_port

FEW = Load(20, 20, 90)
MANY = Load(50, 20, 30)


def early_media_then_answer(app_wait_s: float) -> Rule:
    """Start early media, and answer so long after it without waiting for anything."""

    async def rule(app: Application, leg_id: str) -> None:
        await app.command("leg_early_media", id=leg_id)
        await trio.sleep(app_wait_s)
        await app.command("answer_leg", id=leg_id)

    return rule


async def answer(app: Application, leg_id: str) -> None:
    """Answer, and leave the hang-up to the caller."""
    await app.command("answer_leg", id=leg_id)


CARRIER_RULES: dict[str, Rule] = {
    "reliable-early-media": early_media_then_answer(0.1),
    "reliable-offer": early_media_then_answer(0.0),
    "session-refreshed": answer,
    "session-expires": answer,
}


async def check_inbound(
    report: Report, server: Server, app: Application, folder: Path, scenario: str, load: Load, end: str | None
) -> None:
    """SIPp calls and checks every message; the application sees each call end as it should."""
    user = scenario.replace("_", "-")
    options = ("-nr",) if scenario == "reliable_early_media" else ()
    counts = await run_sipp(scenario, load, folder, target=server, user=user, options=options)
    check_counts(report, scenario, load, counts)
    wanted = {end: load.calls} if end else {}
    await app.wait(lambda: app.ends(user) == wanted, 15)
    report.equal(app.ends(user), wanted, f"{scenario}: one leg.disconnected per call")


async def check_outbound(
    report: Report, app: Application, folder: Path, scenario: str, load: Load, talk_s: float
) -> None:
    """The server calls SIPp, which checks every message, and hangs up so long after the answer."""
    port = free_udp_port()

    async def call(number: int) -> None:
        await wait_for_udp_port(port)
        await trio.sleep(number / load.rate)
        leg_id = await app.dial(f"sip:callee@127.0.0.1:{port}", scenario)
        if await app.wait_for(leg_id, "leg.connected") is not None:
            await trio.sleep(talk_s)
            with suppress(CommandFailed):  # a leg that has gone shows in the reasons below
                await app.command("delete_leg", id=leg_id)

    async with trio.open_nursery() as nursery:
        for number in range(load.calls):
            nursery.start_soon(call, number)
        counts = await run_sipp(scenario, load, folder, port=port)
        check_counts(report, scenario, load, counts)
    await app.wait(lambda: len(app.of(scenario, "leg.disconnected")) >= load.calls, 15)
    report.equal(app.ends(scenario), {"api_hangup": load.calls}, f"{scenario}: one leg.disconnected per call")


async def run_carrier(
    report: Report, server: Server, app: Application, folder: Path, only: tuple[str, ...]
) -> None:
    """Run every scenario, or the named ones."""
    inbound = partial(check_inbound, report, server, app, folder)
    outbound = partial(check_outbound, report, app, folder)
    first = {
        "reliable_early_media": partial(inbound, "reliable_early_media", MANY, "remote_bye"),
        "reliable_offer": partial(inbound, "reliable_offer", MANY, "remote_bye"),
        "reliable_callee": partial(outbound, "reliable_callee", MANY, 1.0),
        "small_interval": partial(inbound, "small_interval", MANY, None),
    }
    for name, run in first.items():
        if not only or name in only:
            await run()
    timers = {
        "session_refreshed": partial(inbound, "session_refreshed", FEW, "remote_bye"),
        "session_expires": partial(inbound, "session_expires", FEW, "session_expired"),
        "session_callee": partial(outbound, "session_callee", FEW, 50.0),
    }
    async with trio.open_nursery() as nursery:
        for name, run in timers.items():
            if not only or name in only:
                nursery.start_soon(run)
