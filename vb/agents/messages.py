"""Providers' JSON, of which nothing is believed: whatever is missing or of another type reads as empty."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vb.providers.reading import words


def parse_object(message: bytes | str) -> Mapping[str, Any]:
    """Return the JSON object of a message; an empty one when it is something else."""
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def whole(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object without lone surrogates at any depth: they cannot be matched or sent."""
    try:
        return parse_object(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        return {}


def object_at(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object inside another."""
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def text_at(found: Mapping[str, Any], name: str) -> str:
    """Return a text; "" when there is none."""
    value = found.get(name)
    return value if isinstance(value, str) else ""


def words_at(found: Mapping[str, Any], name: str) -> str:
    """Return a text that goes into an event: bounded, and without lone surrogates, which JSON may hold."""
    return words(text_at(found, name))


def number_at(found: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number, also one that is written as text; None when there is none."""
    value = found.get(name)
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:16])
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else None


def flag_at(found: Mapping[str, Any], name: str) -> bool | None:
    """Return true or false; None when there is neither."""
    value = found.get(name)
    return value if isinstance(value, bool) else None
