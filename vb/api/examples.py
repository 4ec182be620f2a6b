"""Examples for the documentation: a body, an event and a curl line, made of what the schemas say."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final

Json = Mapping[str, Any]
Resolve = Callable[[Json], Json]

_MAX_DEPTH: Final = 4
_MAX_OPTIONAL: Final = 3
"""Fields that are not required, shown where there are no required ones."""
_WORDS: Final = {
    "id": "5f1c9e0a-6c57-4f0e-9d0e-1c2b3a4d5e6f",
    "leg_id": "5f1c9e0a-6c57-4f0e-9d0e-1c2b3a4d5e6f",
    "room_id": "lobby",
    "app_id": "shop",
    "to": "sip:bob@192.0.2.7",
    "target": "sip:bob@192.0.2.7",
    "url": "https://media.example/greeting.wav",
    "webhook_url": "https://app.example/events",
    "digits": "42#",
    "digit": "4",
    "text": "Hello",
    "sdp": "v=0...",
    "tone": "us_dial",
}
_FORMATS: Final = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00",
    "uuid": "0b9d8a52-3f3e-4c51-9e5b-7a1f0c2d3e4f",
}


def example_of(schema: Json, resolved: Resolve, name: str = "", depth: int = 0) -> Any:
    """Return a value that a schema may have.

    Args:
        schema: a JSON schema, or a reference to one.
        resolved: returns what a reference stands for.
        name: of the field that has it.
        depth: how deep it lies.
    """
    schema = resolved(schema)
    for key in ("const", "default"):
        if schema.get(key) not in (None, ""):
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return example_of(schema[key][0], resolved, name, depth)
    if "allOf" in schema:
        parts = [example_of(item, resolved, name, depth) for item in schema["allOf"]]
        return {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}
    match schema.get("type"):
        case "object":
            return _object(schema, resolved, depth)
        case "array":
            return (
                [example_of(schema.get("items", {}), resolved, name, depth + 1)] if depth < _MAX_DEPTH else []
            )
        case "integer" | "number":
            return max(schema.get("minimum", 1), min(1, schema.get("maximum", 1)))
        case "boolean":
            return True
    return _FORMATS.get(schema.get("format", ""), _WORDS.get(name, name or "text"))


def _object(schema: Json, resolved: Resolve, depth: int) -> dict[str, Any]:
    if depth >= _MAX_DEPTH:
        return {}
    properties = {
        name: item
        for name, item in schema.get("properties", {}).items()
        if item.get("x-available") is not False
    }
    required = [name for name in schema.get("required", ()) if name in properties]
    shown = required or list(properties)[:_MAX_OPTIONAL]
    return {name: example_of(properties[name], resolved, name, depth + 1) for name in shown}


def pretty(value: Any) -> str:
    """Return a value as people read JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def curl_line(verb: str, path: str, operation: Json, body: Any) -> str:
    """Return a command that carries out an operation on a server of this machine.

    Args:
        verb: method, in capitals.
        path: with its parameters in braces.
        operation: its part of the OpenAPI document.
        body: an example; None for none.
    """
    for item in operation.get("parameters", ()):
        if item["in"] == "path":
            name = item["name"]
            value = "lobby" if name == "id" and path.startswith("/v1/rooms/") else f"${name.upper()}"
            path = path.replace(f"{{{name}}}", value)
    words = ["curl"]
    if verb != "GET":
        words += ["-X", verb]
    words.append(
        f'"http://localhost:8080{path}"' if "$" in path else shlex.quote(f"http://localhost:8080{path}")
    )
    if body is not None:
        words += ["-d", shlex.quote(json.dumps(body, ensure_ascii=False))]
    return " ".join(words)
