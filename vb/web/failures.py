"""What went wrong on the way to a provider, in the categories of providers."""

from __future__ import annotations

from vb.providers.failure import FailureCategory, ProviderFailed, category_of_status
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
