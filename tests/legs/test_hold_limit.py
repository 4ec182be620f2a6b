"""Two hours is the longest that a call may be held."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from tests.support.leg_host import FarEnd, MediaLog, RecordingHost, make_leg
from vb.events.leg import LegDisconnected
from vb.legs.leg import Leg
from vb.legs.state import LegState

HOURS_S = 3600.0


@asynccontextmanager
async def connected(host: RecordingHost) -> AsyncIterator[Leg]:
    """A leg that is up; it is hung up at the end unless it has ended by then."""
    leg = make_leg(host)
    media = MediaLog(leg)

    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await leg.live(FarEnd(), media.open, on_ready=task_status.started)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        leg.advance(LegState.CONNECTED)
        yield leg
        leg.hangup("api_hangup")


def reasons(host: RecordingHost) -> list[str]:
    return [event.cdr.reason for event in host.published if isinstance(event, LegDisconnected)]


async def test_a_hold_of_two_hours_ends_the_call(autojump_clock: MockClock) -> None:
    host = RecordingHost()
    async with connected(host) as leg:
        began = trio.current_time()
        leg.set_holds(local=True)
        await trio.sleep(2 * HOURS_S - 1)
        assert reasons(host) == []
        await trio.sleep(2)
        assert reasons(host) == ["rtp_timeout"]
        assert trio.current_time() - began < 2 * HOURS_S + 2


async def test_a_call_that_is_resumed_may_be_held_for_two_hours_again(autojump_clock: MockClock) -> None:
    host = RecordingHost()
    async with connected(host) as leg:
        for _ in range(3):
            leg.set_holds(remote=True)
            await trio.sleep(1.5 * HOURS_S)
            leg.set_holds(remote=False)
        await trio.sleep(10 * HOURS_S)
        assert reasons(host) == []
        leg.set_holds(remote=True)
        await trio.sleep(2 * HOURS_S + 1)
    assert reasons(host) == ["rtp_timeout"]


async def test_the_time_goes_on_while_one_side_still_holds(autojump_clock: MockClock) -> None:
    host = RecordingHost()
    async with connected(host) as leg:
        leg.set_holds(local=True)
        await trio.sleep(HOURS_S)
        leg.set_holds(remote=True)
        await trio.sleep(0.5 * HOURS_S)
        leg.set_holds(local=False)
        await trio.sleep(0.5 * HOURS_S + 1)
    assert reasons(host) == ["rtp_timeout"]


async def test_a_call_that_is_hung_up_while_held_leaves_no_timer(autojump_clock: MockClock) -> None:
    host = RecordingHost()
    async with connected(host) as leg:
        leg.set_holds(local=True)
    assert reasons(host) == ["api_hangup"]
    assert trio.current_time() < HOURS_S
