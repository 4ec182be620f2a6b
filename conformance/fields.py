"""The fields of the server's interface, read from its OpenAPI and AsyncAPI documents.

Each has a group: an operation or command for what is sent to it (and the statuses that it answers with),
the name of a schema for what is answered, an event. The members of an event that every event has are in
the group ``every event``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

Json = Mapping[str, object]

EVERY_EVENT = "every event"
EVERY_ANSWER = "every answer"
HEADERS = "headers"
ENVELOPE = ("type", "timestamp", "instance_id", "event_id")
WEBHOOK_HEADERS = ("Content-Type", "X-Signature-256", "X-Event-Id")
SENT_ALONE = ("pong", "stop")
"""Commands without an answer, of which nothing but their name is sent."""
METHODS = ("get", "put", "post", "patch", "delete")
UNBUILT = "x-available"
"""False where a request that sets the field is refused as not available."""
MAX_DEPTH = 12


@dataclass(frozen=True)
class Place:
    """Where a field is: what notes say of it, and what the ledger does."""

    note: str
    group: str
    field: str


@dataclass(frozen=True)
class _Walk:
    """One way through a schema.

    Attributes:
        before: The note of what lies above, its separator included.
        group: The group that members go to.
        above: Their path within the group.
        follows: Whether a schema with a name has a group of its own.
    """

    document: Json
    before: str
    group: str
    above: str = ""
    follows: bool = False
    seen: tuple[str, ...] = field(default=())

    def members(self, schema: object) -> Iterator[Place]:
        """The fields below a schema."""
        if not isinstance(schema, Mapping) or len(self.seen) > MAX_DEPTH:
            return
        reference = schema.get("$ref")
        if isinstance(reference, str):
            name = reference.rpartition("/")[2]
            if name not in self.seen:
                there = replace(self, seen=(*self.seen, name))
                if self.follows:
                    there = replace(there, group=name, above="")
                yield from there.members(_found(self.document, reference))
            return
        for key in ("allOf", "anyOf", "oneOf"):
            for part in _list(schema.get(key)):
                yield from self.members(part)
        yield from self.members(schema.get("items"))
        properties = schema.get("properties")
        for name, inner in properties.items() if isinstance(properties, Mapping) else ():
            path = f"{self.above}{name}"
            if isinstance(inner, Mapping) and inner.get(UNBUILT) is False:
                yield Place(f"{self.before.replace(' > ', ' ! ')}{name}", self.group, path)
                continue
            yield Place(f"{self.before}{name}", self.group, path)
            for value in _values(self.document, inner):
                yield Place(f"{self.before}{name}={value}", self.group, f"{path}={value}")
            yield from replace(self, before=f"{self.before}{name}.", above=f"{path}.").members(inner)


def _found(document: Json, reference: str) -> object:
    node: object = document
    for part in reference.removeprefix("#/").split("/"):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _object(value: object, *path: str) -> Json:
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _values(document: Json, schema: object, depth: int = 0) -> Iterator[object]:
    """The values that a schema lists; a single one is no choice."""
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return
    if isinstance(schema.get("$ref"), str):
        target = _found(document, str(schema["$ref"]))
        if "properties" not in _object(target):
            yield from _values(document, target, depth + 1)
        return
    for value in _list(schema.get("enum")):
        if value is not None:
            yield value
    for key in ("anyOf", "oneOf"):
        for part in _list(schema.get(key)):
            yield from _values(document, part, depth + 1)
    yield from _values(document, schema.get("items"), depth + 1)


def _schema(holder: Json) -> object:
    return _object(holder, "content", "application/json").get("schema")


def _answers(openapi: Json, name: str, operation: Json) -> Iterator[Place]:
    for status, response in _object(operation, "responses").items():
        if status.isdecimal():
            yield Place(f"{name} = {status}", name, status)
        walk = _Walk(openapi, f"{name} < ", name, follows=True)
        for place in walk.members(_schema(_object(response))):
            is_common = place.note == f"{name} < instance_id"
            yield Place(place.note, EVERY_ANSWER, "instance_id") if is_common else place
        for header in _object(response, "headers"):
            yield Place(f"{HEADERS} < {header}", HEADERS, header)


def of_rest(openapi: Json) -> Iterator[Place]:
    """The fields, statuses and headers of operations."""
    for path, methods in _object(openapi, "paths").items():
        for method, operation in _object(methods).items():
            if method not in METHODS or not isinstance(operation, Mapping):
                continue
            name = f"{method.upper()} {path}"
            for parameter in map(_object, _list(operation.get("parameters"))):
                if parameter.get("in") != "path":
                    key = parameter.get("name")
                    yield Place(f"{name} > {key}", name, str(key))
                    for value in _values(openapi, parameter.get("schema")):
                        yield Place(f"{name} > {key}={value}", name, f"{key}={value}")
            walk = _Walk(openapi, f"{name} > ", name)
            yield from walk.members(_schema(_object(operation, "requestBody")))
            yield from _answers(openapi, name, operation)
    for scheme in map(_object, _object(openapi, "components", "securitySchemes").values()):
        header = str(scheme.get("name") or "Authorization").title()
        yield Place(f"{HEADERS} > {header}", HEADERS, header)


def of_messages(asyncapi: Json) -> Iterator[Place]:
    """The fields of commands, their results, events, and the other frames."""
    messages = _object(asyncapi, "components", "messages")
    for name, message in messages.items():
        payload = _object(message).get("payload")
        properties = _object(payload, "properties")
        if f"{name}.result" in messages:
            yield from _Walk(asyncapi, f"{name} > ", name).members(properties.get("payload"))
        elif name.removesuffix(".result") in messages and name.endswith(".result"):
            walk = _Walk(asyncapi, f"{name} < data.", name, follows=True)
            yield from walk.members(properties.get("data"))
        elif name not in SENT_ALONE:
            yield from _event(asyncapi, name, payload)
    for header in WEBHOOK_HEADERS:
        yield Place(f"webhook < {header}", "webhook", header)


def _event(asyncapi: Json, name: str, payload: object) -> Iterator[Place]:
    reference = _object(payload).get("$ref")
    walk = _Walk(asyncapi, f"{name} < ", name, follows=True)
    for place in walk.members(_found(asyncapi, reference) if isinstance(reference, str) else payload):
        is_common = place.group == name and place.field in ENVELOPE and "." in name
        if place.group != name or not place.field.startswith("type="):
            yield replace(place, group=EVERY_EVENT) if is_common else place


def places(openapi: Json, asyncapi: Json) -> dict[str, Place]:
    """Every field by its note."""
    return {place.note: place for source in (of_rest(openapi), of_messages(asyncapi)) for place in source}


def groups(found: Mapping[str, Place]) -> dict[str, set[str]]:
    """The fields of each group."""
    made: dict[str, set[str]] = {}
    for place in found.values():
        made.setdefault(place.group, set()).add(place.field)
    return made
