"""How a provider fails: one category for each way, the same for voices, transcripts and agents."""

from __future__ import annotations

from typing import Final, Literal

FailureCategory = Literal[
    "permanent_auth",
    "permanent_input",
    "rate_limited",
    "service_unavailable",
    "retryable",
    "canceled",
    "unknown",
    "playback",
]
"""What an application can do about it: another key, another request, later, or nothing."""

_BY_STATUS: Final[dict[int, FailureCategory]] = {
    400: "permanent_input",
    401: "permanent_auth",
    402: "rate_limited",
    403: "permanent_auth",
    404: "permanent_input",
    408: "retryable",
    413: "permanent_input",
    422: "permanent_input",
    429: "rate_limited",
    500: "service_unavailable",
    502: "service_unavailable",
    503: "service_unavailable",
    504: "service_unavailable",
}

WORTH_A_RETRY: Final[frozenset[FailureCategory]] = frozenset(
    {"rate_limited", "service_unavailable", "retryable"}
)
"""Categories that another try may cure."""


class ProviderFailed(Exception):
    """A provider did not do what it was asked.

    The text is fit for clients: it names the provider and what is wrong, and holds neither key nor URL.
    """

    def __init__(self, category: FailureCategory, text: str) -> None:
        super().__init__(text)
        self.category: FailureCategory = category


def category_of_status(status: int) -> FailureCategory:
    """Return the category of an HTTP status that is no success."""
    found = _BY_STATUS.get(status)
    if found is not None:
        return found
    return "service_unavailable" if status >= 500 else "unknown"
