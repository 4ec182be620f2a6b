"""The garbage collector while a server runs."""

from __future__ import annotations

import gc
from functools import partial

import pytest
import trio
import trio.testing

from tests.support.engine import open_engine
from vb import cli


async def test_new_objects_are_looked_at_ten_times_a_second_while_there_are_legs(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[float] = []

    def collect(generation: int) -> None:
        assert generation == 1
        collected.append(trio.current_time())

    async with open_engine() as observed, trio.open_nursery() as nursery:
        legs = observed.engine.legs
        monkeypatch.setattr(gc, "collect", collect)
        nursery.start_soon(cli._collect_young, legs)
        for begins_s in (3600.0, 7200.0):
            await trio.sleep_until(begins_s)
            assert not collected
            for lasts_s in (0.25, 0.95):
                legs.start(partial(trio.sleep, lasts_s), name="leg")
            await trio.sleep(60)
            assert collected == pytest.approx([begins_s + 0.1 * k for k in range(1, 11)])
            collected.clear()
        nursery.cancel_scope.cancel()
