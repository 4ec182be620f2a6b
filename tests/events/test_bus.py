from __future__ import annotations

import pytest

from tests.support.ids import SequentialIds
from vb.events.base import Published
from vb.events.bus import EventBus, rfc3339
from vb.events.leg import LegMuted


@pytest.fixture
def bus() -> EventBus:
    return EventBus("inst", SequentialIds(), lambda: 1_700_000_000_500_000_000)


def test_every_subscriber_sees_the_same_stamped_event(bus: EventBus) -> None:
    one: list[Published] = []
    other: list[Published] = []
    bus.subscribe(one.append)
    bus.subscribe(other.append)
    published = bus.publish(LegMuted(leg_id="a"))
    assert one == other == [published]
    assert published.event_id == "00000000-0000-4000-8000-000000000001"
    assert published.timestamp == "2023-11-14T22:13:20.5Z"
    assert published.instance_id == "inst"


def test_events_arrive_in_the_order_of_publication(bus: EventBus) -> None:
    seen: list[str | None] = []
    bus.subscribe(lambda published: seen.append(published.leg_id))
    for name in "abc":
        bus.publish(LegMuted(leg_id=name))
    assert seen == ["a", "b", "c"]


def test_a_subscription_ends_when_asked_and_ending_twice_is_harmless(bus: EventBus) -> None:
    seen: list[Published] = []
    end = bus.subscribe(seen.append)
    end()
    end()
    bus.publish(LegMuted(leg_id="a"))
    assert seen == []


def test_a_subscriber_may_leave_while_an_event_is_delivered(bus: EventBus) -> None:
    seen: list[str] = []

    def once(_published: Published) -> None:
        seen.append("once")
        end()

    end = bus.subscribe(once)
    bus.subscribe(lambda _published: seen.append("other"))
    bus.publish(LegMuted(leg_id="a"))
    bus.publish(LegMuted(leg_id="a"))
    assert seen == ["once", "other", "other"]


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (100_000_000, "1970-01-01T00:00:00.1Z"),
        (1_234_567_890_120_000_000, "2009-02-13T23:31:30.12Z"),
    ],
)
def test_a_time_has_as_many_digits_as_it_needs(nanoseconds: int, text: str) -> None:
    assert rfc3339(nanoseconds) == text
