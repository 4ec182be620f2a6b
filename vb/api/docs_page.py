"""The documentation page: one self-contained HTML file from the same data as the documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from vb.config import SettingRow

_REF: Final = "#/components/schemas/"

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2430; --faint: #5d6878; --page: #fff; --card: #f5f7fa;
  --line: #d9dfe7; --accent: #1457b8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --faint: #9aa5b4; --page: #14181e;
  --card: #1c222b; --line: #333c48; --accent: #7db2ff; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--page); font: 16px/1.5 system-ui, sans-serif;
  display: grid; grid-template-columns: 17rem minmax(0, 1fr); }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1.5rem 1rem;
  border-right: 1px solid var(--line); font-size: .875rem; }
nav h2 { font-size: .75rem; text-transform: uppercase; letter-spacing: .06em; color: var(--faint);
  margin: 1.25rem 0 .25rem; }
nav a { display: block; padding: .1rem 0; overflow-wrap: anywhere; }
main { padding: 2rem clamp(1rem, 4vw, 3.5rem) 6rem; max-width: 62rem; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
h1 { margin: 0 0 .5rem; } h2 { margin: 3rem 0 1rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem 1.25rem;
  margin: 0 0 1rem; scroll-margin-top: 1rem; }
article h3 { margin: 0; font-size: 1.05rem; overflow-wrap: anywhere; } article p { margin: .35rem 0; }
h4 { margin: .9rem 0 .25rem; font-size: .8rem; color: var(--faint); }
code { font: .875em ui-monospace, SFMono-Regular, Consolas, monospace; }
.verb { display: inline-block; min-width: 4.2rem; padding: .05rem .5rem; margin-right: .5rem;
  color: var(--page); background: var(--accent); border-radius: .25rem; text-align: center;
  font: 600 .75rem ui-monospace, monospace; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0;
  border-top: 1px solid var(--line); }
th { color: var(--faint); font-weight: 500; border-top: 0; }
.need { color: var(--accent); font-size: .75rem; } .off { opacity: .6; }
@media (max-width: 50rem) { body { display: block; } nav { position: static; height: auto; border: 0; } }
"""

SIGNALS: Final = ("connected", "ping", "pong", "events_dropped", "error", "stop")

Json = Mapping[str, Any]


def build_page(openapi: Json, asyncapi: Json, settings: Sequence[SettingRow]) -> str:
    """Return the page; everything that comes from outside this module is escaped."""
    operations = [
        (verb.upper(), path, operation)
        for path, verbs in openapi["paths"].items()
        for verb, operation in verbs.items()
    ]
    schemas = {**asyncapi["components"]["schemas"], **openapi["components"]["schemas"]}
    events = {
        name: message
        for name, message in asyncapi["components"]["messages"].items()
        if "$ref" in message["payload"]
    }
    info = openapi["info"]
    parts = [
        _navigation(openapi, operations, events),
        "<main>",
        f"<h1>{escape(info['title'])}</h1><p>Version {escape(info['version'])} · "
        '<a href="/openapi.json">OpenAPI</a> · <a href="/asyncapi.json">AsyncAPI</a></p>',
        _paragraphs(info["description"]),
        _operations(openapi, operations, schemas),
        '<h2 id="vsi">Commands and frames of the WebSocket</h2>',
        _paragraphs(asyncapi["info"]["description"]),
        "<p>Each operation above is a command whose <code>type</code> is its name.</p>",
        *(_signal(name, asyncapi["components"]["messages"][name]) for name in SIGNALS),
        '<h2 id="events">Events</h2>',
        *(_event(name, message, schemas) for name, message in events.items()),
        '<h2 id="schemas">Objects</h2>',
        *(_schema(name, schemas[name]) for name in _objects(schemas, events)),
        '<h2 id="settings">Settings</h2>',
        _settings(settings),
        "</main>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>"
        + "".join(parts)
        + "</body></html>\n"
    )


def _navigation(openapi: Json, operations: list[tuple[str, str, Json]], events: Json) -> str:
    parts = ["<nav>"]
    for tag in openapi["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2>")
        parts += [
            _link(f"op-{operation['operationId']}", operation["operationId"])
            for _, _, operation in operations
            if tag["name"] in operation["tags"]
        ]
    parts += ["<h2>Events</h2>", *(_link(f"event-{name}", name) for name in events)]
    parts.append("<h2>More</h2>")
    parts += [_link("vsi", "WebSocket"), _link("schemas", "Objects"), _link("settings", "Settings")]
    return "".join(parts) + "</nav>"


def _link(target: str, text: str) -> str:
    return f'<a href="#{escape(target)}">{escape(text)}</a>'


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_prose(block)}</p>" for block in text.split("\n\n") if block.strip())


