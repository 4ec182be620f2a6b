from functools import partial

import pytest
import trio
import trio.testing

from vb.features.patience import patiently

Clock = trio.testing.MockClock


async def test_it_ends_with_what_it_waits_for(autojump_clock: Clock) -> None:
    await patiently(partial(trio.sleep, 3), patience_s=20, hurry_s=4)
    assert trio.current_time() == pytest.approx(3)


async def test_patience_ends(autojump_clock: Clock) -> None:
    await patiently(trio.sleep_forever, patience_s=20, hurry_s=4)
    assert trio.current_time() == pytest.approx(20)


@pytest.mark.parametrize(
    ("cancelled_at", "work_s", "over_at"), [(10, 60, 14), (10, 12, 12), (18, 60, 20), (0, 60, 4)]
)
async def test_a_cancellation_hurries_it_and_is_passed_on(
    autojump_clock: Clock, cancelled_at: float, work_s: float, over_at: float
) -> None:
    with trio.move_on_after(cancelled_at) as scope:
        await patiently(partial(trio.sleep, work_s), patience_s=20, hurry_s=4)
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(over_at)


async def test_words_begun_after_the_cancellation_are_hurried_at_once(autojump_clock: Clock) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await patiently(partial(trio.sleep, 60), patience_s=20, hurry_s=4)
    assert trio.current_time() == pytest.approx(4)
