"""SIP messages as the history keeps them: without secrets, and not too long."""

from __future__ import annotations

import re
from typing import Final, Literal

SipDetail = Literal["off", "headers", "full"]

MAX_CHARS: Final = 8_192
"""What is kept of one message."""

_SECRET: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "www-authenticate",
        "proxy-authenticate",
        "authentication-info",
        "proxy-authentication-info",
        "identity",
        "cookie",
        "set-cookie",
    }
)
_TELLING: Final = re.compile(r"token|secret|passw|api-?key|authoriz|credential|webhook", re.IGNORECASE)
"""Names of headers of one's own that look as if their values opened something; URLs of webhooks often do."""
_HINTS: Final = (
    "authoriz", "authenti", "\nidentity", "cookie", "token", "secret", "passw", "apikey", "api-key",
    "credential", "webhook",
)  # fmt: skip
"""What the name of every secret header has in it: most messages have none, and need not be read by line."""
_KEY_HINTS: Final = ("crypto", "key-mgmt", "ice-pwd", "k=")
_KEYS: Final = re.compile(r"(?im)^(a=[ \t]*(?:crypto|key-mgmt|ice-pwd)|k=)[^\r\n]*")
_TWO_COLONS: Final = re.compile(r":[^\s:@<>;?]*+:")
"""Found in whatever `_URI_USER` finds, and several times as fast: most messages have no password."""
_URI_USER: Final = re.compile(r"[sS][iI][pP][sS]?:[^\s:@<>;?]*+:")
_PASSWORD: Final = re.compile(r"[^\s@<>]*+")
"""What stands behind that, if an at sign ends it."""
REMOVED: Final = "***"


def is_secret(header: str) -> bool:
    """Whether a header's value may open something."""
    name = header.strip().lower()
    return name in _SECRET or _TELLING.search(name) is not None


def kept_text(message: bytes, detail: SipDetail) -> tuple[str, bool]:
    """Return a message's text without secrets, and whether it was too long to be kept whole.

    Args:
        message: as it was on the wire.
        detail: `headers` leaves the body out.
    """
    head, blank, body = message.partition(b"\r\n\r\n")
    text = _without_secrets(head.decode("utf-8", "replace"))
    if detail == "full" and blank:
        shown = body.decode("utf-8", "replace")
        lowered = shown.lower()
        if any(hint in lowered for hint in _KEY_HINTS):
            shown = _KEYS.sub(_hidden_key, shown)
        text += "\r\n\r\n" + shown
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text[:MAX_CHARS], len(text) > MAX_CHARS


def _hidden_key(match: re.Match[str]) -> str:
    start = match[1]
    return start + REMOVED if start.endswith("=") else f"{start}:{REMOVED}"


def _without_secrets(head: str) -> str:
    lowered = head.lower()
    if not any(hint in lowered for hint in _HINTS):
        return _without_passwords(head)
    kept: list[str] = []
    hiding = False
    for line in head.split("\r\n"):
        if line[:1] in (" ", "\t") and kept:  # goes on with the header before it (RFC 3261 §7.3.1)
            if not hiding:
                kept.append(_without_passwords(line))
            continue
        name, colon, _ = line.partition(":")
        hiding = bool(colon) and " " not in name.strip() and is_secret(name)
        kept.append(f"{name}: {REMOVED}" if hiding else _without_passwords(line))
    return "\r\n".join(kept)


def _without_passwords(text: str) -> str:
    """Leave out the passwords of URIs.

    No character is looked at twice, whatever a stranger writes: one expression for all of it would begin anew
    at each colon, and take half a minute for 60 KB of them.
    """
    kept: list[str] = []
    done, user = 0, _URI_USER.search(text) if _TWO_COLONS.search(text) else None
    while user is not None:
        password = _PASSWORD.match(text, user.end())
        end = password.end() if password is not None else user.end()
        if text.startswith("@", end):
            kept += (text[done : user.end()], REMOVED)
            done = end
        user = _URI_USER.search(text, end)
    return "".join([*kept, text[done:]]) if kept else text
