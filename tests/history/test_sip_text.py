"""SIP messages as the history keeps them."""

from __future__ import annotations

from time import process_time

import pytest

from vb.history.sip_text import REMOVED, kept_text

INVITE = "INVITE sip:x SIP/2.0\r\nFrom: <sip:a@b>;tag=caller\r\n{}\r\nCall-ID: one\r\n\r\n"


@pytest.mark.parametrize(
    "header",
    [
        "X-Webhook-URL: https://app.example/events?key=hush",
        "x-webhook-url:https://user:hush@app.example/",
        "X-Webhook-URL:\r\n https://app.example/hush",
        "X-Webhook-Secret: hush",
    ],
)
def test_the_webhook_of_a_caller_is_left_out(header: str) -> None:
    text, _ = kept_text(INVITE.format(header).encode(), "full")
    assert "hush" not in text
    assert REMOVED in text
    assert text.endswith("Call-ID: one\r\n\r\n")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("<sip:a:hush@b>", "<sip:a:***@b>"),
        ("sips:a:hush:more@b:5061, SIP:c:hush@d", "sips:a:***@b:5061, SIP:c:***@d"),
        ("<sip:a@b:5060> <sip:c:hush@d>", "<sip:a@b:5060> <sip:c:***@d>"),
        ("sip:b:5060 and a@b", "sip:b:5060 and a@b"),
        ("sip:sip:hush@b", "sip:sip:***@b"),
        ("sip:a;b:c@d", "sip:a;b:c@d"),
        ("sip:a:b<sip:c:hush@d", "sip:a:b<sip:c:***@d"),
    ],
)
@pytest.mark.parametrize("beside", ["", "X-Token: x\r\n"])
def test_passwords_of_uris_are_left_out(written: str, kept: str, beside: str) -> None:
    text, _ = kept_text(INVITE.format(f"{beside}Contact: {written}").encode(), "headers")
    assert f"Contact: {kept}\r\n" in text


@pytest.mark.parametrize(
    "piece", [":", "sip:", "sip::", ":a", "sip:a:b", "sip:a:b@", "@", "sip:a: ", "<", "s"]
)
@pytest.mark.parametrize("beside", ["", "X-Token: x\r\n"])
def test_whatever_a_stranger_writes_is_read_in_no_time(piece: str, beside: str) -> None:
    message = INVITE.format(f"{beside}X-A: {piece * (60_000 // len(piece))}").encode()
    began = process_time()
    kept_text(message, "full")
    assert process_time() - began < 1  # half a minute where each colon begins a search of its own
