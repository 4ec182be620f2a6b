"""The garbage collector while a server runs."""

from __future__ import annotations

import gc
from functools import partial

import pytest
import trio
import trio.testing

from tests.support.engine import open_engine
from vb import cli


async def test_new_objects_are_looked_at_ten_times_a_second_while_somebody_is_there_and_once_while_nobody_is(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[float] = []

    def collect(generation: int) -> None:
        assert generation == 1
        collected.append(trio.current_time())

    async with open_engine() as observed, trio.open_nursery() as nursery:
        engine = observed.engine
        monkeypatch.setattr(gc, "collect", collect)
        nursery.start_soon(cli._collect_young, engine)
        await trio.sleep(60.5)
        assert len(collected) == 60
        collected.clear()
        engine.legs.start(partial(trio.sleep, 2.05), name="leg")
        await trio.sleep(2)
        assert len(collected) == pytest.approx(15, abs=1)  # it looks at once a second whether there are any
        await trio.sleep(60)
        collected.clear()
        port = engine.plane.open_stream(None, None, rate_hz=16000, comfort_noise=False)
        await trio.sleep(3)
        assert len(collected) >= 20
        port.close()
        nursery.cancel_scope.cancel()
