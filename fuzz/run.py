"""One run: bystanders come, the attacks follow each other, everything must be as before."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from conformance.targets import Target
from fuzz.attack.briefing import Briefing
from fuzz.bystanders import Bystanders, open_bystanders
from fuzz.hearing import CONTEXT_S
from fuzz.report import Case, Report
from fuzz.watch import IDLE_NAMES, Watch

ATTACKS = ("rtp", "sip", "dialog", "flood", "tcp", "json", "http", "vsi", "audio", "webrtc", "quic")
QUICK_GROUPS = (
    ("rtp", "dialog"),
    ("sip",),
    ("json",),
    ("flood",),
    ("tcp", "http", "vsi", "audio"),
    ("webrtc", "quic"),
)
"""Attacks that run at the same time when time is short; what the bystanders see is then of all of them.

The flood comes where others follow: the legs that it leaves behind take five seconds to go. The storm counts
port pairs, so nothing that makes calls may run beside it. Each answer to hostile JSON is timed: what others
ask of two cores meanwhile would be timed as well.
"""
IDLE = "idle afterwards"
BEFORE = "calm before"
MAX_RSS_MIB = 400.0
MAX_RSS_LEFT_MIB = 80.0
"""What the fullest moment took stays with the allocator: some 60 MiB, whether it came once or ten times."""
MAX_LOG_MIB = 8.0
ATTACK_TIMEOUT_S = 240.0
DATAGRAM_TIMEOUT_S = 1 / 500
TRANSACTION_LIFE_S = 45.0
SETTLE_S = 0.8
_LINGERING = ("voiceblender_sip_transactions", "voiceblender_sip_calls")
"""What an unacknowledged refusal holds for 32 s; a short run does not wait for that."""


@dataclass(frozen=True)
class Plan:
    """How much of what is done.

    Attributes:
        rtp_ports: first and last port that the server may give to media.
        groups: attacks, those of a group at the same time.
    """

    datagrams: int
    seed: int
    quick: bool
    rtp_ports: tuple[int, int]
    groups: Sequence[Sequence[str]]


async def attack_server(target: Target, plan: Plan) -> Report:
    """Run the plan against a server and return what was found."""
    report = Report()
    watch = Watch.of(target)
    idle_before = await watch.metrics()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        nursery.start_soon(watch.watch_waiting)
        await _all(target, plan, report, watch, idle_before)
        nursery.cancel_scope.cancel()
    return report


async def _all(
    target: Target, plan: Plan, report: Report, watch: Watch, idle_before: dict[str, float]
) -> None:
    rss_before, fds_before = await watch.memory_mib(), await watch.descriptors()
    async with open_bystanders(target) as bystanders:
        briefing = Briefing(
            http=target.http,
            sip=target.sip_address(),
            tcp=target.sip.get("tcp"),
            seed=plan.seed,
            datagrams=plan.datagrams,
            quick=plan.quick,
            rtp_ports=plan.rtp_ports,
            live=[caller.as_live() for caller in bystanders.callers],
            moq=target.moq,
        )
        await _observe(report, BEFORE, bystanders, watch, trio.sleep, 1.0)
        for group in plan.groups:
            name = f"bystanders of {', '.join(group)}"
            await _observe(report, name, bystanders, watch, _attack_at_once, name, group, briefing, report)
        await bystanders.leave(report, IDLE)
    await _judge_idle(report, plan, watch, idle_before, rss_before, fds_before)


async def _observe(report: Report, name: str, bystanders: Bystanders, watch: Watch, act, *arguments) -> None:  # type: ignore[no-untyped-def]
    """Do something and judge what the bystanders and the log say of that time."""
    known = set(map(id, report.cases))
    watch.take_peak()
    watch.take_starved()
    before = await watch.metrics()
    began = time.monotonic()
    await act(*arguments)
    ended = time.monotonic()
    after = await watch.metrics()
    busy_s = after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
    skipped = after["voiceblender_ticks_skipped"] - before["voiceblender_ticks_skipped"]
    await trio.sleep(SETTLE_S)
    left_out = (await watch.metrics())["voiceblender_ticks_skipped"] - before["voiceblender_ticks_skipped"]
    starved = watch.take_starved()
    busy = f"server busy {busy_s / (ended - began):.0%}, {skipped:.0f} ticks skipped"
    waited = f"waited at most {starved.longest_s * 1000:.0f} ms for a CPU"
    report.figure(name, f"{busy}, {waited}")
    bystanders.judge_probes(report, name, starved)
    await bystanders.judge_audio(report, name, (began, time.monotonic() - CONTEXT_S), starved, left_out)
    left = await bystanders.clear_strangers()
    bystanders.judge_events(report, name)
    peak = watch.take_peak()
    report.check(name, peak < MAX_RSS_MIB, f"memory grew to {peak:.0f} MiB")
    report.figure(name, f"memory at most {peak:.0f} MiB; {left} legs and rooms cleared")
    fault = watch.new_fault()
    report.check(name, fault is None, f"a trace in the server's log:\n{fault}")
    logged = watch.new_log_bytes() / (1 << 20)
    report.check(name, logged < MAX_LOG_MIB, f"{logged:.1f} MiB of log")
    report.check(name, not watch.target.has_crashed(), "the server is gone")
    report.case(name).seconds = ended - began
    for case in report.cases:
        if id(case) not in known:
            report.show(case)


async def _attack_at_once(case: str, group: Sequence[str], briefing: Briefing, report: Report) -> None:
    async with trio.open_nursery() as nursery:
        for name in group:
            nursery.start_soon(_attack, case, name, briefing, report)


async def _attack(case: str, name: str, briefing: Briefing, report: Report) -> None:
    """Run one attack in a process of its own and take over what it tells."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "fuzz.attack", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    )
    output, problems = bytearray(), bytearray()
    assert process.stdin is not None
    try:
        with trio.move_on_after(ATTACK_TIMEOUT_S + briefing.datagrams * DATAGRAM_TIMEOUT_S):
            async with process.stdin:
                await process.stdin.send_all(briefing.to_json())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_collect, process.stdout, output)
                nursery.start_soon(_collect, process.stderr, problems)
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
    for line in output.splitlines():
        told = json.loads(line)
        if "figure" in told:
            report.figure(told["case"], told["figure"])
        else:
            report.check(told["case"], told["holds"], told["text"])
    trouble = problems[-1500:].decode(errors="replace")
    report.check(case, process.returncode == 0, f"attack {name} ended with {process.returncode}: {trouble}")


