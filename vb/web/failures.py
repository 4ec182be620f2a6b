"""What went wrong on the way to a provider, in the categories of providers."""

from __future__ import annotations

from vb.providers.failure import FailureCategory, ProviderFailed, category_of_status
from vb.providers.reading import NONSENSE
from vb.web.errors import HandshakeFailed, MalformedUrl, TooLarge, UrlRefused, WebError


def provider_failure(provider: str, exc: WebError) -> ProviderFailed:
    """Return what a provider's events say of an error on the way to it.

    A socket that it closes by itself is worth another try, whatever its code says: codecs that know a
    provider's codes judge them before.
    """
    category: FailureCategory = "retryable"
    if isinstance(exc, HandshakeFailed) and exc.status is not None:
        category = category_of_status(exc.status)
    elif isinstance(exc, MalformedUrl | UrlRefused):
        category = "permanent_input"
    elif isinstance(exc, TooLarge):
        category = "unknown"
    return ProviderFailed(category, f"{provider}: {exc}")


def lost_connection(provider: str, lost: str | None, *, broke_protocol: bool) -> ProviderFailed | None:
    """Return what a WebSocket's end means that was no goodbye; None for one that was.

    Args:
        provider: whose it was.
        lost: how the connection went, as `vb.web.tasks.websocket.WebSocket.lost`.
        broke_protocol: whether it ended because of what the provider has sent.
    """
    if lost is not None:
        how = {"silent": "does not answer any more", "slow": "takes nothing any more"}
        return ProviderFailed("retryable", f"{provider}: {how.get(lost, 'connection lost')}")
    return ProviderFailed("retryable", f"{provider}: {NONSENSE}") if broke_protocol else None
