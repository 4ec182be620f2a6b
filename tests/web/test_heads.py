"""Heads of answers with lines that cannot be read."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.web.heads import AnswerHeads

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 2\r\n"


def read(data: bytes, step: int = 10_000) -> bytes:
    heads, out = AnswerHeads(), b""
    heads.expect()
    for start in range(0, len(data), step):
        out += heads.feed(data[start : start + step]) or b""
    return out + (heads.feed(b"") or b"")


@pytest.mark.parametrize(
    "line",
    [
        b"no colon here",
        b"get-ban/forum.php: userdata not support",
        b"X Y: z",
        b": nothing",
        "X-N\u00e4me: a".encode(),
        b"X: a\0b",
        b"X: a\rb",
        b"X\t: folded\r\n over two lines",
    ],
)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_line_that_cannot_be_read_is_left_out(line: bytes, step: int) -> None:
    assert read(OK + line + b"\r\n" + LENGTH + b"\r\nhi", step) == OK + LENGTH + b"\r\nhi"
    assert read(OK + LENGTH + line + b"\r\n\r\nhi", step) == OK + LENGTH + b"\r\nhi"


@pytest.mark.parametrize(
    "line",
    [
        b"Server: a",
        b"Server:",
        "X: \u00e4".encode(),
        b"X: a\r\n folded",
        b"Content-Length : 5",
        b"Content-Length",
        b"Transfer-Encoding\x0b: chunked",
        b"X: a\rTransfer-Encoding: chunked",
        b"Location\0: /",
        b"Content-Length 5",
        b"Transfer-Encoding chunked",
        b"Transfer-\0Encoding: chunked",
    ],
)
def test_what_is_readable_or_decides_something_stays(line: bytes) -> None:
    data = OK + line + b"\r\n" + LENGTH + b"\r\nhi"
    assert read(data) == data


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_head_ends_with_any_line_ends(end: bytes) -> None:
    head = end.join([b"HTTP/1.1 200 OK", b"Content-Length: 2", b"", b""])
    assert read(head.replace(b"Content", b"bad" + end + b"Content") + b"hi") == head + b"hi"


def test_the_head_behind_an_interim_answer_is_read_too() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert read(interim + OK + b"bad\r\n" + LENGTH + b"\r\nhi") == interim + OK + LENGTH + b"\r\nhi"
    assert read(b"HTTP/1.1 101 X\r\n\r\nbad\r\n\r\n") == b"HTTP/1.1 101 X\r\n\r\nbad\r\n\r\n"


def test_any_number_of_interim_answers_may_come_at_once() -> None:
    interim = b"HTTP/1.1 100 \r\n\r\n" * 5000
    assert read(interim + OK + b"bad\r\n" + LENGTH + b"\r\nhi", 65_536) == interim + OK + LENGTH + b"\r\nhi"


def test_a_body_is_never_touched() -> None:
    body = b"HTTP/1.1 200 OK\r\nbad\r\n\r\n"
    assert read(OK + LENGTH + b"\r\n" + body) == OK + LENGTH + b"\r\n" + body
    heads = AnswerHeads()
    assert heads.feed(body) == body


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_come_out_the_same_in_any_portions(data: bytes, step: int) -> None:
    assert read(OK + data, step) == read(OK + data)
    assert read(data, step) == read(data)


def test_a_head_that_trickles_in_is_read_in_linear_time() -> None:
    began = process_time()
    read(OK + b"X: a\r\n" * 20_000, 7)
    assert process_time() - began < 2.0