async def _collect(stream: trio.abc.ReceiveStream | None, into: bytearray) -> None:
    assert stream is not None
    async for chunk in stream:
        into += chunk


async def _judge_idle(
    report: Report, plan: Plan, watch: Watch, before: dict[str, float], rss_before: float, fds_before: int
) -> None:
    """Legs, rooms, ports and transactions, memory and descriptors are back where they were."""
    began = time.monotonic()
    names = tuple(name for name in IDLE_NAMES if not (plan.quick and name in _LINGERING))
    for name, text in (
        await watch.wait_idle(before, names, 8.0 if plan.quick else TRANSACTION_LIFE_S)
    ).items():
        report.check(IDLE, False, f"{name}: {text}")
    report.case(IDLE).checks += len(names)
    now = await watch.metrics()
    if plan.quick:
        lingering = [f"{now[name]:.0f} {name.rpartition('_')[2]}" for name in _LINGERING]
        report.figure(IDLE, f"{' and '.join(lingering)} linger until their timers end")
    for name in (
        "voiceblender_sip_faults",
        "voiceblender_mixer_faults",
        "voiceblender_recovered_panics_total",
    ):
        report.check(IDLE, now.get(name, 0) == 0, f"{name} is {now.get(name):g}" if name in now else name)
    await trio.sleep(1.0)
    fds, rss = await watch.descriptors(), await watch.memory_mib()
    report.check(IDLE, fds <= fds_before + 2, f"{fds} descriptors, before {fds_before}")
    report.check(IDLE, rss < rss_before + MAX_RSS_LEFT_MIB, f"memory {rss:.0f} MiB, before {rss_before:.0f}")
    report.figure(
        IDLE, f"memory {rss:.0f} MiB (before {rss_before:.0f}), {fds} descriptors (before {fds_before})"
    )
    interesting = (
        "ticks_late",
        "ticks_skipped",
        "sip_messages",
        "sip_malformed",
        "sip_refused",
        "sip_dropped",
        "vsi_events_dropped_total",
    )
    report.figure(IDLE, ", ".join(f"{key} {now.get('voiceblender_' + key, 0):.0f}" for key in interesting))
    report.check(
        IDLE, watch.new_fault() is None, f"a trace in the server's log:\n{watch.target.log_problem()}"
    )
    case: Case = report.case(IDLE)
    case.seconds = time.monotonic() - began
    report.show(case)
