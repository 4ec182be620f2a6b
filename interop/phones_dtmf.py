"""Digits: telephone-events both ways in three codecs, SIP INFO, through a room, and what must not count."""

from __future__ import annotations

from collections import Counter
from functools import partial
from statistics import median

import trio

from interop.phone_calls import Bench, Line, running_bench
from interop.phone_client import Phone, PhoneOptions, running_phones
from interop.report import Report

DIGITS = "0123456789*#ABCD"
IN_BAND = "159"
ROOM = "digits"
# How long the server's digits may be by the phone's own decoder, from the first packet to the last one.
HELD_S = (0.06, 0.3)
FIELDS = {"type", "timestamp", "instance_id", "event_id", "leg_id", "digit", "seq"}
SETTINGS = {"VB_DTMF_INFO": "true", "VB_DTMF_INBAND": "true"}


def _keys(line: Line) -> str:
    """What the phone's decoder has reported as pressed."""
    return "".join(str(event["text"]) for event in line.phone.of("call_dtmf_start", line.call))


def check_received(bench: Bench, line: Line, digits: str, what: str) -> None:
    """Check the events of a leg: these digits in order, once each, counted from 1, without further fields."""
    events = bench.events(line.leg_id, "dtmf.received")
    bench.report.equal("".join(str(event["digit"]) for event in events), digits, f"{what}: dtmf.received")
    numbers = list(range(1, len(digits) + 1))
    bench.report.equal([event["seq"] for event in events], numbers, f"{what}: seq")
    fields = set().union(*(set(event) for event in events))
    bench.report.check(fields == (FIELDS if events else set()), f"{what}: the fields of the events", fields)


def check_decoded(bench: Bench, line: Line, digits: str, what: str) -> None:
    """Check what the phone's decoder says: these digits in order, each once, with the right length."""
    bench.report.equal(_keys(line), digits, f"{what}: the phone decodes")
    pressed, released = (line.phone.of(f"call_dtmf_{end}", line.call) for end in ("start", "end"))
    bench.report.equal(len(released), len(pressed), f"{what}: digits that are released")
    held_s = [
        float(str(end["at_s"])) - float(str(start["at_s"]))
        for start, end in zip(pressed, released, strict=False)
    ]
    usual_s = median(held_s or [0.0])  # a busy machine may report one late
    least_s, most_s = HELD_S
    is_right = least_s <= usual_s <= most_s
    bench.report.check(is_right, f"{what}: digits are {least_s:g} to {most_s:g} s long", held_s)


async def _both_ways(bench: Bench, phone: Phone, line: Line, what: str) -> None:
    """Send every digit in both directions at the same time, then compare what either side has."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(line.do, "send_digits", digits=DIGITS))
        nursery.start_soon(partial(bench.app.command, "send_leg_dtmf", id=line.leg_id, digits=DIGITS))
    await phone.wait(lambda: len(phone.of("call_dtmf_end", line.call)) >= len(DIGITS))
    await bench.app.wait(lambda: len(bench.events(line.leg_id, "dtmf.received")) >= len(DIGITS), 5)
    await bench.hang_up(line)  # nothing can follow leg.disconnected
    check_received(bench, line, DIGITS, what)
    check_decoded(bench, line, DIGITS, what)


async def check_inbound(bench: Bench, codec: str) -> None:
    """A phone that calls in."""
    async with running_phones(PhoneOptions(f"in-{codec}", 700, codec)) as (phone,):
        line = await bench.call_in(phone, f"in-{codec}")
        await _both_ways(bench, phone, line, f"telephone-event, {codec} call in")


async def check_outbound(bench: Bench, codec: str) -> None:
    """A phone that is called."""
    async with running_phones(PhoneOptions(f"out-{codec}", 700, codec)) as (phone,):
        line = await bench.call_out(phone, f"out-{codec}")
        await _both_ways(bench, phone, line, f"telephone-event, {codec} call out")


async def check_info(bench: Bench) -> None:
    """A phone that sends INFO; the server's own digits go to it as telephone-events all the same."""
    async with running_phones(PhoneOptions("info", 700, dtmf="info")) as (phone,):
        line = await bench.call_in(phone, "info")
        await _both_ways(bench, phone, line, "INFO")

        def answers() -> list[str]:
            got = [message for message in phone.messages if not message.sent]
            return [message.start for message in got if message.header("CSeq").endswith(" INFO")]

        await phone.wait(lambda: len(answers()) >= len(DIGITS))
        sent = [message for message in phone.messages if message.start.startswith("INFO ")]
        types = {message.header("Content-Type") for message in sent}
        bench.report.equal(types, {"application/dtmf-relay"}, "INFO: what the phone sends")
        counted = dict(Counter(answers()))
        bench.report.equal(counted, {"SIP/2.0 200 OK": len(DIGITS)}, "INFO: the server's answers")


