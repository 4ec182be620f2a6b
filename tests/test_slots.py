from __future__ import annotations

import pytest
import trio
import trio.testing

from vb.slots import SlotsClosed, SlotTaken, TaskSlots


async def test_a_slot_holds_one_task_at_a_time() -> None:
    slots = TaskSlots("test")
    async with slots.open():
        first = slots.start("recording", trio.sleep_forever)
        with pytest.raises(SlotTaken):
            slots.start("recording", trio.sleep_forever)
        await first.stop()
        second = slots.start("recording", trio.sleep_forever)
        assert slots.get("recording") is second


async def test_leaving_the_slots_cancels_and_joins_every_task() -> None:
    ended: list[str] = []
    slots = TaskSlots("test")

    async def task() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("task")

    async with slots.open():
        handle = slots.start("one", task)
        await trio.testing.wait_all_tasks_blocked()
    assert handle.done
    assert ended == ["task"]
    assert slots.names() == []


async def test_a_failed_task_is_reported_and_leaves_its_slot_free() -> None:
    faults: list[str] = []
    slots = TaskSlots("test", faults.append)

    async def fail() -> None:
        raise ValueError("broken")

    async with slots.open():
        handle = slots.start("one", fail)
        await handle.join()
        assert handle.failed
        assert faults == ["one"]
        assert slots.get("one") is None


async def test_a_task_given_early_runs_once_the_slots_are_open() -> None:
    slots = TaskSlots("test")
    ran = trio.Event()

    async def task() -> None:
        ran.set()

    handle = slots.start("one", task)
    assert slots.get("one") is handle
    async with slots.open():
        await handle.join()
    assert ran.is_set()


async def test_closed_slots_take_nothing() -> None:
    slots = TaskSlots("test")
    async with slots.open():
        pass
    with pytest.raises(SlotsClosed):
        slots.start("one", trio.sleep_forever)


async def test_slots_in_a_nursery_of_their_owner_end_before_it_does() -> None:
    slots = TaskSlots("test")
    notes: list[str] = []

    async def feature() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            notes.append("feature")

    async with trio.open_nursery() as nursery:
        slots.start("early", feature)
        slots.open_in(nursery)
        slots.start("late", feature)
        await trio.testing.wait_all_tasks_blocked()
        await slots.end()
        notes.append("owner")
        assert slots.names() == []
        with pytest.raises(SlotsClosed):
            slots.start("after", feature)
    assert notes == ["feature", "feature", "owner"]


async def test_slots_of_a_cancelled_owner_are_waited_for_all_the_same() -> None:
    slots = TaskSlots("test")
    notes: list[str] = []

    async def feature() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            notes.append("feature")

    async with trio.open_nursery() as nursery:
        slots.open_in(nursery)
        slots.start("one", feature)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        await slots.end()
        notes.append("owner")
    assert notes == ["feature", "owner"]
