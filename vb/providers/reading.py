"""What codecs over WebSockets have in common: URLs, JSON that may be anything, words, close codes."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlencode

from pydantic_core import SchemaValidator, core_schema, from_json

from vb.providers.failure import FailureCategory

_MAX_WORDS: Final = 200
MAX_TEXT_CHARS: Final = 16_384
"""More of one text is cut: it goes into an event that applications hold in memory."""
_NOT_PRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]+")
_BY_CLOSE_CODE: Final[dict[int, FailureCategory]] = {
    1003: "permanent_input",
    1007: "permanent_input",
    1008: "permanent_input",
    1009: "permanent_input",
    1013: "service_unavailable",
}
_BASE64: Final = SchemaValidator(core_schema.bytes_schema(), core_schema.CoreConfig(val_json_bytes="base64"))
NONSENSE: Final = "sent what makes no sense"
ODD: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)
"""What reading a message raises that is not as it should be."""


def websocket_url(base_url: str, path: str, query: Iterable[tuple[str, object]]) -> str:
    """Return the ws or wss URL below an http or https base."""
    scheme, _, rest = base_url.partition("://")
    base = ("ws" if scheme == "http" else "wss") + "://" + rest.rstrip("/")
    return f"{base}{path}?{urlencode([(name, _shown(value)) for name, value in query])}"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_object(message: bytes | str) -> dict[str, Any]:
    """Return the JSON object that a message is.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(message, str):
        raise ValueError("binary")
    try:
        # Of a message that is nearly all audio it takes a tenth of the time. Words of callers are not kept.
        found = from_json(message, cache_strings="keys")
    except ValueError:
        found = json.loads(message)  # which bears lone surrogates
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def read_base64(text: str) -> bytes:
    """Return what Base64 stands for, in a third of the time that the standard library takes.

    Raises:
        ValueError: it is none.

    Spec: RFC 4648 section 4.
    """
    tail = max(0, len(text) - 4) // 4 * 4  # where the last letters begin, which may be padded
    bulk = text[:tail]
    if "-" in bulk or "_" in bulk or "=" in bulk:  # letters of another alphabet, and padding too early
        raise ValueError("no Base64")
    data: bytes = _BASE64.validate_json(f'"{bulk}"')
    return data + base64.b64decode(text[tail:], validate=True)


def words(text: str) -> str:
    """Make a text fit for an event: bounded, and without lone surrogates, which JSON may hold."""
    return text[:MAX_TEXT_CHARS].strip().encode("utf-8", "replace").decode()


def text_of(value: object) -> str:
    """Return a text of a message, fit for an event; null is an empty one.

    Raises:
        TypeError: it is no text.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("no text")
    return words(value)


def number_of(value: object) -> float:
    """Return a number that JSON can hold again.

    Raises:
        TypeError: it is none.
        ValueError: it is infinite, or none that clients could read.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    if not (math.isfinite(value) and abs(value) < 2**53):
        raise ValueError("out of range")
    return value


def is_key(text: str) -> bool:
    """Say whether a text can be a key: one word that can stand in a header."""
    return text.isascii() and text.isprintable() and " " not in text


def shown_words(provider: str, key: str, words: object) -> str:
    """Return a provider's own words about a failure: one line, not long, and never with a key in it."""
    text = _NOT_PRINTABLE.sub(" ", str(words or "failed")).encode("utf-8", "replace").decode()
    if key:
        text = text.replace(key, "***")
    return f"{provider}: {text[:_MAX_WORDS]}"


def category_of_close(code: int) -> FailureCategory:
    """Return what a close code means that the provider's own documents say nothing else of."""
    return _BY_CLOSE_CODE.get(code, "retryable")


def closing_words(code: int, reason: str) -> str:
    """Return how a provider has closed the connection."""
    return f"closed the connection: {code} {reason}".rstrip()
