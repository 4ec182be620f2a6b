"""Transfers in both roles: the server asks a phone, and phones ask the server, which dials by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from interop.phone_calls import Bench, Line, running_bench
from interop.phone_client import Phone, PhoneFailed, PhoneOptions, running_phones
from interop.report import Report

ASKS_HZ, MATE_HZ, TARGET_HZ = 700, 1100, 1600
COMPLETED = "transfer_completed"
SUCCESS = ("SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK")
AT_A_TIME = 4


def sipfrags(phone: Phone, *, sent: bool) -> list[str]:
    """The status lines of the NOTIFYs that a phone sent or got."""
    return [
        message.body.strip()
        for message in phone.messages
        if message.sent == sent and message.start.startswith("NOTIFY ")
    ]


async def check_notified(bench: Bench, phone: Phone, wanted: Sequence[str], what: str) -> None:
    """Check the NOTIFYs that a phone got; its trace may come a little later than what they bring about."""
    await phone.wait(lambda: len(sipfrags(phone, sent=False)) >= len(wanted))
    bench.report.equal(sipfrags(phone, sent=False), list(wanted), f"{what}: NOTIFYs")


@asynccontextmanager
async def three(name: str) -> AsyncIterator[Sequence[Phone]]:
    """The phone whose call is transferred or that asks for it, its mate in a room, and the target."""
    options = (("party", ASKS_HZ), ("mate", MATE_HZ), ("target", TARGET_HZ))
    async with running_phones(*(PhoneOptions(f"{name}-{role}", hz) for role, hz in options)) as phones:
        yield phones


async def last_call(phone: Phone, leg_id: str = "") -> Line:
    """The call that came in last, once it is up."""
    number = int(str(phone.of("incoming")[-1]["call"]))
    await phone.event("call_established", number)
    return Line(phone, number, leg_id)


def _told(events: Sequence[Mapping[str, object]]) -> list[tuple[object, ...]]:
    """What events of transfers say, short."""
    names = ("kind", "target", "declined", "status_code", "replaces_leg_id")
    return [(event["type"], *(event[name] for name in names if name in event)) for event in events]


async def _dials_target(phone: Phone, line: Line) -> Line:
    """Let a phone carry out the transfer that it was asked for."""
    await phone.event("call_transfer", line.call)
    accepted = await line.do("accept_transfer")
    return Line(phone, int(str(accepted["call"])), "")


# -- the server asks a phone -------------------------------------------------------------------------------


async def check_server_blind(bench: Bench) -> None:
    """The server transfers a phone to another one."""
    what = "blind transfer by the server"
    async with running_phones(
        PhoneOptions("sb-party", ASKS_HZ), PhoneOptions("sb-target", TARGET_HZ)
    ) as phones:
        party, target = phones
        line = await bench.call_in(party, "sb-party")
        await bench.app.command("leg_transfer", id=line.leg_id, target=target.uri)
        new = await _dials_target(party, line)
        await bench.ends(line.leg_id, COMPLETED, what)
        await party.event("call_closed", line.call)
        await bench.each_hears(what, new, await last_call(target))
        await party.wait(lambda: sipfrags(party, sent=True)[-1:] == [SUCCESS[-1]])
        told = [event for event in bench.app.of("sb-party") if "transfer" in str(event["type"])]
        wanted = [
            ("leg.transfer_initiated", "blind", target.uri),
            *(("leg.transfer_progress", status) for status in _provisional(party)),
            ("leg.transfer_completed", 200),
        ]
        bench.report.equal(_told(told), wanted, f"{what}: events")
        bench.report.equal(sipfrags(party, sent=True)[-1:], [SUCCESS[-1]], f"{what}: the last NOTIFY")
        await new.do("hangup")


def _provisional(phone: Phone) -> list[int]:
    """The provisional statuses that a phone has notified."""
    statuses = [int(frag.split(" ")[1]) for frag in sipfrags(phone, sent=True)]
    return [status for status in statuses if status < 200]


async def check_server_refused(bench: Bench) -> None:
    """A busy target, and a phone that declines: the server learns the status, and the call goes on."""
    async with three("sr") as (party, mate, target):
        line = await bench.call_in(party, "sr-party", room="sr")
        other = await bench.call_in(mate, "sr-mate", room="sr")
        await target.do("incoming", treatment="busy")
        await bench.app.command("leg_transfer", id=line.leg_id, target=target.uri)
        await _dials_target(party, line)
        await bench.count(line.leg_id, "leg.transfer_failed", 1, "transfer to a busy phone")
        await bench.app.command("leg_transfer", id=line.leg_id, target=target.uri)
        await party.event("call_transfer", line.call, number=2)
        await line.do("refuse_transfer", status=603)
        await bench.count(line.leg_id, "leg.transfer_failed", 2, "transfer that the phone declines")
        failures = [event.get("status_code") for event in bench.events(line.leg_id, "leg.transfer_failed")]
        bench.report.equal(failures, [486, 603], "transfers that fail: statuses")
        bench.report.equal(await bench.state(line.leg_id), "connected", "transfers that fail: the leg is")
        await bench.each_hears("transfers that fail", line, other)
        await bench.hang_up(line, other)


async def check_server_attended(bench: Bench) -> None:
    """The server transfers a phone into another phone's call; it has held both."""
    what = "attended transfer by the server"
    async with running_phones(
        PhoneOptions("sa-party", ASKS_HZ), PhoneOptions("sa-target", TARGET_HZ)
    ) as phones:
        party, target = phones
        line = await bench.call_in(party, "sa-party")
        other = await bench.call_out(target, "sa-target")
        for held in (line, other):
            await bench.app.command("hold_leg", id=held.leg_id)
            await bench.count(held.leg_id, "leg.hold", 1, f"{what}, held before")
        await bench.app.command(
            "leg_transfer", id=line.leg_id, target=target.uri, replaces_leg_id=other.leg_id
        )
        new = await _dials_target(party, line)
        await bench.ends(line.leg_id, COMPLETED, what)
        # The target hangs up what is replaced (RFC 3891 section 3), before or after the NOTIFY comes.
        for closed in (line, other):
            await closed.phone.event("call_closed", closed.call)
        reason = await bench.end_of(other.leg_id)
        is_over = reason in ("remote_bye", COMPLETED)
        bench.report.check(is_over, f"{what}: the replaced call ends", reason)
        await target.event("incoming", number=2)
        await bench.each_hears(what, new, await last_call(target))
        told = _told(bench.events(line.leg_id, "leg.transfer_initiated"))
        wanted = [("leg.transfer_initiated", "attended", target.uri, other.leg_id)]
        bench.report.equal(told, wanted, f"{what}: event")
        await new.do("hangup")


