"""Phones that ask for transfers where the application decides: accepted, declined, failed, not answered."""

from __future__ import annotations

from functools import partial

import trio

from interop.phone_calls import Bench, running_bench
from interop.phone_client import PhoneFailed
from interop.phones_transfer import COMPLETED, SUCCESS, check_notified, fails, last_call, run_checks, three
from interop.report import Report


async def check_accepted(bench: Bench) -> None:
    """The application accepts, calls the target into the room, and says how it goes."""
    what = "transfer that the application accepts"
    async with three("ca") as (party, mate, target):
        line = await bench.call_in(party, "ca-party", room="ca")
        other = await bench.call_in(mate, "ca-mate", room="ca")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(line.do, "transfer", to=target.uri))
            asked = await bench.app.wait_for(line.leg_id, "leg.transfer_requested")
            if asked is None:
                raise PhoneFailed("no leg.transfer_requested")
            found = (asked.get("kind"), asked.get("target"), asked.get("declined"))
            bench.report.equal(found, ("blind", target.uri, False), f"{what}: event")
            await bench.app.command("accept_transfer", id=line.leg_id)
            await bench.app.command("progress_transfer", id=line.leg_id, status_code=180)
            new = await bench.call_out(target, "ca-target", room="ca")
            await bench.app.command("complete_transfer", id=line.leg_id, success=True)
        await bench.ends(line.leg_id, COMPLETED, what)
        await check_notified(bench, party, SUCCESS, what)
        await bench.each_hears(what, await last_call(target), other)
        await bench.hang_up(new, other)


async def check_refused(bench: Bench) -> None:
    """The application declines, then accepts and fails, then is silent: the call outlives all of it."""
    async with three("cr") as (party, mate, target):
        line = await bench.call_in(party, "cr-party", room="cr")
        other = await bench.call_in(mate, "cr-mate", room="cr")

        async def asked(number: int) -> None:
            def came() -> bool:
                return len(bench.events(line.leg_id, "leg.transfer_requested")) >= number

            if not await bench.app.wait(came, 5):
                raise PhoneFailed("no leg.transfer_requested")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, bench, line, target.uri, 480, "transfer that the application declines")
            await asked(1)
            await bench.app.command("decline_transfer", id=line.leg_id, code=480, reason="Not now")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, bench, line, target.uri, 404, "transfer that fails at the application")
            await asked(2)
            await bench.app.command("accept_transfer", id=line.leg_id)
            await bench.app.command("complete_transfer", id=line.leg_id, success=False, status_code=404)
        await fails(bench, line, target.uri, 603, "transfer that the application leaves alone")
        await bench.count(line.leg_id, "leg.transfer_failed", 3, "transfers that come to nothing")
        failures = [event.get("status_code") for event in bench.events(line.leg_id, "leg.transfer_failed")]
        bench.report.equal(failures, [480, 404, 603], "transfers that come to nothing: statuses")
        bench.report.equal(await bench.state(line.leg_id), "connected", "the leg is still")
        await bench.each_hears("transfers that come to nothing", line, other)
        await bench.hang_up(line, other)


CHECKS = {
    "transfer that the application accepts": check_accepted,
    "transfers that come to nothing": check_refused,
}


async def run(report: Report) -> None:
    """Run the checks against a server that asks the application."""
    async with running_bench(report, ("ca", "cr")) as bench:
        await run_checks(bench, CHECKS)
