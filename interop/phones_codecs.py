"""Phones in rooms: each hears the other one's tone, and never its own, in every codec."""

from __future__ import annotations

import trio

from interop.phone_calls import Bench, running_bench
from interop.phone_client import PhoneOptions, running_phones
from interop.report import Report

# A pair of phones per room: what each offers.
ROOMS = {
    "pcmu": ("PCMU", "PCMU"),
    "pcma": ("PCMA", "PCMA"),
    "g722": ("G722", "G722"),
    "opus": ("opus", "opus"),
    "mixed": ("opus", "PCMU"),
    "wide": ("G722", "PCMA"),
}
TONES_HZ = (700, 1100)
TALK_S = 2.5
LEAST_PACKETS = 100
AT_A_TIME = 3


async def _room(bench: Bench, name: str) -> None:
    options = [
        PhoneOptions(f"{codec}-{hz}", hz, codec) for codec, hz in zip(ROOMS[name], TONES_HZ, strict=True)
    ]
    async with running_phones(*options) as phones:
        lines = [await bench.call_in(phone, name, room=name) for phone in phones]
        begun_s = trio.current_time()
        await bench.each_hears(name, lines[0], lines[1])
        await trio.sleep_until(begun_s + TALK_S)  # the packets of so long are counted below
        await bench.hang_up(*lines)
        for line in lines:
            closed = await line.phone.event("call_closed", line.call)
            count, what = int(str(closed["packets_received"])), f"{name}: {line.phone.options.user}"
            bench.report.check(count >= LEAST_PACKETS, f"{what} got {LEAST_PACKETS} packets", count)
    bench.report.equal(bench.app.ends(name), {"remote_bye": 2}, f"{name}: both phones hung up")


async def run(report: Report) -> None:
    """Run every room, a few at a time."""
    async with running_bench(report, ROOMS) as bench:
        limit = trio.CapacityLimiter(AT_A_TIME)

        async def room(name: str) -> None:
            async with limit:
                await bench.scenario(f"{name}: the calls work", lambda: _room(bench, name))

        async with trio.open_nursery() as nursery:
            for name in ROOMS:
                nursery.start_soon(room, name)
