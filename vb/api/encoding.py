"""JSON as this server reads and writes it: one object in, compact text out."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Any, Final, NoReturn

from pydantic_core import PydanticSerializationError, to_json

from vb.errors import BadRequest

MAX_BODY_BYTES: Final = 1_048_576
"""Most bytes of a request body or a WebSocket message."""

MAX_MEMBERS: Final = 10_000
"""Most objects, arrays and members of objects in it; reading them holds up everybody else."""

MAX_COMMAS: Final = 100_000
"""Most of them: more than any list has that a command takes."""

INVALID_JSON: Final = "invalid JSON"


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")  # two readers could take two values (RFC 8259 §4)
    return found


_MEMBER: Final = re.compile(r'"[ \t\n\r]*+:')
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")

_decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _is_too_much(text: str) -> bool:
    """Judge before reading, as reading is what costs; the same signs within a string count as well."""
    if text.count("{") + text.count("[") > MAX_MEMBERS or text.count(",") > MAX_COMMAS:
        return True
    if text.count(":") <= MAX_MEMBERS:
        return False
    return next(islice(_MEMBER.finditer(text), MAX_MEMBERS, None), None) is not None


def parse_object(text: str) -> dict[str, Any]:
    """Read text that is exactly one JSON object.

    Raises:
        BadRequest: it is anything else, nested too deeply to be read, names a key twice, has too many
            members or elements, or holds half a surrogate pair.
    """
    if _is_too_much(text):
        raise BadRequest(f"JSON with more than {MAX_MEMBERS} members or {MAX_COMMAS} elements")
    try:
        value = _decoder.decode(text)
        if _SURROGATE_ESCAPE.search(text):
            _encoder.encode(value).encode("utf-8")
    except (ValueError, RecursionError):
        raise BadRequest(INVALID_JSON) from None
    if not isinstance(value, dict):
        raise BadRequest(INVALID_JSON)
    return value


def parse_body(body: bytes) -> dict[str, Any]:
    """Read a request body: one JSON object, or nothing, which counts as an empty object like null does.

    Raises:
        BadRequest: the body is anything else.
    """
    stripped = body.strip()
    if stripped in (b"", b"null"):
        return {}
    try:
        return parse_object(stripped.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadRequest(INVALID_JSON) from None


def to_bytes(value: object) -> bytes:
    """Write a value as compact JSON that is always valid Unicode: half a surrogate pair becomes an escape."""
    try:
        return to_json(value)  # a ninth of the time
    except PydanticSerializationError:
        return _encoder.encode(value).encode("utf-8", "backslashreplace")


def to_line(value: object) -> bytes:
    """Write a value as a response body: compact JSON and a line feed."""
    return to_bytes(value) + b"\n"
