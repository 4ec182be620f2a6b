"""The OpenAPI document, generated from the registered commands."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from string import Formatter
from typing import Any, Final

from vb.api.calls import RECORDING_PATH
from vb.api.moq import moq_operation
from vb.api.schemas import Schema, SchemaBook, closure, reference
from vb.api.sockets import SOCKETS, SocketRoute
from vb.commands.registry import Command, Route
from vb.moqleg.request import PATH as MOQ_PATH

_DESCRIPTION: Final = """\
Control of calls, rooms, playback and recording. What happens is told by events, over the WebSocket at
`/v1/vsi` and by webhooks; the AsyncAPI document at `/asyncapi.json` describes them.

Unknown fields are ignored and null counts as absent. Every object in a response names the instance that
gave it in `instance_id`. A field marked `x-available: false` belongs to a feature that this server does not
have; a request that sets it is answered with 501."""

_TOKEN: Final = "a token of VB_API_TOKENS; none is asked for when there are none"
_SECURITY: Final[list[dict[str, list[str]]]] = [{"apiKeyAuth": []}, {"bearerAuth": []}]
_ERROR: Final[Schema] = {
    "type": "object",
    "description": "Why a request was refused or failed.",
    "properties": {
        "instance_id": {"type": "string", "description": "the server that answered"},
        "error": {"type": "string", "description": "what is wrong, in words"},
    },
    "required": ["instance_id", "error"],
}
_INSTANCE: Final[Schema] = {
    "type": "object",
    "description": "Which server answered.",
    "properties": {"instance_id": {"type": "string", "description": "the server that answered"}},
    "required": ["instance_id"],
}
_FAILURES: Final = {
    400: "the request is wrong; nothing was done",
    401: "a token is needed",
    403: "not allowed",
    404: "no such leg, room, playback, recording or call",
    405: "the operation has another method",
    409: "the state of the target does not allow it",
    413: "the body is too large",
    426: "an upgrade to a WebSocket is required",
    500: "the server failed",
    501: "a field belongs to a feature that this server does not have",
    503: "no capacity now; try again after Retry-After",
}


def build_openapi(commands: Iterable[Command], version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of some commands."""
    commands = list(commands)
    book = SchemaBook(commands)
    book.components["Error"] = _ERROR
    book.components["Instance"] = _INSTANCE
    paths: dict[str, dict[str, Any]] = {}
    for command in commands:
        operation = _operation(command, book)
        paths.setdefault(command.route.path, {})[command.route.method.lower()] = operation
    paths.update(_pages())
    paths[RECORDING_PATH] = {"get": _recording()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Voice server",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(tag_of(item.route) for item in commands)]
        + [{"name": "server"}],
        "paths": paths,
        "components": {
            "schemas": closure(book.components, paths),
            "securitySchemes": {
                "apiKeyAuth": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": _TOKEN},
                "bearerAuth": {"type": "http", "scheme": "bearer", "description": _TOKEN},
            },
        },
    }


