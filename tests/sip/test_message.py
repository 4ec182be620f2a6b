from __future__ import annotations

from collections.abc import Callable

import pytest

from vb.sip.errors import SipParseError
from vb.sip.headers import Via
from vb.sip.message import Headers, Request, header_key, response_to


def test_headers_keep_order_and_ignore_case() -> None:
    headers = Headers([("Via", "a"), ("f", "from"), ("VIA", "b, c")])
    assert headers.get("from") == "from"
    assert headers.get_all("v") == ["a", "b, c"]
    assert headers.get_list("Via") == ["a", "b", "c"]
    headers.set("via", "only")
    assert list(headers) == [("via", "only"), ("f", "from")]
    headers.remove("From")
    assert len(headers) == 1
    assert "From" not in headers


def first_values(headers: Headers) -> dict[str, str]:
    """Return the value of the first line of each header, as a walk over the lines finds it."""
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(header_key(name), value)
    return found


def test_the_first_values_follow_every_change_of_the_lines() -> None:
    headers = Headers([("Via", "a"), ("f", "from"), ("VIA", "b, c"), ("X-Own", "")])
    assert headers.first == first_values(headers) == {"via": "a", "from": "from", "x-own": ""}
    changes: list[Callable[[Headers], object]] = [
        lambda one: one.add("v", "third"),
        lambda one: one.add("To", "new"),
        lambda one: one.set_first("Via", "z"),
        lambda one: one.set("via", "only"),
        lambda one: one.set("Subject", "none before"),
        lambda one: one.remove("From"),
        lambda one: one.remove("Never-There"),
    ]
    for change in changes:
        before = headers.copy()
        change(headers)
        assert headers.first == first_values(headers)
        assert list(headers.first) == list(dict.fromkeys(headers.keys()))
        assert headers.copy() == headers
        assert before.first == first_values(before)
    assert headers.first == {"via": "only", "x-own": "", "to": "new", "subject": "none before"}


def test_typed_values_are_read_at_first_use_and_a_missing_one_says_so() -> None:
    message = request()
    assert (message.via.branch, message.from_.tag, message.cseq.number) == ("z9hG4bK1", "1", 1)
    assert message.from_ is message.from_
    assert message.contact is None
    bare = Request("OPTIONS", "sip:a@b", Headers())
    for name, text in (
        ("via", "Via"),
        ("from_", "From"),
        ("to", "To"),
        ("cseq", "CSeq"),
        ("call_id", "Call-ID"),
    ):
        with pytest.raises(SipParseError, match=f"{text} is missing"):
            getattr(bare, name)
    with pytest.raises(AttributeError, match="subject"):
        bare.subject  # type: ignore[attr-defined]  # noqa: B018


def test_another_top_via_leaves_those_below_it() -> None:
    message = Request(
        "OPTIONS", "sip:a@b", Headers([("v", "SIP/2.0/UDP a, SIP/2.0/UDP b"), ("Via", "SIP/2.0/UDP c")])
    )
    message.replace_top_via(Via("UDP", "z", 5070, {"rport": None}))
    assert message.headers.get_list("Via") == ["SIP/2.0/UDP z:5070;rport", "SIP/2.0/UDP b", "SIP/2.0/UDP c"]
    assert message.via.host == "z"


def request() -> Request:
    pairs = [
        ("Via", "SIP/2.0/UDP a;branch=z9hG4bK1"),
        ("Via", "SIP/2.0/UDP b;branch=z9hG4bK2"),
        ("From", "<sip:a@b>;tag=1"),
        ("To", "sip:b@b"),
        ("Call-ID", "c"),
        ("CSeq", "1 INVITE"),
        ("Content-Length", "99"),
    ]
    return Request("INVITE", "sip:b@b", Headers(pairs), b"body")


def test_content_length_always_fits_the_body() -> None:
    data = request().to_bytes()
    assert data.count(b"Content-Length") == 1
    assert data.endswith(b"\r\nContent-Length: 4\r\n\r\nbody")


def test_a_response_copies_what_it_must() -> None:
    response = response_to(request(), 180, to_tag="t")
    assert response.reason == "Ringing"
    assert response.headers.get_all("Via") == request().headers.get_all("Via")
    assert response.headers.get("To") == "sip:b@b;tag=t"
    assert (response.call_id, response.cseq.method, response.from_.tag) == ("c", "INVITE", "1")


def test_a_tag_that_is_there_stays() -> None:
    tagged = request()
    tagged.headers.set("To", "<sip:b@b>;tag=old")
    assert response_to(tagged, 200, to_tag="new").to.tag == "old"


def test_an_unknown_status_has_the_phrase_of_its_class() -> None:
    assert response_to(request(), 499).reason == "Bad Request"


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb"])
def test_a_header_that_would_run_over_its_line_is_never_sent(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        Request("OPTIONS", "sip:a@b", Headers([("Subject", value)])).to_bytes()