# -- a phone asks the server, which dials ------------------------------------------------------------------


async def check_phone_blind(bench: Bench) -> None:
    """A phone transfers its call to another phone: that one joins the room in its place."""
    what = "blind transfer by a phone"
    async with three("pb") as (party, mate, target):
        line = await bench.call_in(party, "pb-party", room="pb")
        other = await bench.call_in(mate, "pb-mate", room="pb")
        await line.do("transfer", to=target.uri)
        await bench.ends(line.leg_id, COMPLETED, what)
        rings = [event for event in bench.app.events if event.get("uri") == target.uri]
        bench.report.equal([event["type"] for event in rings], ["leg.ringing"], f"{what}: the new leg")
        new = await last_call(target, str(rings[0]["leg_id"]))
        await bench.each_hears(what, new, other)
        told = [event for event in bench.app.of("pb-party") if "transfer" in str(event["type"])]
        bench.report.equal(
            [_told(told)[0], _told(told)[-1]],
            [("leg.transfer_requested", "blind", target.uri, False), ("leg.transfer_completed", 200)],
            f"{what}: first and last event",
        )
        await check_notified(bench, party, SUCCESS, what)
        await bench.hang_up(new, other)
        await bench.ends(new.leg_id, "remote_bye", f"{what}, the new call")


