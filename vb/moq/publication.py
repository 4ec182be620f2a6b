"""Objects of a track on their way to one subscriber: in which group and stream, and what a slow one misses.

A group is one stream of many objects: a stream for each would be set up and forgotten fifty times a second
by both ends. The price is that a lost packet holds up the objects behind it until it is sent again, which
whoever plays audio from a network has to bear anyway. A new group begins every second, so that a subscriber
can begin there, and nothing has to be given up for longer than that.

Spec: draft-ietf-moq-transport-11 sections 8.7 and 9.4.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from vb.moq.codes import ResetCode
from vb.moq.fields import Filter
from vb.moq.objects import Object, SubgroupHead
from vb.moq.wire import Location, Namespace
from vb.quic.session import Session

GROUP_OBJECTS: Final = 50
MAX_BEHIND_OBJECTS: Final = 50
"""Objects that wait for the subscriber's credit or acknowledgement; more than these are all dropped."""
MAX_BEHIND_BYTES: Final = 65_536
"""The same for objects of a group of their own, which are not dropped, but not taken either."""
_HEADS_BYTES: Final = 64
"""More than the heads of a stream and of an object take."""
MAX_GROUP: Final = 1 << 60
"""Of a subscription's start: there must be room for groups behind it."""


_BEGIN: Final = Location(0, 0)


class Track(NamedTuple):
    """The full name of a track."""

    namespace: Namespace
    name: bytes


@dataclass(slots=True)
class Published:
    """How far a track of ours has come, for all its subscriptions one after the other.

    Attributes:
        largest: the newest object, None before the first.
        next_group: number of the next group.
    """

    track: Track
    largest: Location | None = None
    next_group: int = 0


@dataclass(slots=True)
class _Group:
    """A group on its stream, until the subscriber has got all of it."""

    stream: int
    number: int
    objects: int = 0
    bytes: int = 0
    over: bool = False


@dataclass(slots=True)
class Publication:
    """What one subscriber is sent of a track.

    Attributes:
        published: the track.
        request_id: of the subscription.
        alias: the subscriber's short name for the track.
        forward: whether the subscriber wants objects now.
        end_group: last group that it wants, None for no end.
        streams: how many were opened for it.
        start: from where on it wants objects.
    """

    transport: Session
    published: Published
    request_id: int
    alias: int
    forward: bool = True
    end_group: int | None = None
    start: Location = _BEGIN
    streams: int = 0
    _open: deque[_Group] = field(default_factory=deque)
    _group: _Group | None = None

    @classmethod
    def answer(
        cls,
        transport: Session,
        published: Published,
        request_id: int,
        alias: int,
        wanted: Filter,
        *,
        forward: bool,
    ) -> Publication | None:
        """Return what a subscription gets, None when there is no such part of the track."""
        start = wanted.start or _BEGIN
        group = start.group + bool(start.object)
        if group > MAX_GROUP or (wanted.end_group is not None and wanted.end_group < start.group):
            return None
        if wanted.end_group is not None and wanted.end_group < published.next_group:
            return None
        # Live objects have whatever number is next: one that somebody waits for comes at once.
        published.next_group = max(published.next_group, group)
        return cls(transport, published, request_id, alias, forward, wanted.end_group, start)

    @property
    def finished(self) -> bool:
        """Whether the last group that the subscriber wants is over."""
        over = self._group is None or self._group.over
        return over and self.end_group is not None and self.published.next_group > self.end_group

    def send(self, payload: bytes) -> int:
        """Send the next object of a group; returns how many were dropped for it, or in its place."""
        if not self.forward:
            return 0
        dropped = self._drop_if_behind()
        group = self._group
        if group is None or group.over:
            group = self._group = self._begin()
            if group is None:
                return dropped + 1
            data = SubgroupHead(self.alias, group.number).encode()
        else:
            data = b""
        data += Object(group.objects, payload).encode()
        self.published.largest = Location(group.number, group.objects)
        group.objects += 1
        group.bytes += len(data)
        group.over = group.objects >= GROUP_OBJECTS
        self.transport.send(group.stream, data, fin=group.over)
        return dropped

    def send_alone(self, payload: bytes) -> bool:
        """Send an object as a group of its own; False when the subscriber does not take it now."""
        self._forget_taken()
        waiting = sum(self.transport.unsent(group.stream) for group in self._open)
        fits = waiting + len(payload) <= MAX_BEHIND_BYTES - _HEADS_BYTES
        group = self._begin() if self.forward and fits else None
        if group is None:
            return False
        data = SubgroupHead(self.alias, group.number).encode() + Object(0, payload).encode()
        self.published.largest = Location(group.number, 0)
        group.objects, group.bytes, group.over = 1, len(data), True
        self.transport.send(group.stream, data, fin=True)
        return True

    def stopped(self, stream: int) -> None:
        """Give up a stream of which the subscriber wants no more; the next object begins a group."""
        for group in self._open:
            if group.stream == stream:
                self._give_up(group, ResetCode.CANCELLED)
                return

    def cancel(self) -> None:
        """Give up all streams: the subscription is over."""
        for group in tuple(self._open):
            self._give_up(group, ResetCode.CANCELLED)

    def finish(self) -> None:
        """End the group that is not over; nothing more is sent."""
        if self._group is not None and not self._group.over:
            self._group.over = True
            self.transport.send(self._group.stream, b"", fin=True)

    def _begin(self) -> _Group | None:
        published = self.published
        if self.end_group is not None and published.next_group > self.end_group:
            return None
        try:
            stream = self.transport.open_stream(bidirectional=False)
        except LookupError:
            return None
        group = _Group(stream, published.next_group)
        published.next_group += 1
        self.streams += 1
        self._open.append(group)
        return group

    def _forget_taken(self) -> None:
        while self._open and self._open[0].over and not self.transport.unsent(self._open[0].stream):
            self._open.popleft()

    def _drop_if_behind(self) -> int:
        self._forget_taken()
        behind = 0
        for group in self._open:
            unsent = self.transport.unsent(group.stream)
            behind += -(-unsent * group.objects // group.bytes) if group.bytes else 0
        if behind <= MAX_BEHIND_OBJECTS:
            return 0
        for group in tuple(self._open):
            self._give_up(group, ResetCode.DELIVERY_TIMEOUT)
        return behind

    def _give_up(self, group: _Group, code: ResetCode) -> None:
        self.transport.reset(group.stream, code)
        self._open.remove(group)
        group.over = True
