"""What two ends of a MoQ session may say when, and what happens when one of them breaks the rules."""

from __future__ import annotations

import pytest

from tests.moq.peers import MIC, MIX, Heard, Talk
from vb.moq.codes import VERSION, DoneCode, ObjectStatus, SessionCode
from vb.moq.control import ControlStream
from vb.moq.fields import Filter, Joining
from vb.moq.messages import (
    Announce,
    AnnounceError,
    AnnounceOk,
    ClientSetup,
    Fetch,
    FetchError,
    Goaway,
    MaxRequestId,
    Message,
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
    Unsubscribe,
)
from vb.moq.objects import Object, SubgroupHead
from vb.moq.requests import GRANTED
from vb.moq.session import MAX_UNSENT_BYTES
from vb.moq.wire import Location


class Script:
    """A client of bytes, whose server's answers are read."""

    def __init__(self, *, allowed: int = 100, setup: bool = True) -> None:
        self.talk = Talk(opened=False)
        self.heard: list[Message] = []
        self._stream = ControlStream()
        self.talk.pair.client.receiver = self
        if setup:
            self.say(ClientSetup((VERSION,), ((2, allowed),)))

    def data(self, stream: int, data: bytes, *, fin: bool) -> None:
        if stream == 0:
            self.heard += self._stream.receive(data)

    def datagram(self, data: bytes) -> None:
        """Take no notice."""

    def stream_reset(self, stream: int, code: int) -> None:
        """Take no notice."""

    def stopped(self, stream: int, code: int) -> None:
        """Take no notice."""

    def closed(self, code: int, reason: str) -> None:
        """Take no notice."""

    def say(self, *messages: Message) -> list[Message]:
        """Send messages, and return what was answered."""
        before = len(self.heard)
        self.talk.say(b"".join(message.encode() for message in messages))
        return self.heard[before:]

    @property
    def code(self) -> int | None:
        """With which code the server has closed the session."""
        closes = self.talk.server_end.closes
        return closes[0][0] if closes else None


def test_setup_chooses_draft_11_and_allows_requests() -> None:
    script = Script(setup=False)
    assert script.say(ClientSetup((0xFF00000A, VERSION))) == [ServerSetup(VERSION, ((2, 4 * GRANTED),))]
    assert script.talk.host.is_ready


