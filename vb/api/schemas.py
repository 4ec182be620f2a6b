"""JSON schemas of commands and events, named after their classes, for OpenAPI and AsyncAPI alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vb.commands.registry import Command

Schema = dict[str, Any]
Mode = Literal["validation", "serialization"]
Wanted = tuple[type[BaseModel], Mode]

_REF: Final = "#/components/schemas/"


class SchemaBook:
    """The component schemas of one document.

    Args:
        commands: whose parameters and results are needed.
        models: further models, events for instance, as the server writes them.
    """

    def __init__(self, commands: Iterable[Command], models: Iterable[type[BaseModel]] = ()) -> None:
        wanted: dict[Wanted, None] = {}
        for command in commands:
            wanted[command.params, "validation"] = None
            wanted[command.result, "serialization"] = None
        for model in models:
            wanted[model, "serialization"] = None
        refs, definitions = models_json_schema(list(wanted), ref_template=_REF + "{model}")
        self._names = {
            (model, mode): str(schema["$ref"]).removeprefix(_REF) for (model, mode), schema in refs.items()
        }
        self.components: dict[str, Schema] = {
            name: _as_it_is(schema) if schema.get("x-shows-null") else _simplified(schema)
            for name, schema in definitions.get("$defs", {}).items()
        }

    def params(self, command: Command) -> Schema:
        """Return a reference to everything a command takes."""
        return reference(self._names[command.params, "validation"])

    def result(self, command: Command) -> Schema:
        """Return the schema of a command's result."""
        item = reference(self._names[command.result, "serialization"])
        return {"type": "array", "items": item} if command.result_is_list else item

    def written(self, model: type[BaseModel]) -> Schema:
        """Return the schema of a model as the server writes it."""
        return self.components[self._names[model, "serialization"]]

    def fields(self, command: Command) -> tuple[dict[str, Schema], list[str]]:
        """Return what a command takes: schema by field, and the names of the required ones."""
        schema = self.components[self._names[command.params, "validation"]]
        return schema.get("properties", {}), schema.get("required", [])

    def body(self, command: Command) -> Schema:
        """Return a reference to the request body of a command: its parameters without those in the path."""
        path_fields, keys = set(command.route.path_fields.values()), command.route.body_keys
        if not path_fields and not keys:
            return self.params(command)
        name = f"{command.params.__name__}Body"
        properties, required = self.fields(command)
        if command.route.body_field:
            return properties[command.route.body_field]
        schema: Schema = {
            "type": "object",
            "title": name,
            "description": self.components[self._names[command.params, "validation"]].get("description", ""),
            "properties": {
                keys.get(field, field): value
                for field, value in properties.items()
                if field not in path_fields
            },
        }
        needed = [keys.get(field, field) for field in required if field not in path_fields]
        if needed:
            schema["required"] = needed
        if self.components.setdefault(name, schema) != schema:
            name = f"{command.name}_{name}"
            self.components[name] = schema
        return reference(name)


def reference(name: str) -> Schema:
    """Return a reference to a component schema."""
    return {"$ref": _REF + name}


def closure(components: dict[str, Schema], roots: object) -> dict[str, Schema]:
    """Return the components that `roots` refer to, directly or not, in the order of their names."""
    reached: dict[str, Schema] = {}
    pending = list(_references(roots))
    while pending:
        name = pending.pop()
        if name not in reached:
            reached[name] = components[name]
            pending.extend(_references(components[name]))
    return dict(sorted(reached.items()))


def _references(node: object) -> Iterable[str]:
    if isinstance(node, dict):
        target = node.get("$ref")
        if isinstance(target, str) and target.startswith(_REF):
            yield target.removeprefix(_REF)
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _as_it_is(schema: Schema) -> Schema:
    """Keep null where a model shows it; titles made from field names are dropped all the same."""
    properties = {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in schema.get("properties", {}).items()
    }
    return {
        key: value for key, value in {**schema, "properties": properties}.items() if key != "x-shows-null"
    }


def _simplified(node: Any, *, in_properties: bool = False) -> Any:
    """Drop what only repeats: null, which counts as absent everywhere, and titles made from field names."""
    if isinstance(node, list):
        return [_simplified(item) for item in node]
    if not isinstance(node, dict):
        return node
    if in_properties:
        return {name: _field(_simplified(schema)) for name, schema in node.items()}
    return {key: _simplified(value, in_properties=key == "properties") for key, value in node.items()}


def _field(schema: Schema) -> Schema:
    variants = [item for item in schema.get("anyOf", []) if item != {"type": "null"}]
    slim = {key: value for key, value in schema.items() if key not in ("anyOf", "title")}
    if slim.get("default", ...) is None:
        del slim["default"]
    if len(variants) == 1:
        return {**variants[0], **slim}
    return {"anyOf": variants, **slim} if variants else slim
