"""What codecs have in common: URLs, JSON that may be anything, close codes, words about failures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlencode

from vb.providers.failure import FailureCategory
from vb.stt.base import Failed, Read
from vb.web.websocket import Message

_MAX_WORDS: Final = 200
_NOT_PRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]+")
_BY_CLOSE_CODE: Final[dict[int, FailureCategory]] = {
    1003: "permanent_input",
    1007: "permanent_input",
    1008: "permanent_input",
    1009: "permanent_input",
    1013: "service_unavailable",
}
NONSENSE: Final = "sent what makes no sense"


def websocket_url(base_url: str, path: str, query: Iterable[tuple[str, object]]) -> str:
    """Return the ws or wss URL below an http or https base."""
    scheme, _, rest = base_url.partition("://")
    base = ("ws" if scheme == "http" else "wss") + "://" + rest.rstrip("/")
    return f"{base}{path}?{urlencode([(name, _shown(value)) for name, value in query])}"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def to_ms(seconds: Any) -> int | None:
    """Return seconds as whole milliseconds, None for what is no number of them.

    Raises:
        TypeError: it is of another type.
    """
    return None if seconds is None else round(seconds * 1000)


def read_object(message: Message) -> dict[str, Any]:
    """Return the JSON object that a message is.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(message, str):
        raise ValueError("binary")
    found = json.loads(message)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def read_safely(provider: str, read: Callable[[], list[Read]]) -> list[Read]:
    """Return what a message says; one that is not as it should be is a failure of the provider."""
    try:
        return read()
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError):
        return [Failed("retryable", f"{provider}: {NONSENSE}")]


def failed(provider: str, key: str, category: FailureCategory, words: object) -> Failed:
    """Return a failure in the provider's words: one line, not long, and never with a key in it."""
    text = _NOT_PRINTABLE.sub(" ", str(words or "failed"))
    if key:
        text = text.replace(key, "***")
    return Failed(category, f"{provider}: {text[:_MAX_WORDS]}")


def judge_close(provider: str, key: str, code: int, reason: str) -> Failed:
    """Return what a close code means that the provider's own documents say nothing else of."""
    category = _BY_CLOSE_CODE.get(code, "retryable")
    return failed(provider, key, category, f"closed the connection: {code} {reason}".rstrip())
