"""Phones whose audio is protected, in a room with a plain one: calls in and out, hold, a refusal."""

from __future__ import annotations

from functools import partial

import trio

from interop.phone_calls import Bench, Line, running_bench
from interop.phone_client import Phone, PhoneOptions, running_phones
from interop.report import Report

TONES_HZ = (700, 1100)
# What the phone does with its audio; the transport of its own offers, and what it is offered.
KINDS = {
    "srtp-mand": ("RTP/SAVP", "required"),
    "srtp": ("RTP/AVP", "preferred"),
}


def transports(phone: Phone) -> set[str]:
    """The transports of every audio line that a phone sent or got."""
    lines = [line for message in phone.messages for line in message.body.splitlines()]
    return {line.split(" ")[2] for line in lines if line.startswith("m=audio")}


def check_secure(bench: Bench, phone: Phone, transport: str, what: str) -> None:
    """Check that offers and answers of both sides name the transport and bring keys."""
    bench.report.equal(transports(phone), {transport}, f"{what}: transport of every description")
    bodies = [message for message in phone.messages if message.body.startswith("v=0")]
    for sent in (True, False):
        keyed = ["a=crypto:" in message.body for message in bodies if message.sent is sent]
        side = "phone's" if sent else "server's"
        bench.report.check(bool(keyed) and all(keyed), f"{what}: keys in the {side} descriptions", keyed)


async def _hold(bench: Bench, line: Line, what: str) -> None:
    await line.do("hold")
    await bench.count(line.leg_id, "leg.hold", 1, f"{what}: the phone holds")
    await line.do("resume")
    await bench.count(line.leg_id, "leg.unhold", 1, f"{what}: the phone resumes")


async def _room(bench: Bench, kind: str) -> None:
    transport, asked = KINDS[kind]
    secure = PhoneOptions(f"{kind}-phone", TONES_HZ[0], encryption=kind)
    async with running_phones(secure, PhoneOptions(f"{kind}-plain", TONES_HZ[1])) as (phone, plain):
        other = await bench.call_in(plain, f"{kind}-beside", room=kind)
        line = await bench.call_in(phone, f"{kind}-in", room=kind)
        await bench.each_hears(f"{kind}: call in", line, other)
        await _hold(bench, line, f"{kind}: call in")
        await bench.each_hears(f"{kind}: call in, resumed", line, other)
        await bench.hang_up(line)
        check_secure(bench, phone, transport, f"{kind}: call in")
        phone.messages.clear()
        line = await bench.call_out(phone, f"{kind}-out", room=kind, srtp=asked)
        await bench.each_hears(f"{kind}: call out", line, other)
        await _hold(bench, line, f"{kind}: call out")
        await bench.each_hears(f"{kind}: call out, resumed", line, other)
        check_secure(bench, phone, transport, f"{kind}: call out")
        await bench.hang_up(line, other)


async def run(report: Report) -> None:
    """Run every kind, one after the other."""
    async with running_bench(report, KINDS) as bench:
        for kind in KINDS:
            with trio.fail_after(60):
                await bench.scenario(f"{kind}: protected calls work", partial(_room, bench, kind))