async def check_room(bench: Bench) -> None:
    """Digits reach the room mates that want them, and nobody else."""
    options = (PhoneOptions("presses", 700), PhoneOptions("mate", 1100, "opus"))
    async with running_phones(*options) as (presses, mate):
        one = await bench.call_in(presses, "presses", room=ROOM)
        two = await bench.call_in(mate, "mate", room=ROOM)
        await one.do("send_digits", digits="7#D")
        await mate.event("call_dtmf_end", two.call, number=3)
        await bench.app.command("reject_leg_dtmf", id=two.leg_id)
        await one.do("send_digits", digits="1")
        await bench.count(one.leg_id, "dtmf.received", 4, "room, rejected digit")
        await bench.app.command("accept_leg_dtmf", id=two.leg_id)
        await one.do("send_digits", digits="2")
        await mate.event("call_dtmf_end", two.call, number=4)
        await bench.hang_up(one, two)
        check_decoded(bench, two, "7#D2", "room")
        check_received(bench, one, "7#D12", "room")
        check_received(bench, two, "", "room, the mate")
        bench.report.equal(_keys(one), "", "room: the phone that presses gets back")


async def check_spoken(bench: Bench) -> None:
    """Digits in the audio do not count where telephone-events were agreed."""
    async with running_phones(PhoneOptions("spoken")) as (phone,):
        line = await bench.call_in(phone, "spoken")
        await line.do("say_digits", digits=IN_BAND)
        await line.do("send_digits", digits="2")
        await bench.count(line.leg_id, "dtmf.received", 1, "digits in the audio")
        await bench.hang_up(line)
        check_received(bench, line, "2", "digits in the audio")


async def check_info_off(bench: Bench) -> None:
    """INFO that the settings do not allow is refused, and the call goes on."""
    async with running_phones(PhoneOptions("info-off", 700, dtmf="info")) as (phone,):
        line = await bench.call_in(phone, "info-off")
        await line.do("send_digits", digits="5")
        answer = await phone.message(
            lambda message: not message.sent and message.header("CSeq").endswith(" INFO")
        )
        bench.report.equal(answer.start, "SIP/2.0 405 Method Not Allowed", "INFO that is off: the answer")
        bench.report.equal(await bench.state(line.leg_id), "connected", "INFO that is off: the leg is")
        await bench.hang_up(line)
        check_received(bench, line, "", "INFO that is off")


async def run(report: Report) -> None:
    """Run the checks against a server that takes every kind of digits, then one with its defaults."""
    await run_every_kind(report)
    async with running_bench(report) as bench:
        await bench.scenario("INFO that is off: every step works", partial(check_info_off, bench))


async def run_every_kind(report: Report) -> None:
    """Run these checks at the same time: most of it is waiting for digits to pass."""
    async with running_bench(report, (ROOM,), **SETTINGS) as bench:
        checks = {
            "PCMU call in": partial(check_inbound, bench, "PCMU"),
            "G722 call in": partial(check_inbound, bench, "G722"),
            "opus call in": partial(check_inbound, bench, "opus"),
            "opus call out": partial(check_outbound, bench, "opus"),
            "INFO": partial(check_info, bench),
            "digits in a room": partial(check_room, bench),
            "digits in the audio": partial(check_spoken, bench),
        }
        async with trio.open_nursery() as nursery:
            for name, check in checks.items():
                nursery.start_soon(bench.scenario, f"{name}: every step works", check)
