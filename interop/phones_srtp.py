"""Phones whose audio is protected, in a room with a plain one: calls in and out, hold, a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import trio

from interop.phone_calls import Bench, Line, running_bench
from interop.phone_client import Phone, PhoneOptions, running_phones
from interop.report import Report

TONES_HZ = (700, 1100)


@dataclass(frozen=True)
class Kind:
    """What a phone does with its audio.

    Attributes:
        transport: of its own offers.
        keys: attribute that brings keys.
        asked: of the server where it calls the phone.
        options: of the phone.
        offered: transport of what it is offered, if it is another one.
    """

    transport: str
    keys: str
    asked: Mapping[str, str]
    options: Mapping[str, str | bool]
    offered: str = ""


KINDS = {
    "srtp-mand": Kind("RTP/SAVP", "crypto", {"srtp": "required"}, {"encryption": "srtp-mand"}),
    "srtp": Kind("RTP/AVP", "crypto", {"srtp": "preferred"}, {"encryption": "srtp"}),
    "dtls": Kind(
        "UDP/TLS/RTP/SAVPF",
        "fingerprint",
        {"srtp": "required", "srtp_keying": "dtls"},
        {"encryption": "dtls_srtp", "mux": True},
        "UDP/TLS/RTP/SAVP",
    ),
    "dtls-unmuxed": Kind(
        "UDP/TLS/RTP/SAVPF",
        "fingerprint",
        {"srtp": "required", "srtp_keying": "dtls"},
        {"encryption": "dtls_srtp"},
        "UDP/TLS/RTP/SAVP",
    ),
}


def transports(phone: Phone) -> set[str]:
    """The transports of every audio line that a phone sent or got."""
    lines = [line for message in phone.messages for line in message.body.splitlines()]
    return {line.split(" ")[2] for line in lines if line.startswith("m=audio")}


def check_secure(bench: Bench, phone: Phone, kind: Kind, transport: str, what: str) -> None:
    """Check that offers and answers of both sides name the transport and bring keys."""
    bench.report.equal(transports(phone), {transport}, f"{what}: transport of every description")
    bodies = [message for message in phone.messages if message.body.startswith("v=0")]
    for sent in (True, False):
        keyed = [f"a={kind.keys}:" in message.body for message in bodies if message.sent is sent]
        side = "phone's" if sent else "server's"
        bench.report.check(bool(keyed) and all(keyed), f"{what}: keys in the {side} descriptions", keyed)


async def _hold(bench: Bench, line: Line, what: str) -> None:
    await line.do("hold")
    await bench.count(line.leg_id, "leg.hold", 1, f"{what}: the phone holds")
    await line.do("resume")
    await bench.count(line.leg_id, "leg.unhold", 1, f"{what}: the phone resumes")


async def _room(bench: Bench, name: str) -> None:
    kind = KINDS[name]
    secure = PhoneOptions(f"{name}-phone", TONES_HZ[0], **kind.options)  # type: ignore[arg-type]  # by name
    async with running_phones(secure, PhoneOptions(f"{name}-plain", TONES_HZ[1])) as (phone, plain):
        other = await bench.call_in(plain, f"{name}-beside", room=name)
        line = await bench.call_in(phone, f"{name}-in", room=name)
        await bench.each_hears(f"{name}: call in", line, other)
        await _hold(bench, line, f"{name}: call in")
        await bench.each_hears(f"{name}: call in, resumed", line, other)
        await bench.hang_up(line)
        check_secure(bench, phone, kind, kind.transport, f"{name}: call in")
        phone.messages.clear()
        line = await bench.call_out(phone, f"{name}-out", room=name, **kind.asked)
        await bench.each_hears(f"{name}: call out", line, other)
        await _hold(bench, line, f"{name}: call out")
        await bench.each_hears(f"{name}: call out, resumed", line, other)
        check_secure(bench, phone, kind, kind.offered or kind.transport, f"{name}: call out")
        await bench.hang_up(line, other)


async def run(report: Report) -> None:
    """Run every kind, one after the other."""
    async with running_bench(report, KINDS) as bench:
        for kind in KINDS:
            with trio.fail_after(60):
                await bench.scenario(f"{kind}: protected calls work", partial(_room, bench, kind))
