"""Messages and streams of any content, cut anywhere, damaged anyhow."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.moq.strategies import messages, numbers, octets, parameters
from vb.moq.codes import MoqError, ObjectStatus, SessionCode
from vb.moq.control import ControlStream
from vb.moq.fields import Filter
from vb.moq.messages import Announce, ClientSetup, Goaway, Message, Subscribe
from vb.moq.objects import MAX_PAYLOAD_BYTES, Object, ObjectStream, SubgroupHead, TooLong
from vb.moq.wire import MAX_NAME_BYTES, Location
from vb.quic.varint import varint


def in_parts(wire: bytes, cuts: list[int], take: Callable[[bytes], list[Any]]) -> list[Any]:
    places = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    found: list[Any] = []
    for start, end in pairwise(places):
        found += take(wire[start:end])
    return found


@given(st.lists(messages, max_size=4), st.lists(st.integers(0, 10_000), max_size=8))
def test_every_message_comes_back_however_the_stream_is_cut(sent: list[Message], cuts: list[int]) -> None:
    stream = ControlStream()
    wire = b"".join(message.encode() for message in sent)
    assert in_parts(wire, cuts, lambda part: list(stream.receive(part))) == sent


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
def test_garbage_is_an_error_of_the_session_and_nothing_else(wire: bytes, cuts: list[int]) -> None:
    control, objects = ControlStream(), ObjectStream()
    try:
        in_parts(wire, cuts, lambda part: list(control.receive(part)))
    except MoqError:
        pass
    try:
        in_parts(wire, cuts, lambda part: objects.receive(part, fin=False))
        objects.receive(b"", fin=True)
    except (MoqError, TooLong):
        pass


@given(messages, st.integers(0, 10_000), octets)
def test_a_damaged_message_is_an_error_of_the_session_and_nothing_else(
    message: Message, place: int, value: int
) -> None:
    wire = bytearray(message.encode())
    wire[place % len(wire)] = value
    try:
        list(ControlStream().receive(bytes(wire)))
    except MoqError:
        pass


payloads = st.binary(min_size=1, max_size=50)
heads = st.builds(SubgroupHead, numbers, numbers, st.none() | numbers, octets, extended=st.booleans())


@given(
    heads, st.lists(st.tuples(payloads, parameters), max_size=5), st.lists(st.integers(0, 5000), max_size=8)
)
def test_objects_come_back_however_their_stream_is_cut(
    head: SubgroupHead, said: list[tuple[bytes, Any]], cuts: list[int]
) -> None:
    sent = [
        Object(number, payload, extensions=extensions if head.extended else ())
        for number, (payload, extensions) in enumerate(said)
    ]
    wire = head.encode() + b"".join(one.encode(extended=head.extended) for one in sent)
    stream = ObjectStream()
    assert in_parts(wire, cuts, lambda part: stream.receive(part, fin=False)) == sent
    assert stream.head == head
    assert stream.receive(b"", fin=True) == []


def refused(wire: bytes) -> SessionCode:
    with pytest.raises(MoqError) as caught:
        list(ControlStream().receive(wire))
    return caught.value.code


def framed(kind: int, payload: bytes) -> bytes:
    return varint(kind) + len(payload).to_bytes(2) + payload


@pytest.mark.parametrize("kind", [0x01, 0x40, 0x41, 0x1D, 0x3F, 0x4000])
def test_an_unknown_message_ends_the_session(kind: int) -> None:
    assert refused(framed(kind, b"")) == SessionCode.PROTOCOL_VIOLATION


def test_a_length_that_is_not_the_payloads_ends_the_session() -> None:
    payload = Announce(0, (b"mic",)).encode()[3:]
    assert refused(framed(0x6, payload + b"\0")) == SessionCode.PROTOCOL_VIOLATION
    assert refused(framed(0x6, payload[:-1])) == SessionCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    "message",
    [
        Announce(0, ()),
        Announce(0, (b"a",) * 33),
        Announce(0, (b"a" * 2000, b"b" * 2000, b"c" * 200)),
        Subscribe(0, 0, (b"a",), b"b" * (MAX_NAME_BYTES + 1)),
        Subscribe(0, 0, (b"a",), b"b", order=3),
        Subscribe(0, 0, (b"a",), b"b", filter=Filter(5, Location(0, 0))),
        Subscribe(0, 0, (b"a",), b"b", filter=Filter(0)),
        Subscribe(0, 0, (b"a",), b"b", parameters=((2, 1), (2, 1))),
        ClientSetup(()),
        ClientSetup((1,), ((1, b"/"), (1, b"/"))),
        Goaway(b"x" * 8193),
    ],
    ids=lambda message: str(message)[:60],
)
def test_what_the_draft_forbids_ends_the_session(message: Message) -> None:
    assert refused(message.encode()) == SessionCode.PROTOCOL_VIOLATION


def test_tokens_and_unknown_parameters_may_be_repeated() -> None:
    message = Subscribe(0, 0, (b"a",), b"b", parameters=((1, b"\3\0a"), (1, b"\3\0b"), (98, 1), (98, 2)))
    assert list(ControlStream().receive(message.encode())) == [message]


def test_a_value_longer_than_it_may_be_ends_the_session() -> None:
    payload = varint(0) + varint(1) + varint(1) + b"a" + varint(1) + varint(5) + varint(70_000)
    assert refused(framed(0x6, payload)) == SessionCode.PROTOCOL_VIOLATION


def test_flags_are_zero_or_one() -> None:
    wire = bytearray(Subscribe(0, 0, (b"a",), b"b").encode())
    wire[-3] = 2
    assert refused(bytes(wire)) == SessionCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    "wire",
    [
        b"\x07\0\0\0",
        b"\x0e\0\0\0",
        b"\x10\0\0\0",
        SubgroupHead(0, 0).encode() + b"\0\0\2",
        SubgroupHead(0, 0).encode() + Object(5, b"a").encode() + Object(4, b"a").encode(),
        SubgroupHead(0, 0, extended=True).encode()
        + Object(0, b"", ObjectStatus.DOES_NOT_EXIST, ((2, 1),)).encode(extended=True),
    ],
)
def test_streams_that_the_draft_forbids_end_the_session(wire: bytes) -> None:
    with pytest.raises(MoqError) as caught:
        ObjectStream().receive(wire, fin=False)
    assert caught.value.code == SessionCode.PROTOCOL_VIOLATION


def test_a_stream_that_ends_within_an_object_ends_the_session() -> None:
    stream = ObjectStream()
    stream.receive(SubgroupHead(0, 0).encode() + b"\0\5ab", fin=False)
    with pytest.raises(MoqError, match="within an object"):
        stream.receive(b"", fin=True)


def test_an_object_that_is_too_long_is_not_waited_for() -> None:
    stream = ObjectStream()
    with pytest.raises(TooLong):
        stream.receive(SubgroupHead(0, 0).encode() + b"\0" + varint(MAX_PAYLOAD_BYTES + 1), fin=False)


def test_what_cannot_be_written_is_refused_here_and_not_by_the_peer() -> None:
    with pytest.raises(ValueError, match="another kind"):
        Announce(0, (b"a",), ((2, b"x"),)).encode()