async def fails(bench: Bench, line: Line, to: str, status: int, what: str) -> None:
    """Let a phone ask for a transfer, and check that it learns of a failure."""
    try:
        await line.do("transfer", to=to)
    except PhoneFailed as failed:
        bench.report.equal(failed.status, status, f"{what}: the phone is told")
    else:
        bench.report.check(False, f"{what}: the phone is told of a failure")


async def check_phone_busy(bench: Bench) -> None:
    """A phone asks for a transfer to a busy one: it is told 486, and its call goes on."""
    what = "transfer by a phone to a busy one"
    async with three("pf") as (party, mate, target):
        line = await bench.call_in(party, "pf-party", room="pf")
        other = await bench.call_in(mate, "pf-mate", room="pf")
        await target.do("incoming", treatment="busy")
        await fails(bench, line, target.uri, 486, what)
        await bench.count(line.leg_id, "leg.transfer_failed", 1, what)
        told = [event.get("status_code") for event in bench.events(line.leg_id, "leg.transfer_failed")]
        bench.report.equal(told, [486], f"{what}: the application is told")
        bench.report.equal(await bench.state(line.leg_id), "connected", f"{what}: the leg is")
        await bench.each_hears(what, line, other)
        await bench.hang_up(line, other)


async def check_phone_attended(bench: Bench) -> None:
    """A phone with two calls to the server, each in a room, splices them and is gone itself."""
    what = "attended transfer by a phone"
    async with three("pa") as (party, one, two):
        lines = [await bench.call_in(party, f"pa-{side}", room=f"pa-{side}") for side in ("one", "two")]
        mates = [
            await bench.call_in(mate, f"pa-mate-{side}", room=f"pa-{side}")
            for mate, side in ((one, "one"), (two, "two"))
        ]
        await lines[0].do("attended_transfer", consultation=lines[1].call)
        for line in lines:
            await bench.ends(line.leg_id, COMPLETED, what)
            await party.event("call_closed", line.call)
        requested = bench.events(lines[0].leg_id, "leg.transfer_requested")
        kinds = [(event.get("kind"), event.get("declined")) for event in requested]
        bench.report.equal(kinds, [("attended", False)], f"{what}: event")
        await bench.each_hears(what, mates[0], mates[1])
        await bench.hang_up(*mates)
        # What is left is the server's call to itself from one room to the other.
        rings = [event for event in bench.app.events if event["type"] == "leg.ringing" and event.get("uri")]
        own = [str(event["leg_id"]) for event in rings if bench.server.sip_uri("")[5:] in str(event["uri"])]
        bench.report.equal(len(own), 1, f"{what}: legs that the server dials to itself")
        for leg_id in own:
            await bench.app.command("delete_leg", id=leg_id)


Check = Callable[[Bench], Awaitable[None]]
CHECKS: dict[str, Check] = {
    "blind transfer by the server": check_server_blind,
    "transfers by the server that fail": check_server_refused,
    "attended transfer by the server": check_server_attended,
    "blind transfer by a phone": check_phone_blind,
    "transfer by a phone to a busy one": check_phone_busy,
    "attended transfer by a phone": check_phone_attended,
}
ROOMS = ("sr", "pb", "pf", "pa-one", "pa-two")


async def run_checks(bench: Bench, checks: Mapping[str, Check]) -> None:
    """Run checks, a few at a time."""
    limit = trio.CapacityLimiter(AT_A_TIME)

    async def run_one(name: str, check: Check) -> None:
        async with limit:
            await bench.scenario(f"{name}: every step works", partial(check, bench))

    async with trio.open_nursery() as nursery:
        for name, check in checks.items():
            nursery.start_soon(run_one, name, check)


async def run(report: Report) -> None:
    """Run the checks against a server that carries out REFERs by itself."""
    async with running_bench(report, ROOMS, SIP_REFER_AUTO_DIAL="true") as bench:
        await run_checks(bench, CHECKS)
