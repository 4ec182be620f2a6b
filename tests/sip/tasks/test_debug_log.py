"""What the log of all SIP messages leaves out."""

from __future__ import annotations

import dataclasses

import pytest
import structlog
import trio

from tests.sip.tasks.test_endpoint import LOOPBACK, ignore, running
from tests.support.sip_pair import OFFER, RawPeer


@pytest.mark.parametrize(
    "line",
    [
        b"X-Webhook-Secret: topsecret",
        b"X-Webhook-Secret:\r\n topsecret",
        b"x-webhook-secret\t:\r\n\t \r\n top\r\n secret",
        b"Authorization: Digest username=a,\r\n response=topsecret",
        b"Proxy-Authorization:\r\n\ttopsecret",
    ],
)
async def test_secrets_are_left_out_however_their_lines_are_folded(line: bytes) -> None:
    settings = dataclasses.replace(LOOPBACK, debug=True)
    request = RawPeer().request("OPTIONS", body=OFFER).replace(b"\r\nCSeq", b"\r\n" + line + b"\r\nCSeq", 1)
    with structlog.testing.capture_logs() as logs:
        async with running(ignore, settings) as (_, port):
            with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
                await sock.sendto(request, ("127.0.0.1", port))
                with trio.fail_after(5):
                    while not (received := [entry for entry in logs if entry["event"] == "sip_message"]):
                        await trio.lowlevel.checkpoint()
    text = received[0]["text"]
    assert "secret" not in text.lower().replace("x-webhook-secret", "")
    assert "***" in text
    assert "CSeq" in text
