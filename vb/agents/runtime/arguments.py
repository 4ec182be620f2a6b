"""Whether the arguments of a tool are what its JSON schema says, before anything is done with them.

The part of JSON Schema 2020-12 that describes tools in practice is judged: `type`, `enum`, `const`,
`properties`, `required`, `additionalProperties`, `items`, the bounds of numbers, texts and lists, `pattern`,
`anyOf`, `oneOf`, `allOf` and `not`. Other keywords, such as `$ref` and `format`, are for the model's eyes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, cast

import re2

MAX_DEPTH: Final = 16
MAX_SCHEMA_BYTES: Final = 65_536
_SHOWN: Final = 80
_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool))
        or (isinstance(value, float) and value.is_integer())
    ),
}
_BOUNDS: Final[dict[str, tuple[Callable[[Any, Any], bool], str]]] = {
    "minimum": (lambda value, bound: value >= bound, "is less than"),
    "maximum": (lambda value, bound: value <= bound, "is more than"),
    "exclusiveMinimum": (lambda value, bound: value > bound, "is not more than"),
    "exclusiveMaximum": (lambda value, bound: value < bound, "is not less than"),
}
_SIZES: Final[dict[str, tuple[type, Callable[[int, int], bool], str]]] = {
    "minLength": (str, lambda size, bound: size >= bound, "is shorter than"),
    "maxLength": (str, lambda size, bound: size <= bound, "is longer than"),
    "minItems": (list, lambda size, bound: size >= bound, "has fewer items than"),
    "maxItems": (list, lambda size, bound: size <= bound, "has more items than"),
}
_SEVERAL: Final = ("anyOf", "oneOf", "allOf")


def check_schema(schema: Any, depth: int = 0) -> None:
    """Refuse a schema by which nothing can be judged.

    Raises:
        ValueError: what is wrong with it.
    """
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        raise ValueError("a schema is an object")
    if depth > MAX_DEPTH:
        raise ValueError(f"the schema is nested more than {MAX_DEPTH} deep")
    if not depth and len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise ValueError(f"the schema is longer than {MAX_SCHEMA_BYTES} bytes")
    for name, wanted in _SHAPES.items():
        if name in schema and not wanted(schema[name]):
            raise ValueError(f"{name} is malformed")
    _pattern(schema)
    parts = [schema.get("properties", {}).values(), *(schema.get(name, ()) for name in _SEVERAL)]
    single = (schema[name] for name in ("additionalProperties", "items", "not") if name in schema)
    for part in chain(*parts, single):
        check_schema(part, depth + 1)


def _is_number(value: Any) -> bool:
    return _TYPES["number"](value)


def _is_size(value: Any) -> bool:
    return _TYPES["integer"](value) and value >= 0


def _is_schema(value: Any) -> bool:
    return isinstance(value, Mapping | bool)


_SHAPES: Final[dict[str, Callable[[Any], bool]]] = {
    "type": lambda value: all(
        isinstance(each, str) and each in _TYPES for each in (value if isinstance(value, list) else [value])
    ),
    "enum": lambda value: isinstance(value, list),
    "properties": lambda value: isinstance(value, Mapping) and all(map(_is_schema, value.values())),
    "required": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "additionalProperties": _is_schema,
    "items": _is_schema,
    "not": _is_schema,
    "pattern": lambda value: isinstance(value, str),
    **{
        name: lambda value: isinstance(value, list) and bool(value) and all(map(_is_schema, value))
        for name in _SEVERAL
    },
    **dict.fromkeys(_BOUNDS, _is_number),
    **dict.fromkeys(_SIZES, _is_size),
}


def problem_of(arguments: Mapping[str, Any], schema: Any) -> str:
    """Return what is wrong with arguments, in words that a model can act on; "" when nothing is."""
    return next(_problems(dict(arguments), schema, "", 0), "")


def _problems(value: Any, schema: Any, path: str, depth: int) -> Iterator[str]:
    """Find what is wrong with a value; its path is such as `to[0].name`, "" for all of them."""
    name = path or "the arguments"
    if schema is False:
        yield f"{name} may not be there"
    if not isinstance(schema, Mapping):
        return
    if depth > MAX_DEPTH:
        yield f"{name}: nested too deep"
        return
    yield from _type_problems(value, schema, name)
    yield from _size_problems(value, schema, name)
    if isinstance(value, dict):
        yield from _object_problems(value, schema, path, depth)
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _problems(item, schema["items"], f"{path}[{index}]", depth + 1)
    yield from _choice_problems(value, schema, path, name, depth)


def _type_problems(value: Any, schema: Mapping[str, Any], name: str) -> Iterator[str]:
    kinds = schema.get("type")
    if kinds is not None:
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if not any(_TYPES[kind](value) for kind in kinds):
            yield f"{name} is not of type {' or '.join(kinds)}"
    if "enum" in schema and not any(_same(value, each) for each in schema["enum"]):
        yield f"{name} is none of {_shown(schema['enum'])}"
    if "const" in schema and not _same(value, schema["const"]):
        yield f"{name} is not {_shown(schema['const'])}"


def _size_problems(value: Any, schema: Mapping[str, Any], name: str) -> Iterator[str]:
    if _is_number(value):
        for keyword, (number_holds, text) in _BOUNDS.items():
            if keyword in schema and not number_holds(value, schema[keyword]):
                yield f"{name} {text} {schema[keyword]}"
    for keyword, (kind, size_holds, text) in _SIZES.items():
        if (
            keyword in schema
            and isinstance(value, kind)
            and not size_holds(len(cast("Any", value)), schema[keyword])
        ):
            yield f"{name} {text} {schema[keyword]}"
    if isinstance(value, str) and (pattern := _pattern(schema)) is not None and not pattern.search(value):
        yield f"{name} does not match {_shown(schema['pattern'])}"


def _object_problems(
    value: dict[str, Any], schema: Mapping[str, Any], path: str, depth: int
) -> Iterator[str]:
    known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{_below(path, name)} is missing"
    for name, item in value.items():
        if name in known:
            yield from _problems(item, known[name], _below(path, name), depth + 1)
        elif other is False:
            yield f"{_below(path, name)} is not known"
        else:
            yield from _problems(item, other, _below(path, name), depth + 1)


def _choice_problems(
    value: Any, schema: Mapping[str, Any], path: str, name: str, depth: int
) -> Iterator[str]:
    def fits(part: Any) -> bool:
        return next(_problems(value, part, path, depth + 1), None) is None

    if "anyOf" in schema and not any(map(fits, schema["anyOf"])):
        yield f"{name} is none of what it may be"
    if "oneOf" in schema and sum(map(fits, schema["oneOf"])) != 1:
        yield f"{name} is not exactly one of what it may be"
    for part in schema.get("allOf", ()):
        yield from _problems(value, part, path, depth + 1)
    if "not" in schema and fits(schema["not"]):
        yield f"{name} is what it may not be"


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON does: 1 is 1.0, and true is no number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return bool(one == other)


def _pattern(schema: Mapping[str, Any]) -> Any:
    """Return a pattern that is searched for; None for none, and for one that only other engines know."""
    text = schema.get("pattern")
    if not isinstance(text, str):
        return None
    try:
        return re2.compile(text)
    except re2.error:
        return None


def _below(path: str, name: str) -> str:
    return f"{path}.{name[:_SHOWN]}" if path else name[:_SHOWN]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
