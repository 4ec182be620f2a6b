from __future__ import annotations

from vb.sip.message import Headers
from vb.sipleg.headers import read_headers


def test_x_and_p_headers_are_shown_in_whatever_case_they_come() -> None:
    found = read_headers(Headers([("X-One", "1"), ("p-two", "2"), ("x-THREE", "3"), ("Subject", "no")]))
    assert found.shown == {"X-One": "1", "p-two": "2", "x-THREE": "3"}


def test_of_a_repeated_header_the_last_value_counts() -> None:
    assert read_headers(Headers([("X-One", "1"), ("x-one", "2")])).shown == {"x-one": "2"}


def test_the_webhook_of_an_invite_is_read_but_never_shown() -> None:
    found = read_headers(
        Headers([("X-Webhook-URL", "https://a.example/h"), ("X-Webhook-Secret", "s"), ("X-App-ID", "shop")])
    )
    assert found.shown == {"X-App-ID": "shop"}
    assert (found.webhook_url, found.webhook_secret, found.app_id) == ("https://a.example/h", "s", "shop")


def test_an_invite_without_custom_headers_says_nothing() -> None:
    found = read_headers(Headers([("From", "<sip:a@b>")]))
    assert (found.shown, found.app_id, found.webhook_url) == ({}, None, None)
