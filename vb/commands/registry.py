"""The command registry: the one definition behind REST, VSI, the library, OpenAPI and AsyncAPI.

A command is a decorated function `async def name(engine, params) -> result`. The decorator reads the models
from the annotations, checks the route against the fields, and returns the function unchanged.
"""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from string import Formatter
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

import structlog
from pydantic import BaseModel, ValidationError

from vb.errors import BadRequest, InternalError, InvalidField, NotAvailable, VbError
from vb.events.base import WITHOUT_DOCSTRINGS
from vb.metrics import Metrics

if TYPE_CHECKING:
    from vb.engine import Engine

log = structlog.get_logger(__name__)

P = TypeVar("P", bound=BaseModel)
R = TypeVar("R")


class Host(Protocol):
    """What running a command needs of the engine, whatever the command itself needs."""

    @property
    def metrics(self) -> Metrics:
        """Return what counts faults."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """Where REST serves a command.

    Attributes:
        method: HTTP method.
        path: path with `{name}` parameters.
        status: status of a success.
        names: path parameter → field, where they differ.
        body: whether the operation documents a request body.
        body_names: key of the body → field, where they differ.
        body_field: the one field whose value the whole body is.
        links: fields of the answer that are paths on this server; REST puts its own address before them.
        path_fields: path parameter → field of the parameter model.
    """

    method: str
    path: str
    status: int = 200
    names: Mapping[str, str] = field(default_factory=dict)
    body: bool = False
    body_names: Mapping[str, str] = field(default_factory=dict)
    body_field: str = ""
    links: tuple[str, ...] = ()
    path_fields: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Read the path once: every command asks for its fields."""
        found = [name for _, name, _, _ in Formatter().parse(self.path) if name]
        object.__setattr__(self, "path_fields", {name: self.names.get(name, name) for name in found})

    @property
    def body_keys(self) -> dict[str, str]:
        """Field → key of the body, where they differ."""
        return {name: key for key, name in self.body_names.items()}

    def from_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a body by field; a key that only other views know is unknown here and left out."""
        if self.body_field:
            return {self.body_field: body}
        hidden = self.body_keys
        return {
            self.body_names.get(key, key): value
            for key, value in body.items()
            if key in self.body_names or key not in hidden
        }

    def in_body(self, error: InvalidField) -> InvalidField:
        """Return an error about a field with its name in the body."""
        inner = error.field.removeprefix(f"{self.body_field}.")
        if self.body_field and inner != error.field:
            return InvalidField(inner, error.problem)
        return error.renamed(self.body_keys)


@dataclass(frozen=True, slots=True)
class Command:
    """One command as all its views see it.

    Attributes:
        waits: whether its function may wait for something; one that does not is whole whoever cancels it.
    """

    name: str
    func: Callable[[Any, Any], Awaitable[Any]]
    params: type[BaseModel]
    result: type[BaseModel]
    result_is_list: bool
    route: Route
    errors: tuple[int, ...]
    summary: str
    description: str
    vsi: bool = True
    waits: bool = True


REGISTRY: dict[str, Command] = {}


def command(
    name: str, *, rest: Route, errors: tuple[int, ...] = (), vsi: bool = True
) -> Callable[[Callable[[Engine, P], Awaitable[R]]], Callable[[Engine, P], Awaitable[R]]]:
    """Register a command.

    Args:
        name: the VSI command and library name.
        rest: its REST route.
        errors: HTTP statuses that it may answer besides success.
        vsi: whether it is a VSI command too; what only makes sense over HTTP is not.

    Raises:
        TypeError: the name is taken, a path parameter is no field, or annotations are missing.
    """

    def register(func: Callable[[Engine, P], Awaitable[R]]) -> Callable[[Engine, P], Awaitable[R]]:
        add(describe(name, func, rest, errors, vsi=vsi))
        return func

    return register


def add(spec: Command) -> None:
    """Enter a command in the registry.

    Raises:
        TypeError: its name is taken.
    """
    if spec.name in REGISTRY:
        raise TypeError(f"command {spec.name} is defined twice")
    REGISTRY[spec.name] = spec


def describe(
    name: str,
    func: Callable[[Engine, Any], Awaitable[Any]],
    rest: Route,
    errors: tuple[int, ...],
    *,
    params: type[BaseModel] | None = None,
    result: Any = None,
    text: str | None = None,
    vsi: bool = True,
) -> Command:
    """Build the definition of a command from its function's annotations and docstring, or what is given.

    Args:
        name: its name.
        func: what it does.
        rest: its route.
        errors: HTTP statuses that it may answer besides success.
        params: the model of what it takes; None reads it and the result from the annotations.
        result: the model of what it answers, or a list of one.
        text: what the documents say, a summary, and more after an empty line; None takes the docstring.
        vsi: whether it is a VSI command too.

    Raises:
        TypeError: a part of the path or body is no field, or there is no text.
    """
    if params is None:
        hints = get_type_hints(func, {**func.__globals__, "Engine": object})
        params, result = hints[list(inspect.signature(func).parameters)[1]], hints["return"]
    text = inspect.getdoc(func) if text is None else text
    if text is None and sys.flags.optimize >= WITHOUT_DOCSTRINGS:
        text = name
    is_list = get_origin(result) is list
    whole = [rest.body_field] if rest.body_field else []
    for part in (*rest.path_fields.values(), *rest.body_names.values(), *whole):
        if part not in params.model_fields:
            raise TypeError(f"command {name}: {part} is no field of {params.__name__}")
    if not text:
        raise TypeError(f"command {name} needs a docstring")
    summary, _, rest_of_text = text.partition("\n")
    return Command(
        name=name,
        func=func,
        params=params,
        result=get_args(result)[0] if is_list else result,
        result_is_list=is_list,
        route=rest,
        errors=errors,
        summary=summary.strip(),
        description=rest_of_text.strip(),
        vsi=vsi,
        waits=_waits(func),
    )


def _waits(func: Callable[..., Awaitable[Any]]) -> bool:
    """Say whether a coroutine function has an `await` of any kind; of anything else it is not known.

    One that does not wait needs no shield against a client that leaves. No command has to say so itself, and
    none can say it wrongly: Python makes a SEND of every `await`, also those of `async for` and `async with`.
    """
    if not (inspect.isfunction(func) and inspect.iscoroutinefunction(func)):
        return True
    return any(step.opname == "SEND" for step in dis.get_instructions(func))


def parse_params(model: type[P], values: Mapping[str, Any]) -> P:
    """Validate the merged path, query and body of a command.

    A null counts as absent; unknown keys are ignored.

    Raises:
        BadRequest: a field is missing or has a wrong type or value; the message names it.
        NotAvailable: a field of a feature that is not built is set.
    """
    for key in _unbuilt(model):
        value = values.get(key)
        if value or value == {}:  # an empty object asks for the defaults; "", 0, false and [] ask for nothing
            raise NotAvailable(f"not available: {key}")
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in error["loc"])
        what = "is required" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
        raise (InvalidField(where, what) if where else BadRequest(what)) from None


@cache
def _unbuilt(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys of the fields that belong to features that are not built."""
    return tuple(
        info.alias or name
        for name, info in model.model_fields.items()
        if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("x-available") is False
    )


