"""What a program reads events from, and when that ends."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from vb.channels import ChannelClosed
from vb.events.bus import EventBus
from vb.events.feeds import Feeds
from vb.events.room import RoomCreated, RoomDeleted
from vb.ids import SystemIds


def new_bus() -> EventBus:
    return EventBus("i", SystemIds())


async def test_a_reader_takes_what_is_queued_and_ends_when_the_feeds_are_closed() -> None:
    bus = new_bus()
    feeds = Feeds(bus)
    with feeds.subscribe((), 10) as events:
        bus.publish(RoomCreated(room_id="r"))
        feeds.close()
        bus.publish(RoomCreated(room_id="late"))
        assert [each.room_id async for each in events] == ["r"]
        with pytest.raises(ChannelClosed):
            await events.get()


async def test_a_reader_that_waits_is_woken_by_the_end(autojump_clock: object) -> None:
    feeds = Feeds(new_bus())

    async def read(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with feeds.subscribe((), 10) as events:
            task_status.started()
            async for _ in events:
                raise AssertionError("nothing was published")

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            await nursery.start(read)
            await trio.testing.wait_all_tasks_blocked()
            feeds.close()


async def test_a_subscription_after_the_end_has_ended(autojump_clock: object) -> None:
    feeds = Feeds(new_bus())
    feeds.close()
    with trio.fail_after(1), feeds.subscribe((), 10) as events:
        assert [each async for each in events] == []


async def test_only_the_kinds_that_are_named_are_read() -> None:
    bus = new_bus()
    with Feeds(bus).subscribe((RoomDeleted,), 10) as events:
        bus.publish(RoomCreated(room_id="r"))
        bus.publish(RoomDeleted(room_id="r"))
        assert (await events.get()).event == RoomDeleted(room_id="r")
        assert len(events) == 0


@pytest.mark.parametrize("kind", ["room.created", RoomCreated(room_id="r"), dict, None])
async def test_what_is_no_class_of_events_is_refused_before_any_is_published(kind: Any) -> None:
    bus = new_bus()
    with (
        pytest.raises(TypeError, match="is no class of events"),
        Feeds(bus).subscribe((kind,), 10),
    ):
        pass
    bus.publish(RoomCreated(room_id="r"))