def test_a_client_of_other_drafts_is_told_so() -> None:
    script = Script(setup=False)
    assert script.say(ClientSetup((0xFF00000A, 0xFF00000E))) == []
    assert script.code == SessionCode.VERSION_NEGOTIATION_FAILED
    assert script.talk.host.end is not None


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (Announce(0, (b"mic",)), SessionCode.PROTOCOL_VIOLATION),
        (ServerSetup(VERSION), SessionCode.PROTOCOL_VIOLATION),
        (ClientSetup((VERSION,), ((1, b"/x"),)), SessionCode.INVALID_PATH),
    ],
)
def test_a_session_begins_with_a_setup_that_fits(first: Message, code: SessionCode) -> None:
    script = Script(setup=False)
    script.say(first)
    assert script.code == code


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([ClientSetup((VERSION,))], SessionCode.PROTOCOL_VIOLATION),
        ([Announce(1, (b"mic",))], SessionCode.INVALID_REQUEST_ID),
        ([Announce(2, (b"mic",))], SessionCode.INVALID_REQUEST_ID),
        ([Announce(0, (b"mic",)), Announce(0, (b"mic",))], SessionCode.INVALID_REQUEST_ID),
        ([Announce(4 * GRANTED, (b"mic",))], SessionCode.TOO_MANY_REQUESTS),
        ([Subscribe(0, 1, *MIX), Subscribe(2, 2, *MIX)], SessionCode.PROTOCOL_VIOLATION),
        ([Subscribe(0, 1, (b"a" * 4000,), b"b" * 200)], SessionCode.PROTOCOL_VIOLATION),
        ([Subscribe(0, 1, *MIX, parameters=((1, b"\1\0\0abc"),))], SessionCode.AUTH_TOKEN_CACHE_OVERFLOW),
        ([SubscribeUpdate(0, Location(0, 0), 0)], SessionCode.PROTOCOL_VIOLATION),
        ([Unsubscribe(0)], SessionCode.PROTOCOL_VIOLATION),
        ([SubscribeOk(1)], SessionCode.PROTOCOL_VIOLATION),
        ([SubscribeAnnouncesOk(1)], SessionCode.PROTOCOL_VIOLATION),
        ([Goaway(b"https://elsewhere/")], SessionCode.PROTOCOL_VIOLATION),
        ([Goaway(), Goaway()], SessionCode.PROTOCOL_VIOLATION),
        ([MaxRequestId(100)], SessionCode.PROTOCOL_VIOLATION),
        (
            [
                Subscribe(0, 1, *MIX, filter=Filter(4, Location(0, 0), 9)),
                SubscribeUpdate(0, Location(0, 0), 11),
            ],
            SessionCode.PROTOCOL_VIOLATION,
        ),
    ],
    ids=str,
)
def test_what_breaks_the_rules_ends_the_session(messages: list[Message], code: SessionCode) -> None:
    script = Script()
    script.say(*messages)
    assert script.code == code
    assert script.talk.host.end == script.talk.server_end.closes[0]


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (Announce(0, (b"mic",)), AnnounceOk(0)),
        (Announce(0, (b"other",)), AnnounceError(0, 4, "refused")),
        (Announce(0, (b"mic",), ((1, b"\2\5"),)), AnnounceError(0, 0x11, "refused")),
        (Announce(0, (b"mic",), ((1, b"\4"),)), AnnounceError(0, 0x10, "refused")),
        (Announce(0, (b"mic",), ((1, b""),)), AnnounceError(0, 0x10, "refused")),
        (Announce(0, (b"mic",), ((1, b"\3\0secret"),)), AnnounceOk(0)),
        (Subscribe(0, 7, *MIX), SubscribeOk(0)),
        (Subscribe(0, 7, (b"mix",), b"video"), SubscribeError(0, 4, "refused", 7)),
        (Subscribe(0, 7, *MIX, filter=Filter(4, Location(5, 0), 4)), SubscribeError(0, 5, "refused", 7)),
        (Subscribe(0, 7, *MIX, filter=Filter(3, Location(2**61, 0))), SubscribeError(0, 5, "refused", 7)),
        (Fetch(0, 128, 1, Joining(2, 0, 0)), FetchError(0, 3, "what is over is over")),
        (TrackStatusRequest(0, *MIX), TrackStatus(0, 2, Location(0, 0))),
        (TrackStatusRequest(0, *MIC), TrackStatus(0, 1, Location(0, 0))),
        (SubscribeAnnounces(0, (b"other",)), SubscribeAnnouncesError(0, 4, "refused")),
    ],
    ids=str,
)
def test_each_request_gets_its_one_answer(request_: Message, answer: Message) -> None:
    script = Script()
    assert script.say(request_) == [answer]
    assert script.code is None


def test_announcements_of_a_prefix_come_once() -> None:
    script = Script()
    script.talk.server.announce((b"mix", b"one"))
    assert script.say(SubscribeAnnounces(0, (b"mix",))) == [
        Announce(1, (b"mix", b"one")),
        SubscribeAnnouncesOk(0),
    ]
    again = script.say(SubscribeAnnounces(2, (b"mix", b"one")))
    assert again == [SubscribeAnnouncesError(2, 5, "refused")]


def test_what_crosses_with_an_end_is_let_pass() -> None:
    script = Script()
    script.say(Subscribe(0, 7, *MIX))
    script.talk.server.publish_done(script.talk.host.publications[0], DoneCode.TRACK_ENDED)
    assert script.code is None
    assert script.say(Unsubscribe(0), SubscribeUpdate(0, Location(0, 0), 0))[1:] == []
    assert script.code is None


def test_a_track_may_be_subscribed_to_again_and_goes_on_counting() -> None:
    script = Script()
    script.say(Subscribe(0, 7, *MIX))
    script.talk.host.publications[0].send(b"a")
    script.say(Unsubscribe(0))
    assert script.say(Subscribe(2, 7, *MIX)) == [SubscribeOk(2, largest=Location(0, 0))]
    script.talk.host.publications[1].send(b"b")
    assert script.say(TrackStatusRequest(4, *MIX)) == [TrackStatus(4, 0, Location(1, 0))]