def _recording() -> dict[str, Any]:
    audio = {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}
    return {
        "operationId": "get_call_recording",
        "summary": "Get the recording of a stored call",
        "description": "Audio as it was recorded; ranges of bytes may be asked for.",
        "tags": ["calls"],
        "security": _SECURITY,
        "parameters": [
            {
                "name": "id",
                "in": "path",
                "required": True,
                "description": "call id",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            "200": {"description": "the whole recording", "content": audio},
            "206": {"description": "the part that was asked for", "content": audio},
            "416": {"description": "there is no such part"},
            **{str(status): _failure(status) for status in (401, 403, 404, 409, 501, 503)},
            "default": _failure(None),
        },
    }


def tag_of(route: Route) -> str:
    """Return the heading under which an operation is listed: the first word of its path."""
    return route.path.removeprefix("/v1/").removeprefix("/api/").split("/")[0]


def _operation(command: Command, book: SchemaBook) -> dict[str, Any]:
    properties, required = book.fields(command)
    operation: dict[str, Any] = {
        "operationId": command.name,
        "summary": command.summary,
        "tags": [tag_of(command.route)],
    }
    if command.description:
        operation["description"] = command.description
    parameters = _parameters(command, properties, required)
    if parameters:
        operation["parameters"] = parameters
    if command.route.body:
        path_fields = command.route.path_fields.values()
        operation["requestBody"] = {
            "required": any(name not in path_fields for name in required),
            "content": {"application/json": {"schema": book.body(command)}},
        }
    if command.route.path.startswith("/api/"):
        operation["security"] = _SECURITY
    operation["responses"] = _responses(command, book, properties)
    return operation


def _parameters(command: Command, properties: dict[str, Schema], required: list[str]) -> list[dict[str, Any]]:
    path_fields = command.route.path_fields
    parameters = [
        {"name": name, "in": "path", "required": True, **_described(properties[field])}
        for name, field in path_fields.items()
    ]
    if not command.route.body:
        parameters += [
            {"name": field, "in": "query", "required": field in required, **_described(schema)}
            for field, schema in properties.items()
            if field not in path_fields.values()
        ]
    return parameters


def _described(schema: Schema) -> dict[str, Any]:
    plain = {key: value for key, value in schema.items() if key != "description"}
    return {"description": schema.get("description", ""), "schema": plain}


def _responses(command: Command, book: SchemaBook, properties: dict[str, Schema]) -> dict[str, Any]:
    result = book.result(command)
    if not command.result_is_list:
        result = {"allOf": [reference("Instance"), result]}
    responses: dict[str, Any] = {
        str(command.route.status): {
            "description": HTTPStatus(command.route.status).phrase,
            "content": {"application/json": {"schema": result}},
        }
    }
    statuses = set(command.errors)
    if any(schema.get("x-available") is False for schema in properties.values()):
        statuses.add(501)
    for status in sorted(statuses):
        responses[str(status)] = _failure(status)
    responses["default"] = _failure(None)
    return responses


def _failure(status: int | None) -> dict[str, Any]:
    text = "any other failure" if status is None else _FAILURES.get(status, HTTPStatus(status).phrase)
    response: dict[str, Any] = {
        "description": text,
        "content": {"application/json": {"schema": reference("Error")}},
    }
    if status == 503:
        response["headers"] = {
            "Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}}
        }
    return response


def _pages() -> dict[str, Any]:
    state: Schema = {
        "allOf": [
            reference("Instance"),
            {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]},
        ]
    }
    readable = {"application/json": {"schema": state}}
    return {
        "/v1/vsi": {"get": _vsi()},
        **{route.path: {"get": _socket(route)} for route in SOCKETS},
        MOQ_PATH: {"post": moq_operation(_failure)},
        "/healthz": {"get": _page("healthz", "The process lives", {"200": ("alive", readable)})},
        "/readyz": {
            "get": _page(
                "readyz",
                "The server takes calls",
                {"200": ("it does", readable), "503": ("it starts or stops", readable)},
            )
        },
        "/metrics": {
            "get": _page(
                "metrics",
                "Metrics in the Prometheus text format",
                {"200": ("metrics", {"text/plain": {"schema": {"type": "string"}}})},
            )
        },
    }


def _page(name: str, summary: str, responses: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["server"],
        "responses": {
            status: {"description": text, "content": content} for status, (text, content) in responses.items()
        },
    }


def _socket(route: SocketRoute) -> dict[str, Any]:
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": "identifier",
            "schema": {"type": "string"},
        }
        for _, name, _, _ in Formatter().parse(route.path)
        if name
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, **described}
        for name, described in route.query.items()
    ]
    return {
        "operationId": route.name,
        "summary": route.summary,
        "description": route.description,
        "tags": [route.tag],
        "parameters": parameters,
        "responses": {
            "101": {"description": "the WebSocket is open; its first frame is `connected`"},
            **{str(status): _failure(status) for status in route.errors},
        },
    }


def _vsi() -> dict[str, Any]:
    return {
        "operationId": "vsi",
        "summary": "Open a WebSocket for commands and events",
        "description": "The AsyncAPI document at `/asyncapi.json` describes its frames.",
        "tags": ["server"],
        "parameters": [
            {
                "name": "app_id",
                "in": "query",
                "required": False,
                "description": "regular expression (RE2) that is searched for in each event's app_id; events "
                "without one count as empty",
                "schema": {"type": "string", "maxLength": 256},
            }
        ],
        "responses": {
            "101": {"description": "the WebSocket is open; its first frame is `connected`"},
            "400": _failure(400),
            "426": _failure(426),
        },
    }
