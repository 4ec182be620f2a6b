"""What goes over the wire is what was judged: no two readings of one URL."""

from __future__ import annotations

import httpx
from hypothesis import given
from hypothesis import strategies as st

from vb.web.errors import UrlRefused
from vb.web.policy import parse_url

_PARTS = st.sampled_from(
    (
        "/", "a", " ", "%", "%2F", "%zz", "?", "#", "@", ":", "\\", "[", "]", "ä", "☃", "..", ".", "&", "=",
        "+", "|", "127.0.0.1", "x.example", "http://", "\t", "'", '"', "<", "{", "~", "\ud800",
    )
)  # fmt: skip


@given(st.lists(_PARTS, max_size=12).map("".join))
def test_the_client_library_reads_a_url_as_it_was_judged(tail: str) -> None:
    try:
        target = parse_url("http://host.example" + tail)
    except UrlRefused:
        return
    read = httpx.URL(target.url)
    assert (read.raw_host.decode(), read.port or 80) == (target.host.strip("[]"), target.port)
    assert parse_url(target.url) == parse_url(str(read)) or "/." in target.path
    if "/." not in target.path:
        assert read.raw_path == target.selector.encode()


@given(st.lists(_PARTS, max_size=12).map("".join))
def test_a_url_in_its_one_spelling_stays_as_it_is(tail: str) -> None:
    try:
        target = parse_url("http://host.example/" + tail)
    except UrlRefused:
        return
    assert parse_url(target.url).url == target.url
