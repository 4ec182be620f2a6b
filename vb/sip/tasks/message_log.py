"""SIP messages in the log at level debug, without their secrets."""

from __future__ import annotations

import re

import structlog

from vb.sip.hop import Hop

log = structlog.get_logger(__name__)
_SECRET_LINE = re.compile(
    r"(?im)^((?:proxy-)?authorization|x-webhook-secret|x-webhook-url)[ \t]*:.*(?:\n[ \t].*)*$"
)
_KEY_LINE = re.compile(r"(?im)^(a=[ \t]*(?:crypto|key-mgmt|ice-pwd)|k=)[^\r\n]*")


def log_message(direction: str, data: bytes, hop: Hop) -> None:
    """Log one message that was received or sent."""
    text = _SECRET_LINE.sub(r"\1: ***", data.decode("utf-8", "replace"))
    text = _KEY_LINE.sub(r"\1:***", text)
    log.debug(
        "sip_message", direction=direction, transport=hop.transport, peer=f"{hop.host}:{hop.port}", text=text
    )
