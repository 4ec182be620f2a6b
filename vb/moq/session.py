"""One MoQ session: setup, requests of both sides, and the streams of the peer's objects.

It is the receiver of a WebTransport session, and calls its `Host` where something happens. Either side may
be a client or a server; both may publish and subscribe.

Spec: draft-ietf-moq-transport-11 sections 3, 4, 5, 8 and 9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Protocol

from vb.moq.codes import (
    VERSION,
    DoneCode,
    MoqError,
    PrefixCode,
    RequestCode,
    SessionCode,
    SubscribeCode,
    TrackStatusCode,
    violation,
)
from vb.moq.control import ControlStream
from vb.moq.fields import LATEST, Filter
from vb.moq.incoming import Incoming
from vb.moq.messages import (
    Announce,
    AnnounceCancel,
    AnnounceError,
    AnnounceOk,
    ClientSetup,
    Fetch,
    FetchCancel,
    FetchError,
    Goaway,
    MaxRequestId,
    Message,
    RequestsBlocked,
    ServerSetup,
    Subscribe,
    SubscribeAnnounces,
    SubscribeAnnouncesError,
    SubscribeAnnouncesOk,
    SubscribeDone,
    SubscribeError,
    SubscribeOk,
    SubscribeUpdate,
    TrackStatus,
    TrackStatusRequest,
    Unannounce,
    Unsubscribe,
    UnsubscribeAnnounces,
    check_name,
)
from vb.moq.publication import Publication, Published, Track
from vb.moq.requests import OwnRequests, PeerRequests
from vb.moq.subscription import Sink, Subscription
from vb.moq.tokens import token_problem
from vb.moq.wire import Location, Namespace, Parameters
from vb.quic.session import Session

_UNIDIRECTIONAL: Final = 0x2
"""Bit of a stream's id (RFC 9000 section 2.1)."""
_PATH: Final = 0x1
_MAX_REQUEST_ID: Final = 0x2
MAX_PREFIXES: Final = 16
MAX_UNSENT_BYTES: Final = 65_536
"""Of control messages to a peer that does not read them."""


class Host(Protocol):
    """Whoever has a session; told in the loop, and must not wait."""

    def ready(self) -> None:
        """Setup is over: requests may be made."""
        ...

    def refusal(self, track: Track) -> int | None:
        """Return with which code a subscription to a track is refused, None when there is such a track."""
        ...

    def subscribed(self, publication: Publication) -> None:
        """The peer wants objects of a track."""
        ...

    def unsubscribed(self, publication: Publication) -> None:
        """It wants no more of them."""
        ...

    def uninterested(self, namespace: Namespace) -> int | None:
        """Return with which code an announcement is refused, None when it is of interest."""
        ...

    def announced(self, namespace: Namespace) -> None:
        """The peer publishes there."""
        ...

    def ended(self, code: int, reason: str) -> None:
        """The session is over; told once."""
        ...


