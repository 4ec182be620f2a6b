"""From the query of a request to the parameters of a command.

Everything in a query is text and any key may come several times, while parameters have exact types. A field
that is a list takes every value of its key, any other one just one; a number or boolean is read from its
text. A field made by `prefixed` collects the keys that begin with its prefix.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, TypeAdapter, ValidationError

from vb.errors import InvalidField
from vb.parameters import PREFIX_KEY


def split_query(raw: bytes) -> list[tuple[str, str]]:
    """Return keys and values of the query of a URL, decoded, in its order.

    Raises:
        InvalidField: something in it is no UTF-8, named by its key.
    """
    pairs: list[tuple[str, str]] = []
    for piece in filter(None, raw.split(b"&")):
        name, _, value = piece.partition(b"=")
        key = _decoded("query", name)
        pairs.append((key, _decoded(key, value)))
    return pairs


def _decoded(key: str, raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise InvalidField(key, "is no valid text") from None


def read_query(model: type[BaseModel], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the values of a query by key, of the types of the model's fields; unknown keys are left out.

    Args:
        model: what the command takes.
        pairs: keys and values in the order of the query, decoded.

    Raises:
        InvalidField: a value is not of its field's type, or one of several, named by its key.
    """
    values: dict[str, Any] = {}
    fields, prefixes = _fields(model), _prefixes(model)
    for key, text in pairs:
        if key in fields:
            if fields[key][1]:
                values.setdefault(key, []).append(text)
            elif key in values:
                raise InvalidField(key, "is given twice")
            else:
                values[key] = text
            continue
        for prefix, name in prefixes.items():
            if key.startswith(prefix):
                values.setdefault(name, []).append((key.removeprefix(prefix), text))
    return {key: _read(fields[key][0], key, value) for key, value in values.items() if key in fields}


def _read(adapter: TypeAdapter[Any], key: str, value: Any) -> Any:
    try:
        return adapter.validate_python(value, strict=False)
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        raise InvalidField(key, error["msg"].removeprefix("Value error, ")) from None


@cache
def _fields(model: type[BaseModel]) -> dict[str, tuple[TypeAdapter[Any], bool]]:
    """Return how each key is read, and whether it takes several values."""
    found: dict[str, tuple[TypeAdapter[Any], bool]] = {}
    for name, info in model.model_fields.items():
        kind: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
        found[info.alias or name] = (TypeAdapter(kind), _is_list(info.annotation))
    return found


@cache
def _prefixes(model: type[BaseModel]) -> dict[str, str]:
    """Return the key of the field that collects each prefix."""
    found: dict[str, str] = {}
    for name, info in model.model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and PREFIX_KEY in extra:
            found[str(extra[PREFIX_KEY])] = info.alias or name
    return found


def _is_list(annotation: Any) -> bool:
    kinds = (annotation, *get_args(annotation))
    return any(get_origin(kind) is list or kind is list for kind in kinds)
