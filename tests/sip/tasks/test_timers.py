"""Timers of an endpoint that are due at once, on the mock clock."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing

from tests.sip.tasks.test_endpoint import ignore
from vb.beat import BEAT_S
from vb.ids import SystemIds
from vb.sip.tasks.endpoint import SipEndpoint, SipSettings
from vb.sip.timers import AT_ONCE, QueueEntry

pytestmark = pytest.mark.integration
COUNT = 1000


class Note:
    """A timer that notes when it ran."""

    def __init__(self, number: int, at: float, order: list[int]) -> None:
        self.queued_as: QueueEntry | None = None
        self.deadline: float | None = at
        self._number, self._order = number, order

    def expire(self, now: float) -> None:
        self._order.append(self._number)
        self.deadline = None


async def test_between_a_few_of_a_thousand_timers_that_are_due_everybody_else_runs(
    mock_clock: trio.testing.MockClock,
) -> None:
    endpoint, order = SipEndpoint(SipSettings(port=0), SystemIds(), ignore), list[int]()
    async with trio.open_nursery() as nursery:
        await nursery.start(endpoint.run)
        agent = endpoint._agent
        assert agent is not None
        for number in range(COUNT):
            agent.schedule(Note(number, trio.current_time() + 1.0, order))
        endpoint.flush()
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(1.0 + BEAT_S)
        seen = [0]
        while len(order) < COUNT:
            await trio.lowlevel.checkpoint()
            seen.append(len(order))
        nursery.cancel_scope.cancel()
    assert order == list(range(COUNT))
    # Once in each pass of the loop, but in any order with this test: at most twice between two looks.
    assert max(after - before for before, after in pairwise(seen)) <= 2 * AT_ONCE
    assert endpoint.faults == 0