def _prose(text: str) -> str:
    """Escape text and set what stands between back-ticks as code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))


def _operations(openapi: Json, operations: list[tuple[str, str, Json]], schemas: Json) -> str:
    parts: list[str] = []
    for tag in openapi["tags"]:
        parts.append(f"<h2>{escape(tag['name'].capitalize())}</h2>")
        parts += [_operation(*item, schemas) for item in operations if tag["name"] in item[2]["tags"]]
    return "".join(parts)


def _operation(verb: str, path: str, operation: Json, schemas: Json) -> str:
    name = escape(operation["operationId"])
    parts = [
        f'<article id="op-{name}">',
        f'<h3><span class="verb">{escape(verb)}</span><code>{escape(path)}</code></h3>',
        f"<p><code>{name}</code> · {_prose(operation['summary'])}</p>",
        _paragraphs(operation.get("description", "")),
    ]
    parameters = {
        item["name"]: {**item["schema"], "description": item.get("description", "")}
        for item in operation.get("parameters", [])
    }
    required = [item["name"] for item in operation.get("parameters", []) if item["required"]]
    if parameters:
        parts.append("<h4>Path and query</h4>" + _fields(parameters, required))
    if "requestBody" in operation:
        body = _resolve(operation["requestBody"]["content"]["application/json"]["schema"], schemas)
        parts.append("<h4>Body</h4>" + _fields(body.get("properties", {}), body.get("required", [])))
    parts.append("<h4>Answers</h4>" + _responses(operation["responses"]) + "</article>")
    return "".join(parts)


def _responses(responses: Json) -> str:
    rows = []
    for status, response in responses.items():
        kinds = [_kind(item["schema"]) for item in response.get("content", {}).values()]
        rows.append((f"<code>{escape(status)}</code>", _prose(response["description"]), ", ".join(kinds)))
    return _table(("Status", "Meaning", "Body"), rows)


def _event(name: str, message: Json, schemas: Json) -> str:
    schema = _resolve(message["payload"], schemas)
    return (
        f'<article id="event-{escape(name)}"><h3><code>{escape(name)}</code></h3>'
        f"<p>{_prose(message['summary'])}</p>"
        + _fields(schema["properties"], schema.get("required", []))
        + "</article>"
    )


def _signal(name: str, message: Json) -> str:
    payload = message["payload"]
    return (
        f'<article id="frame-{escape(name)}"><h3><code>{escape(name)}</code></h3>'
        f"<p>{_prose(message['summary'])}</p>"
        + _fields(payload["properties"], payload["required"])
        + "</article>"
    )


def _schema(name: str, schema: Json) -> str:
    return (
        f'<article id="schema-{escape(name)}"><h3><code>{escape(name)}</code></h3>'
        + _paragraphs(schema.get("description", ""))
        + _fields(schema.get("properties", {}), schema.get("required", []))
        + "</article>"
    )


def _objects(schemas: Json, events: Json) -> list[str]:
    """Return the schemas that have not been shown in full with an operation or event."""
    shown = {message["payload"]["$ref"].removeprefix(_REF) for message in events.values()}
    return sorted(name for name in schemas if name not in shown and not name.endswith("Body"))


def _fields(properties: Json, required: Iterable[str]) -> str:
    needed = set(required)
    rows = []
    for name, schema in properties.items():
        label = f"<code>{escape(name)}</code>"
        if name in needed:
            label += ' <span class="need">required</span>'
        if schema.get("x-available") is False:
            label = f'<span class="off">{label}</span>'
        rows.append((label, _kind(schema), _prose(schema.get("description", "")) + _limits(schema)))
    return _table(("Field", "Type", "Meaning"), rows) if rows else "<p>no fields</p>"


def _limits(schema: Json) -> str:
    notes = []
    if "enum" in schema:
        notes.append("one of " + ", ".join(f"<code>{escape(str(item))}</code>" for item in schema["enum"]))
    if "const" in schema:
        notes.append(f"always <code>{escape(str(schema['const']))}</code>")
    if "minimum" in schema:
        notes.append(f"from {escape(str(schema['minimum']))}")
    if "maximum" in schema:
        notes.append(f"to {escape(str(schema['maximum']))}")
    if "default" in schema:
        notes.append(f"default <code>{escape(str(schema['default']))}</code>")
    return f" <small>({'; '.join(notes)})</small>" if notes else ""


def _kind(schema: Json) -> str:
    """Return the type of a schema, linked to the object it names."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    if "allOf" in schema:
        return " + ".join(_kind(item) for item in schema["allOf"])
    if "anyOf" in schema:
        return " or ".join(_kind(item) for item in schema["anyOf"])
    kind = escape(str(schema.get("type", "any")))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_kind(schema['additionalProperties'])}"
    return kind


def _resolve(schema: Json, schemas: Json) -> Json:
    if "$ref" in schema:
        resolved: Json = schemas[schema["$ref"].removeprefix(_REF)]
        return resolved
    return schema


def _settings(settings: Sequence[SettingRow]) -> str:
    rows = [
        (
            f"<code>{escape(row.name)}</code>",
            escape(row.kind),
            f"<code>{escape(row.default)}</code>",
            _prose(row.meaning),
        )
        for row in settings
    ]
    return _table(("Variable", "Type", "Default", "Meaning"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{text}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
