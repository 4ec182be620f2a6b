"""The event bus: publishing never waits, and every subscriber sees events in the order of publication."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

from vb.events.base import Event, Published
from vb.ids import IdSource

Subscriber = Callable[[Published], None]


def rfc3339(wall_time_ns: int) -> str:
    """Return a UTC time with as many fractional digits as it needs, at most nine.

    Spec: RFC 3339 §5.6.
    """
    seconds, nanos = divmod(wall_time_ns, 1_000_000_000)
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{_whole_seconds(seconds)}{fraction}Z"


@lru_cache(maxsize=4)
def _whole_seconds(seconds: int) -> str:
    """Return a time without fraction and zone; many events share their second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class EventBus:
    """Stamps events and hands them to every subscriber at once.

    Args:
        instance_id: goes into every envelope.
        ids: source of event ids.
        wall_clock_ns: UTC nanoseconds.
    """

    def __init__(
        self, instance_id: str, ids: IdSource, wall_clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.instance_id = instance_id
        self._ids = ids
        self._wall_clock_ns = wall_clock_ns
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with every event from now on; it must neither wait nor raise.

        Returns:
            A function that ends the subscription; calling it twice is harmless.
        """
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    def publish(self, event: Event) -> Published:
        """Stamp an event and pass it to all subscribers. Never waits, so it works during cancellation."""
        published = Published(event, self._ids.uuid(), rfc3339(self._wall_clock_ns()), self.instance_id)
        for subscriber in tuple(self._subscribers):
            subscriber(published)
        return published
