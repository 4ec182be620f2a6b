from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from vb.demo.problem import DemoFailed, within


async def test_time_that_is_up_says_what_was_waited_for(autojump_clock: MockClock) -> None:
    with pytest.raises(DemoFailed, match=r"^waited 2\.5 s for the answer$"), within(2.5, "the answer"):
        await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(2.5)


async def test_block_that_ends_in_time_is_left_alone(autojump_clock: MockClock) -> None:
    with within(2.5, "the answer"):
        await trio.sleep(2.0)
    await trio.sleep(10)
