"""Calls that end at a rate, through the whole way from events to the database."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import trio

from vb.events.base import Published
from vb.events.bus import EventBus
from vb.events.history import CallRecorded
from vb.events.leg import Cdr, LegConnected, LegDisconnected, LegRinging
from vb.history.settings import HistorySettings
from vb.history.tasks import open_history
from vb.ids import SystemIds

RATE: Final = 300
SECONDS: Final = 10
TICK_S: Final = 0.02
SWITCH_S: Final = 0.0005
"""How long a thread keeps others waiting, as `vb serve` has it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of the calls.

    Attributes:
        calls: how many.
        last_s: from the end of the last one until it was stored.
        cpu_share: of one core, all threads of this process.
        late_ms: the most that a tick of 20 ms on the event loop was late.
        late_p99_ms: what 99 of 100 stayed below.
        alone_p99_ms: the same without a history.
    """

    calls: int
    last_s: float
    cpu_share: float
    late_ms: float
    late_p99_ms: float
    alone_p99_ms: float = 0.0


def ending(url: str, folder: Path) -> Ended:
    """Let calls begin, be answered and end, 300 of each a second, while a clock ticks on the same loop.

    The same calls are told to nobody before that, so that what the history makes the clock late by is seen.
    """
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        alone = trio.run(_ending, None, folder)
        return replace(trio.run(_ending, url, folder), alone_p99_ms=alone.late_p99_ms)
    finally:
        sys.setswitchinterval(interval_s)


async def _ending(url: str | None, folder: Path) -> Ended:
    bus = EventBus("bench", SystemIds())
    wanted = RATE * SECONDS
    stored: set[str] = set()
    done = trio.Event()

    def recorded(published: Published) -> None:
        if not isinstance(published.event, CallRecorded):
            return
        stored.add(published.event.call_id)
        if len(stored) == wanted:
            done.set()

    lateness: list[float] = []
    bus.subscribe(recorded)
    async with _history(url, folder, bus):
        await trio.sleep(0.5)
        cpu, began = time.process_time(), trio.current_time()
        per_tick = RATE * TICK_S
        made = 0
        for tick in range(round(SECONDS / TICK_S)):
            await trio.sleep_until(began + (tick + 1) * TICK_S)
            lateness.append(trio.current_time() - began - (tick + 1) * TICK_S)
            while made < round((tick + 1) * per_tick):
                made += 1
                _call(bus, made)
        ended = trio.current_time()
        if url is not None:
            with trio.move_on_after(30):
                await done.wait()
        last_s = trio.current_time() - ended
        share = (time.process_time() - cpu) / (trio.current_time() - began)
    if url is not None and not done.is_set():
        raise RuntimeError(f"{wanted - len(stored)} calls were not stored within 30 s")
    lateness.sort()
    return Ended(wanted, last_s, share, lateness[-1] * 1000, lateness[int(0.99 * len(lateness))] * 1000)


@asynccontextmanager
async def _history(url: str | None, folder: Path, bus: EventBus) -> AsyncIterator[None]:
    if url is None:
        yield
        return
    async with open_history(HistorySettings(url, folder / f"queue-{uuid.uuid4().hex}"), bus):
        yield


def _call(bus: EventBus, number: int) -> None:
    leg_id = str(uuid.uuid4())
    headers = {"X-Team": f"team-{number % 20}", "X-Order": f"live-{number}"}
    bus.publish(
        LegRinging(
            leg_id=leg_id,
            leg_type="sip_inbound",
            from_=f"+4930{number:07d}",
            to="+498912345",
            sip_headers=headers,
        )
    )
    bus.publish(LegConnected(leg_id=leg_id, leg_type="sip_inbound"))
    cdr = Cdr(reason="remote_bye", duration_total=1.0, duration_answered=0.9)
    bus.publish(LegDisconnected(leg_id=leg_id, cdr=cdr))
