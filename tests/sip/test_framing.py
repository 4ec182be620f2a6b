from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.sip.errors import SipParseError
from vb.sip.framing import PING, StreamFramer


def message(body: bytes = b"") -> bytes:
    return b"OPTIONS sip:a SIP/2.0\r\nX: y\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def drain(framer: StreamFramer, now: float = 0.0) -> list[bytes]:
    items = []
    while (item := framer.next(now)) is not None:
        items.append(item)
    return items


@given(st.lists(st.binary(max_size=30), max_size=5), st.integers(1, 7))
def test_messages_come_out_whole_however_they_arrive(bodies: list[bytes], step: int) -> None:
    stream = b"".join(message(body) for body in bodies)
    framer, items = StreamFramer(), []
    for start in range(0, len(stream), step):
        framer.feed(stream[start : start + step], 0.0)
        items += drain(framer)
    assert items == [message(body) for body in bodies]
    assert framer.deadline() is None


@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing_but_sip_parse_error(data: bytes) -> None:
    def frame(chunks: list[bytes]) -> list[bytes] | None:
        framer, items = StreamFramer(), []
        try:
            for chunk in chunks:
                framer.feed(chunk, 0.0)
                items += drain(framer)
        except SipParseError:
            return None
        return items

    whole, bytewise = frame([data]), frame([data[i : i + 1] for i in range(len(data))])
    assert (whole is None) == (bytewise is None)
    if whole is not None and PING not in whole and PING not in (bytewise or []):
        assert whole == bytewise


def test_a_keep_alive_is_told_apart() -> None:
    framer = StreamFramer()
    framer.feed(b"\r\n\r\n" + message() + b"\r\n", 0.0)
    assert drain(framer) == [PING, message()]


@pytest.mark.parametrize("between", [b"\r\n", b"\r\n\0", b"\0", b"\n", b"\r\n" * 3 + b"\0\0"])
def test_what_keeps_a_connection_alive_is_no_part_of_a_message(between: bytes) -> None:
    framer = StreamFramer()
    framer.feed(between + message() + between + message(), 0.0)
    assert [item for item in drain(framer) if item != PING] == [message(), message()]


@pytest.mark.parametrize("kept_alive_by", [b"\r\n", b"\r\n\0", b"\0", b"\n", b"\r"])
def test_what_keeps_a_connection_alive_is_not_waited_for(kept_alive_by: bytes) -> None:
    framer = StreamFramer(message_deadline_s=10.0)
    framer.feed(kept_alive_by, 0.0)
    assert drain(framer) == []
    assert framer.deadline() is None
    framer.feed(b"OPTIONS", 50.0)
    assert drain(framer) == []
    assert framer.deadline() == 60.0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Content-Length: -5\r\n",
        b"Content-Length: x\r\n",
        b"l: 1\r\nContent-Length: 1\r\n",
        b"l: 70000\r\n",
    ],
)
def test_a_message_without_one_valid_length_ends_the_stream(line: bytes) -> None:
    framer = StreamFramer()
    framer.feed(b"OPTIONS sip:a SIP/2.0\r\n" + line + b"\r\n", 0.0)
    for _ in range(2):
        with pytest.raises(SipParseError):
            framer.next(0.0)


def test_a_folded_length_is_read() -> None:
    framer = StreamFramer()
    framer.feed(b"OPTIONS sip:a SIP/2.0\r\nl :\r\n 2\r\n\r\nhi", 0.0)
    assert len(drain(framer)) == 1


def test_an_endless_header_section_ends_the_stream() -> None:
    framer = StreamFramer()
    for _ in range(50):
        framer.feed(b"X: y\r\n" * 100, 0.0)
        assert framer.next(0.0) is None
    framer.feed(b"X: y\r\n" * 1000, 0.0)
    with pytest.raises(SipParseError) as caught:
        framer.next(0.0)
    assert caught.value.status == 513


def test_a_slow_message_has_a_deadline_from_its_first_byte() -> None:
    framer = StreamFramer(message_deadline_s=10.0)
    assert framer.deadline() is None
    framer.feed(b"O", 5.0)
    framer.next(5.0)
    framer.feed(b"P", 9.0)
    framer.next(9.0)
    assert framer.deadline() == 15.0


def test_time_in_which_nothing_was_read_does_not_count() -> None:
    framer = StreamFramer(message_deadline_s=10.0)
    framer.paused(5.0)
    assert framer.deadline() is None
    framer.feed(b"OPTIONS", 100.0)
    framer.paused(7.5)
    assert framer.deadline() == 117.5
