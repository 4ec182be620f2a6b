from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sip_pair import OFFER
from vb.sip import multipart
from vb.sip.errors import SipParseError
from vb.sip.message import Headers, Request
from vb.sip.multipart import MAX_DEPTH, UnsupportedBody, sdp_of


def message(body: bytes, content_type: str | None, **headers: str) -> Request:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if content_type is not None:
        pairs.append(("Content-Type", content_type))
    return Request("INVITE", "sip:a", Headers(pairs), body)


def part(kind: str, content: bytes) -> bytes:
    return b"--b\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + content + b"\r\n"


def test_a_plain_body_is_taken_as_it_is() -> None:
    assert sdp_of(message(OFFER, "Application/SDP ;charset=utf-8")) == OFFER


def test_no_body_is_no_offer() -> None:
    assert sdp_of(message(b"", "application/sdp")) is None


def test_the_first_sdp_part_is_found_byte_for_byte() -> None:
    body = b"preamble\r\n" + part("text/plain", b"x") + part("application/sdp", OFFER) + b"--b--\r\nepilogue"
    assert sdp_of(message(body, 'multipart/mixed; boundary="b"')) == OFFER


def nested(depth: int) -> Request:
    """An offer beside a text, inside so many multipart bodies."""
    kind, body = "application/sdp", OFFER
    for level in range(depth):
        mark = b"--m%d" % level
        kinds = ("text/plain", b"x"), (kind, body)
        parts = (b"\r\n".join((mark, b"Content-Type: " + k.encode(), b"", c, b"")) for k, c in kinds)
        kind, body = f'multipart/mixed; boundary="m{level}"', b"".join(parts) + mark + b"--"
    return message(body, kind)


@pytest.mark.parametrize("depth", range(1, MAX_DEPTH + 1))
def test_an_offer_in_nested_multipart_bodies_is_found(depth: int) -> None:
    assert sdp_of(nested(depth)) == OFFER


def test_a_nested_body_that_cannot_be_taken_apart_is_passed_over() -> None:
    body = part("multipart/mixed", b"x") + part("application/sdp", OFFER) + b"--b--"
    assert sdp_of(message(body, "multipart/mixed;boundary=b")) == OFFER


def test_an_offer_that_is_nested_too_deep_is_not_looked_for() -> None:
    with pytest.raises(UnsupportedBody):
        sdp_of(nested(MAX_DEPTH + 1))


def test_a_part_counts_once_however_often_it_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_apart: list[bytes] = []
    real = multipart._sdp_part

    def counted(content_type: str, body: bytes, depth: int = 1) -> bytes | None:
        taken_apart.append(body)
        return real(content_type, body, depth)

    monkeypatch.setattr(multipart, "_sdp_part", counted)
    body = b"x"
    for level in range(MAX_DEPTH):
        kind = b"\r\nContent-Type: multipart/mixed;boundary=m%d" % (level - 1)
        body = b"--m%d" % level + 4 * kind + b"\r\n\r\n" + body
    with pytest.raises(UnsupportedBody):
        sdp_of(message(body, f"multipart/mixed;boundary=m{MAX_DEPTH - 1}"))
    assert len(taken_apart) == MAX_DEPTH


def test_a_part_without_headers_is_text() -> None:
    body = b"--b\r\n\r\nhello\r\n" + part("application/sdp", OFFER) + b"--b--"
    assert sdp_of(message(body, "multipart/alternative;boundary=b")) == OFFER


def test_nothing_behind_the_closing_delimiter_counts() -> None:
    body = part("text/plain", b"x") + b"--b--\r\n" + part("application/sdp", OFFER)
    with pytest.raises(UnsupportedBody):
        sdp_of(message(body, "multipart/mixed;boundary=b"))


@pytest.mark.parametrize("kind", ["text/plain", None, "multipart/mixed;boundary=zz"])
def test_other_bodies_are_refused_with_415(kind: str | None) -> None:
    with pytest.raises(UnsupportedBody) as caught:
        sdp_of(message(b"x", kind))
    assert caught.value.status == 415


def test_a_body_marked_optional_is_passed_over() -> None:
    optional = "render;handling=optional"
    assert sdp_of(message(b"x", "text/plain", Content_Disposition=optional)) is None
    encoded = message(OFFER, "application/sdp", Content_Encoding="gzip", Content_Disposition=optional)
    assert sdp_of(encoded) is None


@given(st.binary(max_size=200), st.text(max_size=40))
def test_any_body_raises_nothing_but_sip_parse_error(body: bytes, kind: str) -> None:
    for content_type in (kind, "multipart/mixed;boundary=b", f"multipart/mixed;{kind}"):
        try:
            sdp_of(message(body + b"--b\r\n" + body, content_type))
        except SipParseError:
            continue
