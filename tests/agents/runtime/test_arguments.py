"""Arguments of tools against their schemas."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.agents.runtime.arguments import check_schema, problem_of

ORDER = {
    "type": "object",
    "properties": {
        "size": {"type": "string", "enum": ["small", "large"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "at": {"type": "string", "pattern": r"^\d\d:\d\d$"},
        "toppings": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 2},
        "who": {"anyOf": [{"type": "null"}, {"type": "object", "required": ["name"]}]},
    },
    "required": ["size"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"size": "small", "count": 2, "at": "12:30", "toppings": ["ham"], "who": None}, ""),
        ({}, "size is missing"),
        ({"size": "huge"}, 'size is none of ["small", "large"]'),
        ({"size": "small", "count": "2"}, "count is not of type integer"),
        ({"size": "small", "count": True}, "count is not of type integer"),
        ({"size": "small", "count": 0}, "count is less than 1"),
        ({"size": "small", "at": "noon"}, 'at does not match "^\\\\d\\\\d:\\\\d\\\\d$"'),
        ({"size": "small", "toppings": ["ham", "cheese"]}, "toppings[1] is longer than 5"),
        ({"size": "small", "toppings": ["a", "b", "c"]}, "toppings has more items than 2"),
        ({"size": "small", "who": {}}, "who is none of what it may be"),
        ({"size": "small", "colour": "red"}, "colour is not known"),
    ],
)
def test_what_is_wrong_is_said_in_words(arguments: dict[str, Any], problem: str) -> None:
    assert problem_of(arguments, ORDER) == problem


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ([], "a schema is an object"),
        ({"type": "text"}, "type is malformed"),
        ({"type": 5}, "type is malformed"),
        ({"properties": []}, "properties is malformed"),
        ({"properties": {"a": 5}}, "properties is malformed"),
        ({"properties": {"a": {"required": "b"}}}, "required is malformed"),
        ({"anyOf": []}, "anyOf is malformed"),
        ({"minLength": -1}, "minLength is malformed"),
        ({"description": "x" * 70_000}, "the schema is longer"),
    ],
)
def test_a_schema_that_judges_nothing_is_refused(schema: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_schema(schema)


def test_depth_is_bounded() -> None:
    schema: dict[str, Any] = {}
    value: Any = 1
    for _ in range(40):
        schema, value = {"items": schema}, [value]
    with pytest.raises(ValueError, match="nested"):
        check_schema(schema)
    assert "nested" in problem_of({"a": value}, {"properties": {"a": schema}})


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0]) | st.sampled_from("ab"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    kinds = st.sampled_from(["object", "array", "string", "boolean", "null", "number", "integer"])
    return st.fixed_dictionaries(
        {},
        optional={
            "type": kinds | st.lists(kinds, min_size=1, max_size=2, unique=True),
            "enum": st.lists(values, min_size=1, max_size=2),
            "const": values,
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "required": st.lists(st.sampled_from("ab"), max_size=2, unique=True),
            "additionalProperties": inner,
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "minimum": st.integers(-2, 2),
            "exclusiveMaximum": st.integers(-2, 2),
            "minLength": st.integers(0, 2),
            "maxItems": st.integers(0, 2),
            "pattern": st.sampled_from(["a", "^b$"]),
        },
    )


@given(st.dictionaries(st.sampled_from("ab"), values), st.recursive(st.booleans(), _schemas, max_leaves=6))
def test_it_judges_as_another_validator_does(arguments: dict[str, Any], schema: Any) -> None:
    check_schema(schema)
    judge = jsonschema.Draft202012Validator(schema)
    assert (problem_of(arguments, schema) == "") == judge.is_valid(arguments)
