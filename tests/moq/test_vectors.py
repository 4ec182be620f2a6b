"""Messages and streams as draft 11 has them on the wire, byte by byte."""

from __future__ import annotations

import pytest

from vb.moq.codes import MoqError, ObjectStatus, SessionCode
from vb.moq.control import ControlStream
from vb.moq.fields import Filter, Joining, Range
from vb.moq.messages import (
    MESSAGES,
    Announce,
    AnnounceCancel,
    AnnounceError,
    AnnounceOk,
    ClientSetup,
    Fetch,
    FetchCancel,
    FetchError,
    FetchOk,
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
)
from vb.moq.objects import FetchHead, Object, ObjectStream, SubgroupHead, read_datagram
from vb.moq.wire import Location

MIX = (b"mix",)
MIC = (b"mic",)

VECTORS: dict[str, Message] = {
    # type, 16 bits of length; one version of eight bytes; two parameters: 2 is 64, 1 is "/a"
    "20 0011 01 c0000000ff00000b 02 02 4040 01 02 2f61": ClientSetup((0xFF00000B,), ((2, 64), (1, b"/a"))),
    "21 000b c0000000ff00000b 01 02 08": ServerSetup(0xFF00000B, ((2, 8),)),
    "10 0001 00": Goaway(),
    "10 0003 02 2f62": Goaway(b"/b"),
    "15 0002 4100": MaxRequestId(256),
    "1a 0001 08": RequestsBlocked(8),
    # request 1, alias 0, one part "mic", name "audio", priority, order, forward, latest object, nothing else
    "03 0012 01 00 01 03 6d6963 05 617564696f 80 00 01 02 00": Subscribe(1, 0, MIC, b"audio"),
    "03 0013 02 07 01 03 6d6978 04 74657874 ff 01 00 03 05 06 00": Subscribe(
        2, 7, MIX, b"text", 255, 1, False, Filter(3, Location(5, 6))
    ),
    "03 0014 02 07 01 03 6d6978 04 74657874 01 02 01 04 05 06 09 00": Subscribe(
        2, 7, MIX, b"text", 1, 2, True, Filter(4, Location(5, 6), 9)
    ),
    "04 0005 01 00 01 00 00": SubscribeOk(1),
    "04 0008 01 4064 02 01 03 04 00": SubscribeOk(1, 100, 2, Location(3, 4)),
    "05 0006 02 04 02 6e6f 07": SubscribeError(2, 4, "no", 7),
    "02 0007 02 03 04 06 80 01 00": SubscribeUpdate(2, Location(3, 4), 6),
    "0a 0001 02": Unsubscribe(2),
    "0b 0006 02 03 05 02 6f6b": SubscribeDone(2, 3, 5, "ok"),
    "16 000e 04 80 01 01 01 01 61 01 62 00 01 02 03 00": Fetch(
        4, 128, 1, Range((b"a",), b"b", Location(0, 1), Location(2, 3))
    ),
    "16 0007 04 80 00 02 02 01 00": Fetch(4, 128, 0, Joining(2, 2, 1)),
    "18 0006 04 01 01 02 03 00": FetchOk(4, 1, True, Location(2, 3)),
    "19 0004 04 03 01 78": FetchError(4, 3, "x"),
    "17 0001 04": FetchCancel(4),
    "0d 000a 06 01 03 6d6978 02 6162 00": TrackStatusRequest(6, MIX, b"ab"),
    "0e 0005 06 00 02 03 00": TrackStatus(6, 0, Location(2, 3)),
    "06 0007 01 01 03 6d6978 00": Announce(1, MIX),
    "06 000e 00 02 03 6d6963 03 6c6976 01 01 01 78": Announce(0, (b"mic", b"liv"), ((1, b"x"),)),
    "07 0001 01": AnnounceOk(1),
    "08 0003 01 04 00": AnnounceError(1, 4, ""),
    "09 0005 01 03 6d6978": Unannounce(MIX),
    "0c 0007 01 03 6d6978 04 00": AnnounceCancel(MIX, 4, ""),
    "11 0007 08 01 03 6d6978 00": SubscribeAnnounces(8, MIX),
    "12 0001 08": SubscribeAnnouncesOk(8),
    "13 0003 08 05 00": SubscribeAnnouncesError(8, 5, ""),
    "14 0005 01 03 6d6978": UnsubscribeAnnounces(MIX),
}


def test_every_message_of_the_draft_is_here() -> None:
    assert {type(message) for message in VECTORS.values()} == set(MESSAGES.values())
    assert len(MESSAGES) == 26


