from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from vb.channels import Channel, ChannelClosed, ChannelFull, Overflow


def channel(overflow: Overflow = "drop_oldest", capacity: int = 2) -> Channel[int]:
    return Channel(capacity, overflow=overflow, name="numbers")


async def test_items_come_out_in_order() -> None:
    numbers = channel()
    numbers.put(1)
    numbers.put(2)
    assert [await numbers.get(), await numbers.get()] == [1, 2]


def test_drop_oldest_makes_room_and_counts() -> None:
    numbers = channel("drop_oldest")
    assert [numbers.put(item) for item in (1, 2, 3)] == [True, True, False]
    assert numbers.drain() == [2, 3]
    assert numbers.dropped == 1


def test_drop_newest_keeps_what_is_there_and_counts() -> None:
    numbers = channel("drop_newest")
    assert [numbers.put(item) for item in (1, 2, 3)] == [True, True, False]
    assert numbers.drain() == [1, 2]
    assert numbers.dropped == 1


def test_refuse_raises_and_counts_nothing() -> None:
    numbers = channel("refuse")
    numbers.put(1)
    numbers.put(2)
    with pytest.raises(ChannelFull, match="numbers"):
        numbers.put(3)
    assert (numbers.drain(), numbers.dropped) == ([1, 2], 0)


def test_a_channel_holds_at_least_one_item() -> None:
    with pytest.raises(ValueError, match="at least one"):
        channel(capacity=0)


def test_the_length_follows_the_items() -> None:
    numbers = channel()
    numbers.put(1)
    numbers.put(2)
    assert len(numbers) == 2
    assert numbers.drain() == [1, 2]
    assert len(numbers) == 0


def test_an_empty_channel_has_nothing_to_take() -> None:
    assert channel().drain() == []


async def test_a_waiting_reader_is_woken(autojump_clock: MockClock) -> None:
    numbers = channel()
    got: list[int] = []

    async def read() -> None:
        got.append(await numbers.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        numbers.put(7)
    assert got == [7]


async def test_a_cancelled_reader_takes_nothing(autojump_clock: MockClock) -> None:
    numbers = channel()
    with trio.move_on_after(1) as scope:
        await numbers.get()
    assert scope.cancelled_caught
    numbers.put(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await numbers.get()
    assert len(numbers) == 1


async def test_a_closed_channel_gives_what_is_left_and_then_ends() -> None:
    numbers = channel()
    numbers.put(1)
    numbers.close()
    assert numbers.put(2) is False
    assert numbers.closed
    assert await numbers.get() == 1
    with pytest.raises(ChannelClosed):
        await numbers.get()


async def test_closing_wakes_a_waiting_reader() -> None:
    numbers = channel()
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(ChannelClosed):
                await numbers.get()

        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        numbers.close()


async def test_iteration_ends_when_the_channel_is_closed_and_empty() -> None:
    numbers = channel()
    numbers.put(1)
    numbers.put(2)
    numbers.close()
    assert [item async for item in numbers] == [1, 2]


async def test_an_item_is_put_even_in_a_cancelled_task() -> None:
    numbers = channel()
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.cancel()
        try:
            await trio.sleep(1)
        finally:
            numbers.put(1)
    assert len(numbers) == 1
