"""SIP messages as the history keeps them."""

from __future__ import annotations

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
