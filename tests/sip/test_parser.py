from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.sip.errors import SipParseError
from vb.sip.message import Headers, Request, Response
from vb.sip.parser import MAX_HEADERS, parse_message

BASE = (
    b"OPTIONS sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    b"From: <sip:a@example.com>;tag=1\r\n"
    b"To: <sip:b@example.com>\r\n"
    b"Call-ID: c1\r\n"
    b"CSeq: 7 OPTIONS\r\n"
)


def parse(extra: bytes = b"", body: bytes = b"") -> Request:
    message = parse_message(BASE + extra + b"\r\n" + body)
    assert isinstance(message, Request)
    return message


def fault(extra: bytes = b"", body: bytes = b"") -> SipParseError:
    with pytest.raises(SipParseError) as caught:
        parse(extra, body)
    return caught.value


def test_a_request_is_read() -> None:
    request = parse(b"Subject: hi there\r\n", b"body")
    assert (request.method, request.uri, request.body) == ("OPTIONS", "sip:bob@example.com", b"body")
    assert request.headers.get("subject") == "hi there"
    assert (request.cseq.number, request.from_.tag, request.via.host) == (7, "1", "192.0.2.1")


def test_a_response_is_read() -> None:
    data = BASE.replace(b"OPTIONS sip:bob@example.com SIP/2.0", b"SIP/2.0 486 Busy  Here", 1) + b"\r\n"
    response = parse_message(data)
    assert isinstance(response, Response)
    assert (response.status, response.reason) == (486, "Busy  Here")


def test_compact_names_are_the_long_ones() -> None:
    request = parse(b"m: <sip:a@192.0.2.1>\r\nl: 0\r\nk: timer\r\n")
    assert request.headers.get("Contact") == "<sip:a@192.0.2.1>"
    assert request.headers.get("Supported") == "timer"


def test_folded_lines_are_joined() -> None:
    assert parse(b"Subject: one\r\n  two\r\n\tthree\r\n").headers.get("Subject") == "one two three"


def test_space_before_the_colon_is_allowed() -> None:
    assert parse(b"Subject \t: x\r\n").headers.get("Subject") == "x"


def test_line_ends_before_the_message_are_skipped() -> None:
    assert isinstance(parse_message(b"\r\n\r\n" + BASE + b"\r\n"), Request)


def test_a_body_longer_than_content_length_is_cut() -> None:
    assert parse(b"Content-Length: 3\r\n", b"abcdef").body == b"abc"


@pytest.mark.parametrize("length", [b"-1", b"x", b"", b"7", b"1e3", b"99999999999"])
def test_a_content_length_that_does_not_fit_is_refused(length: bytes) -> None:
    assert fault(b"Content-Length: " + length + b"\r\n", b"abcdef").status == 400


@pytest.mark.parametrize(
    "extra",
    [
        b"To: <sip:x@example.com>\r\n",
        b"t: <sip:x@example.com>\r\n",
        b"CSeq: 8 OPTIONS\r\n",
        b"Call-ID: c2\r\n",
        b"From: <sip:x@example.com>\r\n",
        b"Content-Length: 0\r\nl: 0\r\n",
        b"Content-Type: text/plain\r\nc: application/sdp\r\n",
    ],
)
def test_a_second_copy_of_a_single_header_is_refused(extra: bytes) -> None:
    assert fault(extra).status == 400


@pytest.mark.parametrize(
    "line",
    [
        b"Contact\x01: <sip:a@b>",
        b"Contact <sip:a@b>",
        b"R\x00oute: <sip:a@b>",
        b"Route: <sip:a@b>\x00",
        b"\x7fVia: SIP/2.0/UDP 192.0.2.9",
        b"Content-Length\xc2\xa0: 0",
        b"l\x01: 0",
        b"(l): 0",
        b"Require\x0b: 100rel",
        b"Replaces: c;to-tag=a;from-tag=b\x01",
        b"X-A: b\nRoute: <sip:a@b>",
        b"X-A: b\rl: 0",
        b"X-A\nTo: <sip:a@b>",
    ],
)
def test_a_damaged_line_that_may_decide_something_is_refused(line: bytes) -> None:
    assert fault(line + b"\r\n").status == 400


@pytest.mark.parametrize(
    "line",
    [
        b"No colon here",
        b": no name",
        b"X Y: z",
        b"X(comment): z",
        b"\xc3\x9cber: z",
        b"X-A: b\nX-C: d",
        b"X-A: b\rX-C: d",
        b"X-A: b\x00c",
        b"X-A: \x7f",
        b"X-A: \x1b[31mred\r\n\tand more",
        b"Session-Expires: 90\x00",
        b"P-Asserted-Identity\x01: <sip:a@b>",
    ],
)
def test_a_damaged_line_that_nobody_needs_is_left_out_and_counted(line: bytes) -> None:
    request = parse(b"X-Before: 1\r\n" + line + b"\r\nX-After: 2\r\n")
    assert list(request.headers.keys())[-2:] == ["x-before", "x-after"]
    assert (len(request.headers), request.ignored_lines) == (7, 1)


