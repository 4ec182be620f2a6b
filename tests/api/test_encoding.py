from __future__ import annotations

import time

import pytest

from vb.api.encoding import parse_body, parse_object, to_bytes, to_line
from vb.errors import BadRequest


@pytest.mark.parametrize("body", [b"", b"  \r\n", b"null", b" null\n", b"{}"])
def test_nothing_and_null_count_as_an_empty_object(body: bytes) -> None:
    assert parse_body(body) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"[]",
        b"7",
        b'"text"',
        b"true",
        b"nullx",
        b'{"a":1} trailing',
        b'{"a":1}{"b":2}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b"{'a':1}",
        b'{"a":1,}',
        b"\xff\xfe",
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
    ],
)
def test_what_is_not_one_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="invalid JSON"):
        parse_body(body)


@pytest.mark.parametrize("text", [b'{"a":1,"a":2}', b'{"a":{"b":[{"c":1,"c":1}]}}', b'{"a":1,"\\u0061":2}'])
def test_a_key_that_occurs_twice_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest, match="invalid JSON"):
        parse_body(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a":' + "9" * 900_000 + "}",
    ],
)
def test_deep_nesting_and_huge_numbers_are_refused_at_once(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(BadRequest):
        parse_object(text)
    assert time.perf_counter() - started < 0.05


def test_text_is_compact_and_keeps_its_letters() -> None:
    assert to_bytes({"a": [1, "ü"], "b": None}).decode() == '{"a":[1,"ü"],"b":null}'


@pytest.mark.parametrize("text", ['{"a":"\\ud800"}', '{"\\udc00":1}', '{"a":["\\udc00\\ud800"]}'])
def test_half_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_object(text)


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert parse_object('{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}


def test_half_a_surrogate_pair_is_written_as_its_escape() -> None:
    assert to_bytes("\ud800é").decode() == '"\\ud800é"'


def test_a_line_is_utf8_and_ends_with_a_line_feed() -> None:
    assert to_line({"a": "ü"}) == b'{"a":"\xc3\xbc"}\n'


@pytest.mark.parametrize("shape", ["{%s}", '{"a":{%s}}'])
@pytest.mark.parametrize("colon", [":", " : ", "\t\r\n:"])
def test_a_body_with_too_many_members_is_refused(shape: str, colon: str) -> None:
    def body(members: int) -> str:
        return shape % ",".join(f'"k{number}"{colon}1' for number in range(members))

    assert parse_object(body(9_999))
    with pytest.raises(BadRequest, match="more than 10000 members"):
        parse_object(body(10_001))


def listing(element: str, count: int) -> str:
    return f'{{"a":[{",".join([element] * count)}]}}'


@pytest.mark.parametrize("element", ["{}", "[]", "[{}]"])
def test_a_body_with_too_many_empty_objects_or_arrays_is_refused(element: str) -> None:
    assert parse_object(listing(element, 4_900))
    with pytest.raises(BadRequest, match="more than 10000 members"):
        parse_object(listing(element, 10_001))


def test_a_body_with_too_many_elements_is_refused() -> None:
    assert parse_object(listing("1", 100_000))
    with pytest.raises(BadRequest, match="100000 elements"):
        parse_object(listing("1", 100_002))


def test_colons_of_values_are_no_members() -> None:
    assert parse_object(to_bytes({"a": "12:34 " * 10_001, "b": ["x:y"] * 10_001}).decode())