def test_requests_wait_until_the_peer_allows_them() -> None:
    script = Script(allowed=0)
    script.talk.server.announce((b"mix",))
    script.talk.server.subscribe(MIC, Heard())
    script.talk.pair.deliver()
    assert [message.TYPE for message in script.heard] == [0x21, 0x1A, 0x1A]
    answers = script.say(MaxRequestId(2))
    assert [message.TYPE for message in answers] == [Announce.TYPE, 0x1A]
    assert script.say(MaxRequestId(4)) == [Subscribe(3, 0, *MIC)]


def test_a_client_may_go_on_asking_as_long_as_it_asks_in_order() -> None:
    script = Script()
    for number in range(0, 1000, 2):
        script.say(TrackStatusRequest(number, *MIC))
    assert script.code is None
    granted = [message for message in script.heard if isinstance(message, MaxRequestId)]
    assert granted[-1].request_id > 1000


def test_after_goaway_nothing_new_is_asked_for() -> None:
    script = Script()
    script.say(Goaway())
    script.talk.server.subscribe(MIC, Heard())
    script.talk.pair.deliver()
    assert [message.TYPE for message in script.heard] == [0x21]


def test_another_alias_is_tried_when_the_publisher_wants_it() -> None:
    script, heard = Script(), Heard()
    script.talk.server.subscribe(MIC, heard)
    answers = script.say(SubscribeError(1, 6, "that one", 40))
    assert answers[-1] == Subscribe(3, 40, *MIC)
    client = script.talk.pair.client
    client.send(client.open_stream(bidirectional=False), SubgroupHead(40, 3).encode() + b"\0\1x")
    script.talk.pair.deliver()
    assert heard.objects == [(3, 0, b"x")]


def test_a_client_that_does_not_read_its_answers_is_left() -> None:
    script = Script()
    script.talk.server_end.stalled = True
    number = 0
    while script.code is None and number < 100_000:
        script.talk.pair.client.send(0, TrackStatusRequest(number, *MIC).encode())
        script.talk.pair.deliver()
        number += 2
        if number % (2 * GRANTED) == 0:
            assert script.talk.server_end.unsent(0) <= MAX_UNSENT_BYTES + 100
    assert script.code == SessionCode.INTERNAL_ERROR


@pytest.mark.parametrize("how", ["fin", "reset", "stop", "second"])
def test_there_is_one_control_stream_and_it_stays_open(how: str) -> None:
    script = Script()
    client, server = script.talk.pair.client, script.talk.server
    if how == "fin":
        script.talk.say(b"", fin=True)
    elif how == "reset":
        server.stream_reset(0, 0)
    elif how == "stop":
        server.stopped(0, 0)
    else:
        client.send(4, b"\x10")
        script.talk.pair.deliver()
    assert script.code == SessionCode.PROTOCOL_VIOLATION


def test_objects_go_both_ways() -> None:
    talk = Talk()
    publication, heard = talk.subscribed()
    said = Heard()
    talk.server.subscribe(MIC, said)
    talk.pair.deliver()
    for number in range(3):
        assert publication.send(bytes([number + 1])) == 0
        talk.guest.publications[0].send(bytes([number + 11]))
    talk.pair.deliver()
    assert heard.objects == [(0, 0, b"\1"), (0, 1, b"\2"), (0, 2, b"\3")]
    assert said.objects == [(0, 0, b"\x0b"), (0, 1, b"\x0c"), (0, 2, b"\x0d")]


def test_a_publisher_says_when_it_is_done() -> None:
    talk = Talk()
    publication, heard = talk.subscribed()
    publication.send(b"a")
    talk.server.publish_done(publication, DoneCode.TRACK_ENDED, "enough")
    talk.pair.deliver()
    assert (heard.objects, heard.groups_over, heard.end) == ([(0, 0, b"a")], [0], "enough")