def test_a_damaged_line_takes_no_response_away() -> None:
    data = BASE.replace(b"OPTIONS sip:bob@example.com SIP/2.0", b"SIP/2.0 200 OK", 1)
    response = parse_message(data + b"Server: a\x07b\r\nno colon\r\nContact: <sip:b@192.0.2.7>\r\n\r\n")
    assert isinstance(response, Response)
    contact = response.contact
    assert contact is not None
    assert (response.status, contact.uri, response.ignored_lines) == (200, "sip:b@192.0.2.7", 2)


@pytest.mark.parametrize(
    ("extra", "name", "kept", "ignored"),
    [
        (b"Max-Forwards: 1\r\nMax-Forwards: 2\r\n", "Max-Forwards", None, 2),
        (b"Expires: 5\r\nExpires: 60\r\n", "Expires", None, 2),
        (b"Expires: 5\r\nExpires: 5\r\n", "Expires", "5", 1),
        (b"Max-Forwards: many\r\n", "Max-Forwards", None, 1),
        (b"Max-Forwards: 256\r\n", "Max-Forwards", None, 1),
        (b"Expires: Thu, 01 Dec 1994 16:00:00 GMT\r\n", "Expires", None, 1),
        (b"Expires: -1\r\n", "Expires", None, 1),
        (b"Expires: 10000000000000000\r\n", "Expires", "10000000000000000", 0),
        (b"Session-Expires: 90\r\nx: 1800\r\n", "Session-Expires", None, 2),
        (b"Min-SE: 90\r\nMin-SE: 95\r\n", "Min-SE", None, 2),
        (b"Event: a\r\nEvent: b\r\n", "Event", "a", 0),
    ],
)
def test_a_limit_that_says_two_things_or_none_is_as_good_as_absent(
    extra: bytes, name: str, kept: str | None, ignored: int
) -> None:
    request = parse(extra)
    assert (request.headers.get(name), request.ignored_lines) == (kept, ignored)


@pytest.mark.parametrize(
    ("method", "extra"),
    [
        (b"REFER", b"Refer-To: <sip:a@b>\r\nr: <sip:c@d>\r\n"),
        (b"NOTIFY", b"Event: refer\r\no: presence\r\n"),
        (b"INVITE", b"Replaces: a;to-tag=b;from-tag=c\r\nReplaces: d;to-tag=b;from-tag=c\r\n"),
    ],
)
def test_what_a_method_is_about_may_not_be_said_twice(method: bytes, extra: bytes) -> None:
    with pytest.raises(SipParseError, match="more than once"):
        parse_message(BASE.replace(b"OPTIONS", method) + extra + b"\r\n")


def test_a_quoted_pair_may_hold_a_control_character() -> None:
    assert parse(b'Contact: "BEL:\\\x07" <sip:a@b>\r\n').headers.get("Contact") == '"BEL:\\\x07" <sip:a@b>'


def test_limits_answer_513() -> None:
    assert fault(b"X-A: b\r\n" * MAX_HEADERS).status == 513
    assert fault(b"X-A: " + b"b" * 9000 + b"\r\n").status == 513
    assert (
        fault(b"Via: " + b", ".join([b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"] * 71) + b"\r\n").status == 513
    )


def test_a_fault_carries_the_request_if_its_via_is_readable() -> None:
    assert isinstance(fault(b"Contact\x01: x\r\n").request, Request)
    broken = BASE.replace(b"SIP/2.0/UDP 192.0.2.1", b"nonsense") + b"\r\n"
    with pytest.raises(SipParseError) as caught:
        parse_message(broken)
    assert caught.value.request is None


def test_names_in_latin_1_are_read_and_sent_back_unchanged() -> None:
    data = BASE.replace(b"To: <", b'To: "M\xfcller" <') + b"\r\n"
    message = parse_message(data)
    assert message.to.display == "Müller"
    assert b'"M\xfcller"' in message.to_bytes()


@given(st.binary(max_size=600))
def test_any_bytes_raise_nothing_but_sip_parse_error(data: bytes) -> None:
    for candidate in (data, BASE + data, BASE + b"X: " + data + b"\r\n\r\n"):
        try:
            parse_message(candidate)
        except SipParseError:
            continue


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8))
def test_damaged_messages_raise_nothing_but_sip_parse_error(damage: list[tuple[int, int]]) -> None:
    data = bytearray(BASE + b"Contact: <sip:a@192.0.2.1>;expires=5\r\nContent-Length: 2\r\n\r\nhi")
    for position, value in damage:
        data[position % len(data)] = value
    try:
        message = parse_message(bytes(data))
        _ = message.contact
    except SipParseError:
        return
    message.headers.remove("Content-Length")
    again = parse_message(message.to_bytes()).headers
    again.remove("Content-Length")
    assert again == message.headers


NAMES = st.sampled_from(["Subject", "X-A", "Contact", "Route", "P-Foo"])
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=40).map(str.strip)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=10), st.binary(max_size=200))
def test_what_is_written_is_read_again(pairs: list[tuple[str, str]], body: bytes) -> None:
    base = parse()
    request = Request(base.method, base.uri, Headers([*base.headers, *pairs]), body)
    again = parse_message(request.to_bytes())
    assert isinstance(again, Request)
    expected = [(name, value) for name, value in request.headers]
    assert list(again.headers)[:-1] == expected
    assert (again.method, again.uri, again.body) == (request.method, request.uri, body)
