from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.sip.errors import SipUriError
from vb.sip.uri import SipUri, escape_user, is_ip_address, parse_uri


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@example.com",
        "sips:alice:secret@example.com:5061;transport=tcp;lr?Subject=x&Y=z",
        "sip:[2001:db8::1]:5070",
        "sip:+1-212-555;ext=1@gw.example.com;user=phone",
        "sip:127.0.0.1",
        "sip:user;par=u%40example.net@example.com",
    ],
)
def test_uris_are_written_as_they_were_read(text: str) -> None:
    assert str(parse_uri(text)) == text


def test_the_parts_of_a_uri() -> None:
    uri = parse_uri("SIP:Al@EXAMPLE.com:5070;Transport=TCP;lr")
    assert (uri.scheme, uri.user, uri.host, uri.port) == ("sip", "Al", "example.com", 5070)
    assert (uri.transport, uri.is_loose_router, uri.param("x")) == ("tcp", True, None)


def test_an_ipv6_host_is_normalised() -> None:
    assert parse_uri("sip:[2001:DB8:0:0::1]").host == "2001:db8::1"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 400),
        ("sip:", 400),
        ("sip:@example.com", 400),
        ("sip:a b@example.com", 400),
        ("sip:2001:db8::1", 400),
        ("sip:[1.2.3.4]", 400),
        ("sip:999.1.1.1", 400),
        ("sip:a@example.com:0", 400),
        ("sip:a@example.com:70000", 400),
        ("sip:a%4@example.com", 400),
        ("sip:a@example.com;x=1;x=2", 400),
        ("<sip:a@example.com>", 400),
        ("sip:a@example.com\n", 400),
        ("tel:+1555", 416),
        ("http://example.com/", 416),
    ],
)
def test_what_is_no_sip_uri(text: str, status: int) -> None:
    with pytest.raises(SipUriError) as caught:
        parse_uri(text)
    assert caught.value.status == status


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_user_can_be_escaped(user: str) -> None:
    assert parse_uri(f"sip:{escape_user(user)}@example.com").host == "example.com"


def test_request_uris_lose_headers_and_method() -> None:
    uri = parse_uri("sip:a@example.com;method=BYE;x=1?Subject=hi")
    assert uri.as_request_uri() == "sip:a@example.com;x=1"


@pytest.mark.parametrize(("host", "numeric"), [("127.0.0.1", True), ("::1", True), ("a.example", False)])
def test_ip_addresses_are_told_from_names(host: str, numeric: bool) -> None:
    assert is_ip_address(host) is numeric


def test_a_sips_uri_means_tls() -> None:
    assert SipUri("sips", None, "example.com").transport == "tls"


@pytest.mark.parametrize(
    "text",
    [
        'sip:a@example.com;thinfo="VG8+/=="',
        "sip:a@example.com;thinfo=VG8+/==;lr",
        "sip:example.com;vsf=AA==",
        "sip:1014@example.com;phone-context=+33@x.example",
        "sip:a@example.com?Replaces=x@127.0.0.1;to-tag=1;from-tag=2",
    ],
)
def test_parameters_beyond_the_grammar_are_written_as_they_were_read(text: str) -> None:
    uri = parse_uri(text)
    assert (str(uri), uri.host) == (text, "example.com")


@pytest.mark.parametrize(
    "param",
    [
        'maddr="far.example"',
        "maddr=a@far.example",
        'transport="tcp"',
        "lr==",
        "method=x=y",
        "x=1@far.example",
    ],
)
def test_what_decides_where_a_request_goes_keeps_to_the_grammar(param: str) -> None:
    with pytest.raises(SipUriError):
        parse_uri(f"sip:a@example.com;{param}")


def test_a_semicolon_behind_the_last_parameter_says_nothing() -> None:
    assert str(parse_uri("sip:a@example.com;lr;")) == "sip:a@example.com;lr"


def test_an_at_sign_ends_the_user_before_it_is_part_of_anything_else() -> None:
    assert parse_uri("sip:example.com;x=a@far.example").host == "far.example"
    assert parse_uri("sip:example.com?x=a@far.example").host == "far.example"


@pytest.mark.parametrize(
    "text", ['sip:a@b;x="y;z"', 'sip:a@b;x="y z"', 'sip:a@b;x="y', "sip:a@b;;x", "sip:a@b;;"]
)
def test_quotes_hide_nothing_in_a_uri(text: str) -> None:
    with pytest.raises(SipUriError):
        parse_uri(text)


@pytest.mark.parametrize(("user", "written"), [("Jörg", "J%C3%B6rg"), ("6X^Y|[1]", "6X%5EY%7C%5B1%5D")])
def test_what_a_user_may_not_hold_is_read_and_escaped(user: str, written: str) -> None:
    uri = parse_uri(f"sip:{user}@example.com")
    assert (uri.user, str(uri)) == (user, f"sip:{written}@example.com")


@pytest.mark.parametrize(
    "mark", ["\x00", "\x7f", "\x85", "\xa0", "\u2028", "\u3000", "\u202e", '"', "<", ":", "@", "\\", "\t"]
)
def test_no_user_breaks_a_line_or_ends_early(mark: str) -> None:
    with pytest.raises(SipUriError):
        parse_uri(f"sip:a{mark}b{mark}@example.com")


def test_a_raw_hash_in_a_user_is_read_and_never_written() -> None:
    uri = parse_uri("sip:*21#@example.com")
    assert (uri.user, str(uri), uri.as_request_uri()) == (
        "*21#",
        "sip:*21%23@example.com",
        "sip:*21%23@example.com",
    )
