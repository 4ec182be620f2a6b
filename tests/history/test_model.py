from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from vb.history.model import Call, PaginatedCallList

FACTS = (Path(__file__).parent / "call_facts.txt").read_text(encoding="utf-8")
"""Names, types, nullability (`?`), required fields (`!`) and defaults of the calls API, to compare with."""

FORMATS = {"uuid", "date-time", "uri"}
SCHEMA = PaginatedCallList.model_json_schema(mode="serialization")
NAMED = {**SCHEMA["$defs"], "PaginatedCallList": SCHEMA}


def _facts() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in FACTS.splitlines():
        if line.startswith("  "):
            name, _, rest = line.strip().partition(": ")
            current[name] = rest
        elif " = " not in line:
            current = found.setdefault(line.replace("_", ""), {})
    return found


def _enums() -> dict[str, str]:
    rows = (line.split(" = ") for line in FACTS.splitlines() if " = " in line and not line.startswith(" "))
    return dict(rows)


def _compact(schema: dict[str, Any]) -> str:
    """A JSON schema in the notation of the facts."""
    choices = schema.get("anyOf")
    if choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        assert len(rest) == 1
        return _compact(rest[0]) + ("?" if len(rest) < len(choices) else "")
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "enum" in schema:
        return f"enum({'|'.join(schema['enum'])})"
    kind = schema.get("type", "any")
    if kind == "array":
        return f"[{_compact(schema['items'])}]"
    if kind == "object":
        inner = schema.get("additionalProperties", True)
        return "{" + (_compact(inner) if isinstance(inner, dict) else "any") + "}"
    if schema.get("format") in FORMATS:
        return f"{kind}:{schema['format']}"
    return f"{kind}:duration" if "pattern" in schema else str(kind)


def _expected(text: str) -> str:
    plain = text.split(" = ")[0]
    for name, values in _enums().items():
        plain = re.sub(rf"\b{name}\b", f"enum({values})", plain)
    return plain.replace("_", "") if "enum(" not in plain else plain


@pytest.mark.parametrize("name", _facts())
def test_each_object_has_the_fields_types_and_nullability_of_the_calls_api(name: str) -> None:
    schema = NAMED[name]
    required = set(schema.get("required", ()))
    given = {
        field + ("!" if field in required else ""): _compact(part)
        for field, part in schema.get("properties", {}).items()
    }
    wanted = {field: _expected(text) for field, text in _facts()[name].items()}
    # What always has a value may be described as always there.
    for field in [key for key in given if key.endswith("!") and key[:-1] in wanted]:
        given[field[:-1]] = given.pop(field)
    assert given == wanted


@pytest.mark.parametrize(
    ("field", "text"), [(key, text) for key, text in _facts()["Call"].items() if " = " in text]
)
def test_the_defaults_of_a_call_are_those_of_the_calls_api(field: str, text: str) -> None:
    schema = Call.model_json_schema(mode="serialization")
    assert schema["properties"][field]["default"] == json.loads(text.split(" = ")[1])


def test_nothing_is_missing_and_nothing_added() -> None:
    assert set(NAMED) == set(_facts())
