"""What is lost is counted at once, and told when it is worth it."""

from __future__ import annotations

import trio
import trio.testing

from vb.wsleg.losses import TOLD_LATE_FRAMES, Counts, Loss, Losses


async def told(losses: Losses) -> bool:
    seen: list[bool] = []

    async def wait() -> None:
        await losses.wait()
        seen.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return bool(seen)


async def test_losses_of_one_kind_are_told_together() -> None:
    totals: Counts = {}
    losses = Losses(totals)
    assert not await told(losses)
    losses.add("in", "overflow", 1, 100)
    losses.add("in", "overflow", 2, 50)
    losses.add("out", "slow_reader", 1, 20)
    assert await told(losses)
    assert list(losses.take()) == [Loss("in", "overflow", 3, 150), Loss("out", "slow_reader", 1, 20)]
    assert not await told(losses)
    assert list(losses.take()) == []
    assert totals == {("in", "overflow"): 3, ("out", "slow_reader"): 1}


async def test_a_frame_that_comes_late_now_and_then_is_counted_and_not_told() -> None:
    totals: Counts = {}
    losses = Losses(totals)
    for number in range(TOLD_LATE_FRAMES - 1):
        losses.add("in", "underflow", 1, 20)
        assert not await told(losses)
        assert list(losses.take()) == []
        assert totals["in", "underflow"] == number + 1
    losses.add("in", "underflow", 1, 20)
    assert await told(losses)
    assert list(losses.take()) == [Loss("in", "underflow", TOLD_LATE_FRAMES, 20 * TOLD_LATE_FRAMES)]