class MoqSession:
    """One session; it is the `Receiver` of its transport.

    Args:
        transport: the WebTransport session.
        host: whose session it is.
        client: whether we have opened it.

    Attributes:
        over: whether nothing may be sent any more.
    """

    def __init__(self, transport: Session, host: Host, *, client: bool = False) -> None:
        self.over = False
        self._transport = transport
        self._host = host
        self._client = client
        self._control: int | None = None
        self._messages = ControlStream()
        self._set_up = False
        self._ended = False
        self._gone_away = False
        self._requests = OwnRequests(0 if client else 1, self._send)
        self._asked = PeerRequests(1 if client else 0, self._send)
        self._incoming = Incoming(transport)
        self._subscriptions: dict[int, Subscription] = {}
        self._published: dict[Track, Published] = {}
        self._publications: dict[int, Publication] = {}
        self._namespaces: list[Namespace] = []
        self._prefixes: set[Namespace] = set()

    # -- what its owner asks for ---------------------------------------------------------------------------

    def open(self) -> None:
        """Begin, as a client."""
        self._control = self._transport.open_stream(bidirectional=True)
        self._send(ClientSetup((VERSION,), self._parameters()))

    def announce(self, namespace: Namespace) -> None:
        """Say that we publish tracks there."""
        self._namespaces.append(namespace)
        self._requests.make(lambda number: Announce(number, namespace))

    def subscribe(self, track: Track, sink: Sink, wanted: Filter = LATEST) -> Subscription:
        """Ask for the objects of a track of the peer."""
        subscription = self._incoming.expect(track, sink, wanted)
        self._ask(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Take no more of a subscription."""
        if subscription.live and subscription.request_id in self._subscriptions:
            self._send(Unsubscribe(subscription.request_id))
        self._subscriptions.pop(subscription.request_id, None)
        self._incoming.drop(subscription)

    def publish_done(self, publication: Publication, code: DoneCode, reason: str = "") -> None:
        """End a subscription of the peer."""
        if self._publications.pop(publication.request_id, None) is not None:
            publication.finish()
            self._send(SubscribeDone(publication.request_id, code, publication.streams, reason))

    def finish(self, reason: str = "", *, going_away: bool = False) -> None:
        """Say that nothing more comes; once it `is_taken` the session can be closed."""
        self._requests.stop()
        if going_away and self._set_up:
            self._send(Goaway())
        done = DoneCode.GOING_AWAY if going_away else DoneCode.TRACK_ENDED
        for publication in tuple(self._publications.values()):
            self.publish_done(publication, done, reason)

    @property
    def is_taken(self) -> bool:
        """Whether the peer has acknowledged all control messages, or will not any more."""
        return self.over or self._control is None or not self._transport.unsent(self._control)

    def close(self, reason: str = "", *, code: int = SessionCode.NO_ERROR) -> None:
        """End the session; what has not left is lost."""
        if not self.over:
            self._end(code, reason)

    def fail(self, code: SessionCode, reason: str) -> None:
        """End the session because the peer broke the protocol, or what it needs here has failed."""
        if not self.over:
            self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        self.over = True
        self._transport.close(code, reason)
        self.closed(code, reason)

    # -- what the transport calls --------------------------------------------------------------------------

    def data(self, stream: int, data: bytes, *, fin: bool) -> None:
        """Take bytes of a stream."""
        if self.over:
            return
        try:
            if stream & _UNIDIRECTIONAL:
                self._incoming.data(stream, data, fin=fin)
            else:
                self._take_control(stream, data, fin=fin)
        except MoqError as error:
            self.fail(error.code, error.reason)

    def datagram(self, data: bytes) -> None:
        """Take a datagram of the session."""
        if self.over:
            return
        try:
            self._incoming.datagram(data)
        except MoqError as error:
            self.fail(error.code, error.reason)

    def stream_reset(self, stream: int, code: int) -> None:
        """Forget a stream that the peer has given up."""
        self._incoming.forget(stream)
        if stream == self._control:
            self.fail(SessionCode.PROTOCOL_VIOLATION, "the control stream was reset")

    def stopped(self, stream: int, code: int) -> None:
        """Give up a stream of which the peer wants no more."""
        if stream == self._control:
            self.fail(SessionCode.PROTOCOL_VIOLATION, "the control stream was stopped")
        for publication in self._publications.values():
            publication.stopped(stream)

    def closed(self, code: int, reason: str) -> None:
        """Take note that the session is over."""
        self.over = True
        if not self._ended:
            self._ended = True
            self._incoming.clear()
            self._requests.stop()
            self._host.ended(code, reason)

    # -- control messages ----------------------------------------------------------------------------------

    def _take_control(self, stream: int, data: bytes, *, fin: bool) -> None:
        if self._control is None:
            self._control = stream
        if stream != self._control:
            raise violation("a second bidirectional stream")
        for message in self._messages.receive(data):
            if self._set_up:
                self._take(message)
            else:
                self._take_setup(message)
            if self.over:
                return
        if fin:
            raise violation("the control stream has ended")

    def _take(self, message: Message) -> None:
        handler = self._HANDLERS.get(type(message))
        if handler is None:
            raise violation(f"message {message.TYPE:#x} is out of place")
        handler(self, message)

    def _take_setup(self, message: Message) -> None:
        if self._client and isinstance(message, ServerSetup):
            offered = message.version == VERSION
        elif not self._client and isinstance(message, ClientSetup):
            offered = VERSION in message.versions
        else:
            raise violation(f"message {message.TYPE:#x} comes before setup")
        if not offered:
            raise MoqError(SessionCode.VERSION_NEGOTIATION_FAILED, f"only {VERSION:#x} is spoken here")
        values = dict(message.parameters)
        if _PATH in values:
            raise MoqError(SessionCode.INVALID_PATH, "over WebTransport there is no other path")
        if not self._client:
            self._send(ServerSetup(VERSION, self._parameters()))
        self._set_up = True
        allowed = values.get(_MAX_REQUEST_ID, 0)
        assert isinstance(allowed, int)
        self._requests.begin(allowed)
        self._host.ready()

    def _parameters(self) -> Parameters:
        return ((_MAX_REQUEST_ID, self._asked.granted),)

    def _send(self, message: Message) -> None:
        if self.over or self._control is None:
            return
        self._transport.send(self._control, message.encode())
        if self._transport.unsent(self._control) > MAX_UNSENT_BYTES:
            self.fail(SessionCode.INTERNAL_ERROR, "the control stream is not read")

    def _ask(self, subscription: Subscription) -> None:
        def make(number: int) -> Message:
            subscription.request_id = number
            self._subscriptions[number] = subscription
            wanted = subscription.wanted
            return Subscribe(number, subscription.alias, *subscription.track, filter=wanted)

        self._requests.make(make)

    def _take_subscribe(self, message: Subscribe) -> None:
        self._asked.count(message.request_id)
        check_name(message.namespace, message.name)
        track = Track(message.namespace, message.name)
        for other in self._publications.values():
            if other.published.track == track:
                raise violation("a track is subscribed to twice")
            if other.alias == message.alias:
                raise MoqError(SessionCode.DUPLICATE_TRACK_ALIAS, f"track alias {message.alias} is taken")
        code: int | None = token_problem(message.parameters)
        code = self._host.refusal(track) if code is None else code
        publication = self._answer(message, track) if code is None else None
        if publication is None:
            code = SubscribeCode.INVALID_RANGE if code is None else code
            self._send(SubscribeError(message.request_id, code, "refused", message.alias))
            return
        self._publications[message.request_id] = publication
        self._send(SubscribeOk(message.request_id, largest=publication.published.largest))
        self._host.subscribed(publication)

    def _answer(self, message: Subscribe, track: Track) -> Publication | None:
        published = self._published.setdefault(track, Published(track))
        number, alias, wanted = message.request_id, message.alias, message.filter
        return Publication.answer(self._transport, published, number, alias, wanted, forward=message.forward)

    def _take_update(self, message: SubscribeUpdate) -> None:
        publication = self._publications.get(message.request_id)
        if publication is None:
            self._asked.check_past(message.request_id)
            return
        end = message.end_group - 1 if message.end_group else None
        wider = publication.end_group is not None and (end is None or end > publication.end_group)
        if message.start < publication.start or wider:
            raise violation("a subscription cannot become wider")
        publication.start, publication.end_group = message.start, end
        publication.forward = message.forward

    def _take_unsubscribe(self, message: Unsubscribe) -> None:
        publication = self._publications.pop(message.request_id, None)
        if publication is None:
            self._asked.check_past(message.request_id)
            return
        publication.cancel()
        self._host.unsubscribed(publication)

    def _take_subscribe_ok(self, message: SubscribeOk) -> None:
        self._answered(message.request_id)

    def _take_subscribe_error(self, message: SubscribeError) -> None:
        subscription = self._answered(message.request_id)
        if subscription is None:
            return
        del self._subscriptions[message.request_id]
        self._incoming.drop(subscription)
        if message.code == SubscribeCode.RETRY_TRACK_ALIAS:
            self._incoming.rename(subscription, message.alias)
            self._ask(subscription)
            return
        subscription.sink.over(message.reason)

    def _take_subscribe_done(self, message: SubscribeDone) -> None:
        subscription = self._answered(message.request_id)
        if subscription is not None:
            del self._subscriptions[message.request_id]  # its alias stays: objects may still be on their way
            subscription.live = False
            subscription.sink.over(message.reason)

    def _answered(self, request_id: int) -> Subscription | None:
        self._requests.check_made(request_id)
        return self._subscriptions.get(request_id)

    def _take_answer(self, message: AnnounceOk | AnnounceError) -> None:
        self._answered(message.request_id)

    def _take_announce(self, message: Announce) -> None:
        self._asked.count(message.request_id)
        code: int | None = token_problem(message.parameters)
        if code is None:
            code = self._host.uninterested(message.namespace)
        if code is not None:
            self._send(AnnounceError(message.request_id, code, "refused"))
            return
        self._send(AnnounceOk(message.request_id))
        self._host.announced(message.namespace)

    def _take_prefix(self, message: SubscribeAnnounces) -> None:
        self._asked.count(message.request_id)
        prefix = message.prefix
        code: int | None = token_problem(message.parameters)
        if code is None and any(_begins(one, prefix) or _begins(prefix, one) for one in self._prefixes):
            code = PrefixCode.NAMESPACE_PREFIX_OVERLAP
        if code is None and len(self._prefixes) >= MAX_PREFIXES:
            code = RequestCode.INTERNAL_ERROR
        if code is None and not any(_begins(namespace, prefix) for namespace in self._namespaces):
            code = PrefixCode.NAMESPACE_PREFIX_UNKNOWN
        if code is None:
            self._prefixes.add(prefix)
            self._send(SubscribeAnnouncesOk(message.request_id))  # it has been announced already
        else:
            self._send(SubscribeAnnouncesError(message.request_id, code, "refused"))

    def _take_no_prefix(self, message: UnsubscribeAnnounces) -> None:
        self._prefixes.discard(message.prefix)

    def _take_fetch(self, message: Fetch) -> None:
        self._asked.count(message.request_id)
        self._send(FetchError(message.request_id, RequestCode.NOT_SUPPORTED, "what is over is over"))

    def _take_status_request(self, message: TrackStatusRequest) -> None:
        self._asked.count(message.request_id)
        track = Track(message.namespace, message.name)
        check_name(*track)
        code, largest = TrackStatusCode.DOES_NOT_EXIST, None
        if self._host.refusal(track) is None:
            published = self._published.get(track)
            largest = None if published is None else published.largest
            code = TrackStatusCode.NOT_YET_BEGUN if largest is None else TrackStatusCode.IN_PROGRESS
        self._send(TrackStatus(message.request_id, code, largest or Location(0, 0)))

    def _take_goaway(self, message: Goaway) -> None:
        if self._gone_away:
            raise violation("a second GOAWAY")
        if message.uri and not self._client:
            raise violation("a client cannot send a server elsewhere")
        self._gone_away = True
        self._requests.stop()

    def _take_max_request_id(self, message: MaxRequestId) -> None:
        self._requests.allow(message.request_id)

    def _take_nothing(self, message: Message) -> None:
        """Leave it at that: there is nothing to be done."""

    _HANDLERS: ClassVar[Mapping[type[Message], Callable[[Any, Any], None]]] = {
        Subscribe: _take_subscribe,
        SubscribeUpdate: _take_update,
        Unsubscribe: _take_unsubscribe,
        SubscribeOk: _take_subscribe_ok,
        SubscribeError: _take_subscribe_error,
        SubscribeDone: _take_subscribe_done,
        Announce: _take_announce,
        AnnounceOk: _take_answer,
        AnnounceError: _take_answer,
        AnnounceCancel: _take_nothing,
        Unannounce: _take_nothing,
        SubscribeAnnounces: _take_prefix,
        UnsubscribeAnnounces: _take_no_prefix,
        Fetch: _take_fetch,
        FetchCancel: _take_nothing,
        TrackStatusRequest: _take_status_request,
        Goaway: _take_goaway,
        MaxRequestId: _take_max_request_id,
        RequestsBlocked: _take_nothing,
    }


def _begins(namespace: Namespace, prefix: Namespace) -> bool:
    return namespace[: len(prefix)] == prefix