def test_objects_of_a_subscription_that_is_over_are_stopped_and_those_of_none_are_a_fault() -> None:
    talk = Talk()
    said = Heard()
    subscription = talk.server.subscribe(MIC, said)
    talk.pair.deliver()
    talk.server.unsubscribe(subscription)
    talk.guest.publications[0].send(b"late")
    talk.pair.deliver()
    assert said.objects == []
    assert talk.guest.end is None
    assert talk.guest.unsubscribed_ == talk.guest.publications
    stream = talk.pair.client.open_stream(bidirectional=False)
    talk.pair.client.send(stream, SubgroupHead(5, 0).encode() + Object(0, b"a").encode())
    talk.pair.deliver()
    assert talk.host.end is not None
    assert talk.host.end[0] == SessionCode.PROTOCOL_VIOLATION


def test_objects_come_as_datagrams_too() -> None:
    talk, said = Talk(), Heard()
    subscription = talk.server.subscribe(MIC, said)
    talk.pair.deliver()
    talk.server.datagram(bytes.fromhex("00 00 07 02 80") + b"a")
    assert said.objects == [(7, 2, b"a")]
    talk.server.unsubscribe(subscription)
    talk.server.datagram(bytes.fromhex("00 00 07 03 80") + b"late")
    assert len(said.objects) == 1
    assert not talk.server_end.closes
    talk.server.datagram(bytes.fromhex("3f"))
    talk.server.datagram(bytes.fromhex("3f"))
    assert [code for code, _ in talk.server_end.closes] == [SessionCode.PROTOCOL_VIOLATION]


def test_the_end_of_a_group_is_told_by_a_status_too() -> None:
    talk, said = Talk(), Heard()
    talk.server.subscribe(MIC, said)
    talk.pair.deliver()
    talk.server.datagram(bytes.fromhex("00 00 07 02 80") + b"a")
    assert said.groups_over == []
    talk.server.datagram(bytes.fromhex("02 00 07 04 80 03"))
    assert (said.groups_over, said.sizes) == ([7], {7: 4})
    stream = talk.pair.client.open_stream(bidirectional=False)
    ended = Object(1, b"a").encode() + Object(2, b"", ObjectStatus.END_OF_GROUP).encode()
    talk.pair.client.send(stream, SubgroupHead(0, 8).encode() + ended)
    talk.pair.deliver()
    assert (said.groups_over, said.sizes) == ([7, 8], {7: 4, 8: 2})


def test_who_stops_says_so_before_it_ends_what_it_publishes() -> None:
    script = Script()
    script.say(Subscribe(0, 0, *MIX))
    script.talk.server.finish("bye", going_away=True)
    script.talk.pair.deliver()
    assert script.heard[-2:] == [Goaway(), SubscribeDone(0, DoneCode.GOING_AWAY, 0, "bye")]


def test_an_object_that_is_too_long_costs_its_stream_and_no_more() -> None:
    talk, said = Talk(), Heard()
    talk.server.subscribe(MIC, said)
    talk.pair.deliver()
    stream = talk.pair.client.open_stream(bidirectional=False)
    talk.pair.client.send(stream, SubgroupHead(0, 0).encode() + b"\0" + b"\x80\x01\x00\x00" + b"x" * 1000)
    talk.pair.deliver()
    assert talk.server_end.stops == [(stream, 1)]
    assert said.unusable_objects == 1
    talk.guest.publications[0].send(b"fine")
    talk.pair.deliver()
    assert said.objects == [(0, 0, b"fine")]
    assert talk.host.end is None


def test_a_goaway_that_crosses_with_our_goodbye_is_no_fault() -> None:
    script = Script()
    script.talk.server.finish("bye")
    script.say(Goaway())
    assert script.code is None


def test_closing_ends_what_is_published_and_tells_the_host_once() -> None:
    talk = Talk()
    _publication, heard = talk.subscribed()
    talk.server.finish("bye")
    taken = [talk.server.is_taken]
    talk.pair.deliver()
    taken.append(talk.server.is_taken)
    assert taken == [False, True]
    talk.server.close("bye")
    talk.server.close("again")
    talk.pair.deliver()
    assert heard.end == "bye"
    assert talk.guest.end == (0, "bye")
    assert talk.host.end == (0, "bye")


def test_nothing_is_done_after_the_end() -> None:
    talk = Talk()
    publication, _heard = talk.subscribed()
    talk.server.fail(SessionCode.INTERNAL_ERROR, "failed")
    talk.server.data(0, b"\xff\xff", fin=True)
    talk.server.closed(1, "later")
    publication.send(b"x")
    assert talk.host.end == (1, "failed")
