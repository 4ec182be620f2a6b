from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from vb.channels import Channel, ChannelClosed, ChannelFull, Feed, Overflow


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


@asynccontextmanager
async def waiting_reader(numbers: Channel[int]) -> AsyncIterator[list[int]]:
    """A reader that waits as the block begins and has what it read, the list, behind it."""
    got: list[int] = []

    async def read() -> None:
        got.append(await numbers.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        yield got


async def test_a_waiting_reader_is_woken(autojump_clock: MockClock) -> None:
    numbers = channel()
    async with waiting_reader(numbers) as got:
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


# -- feeds -------------------------------------------------------------------------------------------------


def feed(capacity: int = 2, max_bytes: int = 1000) -> Feed[str]:
    return Feed(capacity, max_bytes=max_bytes, size=len, name="words")


async def test_a_feed_takes_a_burst_beyond_its_capacity(autojump_clock: MockClock) -> None:
    words = feed()
    assert all(words.put("word") for _ in range(100))
    assert len(words) == 100
    assert words.bytes == 400


async def test_a_reader_that_has_not_come_for_a_second_loses_the_newest(autojump_clock: MockClock) -> None:
    words = feed()
    assert words.put("first")
    await trio.sleep(1)
    assert [words.put(word) for word in ("second", "third", "fourth")] == [True, False, False]
    assert words.dropped == 2
    assert await words.get() == "first"
    assert words.put("third")
    assert words.put("fourth")
    assert words.drain() == ["second", "third", "fourth"]
    assert words.bytes == 0


async def test_a_reader_that_waits_is_never_late(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    words = feed()
    got: list[str] = []

    async def read() -> None:
        got.extend([await words.get() for _ in range(50)])

    nursery.start_soon(read)
    await trio.sleep(10)
    assert all(words.put("word") for _ in range(50))
    await wait_all_tasks_blocked()
    assert got == ["word"] * 50


async def test_bytes_are_limited_even_for_a_reader_that_reads(autojump_clock: MockClock) -> None:
    words = feed(max_bytes=10)
    assert [words.put("x" * 4) for _ in range(4)] == [True, True, False, False]
    assert words.dropped == 2
    assert await words.get() == "xxxx"
    assert words.put("x" * 6)
    assert not words.put("x")


async def test_an_item_beyond_the_limit_fits_when_it_is_alone(autojump_clock: MockClock) -> None:
    words = feed(max_bytes=10)
    assert words.put("x" * 20)
    assert not words.put("")
    assert await words.get() == "x" * 20


async def test_a_batch_holds_what_fits_and_one_item_at_least(autojump_clock: MockClock) -> None:
    words = feed()
    for word in ("aaa", "bb", "c", "dddddddd"):
        words.put(word)
    assert await words.get_batch(6) == ["aaa", "bb", "c"]
    assert await words.get_batch(6) == ["dddddddd"]


async def test_a_closed_feed_takes_nothing_and_gives_what_it_has(autojump_clock: MockClock) -> None:
    words = feed()
    words.put("last")
    words.close()
    assert not words.put("later")
    assert [word async for word in words] == ["last"]
    with pytest.raises(ChannelClosed):
        await words.get_batch(10)


async def test_a_second_reader_is_refused_and_the_first_one_reads_on() -> None:
    numbers = channel()
    async with waiting_reader(numbers) as got:
        with pytest.raises(trio.BusyResourceError):
            await numbers.get()
        numbers.put(7)
    assert got == [7]
