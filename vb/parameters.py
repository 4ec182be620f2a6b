"""What the parameters of commands are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

Seconds = Annotated[int, Field(ge=0, le=10_000_000)]
Milliseconds = Annotated[int, Field(ge=0, le=3_600_000)]
Url = Annotated[str, Field(max_length=4096, json_schema_extra={"format": "uri"})]


class Params(BaseModel):
    """Base of all parameters: exact types, unknown keys ignored, null counts as absent."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value is not None}


PREFIX_KEY: Final = "x-query-prefix"


def prefixed(prefix: str, meaning: str, **limits: Any) -> Any:
    """Describe a field that collects a query's keys with a prefix, as pairs of the rest and the value."""
    return Field(default=None, description=meaning, json_schema_extra={PREFIX_KEY: prefix}, **limits)


def unbuilt(meaning: str, **limits: Any) -> Any:
    """Describe a field whose feature this server does not have: setting it is answered with 501."""
    extra: JsonDict = {"x-available": False}
    return Field(default=None, description=f"{meaning} (not available)", json_schema_extra=extra, **limits)


def shown_as_required(*names: str) -> Callable[[JsonDict], None]:
    """Describe optional fields as required ones: clients should set them, a request without is understood."""

    def add(schema: JsonDict) -> None:
        schema["required"] = [*names]

    return add
