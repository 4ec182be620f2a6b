"""What an INVITE says beside the call itself: custom headers, the app id, a webhook."""

from __future__ import annotations

from dataclasses import dataclass, field

from vb.sip.message import Headers

MAX_APP_ID_CHARS = 256
_HIDDEN = frozenset({"x-webhook-url", "x-webhook-secret"})


@dataclass(frozen=True, slots=True)
class CallHeaders:
    """The custom headers of an INVITE.

    Attributes:
        shown: X- and P- headers as clients see them; of a repeated one the last value counts.
        app_id: X-App-ID.
        webhook_url: X-Webhook-URL, which together with its secret never leaves the server.
        webhook_secret: X-Webhook-Secret.
    """

    shown: dict[str, str] = field(default_factory=dict)
    app_id: str | None = None
    webhook_url: str | None = None
    webhook_secret: str | None = None


def read_headers(headers: Headers) -> CallHeaders:
    """Pick the custom headers out of an INVITE."""
    shown: dict[str, tuple[str, str]] = {}
    hidden: dict[str, str] = {}
    for key, (name, value) in zip(headers.keys(), headers, strict=True):
        if key in _HIDDEN:
            hidden[key] = value
        elif key[:2] in ("x-", "p-"):
            shown[key] = (name, value)
    return CallHeaders(
        shown=dict(shown.values()),
        app_id=shown["x-app-id"][1][:MAX_APP_ID_CHARS] if "x-app-id" in shown else None,
        webhook_url=hidden.get("x-webhook-url") or None,
        webhook_secret=hidden.get("x-webhook-secret") or None,
    )