async def call(engine: Host, name: str, values: Mapping[str, Any]) -> BaseModel | list[BaseModel]:
    """Run a command by name, as `Server.call` does.

    Raises:
        VbError: and nothing else; an unexpected fault is logged and becomes InternalError.
    """
    spec = REGISTRY.get(name)
    if spec is None:
        raise BadRequest(f"unknown command: {name}")
    return await execute(engine, spec, parse_params(spec.params, values))


async def execute(engine: Host, spec: Command, params: BaseModel) -> BaseModel | list[BaseModel]:
    """Run a command whose parameters have been read.

    Raises:
        VbError: and nothing else; an unexpected fault is logged and becomes InternalError.
    """
    try:
        result: BaseModel | list[BaseModel] = await spec.func(engine, params)
        return result
    except VbError:
        raise
    except Exception:  # the dispatch boundary: a fault ends one command, never the session that asked
        engine.metrics.recovered("commands", "call")
        log.exception("command failed", command=spec.name)
        raise InternalError("internal error") from None


def dump(result: BaseModel | list[BaseModel]) -> Any:
    """Return a command's result as plain JSON data; null is left out but for models that say `shows_null`."""
    if isinstance(result, list):
        return [item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in result]
    return result.model_dump(mode="json", by_alias=True, exclude_none=not _shows_null(type(result)))


@cache
def _shows_null(model: type[BaseModel]) -> bool:
    """Say whether null stays in a model's data; models are slow to say that they have no such attribute."""
    return bool(getattr(model, "shows_null", False))
