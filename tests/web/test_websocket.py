"""The client's side of the protocol: what hostile bytes come to, and what frames look like."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from tests.web.peers import BINARY, CLOSE, PING, PONG, TEXT, answer_to, close_frame, frame
from vb.web.errors import HandshakeFailed
from vb.web.message import Message
from vb.web.policy import WEBSOCKET, parse_url
from vb.web.websocket import ClientProtocol, Opening, client_frame

TARGET = parse_url("ws://user:pw@voice.example:8080/v1/a b?x=1", schemes=WEBSOCKET)


def opened(*more: str, max_message_bytes: int = 1_000_000, deflate: bool = False) -> ClientProtocol:
    protocol = ClientProtocol(Opening(TARGET, deflate=deflate, max_message_bytes=max_message_bytes))
    assert protocol.open(answer_to(protocol.request().decode(), *more))
    return protocol


def said(protocol: ClientProtocol) -> tuple[int, bytes]:
    """Return opcode and data of the one control frame that the client answers with."""
    data = protocol.control()
    assert data[1] == 0x80 | len(data) - 6
    return data[0] & 0x0F, bytes(octet ^ data[2 + i % 4] for i, octet in enumerate(data[6:]))


def code_said(protocol: ClientProtocol) -> int:
    opcode, data = said(protocol)
    assert opcode == CLOSE
    return int(struct.unpack("!H", data[:2])[0])


# -- the handshake --------------------------------------------------------------------------------------


def test_the_request_is_for_the_place_of_the_url() -> None:
    opening = Opening(TARGET, headers={"X-Api-Key": "k"}, subprotocols=("voice.2", "voice.1"))
    lines = ClientProtocol(opening).request().decode().split("\r\n")
    assert lines[0] == "GET /v1/a%20b?x=1 HTTP/1.1"
    assert {"Host: voice.example:8080", "X-Api-Key: k", "Authorization: Basic dXNlcjpwdw=="} <= set(lines)
    assert "Sec-WebSocket-Protocol: voice.2, voice.1" in lines
    assert not any("Extensions" in line for line in lines)


def test_the_answer_tells_subprotocol_and_headers() -> None:
    protocol = ClientProtocol(Opening(TARGET, subprotocols=("voice.1",)))
    answer = answer_to(protocol.request().decode(), "Sec-WebSocket-Protocol: voice.1", "X-Session: 7")
    assert [protocol.open(answer[:50]), protocol.open(answer[50:])] == [False, True]
    assert (protocol.subprotocol, protocol.headers["x-session"]) == ("voice.1", "7")


@pytest.mark.parametrize("headers", [{"X": "a\r\nb: c"}, {"a b": "c"}, {"X": "\u2603"}, {"ä": "b"}])
def test_a_header_that_cannot_be_sent_is_an_error(headers: dict[str, str]) -> None:
    with pytest.raises(HandshakeFailed, match="cannot be sent"):
        ClientProtocol(Opening(TARGET, headers=headers)).request()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", 403),
        (b"HTTP/1.1 302 Moved\r\nLocation: http://127.0.0.1/\r\n\r\n", 302),
        (b"HTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\n", 100),
        (b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", None),
        (b"HTTP/1.1 101 Go\r\nSec-WebSocket-Accept: x\r\n\r\n", None),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", None),
        (b"\r\n\r\n", None),
        (b"HTTP/1.1 101 Go\r\nX: " + b"y" * 60_000 + b"\r\n\r\n", None),
        (b"HTTP/1.1 101 Go\r\nX: " + b"y" * 60_000, None),
    ],
)
def test_an_answer_that_opens_nothing_is_an_error(answer: bytes, status: int | None) -> None:
    protocol = ClientProtocol(Opening(TARGET))
    protocol.request()
    with pytest.raises(HandshakeFailed) as failed:
        protocol.open(answer)
    assert failed.value.status == status


@pytest.mark.parametrize(
    "line",
    [
        "Sec-WebSocket-Protocol: other",
        "Sec-WebSocket-Protocol: \xff",
        "Sec-WebSocket-Extensions: permessage-deflate",
    ],
)
def test_what_was_not_offered_cannot_be_chosen(line: str) -> None:
    protocol = ClientProtocol(Opening(TARGET))
    answer = answer_to(protocol.request().decode())
    with pytest.raises(HandshakeFailed):
        protocol.open(answer[:-2] + line.encode("latin-1") + b"\r\n\r\n")


def test_what_comes_with_the_answer_is_not_lost() -> None:
    protocol = ClientProtocol(Opening(TARGET))
    assert protocol.open(
        answer_to(protocol.request().decode()) + frame(TEXT, b"hello") + frame(BINARY, b"a")[:2]
    )
    assert protocol.receive(b"") == ["hello"]
    assert protocol.receive(b"a") == [b"a"]


# -- frames ---------------------------------------------------------------------------------------------


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)), st.binary(min_size=4, max_size=4))
def test_a_frame_is_read_by_another_implementation(message: Message, key: bytes) -> None:
    server = Connection(ConnectionType.SERVER)
    server.receive_data(client_frame(message, key))
    assert [event.data for event in server.events() if isinstance(event, TextMessage | BytesMessage)] == [
        message
    ]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_frames_of_every_length_come_through_both_ways(size: int) -> None:
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    server = Connection(ConnectionType.SERVER)
    server.receive_data(client_frame(message, b"\1\2\3\4"))
    assert b"".join(event.data for event in server.events() if isinstance(event, BytesMessage)) == message
    protocol = opened()
    assert protocol.receive(frame(BINARY, message)) == [message]


@given(
    st.lists(st.one_of(st.binary(max_size=400), st.text(max_size=100)), max_size=8),
    st.lists(st.integers(1, 90), min_size=1),
    st.booleans(),
)
def test_any_portions_give_the_same_messages(messages: list[Message], sizes: list[int], split: bool) -> None:
    wire = b""
    for message in messages:
        opcode, data = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        if split:
            half = len(data) // 2
            wire += frame(opcode, data[:half], fin=False) + frame(PING, b"p") + frame(0, data[half:])
        else:
            wire += frame(opcode, data)
    protocol, found, at = opened(), [], 0
    while at < len(wire):
        size = sizes[at % len(sizes)]
        found += protocol.receive(wire[at : at + size])
        at += size
    assert found == messages
    assert protocol.closed is None


def test_only_the_latest_ping_of_a_batch_is_answered() -> None:
    protocol = opened()
    assert protocol.receive(b"".join(frame(PING, b"%d" % number) for number in range(400))) == []
    assert said(protocol) == (PONG, b"399")
    assert protocol.control() == b""


@pytest.mark.parametrize(
    "flood",
    [frame(PING) * 32_000, frame(PONG) * 32_000, frame(TEXT, fin=False) + frame(0, b"a", fin=False) * 20_000],
)
def test_a_flood_of_small_frames_ends_it_before_it_holds_up_others(flood: bytes) -> None:
    protocol = opened()
    assert protocol.receive(flood) == []
    assert protocol.closed is not None
    assert (protocol.closed.code, protocol.broken) == (1008, True)
    assert code_said(protocol) == 1008


def test_empty_fragments_take_no_memory() -> None:
    protocol = opened()
    protocol.receive(frame(TEXT, fin=False))
    for _ in range(100):
        assert protocol.receive(frame(0, fin=False) * 400) == []
    assert protocol._parts == []
    assert protocol.receive(frame(0, b"x")) == ["x"]


def test_a_ping_between_fragments_is_answered_and_the_message_is_whole() -> None:
    protocol = opened()
    wire = frame(TEXT, b"a", fin=False) + frame(PING, b"?") + frame(0, b"b")
    assert protocol.receive(wire) == ["ab"]
    assert said(protocol) == (PONG, b"?")


def test_messages_in_a_batch_with_control_frames_keep_their_order() -> None:
    wire = (
        frame(TEXT, b"1")
        + frame(PING)
        + frame(BINARY, b"2")
        + frame(PONG)
        + frame(TEXT, b"3")
        + close_frame(4000)
    )
    protocol = opened()
    assert protocol.receive(wire + frame(TEXT, b"never")) == ["1", b"2", "3"]


# -- the end --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code", "reason", "answered"),
    [
        (close_frame(1000, b"bye"), 1000, "bye", 1000),
        (close_frame(4321, "tschüß".encode()), 4321, "tschüß", 4321),
        (close_frame(1011), 1011, "", 1011),
        (close_frame(3000), 3000, "", 3000),
    ],
)
def test_a_close_frame_is_told_and_answered(sent: bytes, code: int, reason: str, answered: int) -> None:
    protocol = opened()
    assert protocol.receive(sent) == []
    assert protocol.closed is not None
    assert (protocol.closed.code, protocol.closed.reason) == (code, reason)
    assert code_said(protocol) == answered
    assert not protocol.is_open


def test_a_close_frame_without_a_code_is_1005_and_answered_without() -> None:
    protocol = opened()
    protocol.receive(frame(CLOSE))
    assert protocol.closed is not None
    assert (protocol.closed.code, said(protocol)) == (1005, (CLOSE, b""))


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(CLOSE, b"\3"), 1002),
        (close_frame(999), 1002),
        (close_frame(1004), 1002),
        (close_frame(1005), 1002),
        (close_frame(1006), 1002),
        (close_frame(1015), 1002),
        (close_frame(2000), 1002),
        (close_frame(5000), 1002),
        (close_frame(1000, b"\xff"), 1007),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"\xe4", fin=False) + frame(0, b"x"), 1007),
        (frame(TEXT, b"ok", key=b"abcd"), 1002),
        (frame(PING, b"ok", key=b"abcd"), 1002),
        (frame(BINARY, b"x", rsv=4), 1002),
        (frame(BINARY, b"x", rsv=1), 1002),
        (frame(3, b"x"), 1002),
        (frame(11, b"x"), 1002),
        (frame(0, b"x"), 1002),
        (frame(BINARY, b"x", fin=False) + frame(BINARY, b"y"), 1002),
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
        (frame(PING, b"x", fin=False), 1002),
        (frame(PING, b"x" * 126), 1002),
        (b"\x82\x7e\x00\x05hello", 1002),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x05hello", 1002),
        (b"\x81\x7e\x00\x05hello", 1002),
        (frame(BINARY, b"x" * 1001), 1009),
        (frame(BINARY, b"x" * 100_000)[:20], 1009),
        (b"\x82\x7f" + b"\xff" * 8, 1009),
        (
            b"".join([frame(BINARY, b"x" * 500, fin=False), frame(0, b"x" * 500, fin=False), frame(0, b"x")]),
            1009,
        ),
    ],
)
@pytest.mark.parametrize("portion", [1, 100_000])
def test_bytes_that_break_the_protocol_end_it_with_their_code(sent: bytes, code: int, portion: int) -> None:
    protocol, found = opened(max_message_bytes=1000), []
    wire = frame(TEXT, b"before") + sent + frame(TEXT, b"after")
    for start in range(0, len(wire), portion):
        found += protocol.receive(wire[start : start + portion])
    assert found == ["before"]
    assert protocol.closed is not None
    assert (protocol.closed.code, code_said(protocol)) == (code, code)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything(data: bytes) -> None:
    protocol = opened(max_message_bytes=50)
    protocol.receive(data)
    protocol.receive(data)
    protocol.control()


def test_fragments_without_end_are_held_to_the_limit() -> None:
    protocol = opened(max_message_bytes=1000)
    protocol.receive(frame(BINARY, b"", fin=False))
    for _ in range(400):
        assert protocol.receive(frame(0, b"abc", fin=False)) == []
    assert protocol.closed is not None
    assert protocol.closed.code == 1009


# -- compression ----------------------------------------------------------------------------------------

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


def compressed(data: bytes) -> bytes:
    pressed = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (pressed.compress(data) + pressed.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_compressed_messages_are_read_when_that_was_agreed() -> None:
    protocol = opened(DEFLATE, deflate=True)
    wire = frame(TEXT, compressed(b"hello " * 50), rsv=4) + frame(BINARY, b"plain")
    assert protocol.receive(wire) == ["hello " * 50, b"plain"]


def test_a_message_that_explodes_ends_it_before_it_has() -> None:
    protocol = opened(DEFLATE, deflate=True, max_message_bytes=100_000)
    bomb = compressed(bytes(50_000_000))
    assert len(bomb) < 60_000
    assert protocol.receive(frame(BINARY, bomb, rsv=4)) == []
    assert protocol.closed is not None
    assert protocol.closed.code == 1009


def test_messages_go_out_compressed_when_that_was_agreed() -> None:
    protocol = opened(DEFLATE, deflate=True)
    assert len(protocol.frames(["a" * 1000, b"b" * 1000])) < 100


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize("deflate", [False, True])
def test_a_ping_between_fragments_spoils_nothing_however_it_is_cut(deflate: bool, size: int) -> None:
    protocol = opened(*([DEFLATE] if deflate else []), deflate=deflate)
    one, other = b"ab", b"cd"
    if deflate:
        packer = zlib.compressobj(wbits=-15)
        one = packer.compress(b"ab") + packer.flush(zlib.Z_SYNC_FLUSH)
        other = (packer.compress(b"cd") + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    first = bytes([TEXT | (0x40 if deflate else 0), len(one)]) + one
    sent = first + bytes([0x80 | PING, 2]) + b"\xa4\xff" + bytes([0x80, len(other)]) + other
    found = [
        message for at in range(0, len(sent), size) for message in protocol.receive(sent[at : at + size])
    ]
    assert (found, protocol.closed) == (["abcd"], None)
