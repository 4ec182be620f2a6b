from __future__ import annotations

import pytest

from vb.sip.message import Headers, Request, response_to


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
