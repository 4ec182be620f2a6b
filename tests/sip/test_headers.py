from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.sip.errors import SipParseError
from vb.sip.headers import (
    NameAddr,
    _cseq,
    media_type,
    parse_cseq,
    parse_name_addr,
    parse_params,
    parse_via,
    quote,
    split_list,
    unquote,
    with_tag,
)
from vb.sip.uri import parse_uri


@given(st.text(max_size=80))
def test_any_text_raises_nothing_but_sip_parse_error(text: str) -> None:
    for parse in (parse_uri, parse_via, parse_name_addr, parse_cseq, parse_params):
        try:
            parse(text)
        except SipParseError:
            continue
    for safe in (split_list, media_type, unquote):
        safe(text)


def test_a_via_is_read_and_written() -> None:
    via = parse_via("SIP/2.0/udp [2001:db8::9]:5070;branch=z9hG4bKx;rport;received=1.2.3.4")
    assert (via.transport, via.host, via.port, via.branch) == ("UDP", "2001:db8::9", 5070, "z9hG4bKx")
    assert str(via) == "SIP/2.0/UDP [2001:db8::9]:5070;branch=z9hG4bKx;rport;received=1.2.3.4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip:a@b;tag=1", NameAddr("sip:a@b", None, {"tag": "1"})),
        ("<sip:a@b;tag=no>;tag=1", NameAddr("sip:a@b;tag=no", None, {"tag": "1"})),
        ('"A \\"B\\" <x>" <sip:a@b>', NameAddr("sip:a@b", 'A "B" <x>', {})),
        ("A B <sip:a@b>", NameAddr("sip:a@b", "A B", {})),
        ('<sip:a@b;x="y==">;tag=1', NameAddr('sip:a@b;x="y=="', None, {"tag": "1"})),
        ("<sip:a@b>;tag=1;", NameAddr("sip:a@b", None, {"tag": "1"})),
        ("<sip:a@b> ; ", NameAddr("sip:a@b", None, {})),
        ("<sip:a@b>;tag=AQ==;x=y=z", NameAddr("sip:a@b", None, {"tag": "AQ==", "x": "y=z"})),
    ],
)
def test_addresses(text: str, expected: NameAddr) -> None:
    assert parse_name_addr(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<sip:a@b>;;",
        "<sip:a@b>;tag=1;;",
        "<sip:a@b>;;tag=1",
        '<sip:a@b;x="<y>">',
        '"A <sip:a@b>',
        "<sip:a@b",
        "sip:a@b>",
        "<>",
        "a",
        "<sip:a@b>;tag=1;tag=2",
        "sip:a@b?x=1,y",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(SipParseError):
        parse_name_addr(text)


@given(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=30))
def test_a_display_name_survives_quoting(name: str) -> None:
    assert unquote(quote(name)) == name
    assert (parse_name_addr(f"{quote(name)} <sip:a@b>").display or "") == name


@pytest.mark.parametrize(
    "text",
    ["<sip:a@b>", "<sip:a@b>;", "<sip:a@b>;tag=", "<sip:a@b> ; Tag = ", "<sip:a@b>;tag", "sip:a@b;tag=;"],
)
def test_a_tag_takes_the_place_of_an_empty_one(text: str) -> None:
    assert with_tag(text, "1") == "<sip:a@b>;tag=1"


@pytest.mark.parametrize("text", ["<sip:a@b>;tag=;x=1", "<sip:a@b>;tag;x=1", "<sip:a@b>;x=1;tag= ;"])
def test_an_empty_tag_may_stand_anywhere(text: str) -> None:
    assert with_tag(text, "1") == "<sip:a@b>;x=1;tag=1"


@pytest.mark.parametrize("text", ["sip:a@b;ring", '<sip:a@b>;x="tag"', "<sip:a@b>;x=tag", "<sip:a@b>;x="])
def test_a_tag_leaves_other_parameters_alone(text: str) -> None:
    assert with_tag(text, "1") == f"{text};tag=1"


def test_lists_split_outside_quotes_and_brackets() -> None:
    assert split_list('"a, b" <sip:x,y@z>, <sip:q>;p="1,2" ,, sip:r') == [
        '"a, b" <sip:x,y@z>',
        '<sip:q>;p="1,2"',
        "sip:r",
    ]
    assert split_list(" ") == []


def test_long_values_of_strangers_are_not_kept() -> None:
    before = _cseq.cache_info().currsize
    for number in range(3):
        assert parse_cseq(f"{number}{' ' * 1000}OPTIONS") == (number, "OPTIONS")
    assert _cseq.cache_info().currsize == before
