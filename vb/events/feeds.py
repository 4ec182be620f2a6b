"""What a program that embeds a server reads events from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vb.channels import Channel, Feed
from vb.events.base import Event, Published
from vb.events.bus import EventBus


class Feeds:
    """The subscriptions of a program to the events of its server: none outlives the server.

    Args:
        bus: where the events are published.
    """

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._open: set[Feed[Published]] = set()
        self._closed = False

    @contextmanager
    def subscribe(self, kinds: tuple[type[Event], ...], buffer: int) -> Iterator[Channel[Published]]:
        """Subscribe to events inside the block, all when no kind is given; see `vb.Server.events`."""
        for kind in kinds:
            if not (isinstance(kind, type) and issubclass(kind, Event)):
                raise TypeError(f"{kind!r} is no class of events")
        feed: Feed[Published] = Feed(
            buffer, size=lambda published: len(published.body), name="library events"
        )

        def receive(published: Published) -> None:
            if not kinds or isinstance(published.event, kinds):
                feed.put(published)

        if self._closed:
            feed.close()
        unsubscribe = self._bus.subscribe(receive)
        self._open.add(feed)
        try:
            yield feed
        finally:
            unsubscribe()
            self._open.discard(feed)
            feed.close()

    def close(self) -> None:
        """Let every reader come to an end, once it has taken what is queued."""
        self._closed = True
        for feed in tuple(self._open):
            feed.close()
