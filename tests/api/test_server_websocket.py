"""The server's side of a WebSocket, by bytes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.api.server_websocket import ServerWebSocket, server_frame, unmask
from vb.web.message import Message
from vb.web.websocket import client_frame

KEY = b"\x01\x80\xff\x7f"
LIMIT = 70_000


def frame(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    """A frame of the client."""
    size = len(payload)
    second = (0x80 if masked else 0) | (size if size < 126 else 126 if size < 65_536 else 127)
    length = b"" if size < 126 else size.to_bytes(2 if size < 65_536 else 8)
    return bytes((first, second)) + length + (KEY + unmask(payload, KEY) if masked else payload)


def opened() -> ServerWebSocket:
    return ServerWebSocket(LIMIT)


@given(
    st.lists(st.binary(max_size=300) | st.text(max_size=100), max_size=6), st.integers(1, 50), st.randoms()
)
def test_messages_come_back_however_they_are_cut(
    messages: list[Message], most: int, chance: random.Random
) -> None:
    data = b"".join(client_frame(message, chance.randbytes(4)) for message in messages)
    socket, found = opened(), []
    while data:
        size = chance.randint(1, most)
        found += socket.receive(data[:size])
        data = data[size:]
    assert found == messages
    assert socket.closed is None


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_a_fault(data: bytes) -> None:
    socket = opened()
    for byte in data:
        socket.receive(bytes((byte,)))
    whole = opened()
    whole.receive(data)
    assert (socket.closed, socket.broken) == (whole.closed, whole.broken)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, LIMIT])
def test_every_length_is_read_and_written(size: int) -> None:
    payload = bytes(size)
    assert opened().receive(frame(0x82, payload)) == [payload]
    written = server_frame(payload)
    assert written.endswith(payload)
    assert len(written) - size == (2 if size < 126 else 4 if size < 65_536 else 10)


def test_fragments_become_one_message_with_pings_between_them() -> None:
    socket = opened()
    assert socket.receive(frame(0x01, "h\u00e9".encode()[:2])) == []
    assert socket.receive(frame(0x89, b"?")) == []
    assert socket.control() == b"\x8a\x01?"
    assert socket.receive(frame(0x80, "h\u00e9".encode()[2:])) == ["h\u00e9"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(0x82, b"x", masked=False), 1002),
        (frame(0xC2, b"x"), 1002),
        (frame(0x83, b"x"), 1002),
        (frame(0x8B, b"x"), 1002),
        (frame(0x80, b"x"), 1002),
        (frame(0x02, b"x") + frame(0x82, b"x"), 1002),
        (frame(0x09, b""), 1002),
        (frame(0x89, bytes(126)), 1002),
        (b"\x82\xfe\x00\x7d" + bytes(200), 1002),
        (b"\x82\xff" + (65_535).to_bytes(8), 1002),
        (b"\x82\xff" + (2**63).to_bytes(8), 1009),
        (b"\x82\xff" + (2**30).to_bytes(8), 1009),
        (frame(0x02, bytes(LIMIT)) + frame(0x80, b"x"), 1009),
        (frame(0x02, b"") + frame(0x00, b"") * 2000, 1009),
        (frame(0x81, b"\xc3\x28"), 1007),
        (frame(0x88, b"x"), 1002),
        (frame(0x88, b"\x03\xed"), 1002),
        (frame(0x88, b"\x03\xe8\xff"), 1007),
    ],
)
def test_what_breaks_the_protocol_ends_it_with_its_code(data: bytes, code: int) -> None:
    socket = opened()
    assert socket.receive(data) == []
    assert (socket.closed, socket.broken) == (code, True)
    assert socket.control() == b"\x88\x02" + code.to_bytes(2)
    assert socket.receive(frame(0x82, b"more")) == []
    assert not socket.can_send


@pytest.mark.parametrize("part", [b"", b"x"])
def test_a_message_may_have_any_number_of_fragments_where_nothing_limits_them(part: bytes) -> None:
    socket = ServerWebSocket(LIMIT * 100, None)
    message = frame(0x02, b"a") + frame(0x00, part) * 3000 + frame(0x80, b"b")
    assert socket.receive(message) == [b"a" + part * 3000 + b"b"]


def test_what_came_before_the_fault_counts() -> None:
    assert opened().receive(frame(0x82, b"ab") + frame(0x83, b"")) == [b"ab"]


def test_a_goodbye_is_answered_once() -> None:
    socket = opened()
    socket.receive(frame(0x88, b"\x03\xe8bye"))
    assert (socket.closed, socket.broken) == (1000, False)
    assert socket.control() == b"\x88\x02\x03\xe8"
    assert socket.close(1001) == b""
    socket = opened()
    assert socket.close(1001) == b"\x88\x02\x03\xe9"
    socket.receive(frame(0x88, b""))
    assert (socket.closed, socket.control()) == (1005, b"")


def test_a_large_frame_byte_by_byte_is_looked_at_once_it_is_whole() -> None:
    socket, data = opened(), frame(0x82, bytes(60_000))
    found = []
    for byte in data:
        found += socket.receive(bytes((byte,)))
    assert [len(message) for message in found] == [60_000]
