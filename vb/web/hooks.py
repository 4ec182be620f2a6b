"""Webhooks named by a request or an INVITE, checked before anything is created."""

from __future__ import annotations

from vb.errors import BadRequest
from vb.events.hooks import Hook
from vb.web.errors import UrlRefused
from vb.web.policy import FetchPolicy


def make_hook(policy: FetchPolicy, url: str | None, secret: str | None) -> Hook | None:
    """Return the hook for a URL, or None when there is none.

    An address literal is judged at once; a name is judged with every delivery, when it is resolved.

    Raises:
        BadRequest: the URL is malformed or points where the server may not connect to.
    """
    if not url:
        return None
    try:
        policy.check(url)
    except UrlRefused as exc:
        raise BadRequest(f"webhook_url: {exc}") from None
    return Hook(url, secret or "")
