"""Hold: by the phone, by the server, by both, at the same moment, and over a refresh of the session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from interop.phone_calls import Bench, Line, running_bench
from interop.phone_client import Phone, PhoneOptions, SipMessage, running_phones
from interop.report import Report

TONES_HZ = (700, 1100)
SESSION_S = 90
SLACK_S = 5.0
REFRESH_S = SESSION_S / 2 + 10
# How long two requests that met may take until both are carried out (RFC 3261 §14.1: up to 4 s each).
GLARE_S = 15.0


@asynccontextmanager
async def pair(bench: Bench, room: str, codec: str = "PCMU") -> AsyncIterator[tuple[Line, Line]]:
    """Two phones that hear each other in a room of their own; the first one is to be held."""
    options = (PhoneOptions(room, TONES_HZ[0], codec), PhoneOptions(f"{room}-mate", TONES_HZ[1]))
    async with running_phones(*options) as (phone, mate):
        line = await bench.call_in(phone, room, room=room)
        other = await bench.call_in(mate, f"{room}-mate", room=room)
        await bench.each_hears(room, line, other)
        yield line, other
        await bench.each_hears(f"{room}, resumed", line, other)
        await bench.hang_up(line, other)


def _is_offer(message: SipMessage) -> bool:
    return message.start.startswith("INVITE ")


def _answers(message: SipMessage, request: SipMessage) -> bool:
    """Whether a message is the final answer to a request."""
    same = (message.header(name) == request.header(name) for name in ("Call-ID", "CSeq"))
    return message.start.startswith("SIP/2.0 ") and not message.start.startswith("SIP/2.0 1") and all(same)


async def directions(phone: Phone, since: int, *, sent: bool) -> tuple[str, str]:
    """The directions of the first re-INVITE that a phone sent or got since then, and of its answer."""
    offer = await phone.message(lambda message: message.sent == sent and _is_offer(message), since=since)
    answer = await phone.message(
        lambda message: message.sent != sent and _answers(message, offer), since=since
    )
    return offer.direction, answer.direction


async def expect(bench: Bench, line: Line, what: str, *, state: str, holds: int, unholds: int) -> None:
    """Check how often a leg was held and resumed, and its state."""
    await bench.count(line.leg_id, "leg.hold", holds, what)
    await bench.count(line.leg_id, "leg.unhold", unholds, what)
    bench.report.equal(await bench.state(line.leg_id), state, f"{what}: state")


async def check_phone_holds(bench: Bench) -> None:
    """The phone holds and resumes."""
    async with pair(bench, "phone-holds") as (line, other):
        since = len(line.phone.messages)
        await line.do("hold")
        await expect(bench, line, "the phone holds", state="held", holds=1, unholds=0)
        found = await directions(line.phone, since, sent=True)
        bench.report.equal(found, ("sendonly", "recvonly"), "the phone holds: offer and answer")
        await bench.neither_hears("the phone holds", line, other)
        since = len(line.phone.messages)
        await line.do("resume")
        await expect(bench, line, "the phone resumes", state="connected", holds=1, unholds=1)
        found = await directions(line.phone, since, sent=True)
        bench.report.equal(found, ("sendrecv", "sendrecv"), "the phone resumes: offer and answer")


async def check_server_holds(bench: Bench) -> None:
    """The server holds and resumes; to do so again changes nothing."""
    async with pair(bench, "server-holds", "opus") as (line, other):
        since = len(line.phone.messages)
        await bench.app.command("hold_leg", id=line.leg_id)
        await line.phone.event("call_hold", line.call)
        await bench.app.command("hold_leg", id=line.leg_id)
        await expect(bench, line, "the server holds", state="held", holds=1, unholds=0)
        found = await directions(line.phone, since, sent=False)
        bench.report.equal(found, ("sendonly", "recvonly"), "the server holds: offer and answer")
        await bench.neither_hears("the server holds", line, other)
        offers = sum(map(_is_offer, line.phone.messages[since:]))
        bench.report.equal(offers, 1, "the server holds twice: re-INVITEs")
        since = len(line.phone.messages)
        await bench.app.command("unhold_leg", id=line.leg_id)
        await line.phone.event("call_resume", line.call)
        await expect(bench, line, "the server resumes", state="connected", holds=1, unholds=1)
        found = await directions(line.phone, since, sent=False)
        bench.report.equal(found, ("sendrecv", "sendrecv"), "the server resumes: offer and answer")


async def check_both_hold(bench: Bench) -> None:
    """Each holds for itself, and each hold is told: the call is held until both have resumed."""
    async with pair(bench, "both-hold") as (line, other):
        phone = line.phone
        await line.do("hold")
        await bench.count(line.leg_id, "leg.hold", 1, "both hold, the phone first")
        since = len(phone.messages)
        await bench.app.command("hold_leg", id=line.leg_id)
        found = await directions(phone, since, sent=False)
        bench.report.equal(found, ("inactive", "inactive"), "both hold, the phone first: offer and answer")
        await bench.count(line.leg_id, "leg.hold", 2, "both hold, the phone first")
        since = len(phone.messages)
        await line.do("resume")
        found = await directions(phone, since, sent=True)
        bench.report.equal(found, ("sendrecv", "sendonly"), "the phone resumes, the server holds")
        await expect(bench, line, "the phone resumes, the server holds", state="held", holds=2, unholds=0)
        await bench.neither_hears("the phone resumes, the server holds", line, other)
        await bench.app.command("unhold_leg", id=line.leg_id)
        await expect(bench, line, "the server resumes last", state="connected", holds=2, unholds=1)
        await bench.each_hears("the server resumes last", line, other)

        await bench.app.command("hold_leg", id=line.leg_id)
        await bench.count(line.leg_id, "leg.hold", 3, "both hold, the server first")
        since = len(phone.messages)
        await line.do("hold")
        found = await directions(phone, since, sent=True)
        bench.report.equal(found, ("sendonly", "inactive"), "both hold, the server first: offer and answer")
        await bench.count(line.leg_id, "leg.hold", 4, "both hold, the server first")
        since = len(phone.messages)
        await bench.app.command("unhold_leg", id=line.leg_id)
        found = await directions(phone, since, sent=False)
        bench.report.equal(found, ("sendrecv", "sendonly"), "the server resumes, the phone holds")
        await expect(bench, line, "the server resumes, the phone holds", state="held", holds=4, unholds=1)
        await bench.neither_hears("the server resumes, the phone holds", line, other)
        await line.do("resume")
        await expect(bench, line, "the phone resumes last", state="connected", holds=4, unholds=2)


async def check_same_moment(bench: Bench) -> None:
    """Both hold at the same moment, and later resume so: whichever request has to wait is sent again.

    One exchange may bring both holds: the phone's own offer was refused with 491, and it answers ours as held
    from its side too. What one exchange brings is told once, so there are one or two events.
    """
    what = "both hold at the same moment"
    async with pair(bench, "same-moment") as (line, other):
        await _at_once(bench, line, "hold", "hold_leg")
        await bench.neither_hears(what, line, other)
        await bench.app.wait(lambda: len(bench.events(line.leg_id, "leg.hold")) >= 2, GLARE_S)
        holds = len(bench.events(line.leg_id, "leg.hold"))
        bench.report.check(holds in (1, 2), f"{what}: leg.hold once or twice", f"{holds} times")
        bench.report.equal(await bench.state(line.leg_id), "held", f"{what}: state")
        await _at_once(bench, line, "resume", "unhold_leg")
        what = "both resume at the same moment"
        await bench.count(line.leg_id, "leg.unhold", 1, what, GLARE_S)
        await expect(bench, line, what, state="connected", holds=holds, unholds=1)


async def _at_once(bench: Bench, line: Line, command: str, leg_command: str) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.do, command)
        nursery.start_soon(partial(bench.app.command, leg_command, id=line.leg_id))


async def check_refresh(bench: Bench) -> None:
    """The server's refresh of the session leaves the phone's hold as it is.

    Only a hold by the phone can be seen over a refresh: baresip does not know session timers, and its answer
    to a re-INVITE of the server, which lacks the Session-Expires, ends the timer (RFC 4028 section 7.2).
    """
    headers = {"Session-Expires": f"{SESSION_S};refresher=uas", "Supported": "timer"}
    options = (PhoneOptions("refresh", TONES_HZ[0]), PhoneOptions("refresh-mate", TONES_HZ[1]))
    async with running_phones(*options) as (phone, mate):
        line = await bench.call_in(phone, "refresh", room="refresh", headers=headers)
        other = await bench.call_in(mate, "refresh-mate", room="refresh")
        await line.do("hold")
        begun_s = trio.current_time()
        await bench.count(line.leg_id, "leg.hold", 1, "held over a refresh")
        refresh = await phone.message(
            lambda message: not message.sent and message.start.split(" ")[0] in ("UPDATE", "INVITE"),
            within_s=REFRESH_S,
        )
        after_s = trio.current_time() - begun_s
        in_time = abs(after_s - SESSION_S / 2) <= SLACK_S
        bench.report.check(
            in_time, "the server refreshes the session at half its time", f"after {after_s:g} s"
        )
        method = refresh.start.split(" ")[0]
        bench.report.equal((method, refresh.body), ("UPDATE", ""), "the refresh, as the phone takes UPDATE")
        answer = await phone.message(lambda message: message.sent and _answers(message, refresh))
        bench.report.equal(answer.start.split(" ")[1], "200", "the phone answers the refresh with")
        await expect(bench, line, "after the refresh", state="held", holds=1, unholds=0)
        await bench.neither_hears("after the refresh", line, other)
        await line.do("resume")
        await bench.each_hears("resumed after the refresh", line, other)
        await bench.hang_up(line, other)


CHECKS = {
    "phone-holds": check_phone_holds,
    "server-holds": check_server_holds,
    "both-hold": check_both_hold,
    "same-moment": check_same_moment,
}


async def run(report: Report) -> None:
    """Run the checks at the same time: most of it is waiting for silence."""
    async with running_bench(report, CHECKS) as bench, trio.open_nursery() as nursery:
        for name, check in CHECKS.items():
            nursery.start_soon(bench.scenario, f"{name}: every step works", partial(check, bench))


async def run_refresh(report: Report) -> None:
    """Run the check that waits for half a session's time."""
    async with running_bench(report, ("refresh",)) as bench:
        await bench.scenario("refresh: every step works", partial(check_refresh, bench))