@pytest.mark.parametrize(("text", "message"), VECTORS.items(), ids=lambda item: str(item)[:40])
def test_a_message_is_written_and_read_as_the_draft_has_it(text: str, message: Message) -> None:
    wire = bytes.fromhex(text)
    assert message.encode().hex(" ") == wire.hex(" ")
    assert list(ControlStream().receive(wire)) == [message]


STREAMS: dict[str, tuple[SubgroupHead, list[Object]]] = {
    "08 02 00 80 00 04 61626364 01 04 65666768": (
        SubgroupHead(2, 0),
        [Object(0, b"abcd"), Object(1, b"efgh")],
    ),
    "09 02 00 00 00 02 04 05 01 61 01 00 01 62": (
        SubgroupHead(2, 0, 0, 0, extended=True),
        [Object(0, b"a", extensions=((4, 5),)), Object(1, b"b")],
    ),
    "0a 02 4064 80 05 01 61": (SubgroupHead(2, 100, None), [Object(5, b"a")]),
    "0b 02 07 80 05 04 404d 01 78 01 61": (
        SubgroupHead(2, 7, None, extended=True),
        [Object(5, b"a", extensions=((77, b"x"),))],
    ),
    "0c 02 07 03 10 00 01 61 01 00 03": (
        SubgroupHead(2, 7, 3, 16),
        [Object(0, b"a"), Object(1, b"", ObjectStatus.END_OF_GROUP)],
    ),
    "0d 02 07 03 10 00 00 00 04": (
        SubgroupHead(2, 7, 3, 16, extended=True),
        [Object(0, b"", ObjectStatus.END_OF_TRACK)],
    ),
}


@pytest.mark.parametrize(("text", "found"), STREAMS.items(), ids=lambda item: str(item)[:12])
def test_a_stream_of_objects_is_read_as_the_draft_has_it(
    text: str, found: tuple[SubgroupHead, list[Object]]
) -> None:
    head, objects = found
    stream, wire = ObjectStream(), bytes.fromhex(text)
    assert stream.receive(wire, fin=False) == objects
    assert stream.head == head
    written = head.encode() + b"".join(one.encode(extended=head.extended) for one in objects)
    assert written.hex(" ") == wire.hex(" ")


DATAGRAMS: dict[str, tuple[int, int, Object]] = {
    # type, alias 2, group 100, object 5, priority; the rest is payload
    "00 02 4064 05 80 616263": (2, 100, Object(5, b"abc")),
    "01 02 00 05 80 04 404d 01 78 61": (2, 0, Object(5, b"a", extensions=((77, b"x"),))),
    "02 02 00 05 80 03": (2, 0, Object(5, b"", ObjectStatus.END_OF_GROUP)),
    "03 02 00 05 80 02 04 05 04": (2, 0, Object(5, b"", ObjectStatus.END_OF_TRACK, ((4, 5),))),
}


@pytest.mark.parametrize(("text", "found"), DATAGRAMS.items(), ids=lambda item: str(item)[:12])
def test_a_datagram_is_read_as_the_draft_has_it(text: str, found: tuple[int, int, Object]) -> None:
    assert read_datagram(bytes.fromhex(text)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "04 02 00 05 80 61",
        "00 02 00 05",
        "01 02 00 05 80 04 61",
        "02 02 00 05 80 09",
        "01 02 00 05 80 00 61",  # says that there are extension headers
        "03 02 00 05 80 00 03",
        "03 02 00 05 80 02 04 05 01",  # of what does not exist
        "02 02 00 05 80 03 61",  # a status and a payload
        "02 02 00 05 80 00 61",
    ],
)
def test_a_datagram_that_cannot_be_read_is_a_violation(text: str) -> None:
    with pytest.raises(MoqError) as caught:
        read_datagram(bytes.fromhex(text))
    assert caught.value.code == SessionCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize("text", STREAMS)
def test_objects_are_the_same_however_a_stream_is_cut(text: str) -> None:
    wire, (_, objects) = bytes.fromhex(text), STREAMS[text]
    for size in range(1, len(wire)):
        stream = ObjectStream()
        pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
        assert [item for piece in pieces for item in stream.receive(piece, fin=False)] == objects


def test_the_head_of_a_fetch_is_recognised() -> None:
    stream = ObjectStream()
    assert stream.receive(bytes.fromhex("05 04 00 00 00"), fin=False) == []
    assert stream.head == FetchHead(4)
