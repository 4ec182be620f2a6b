"""Objects that the peer sends, on streams or as datagrams, and the subscriptions that they belong to.

Spec: draft-ietf-moq-transport-11 section 9.
"""

from __future__ import annotations

from typing import Final

from vb.moq.codes import MoqError, ObjectStatus, ResetCode, SessionCode, violation
from vb.moq.fields import Filter
from vb.moq.objects import FetchHead, Object, ObjectStream, TooLong, read_datagram
from vb.moq.publication import Track
from vb.moq.subscription import Sink, Subscription
from vb.quic.session import Session
from vb.quic.varint import MAX_VARINT

MAX_STREAMS: Final = 128
"""Streams of objects that are read at a time."""


class Incoming:
    """All of a session.

    Args:
        transport: the session.
    """

    def __init__(self, transport: Session) -> None:
        self._transport = transport
        self._next_alias = 0
        self._aliases: dict[int, Subscription] = {}
        self._streams: dict[int, ObjectStream] = {}
        self._ignored: set[int] = set()

    def expect(self, track: Track, sink: Sink, wanted: Filter) -> Subscription:
        """Return a new subscription, whose objects will come by its alias."""
        subscription = Subscription(track, sink, wanted, self._next_alias)
        self._aliases[self._next_alias] = subscription
        self._next_alias += 1
        return subscription

    def rename(self, subscription: Subscription, alias: int) -> None:
        """Expect objects of a subscription by another alias.

        Raises:
            MoqError: it is another one's.
        """
        if alias in self._aliases:
            raise MoqError(SessionCode.DUPLICATE_TRACK_ALIAS, f"track alias {alias} is taken")
        if alias > MAX_VARINT // 2:
            raise violation(f"track alias {alias} leaves no room for others")
        subscription.alias, subscription.live = alias, True
        self._aliases[alias] = subscription
        self._next_alias = max(self._next_alias, alias + 1)

    def drop(self, subscription: Subscription) -> None:
        """Take no more of a subscription."""
        subscription.live = False
        self._aliases.pop(subscription.alias, None)

    def forget(self, stream: int) -> None:
        """Take note that a stream was given up."""
        self._streams.pop(stream, None)
        self._ignored.discard(stream)

    def clear(self) -> None:
        """Forget everything: the session is over."""
        self._aliases.clear()
        self._streams.clear()
        self._ignored.clear()

    def data(self, stream: int, data: bytes, *, fin: bool) -> None:
        """Take bytes of a stream.

        Raises:
            MoqError: they are not as they must be.
        """
        if stream in self._ignored:
            if fin:
                self._ignored.discard(stream)
            return
        parser = self._streams.get(stream)
        if parser is None:
            if len(self._streams) >= MAX_STREAMS:
                self._ignore(stream, fin=fin)
                return
            parser = self._streams[stream] = ObjectStream()
        try:
            found = parser.receive(data, fin=fin)
        except TooLong:
            found = None
        if parser.head is None:
            if fin:
                self.forget(stream)
            return
        if isinstance(parser.head, FetchHead):
            raise violation("nothing was fetched")
        subscription = self._subscription(parser.head.alias)
        if subscription is None or found is None:
            self._ignore(stream, fin=fin)
            if subscription is not None:
                subscription.sink.unusable()
            return
        for item in found:
            _hand_on(subscription.sink, parser.head.group, item)
        if fin:
            self.forget(stream)
            subscription.sink.group_over(parser.head.group)

    def datagram(self, data: bytes) -> None:
        """Take an object that has come as a datagram.

        Raises:
            MoqError: it is not as it must be.
        """
        alias, group, item = read_datagram(data)
        subscription = self._subscription(alias)
        if subscription is not None:
            _hand_on(subscription.sink, group, item)

    def _subscription(self, alias: int) -> Subscription | None:
        """Return whose objects they are; None when it is over, after which some may still come."""
        subscription = self._aliases.get(alias)
        if subscription is None and alias >= self._next_alias:
            raise violation(f"track alias {alias} was never used")
        return subscription

    def _ignore(self, stream: int, *, fin: bool) -> None:
        """Take nothing more of a stream."""
        self._streams.pop(stream, None)
        if not fin:
            self._ignored.add(stream)
            self._transport.stop(stream, ResetCode.CANCELLED)


def _hand_on(sink: Sink, group: int, item: Object) -> None:
    sink.object(group, item)
    if item.status is ObjectStatus.END_OF_GROUP:
        sink.group_over(group, item.id)  # it is numbered as one more would be
