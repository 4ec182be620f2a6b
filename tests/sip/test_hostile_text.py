"""Long runs of one character in the worst places: the time to refuse them grows with their length only."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import pytest

from vb.sip.digest import parse_challenge
from vb.sip.errors import SipParseError
from vb.sip.framing import StreamFramer
from vb.sip.headers import parse_name_addr, parse_via, split_list, with_tag
from vb.sip.parser import parse_message
from vb.sip.uri import parse_uri

RUN = 8000
LIMIT_S = 0.25
"""A search that starts over for each character of the run takes from half a second to hours."""

HEAD = (
    b"OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKa\r\n"
    b"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\n"
)
BLANKS = " " * RUN
OCTETS = BLANKS.encode()


def frame(data: bytes) -> None:
    framer = StreamFramer()
    framer.feed(data, 0.0)
    framer.next(0.0)


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda: parse_message(HEAD + b"S:" + OCTETS + b"\rx\r\n\r\n"), id="value"),
        pytest.param(lambda: parse_message(HEAD + b"S" + OCTETS + b"x\r\n\r\n"), id="name"),
        pytest.param(lambda: parse_message(HEAD + b"S: x\r\n y" + OCTETS + b"\rx\r\n\r\n"), id="fold"),
        pytest.param(lambda: parse_message(b"INVITE" + OCTETS * 7 + b"\r\n\r\n"), id="request line"),
        pytest.param(lambda: parse_message(b"INVITE a" + OCTETS * 7 + b"x\r\n\r\n"), id="request uri"),
        pytest.param(lambda: frame(b"A\r\nl:" + OCTETS * 3 + b"\rx\r\n\r\n"), id="stream length"),
        pytest.param(lambda: parse_name_addr("a" + BLANKS + "b"), id="display name"),
        pytest.param(lambda: parse_name_addr("\u00a0" * RUN + "b"), id="other blanks"),
        pytest.param(lambda: parse_name_addr("<sip:a@b>" + BLANKS + "b"), id="behind a uri"),
        pytest.param(lambda: parse_name_addr("sip:a@b" + BLANKS + "b"), id="behind a bare uri"),
        pytest.param(lambda: parse_via("SIP/2.0/UDP 127.0.0.1" + BLANKS + "x"), id="via"),
        pytest.param(lambda: parse_via('SIP/2.0/UDP h;a"' + BLANKS + "x"), id="behind a bad parameter"),
        pytest.param(lambda: parse_name_addr('<sip:a@b>;a"' + BLANKS + "x"), id="of a bad parameter"),
        pytest.param(lambda: split_list('"' + '\\"' * (RUN // 2) + ","), id="open quote"),
        pytest.param(lambda: with_tag("<sip:a@b>" + BLANKS * 4 + "g", "1"), id="before a tag"),
        pytest.param(lambda: frame(b"\n" * 500_000), id="line ends between messages"),
        pytest.param(lambda: parse_name_addr("<sip:a@b;x" + '="' * RUN), id="quotes in brackets"),
        pytest.param(lambda: parse_name_addr("<sip:a@b>" + ";a=" * 2 + "=" * RUN + '"'), id="equals signs"),
        pytest.param(lambda: parse_uri("sip:" + ";a=?" * RUN), id="uri without a host"),
        pytest.param(lambda: parse_uri("sip:a@b" + ";a=@" * RUN + '"'), id="parameters of a uri"),
        pytest.param(lambda: parse_uri("sip:" + "\u00e9#|" * RUN), id="user without a host"),
        pytest.param(lambda: with_tag("<sip:a@b>;x=" + BLANKS + "g", "1"), id="tail of an address"),
        pytest.param(lambda: frame(b"\0" * RUN * 4), id="zeros between messages"),
        pytest.param(lambda: frame(b"\r\n\0" * RUN * 20), id="ends of lines between messages"),
        pytest.param(lambda: parse_challenge("Digest a=" + BLANKS + "\x01"), id="challenge"),
    ],
)
def test_a_long_run_is_read_in_linear_time(read: Callable[[], object]) -> None:
    began = process_time()
    try:
        read()
    except SipParseError:
        pass
    assert process_time() - began < LIMIT_S


def test_blanks_around_a_value_and_a_display_name_are_not_part_of_them() -> None:
    message = parse_message(HEAD + b"Subject \t:  a  b \t \r\n\r\n")
    assert message.headers.get("Subject") == "a  b"
    assert parse_name_addr("Bob  Smith  <sip:b@b>").display == "Bob  Smith"


def test_a_line_folded_over_an_empty_one_is_one_value() -> None:
    message = parse_message(HEAD + b"Subject: a \r\n  \r\n\tb\r\n\r\n")
    assert message.headers.get("Subject") == "a b"


def test_an_open_quote_takes_the_rest_of_a_list() -> None:
    assert split_list('<sip:a>, "b, <sip:c>') == ["<sip:a>", '"b, <sip:c>']
