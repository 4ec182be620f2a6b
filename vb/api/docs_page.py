"""The documentation page: one self-contained HTML file from the same data as the documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jinja2 import Environment, PackageLoader

from vb.api.examples import curl_line, example_of, pretty
from vb.config import SettingRow

SIGNALS: Final = ("connected", "ping", "pong", "events_dropped", "error", "stop")
_REF: Final = "#/components/schemas/"

Json = Mapping[str, Any]


def build_page(openapi: Json, asyncapi: Json, settings: Sequence[SettingRow]) -> str:
    """Return the page; everything that comes from outside the template is escaped."""
    schemas = {**asyncapi["components"]["schemas"], **openapi["components"]["schemas"]}
    messages = asyncapi["components"]["messages"]
    events = {name: message for name, message in messages.items() if "$ref" in message["payload"]}
    # Schemas that are not shown in full with an operation or event.
    shown = {_object_name(message["payload"]["$ref"]) for message in events.values()}
    objects = sorted(name for name in schemas if name not in shown and not name.endswith("Body"))

    def resolved(schema: Json) -> Any:
        return schemas[_object_name(schema["$ref"])] if "$ref" in schema else schema

    environment = Environment(loader=PackageLoader("vb.api", ""), autoescape=True, keep_trailing_newline=True)

    def example(schema: Json) -> Any:
        return example_of(schema, resolved)

    def curl(verb: str, path: str, operation: Json) -> str:
        content = operation.get("requestBody", {}).get("content", {})
        body = example(content["application/json"]["schema"]) if content else None
        return curl_line(verb, path, operation, body)

    environment.filters.update(object_name=_object_name, resolved=resolved, example=example, pretty=pretty)
    return environment.get_template("docs_page.html.jinja").render(
        curl=curl,
        openapi=openapi,
        asyncapi=asyncapi,
        operations=[
            (verb.upper(), path, operation)
            for path, verbs in openapi["paths"].items()
            for verb, operation in verbs.items()
        ],
        frames={name: messages[name] for name in SIGNALS},
        events=events,
        objects={name: schemas[name] for name in objects},
        settings=settings,
    )


def _object_name(reference: str) -> str:
    return reference.removeprefix(_REF)
