"""What the history's models are made of: names in camel case, fields that are left out, times, durations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

DURATION_PATTERN: Final = r"^-?(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,9})?s$"
"""Seconds and a unit, such as `90s` and `1.250s`."""

Duration = Annotated[str, Field(pattern=DURATION_PATTERN)]

Uri = Annotated[str, Field(json_schema_extra={"format": "uri"})]


def _without_null(schema: JsonDict) -> None:
    """Describe a field by what it holds when it is there."""
    choices = schema.pop("anyOf", None)
    if isinstance(choices, list):
        kept = [choice for choice in choices if choice != {"type": "null"}]
        if len(kept) == 1 and isinstance(kept[0], dict):
            schema.update(kept[0])
        else:
            schema["anyOf"] = kept
    schema.pop("default", None)


def _is_none(value: object) -> bool:
    return value is None


def omitted(**limits: Any) -> Any:
    """Describe a field that is absent, never null, when it has no value."""
    return Field(default=None, exclude_if=_is_none, json_schema_extra=_without_null, **limits)


def time_text(value: datetime) -> str:
    """Return a time in UTC with microseconds, as RFC 3339 §5.6 has it."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


Time = Annotated[
    datetime,
    PlainSerializer(time_text, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Model(BaseModel):
    """Base of the history's answers."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        serialize_by_alias=True,
        json_schema_extra={"x-shows-null": True},
    )

    shows_null: ClassVar[bool] = True
    """Whether null is a value in its own right, and not the same as an absent field."""
