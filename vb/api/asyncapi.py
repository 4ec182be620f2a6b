"""The AsyncAPI document, generated from the registered commands and the event catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from vb.api.schemas import Schema, SchemaBook, closure, reference
from vb.commands.registry import Command
from vb.events.base import Event

_DESCRIPTION: Final = """\
Commands and events over one WebSocket at `/v1/vsi`. The first frame is `connected`. A command is a text frame
with `type`, an optional `request_id` and a `payload`; its answer repeats the `request_id`. Commands of one
connection run one after the other. Every client gets every event, filtered by the query parameter `app_id`.
Webhooks carry the same event objects."""

_CHANNEL: Final = "#/channels/vsi"
_REQUEST_ID: Final[Schema] = {"type": "string", "description": "repeated in the answer"}
_ENVELOPE: Final[dict[str, Schema]] = {
    "timestamp": {"type": "string", "format": "date-time", "description": "time of publication, UTC"},
    "instance_id": {"type": "string", "description": "the server that published it"},
    "event_id": {
        "type": "string",
        "format": "uuid",
        "description": "same for every receiver and every retry",
    },
}


def build_asyncapi(
    commands: Iterable[Command], events: Mapping[str, type[Event]], version: str
) -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of some commands and events."""
    commands = [command for command in commands if command.vsi]
    book = SchemaBook(commands, events.values())
    document = _Document(book)
    for command in commands:
        document.add_command(command)
    for kind, event in events.items():
        document.add_event(kind, event)
    document.add_signals()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Voice server",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {"vsi": document.channel()},
        "operations": document.operations,
        "components": {
            "messages": document.messages,
            "schemas": closure(book.components, document.messages),
        },
    }


class _Document:
    """Messages and operations as they grow."""

    def __init__(self, book: SchemaBook) -> None:
        self._book = book
        self.messages: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}

    def channel(self) -> dict[str, Any]:
        return {
            "address": "/v1/vsi",
            "title": "VSI",
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in self.messages},
            "bindings": {
                "ws": {
                    "method": "GET",
                    "query": {
                        "type": "object",
                        "properties": {
                            "app_id": {
                                "type": "string",
                                "description": "regular expression searched for in each event's app_id",
                            }
                        },
                    },
                }
            },
        }

    def add_command(self, command: Command) -> None:
        name = command.name
        result = f"{name}.result"
        payload = {"payload": self._book.params(command)}
        self._message(name, command.summary, {**payload, "request_id": _REQUEST_ID}, self._needs(command))
        self._message(
            result,
            f"Success of {name}",
            {"request_id": _REQUEST_ID, "data": self._book.result(command)},
            ["data"],
        )
        operation = self._operation("receive", name, command.summary)
        if command.description:
            operation["description"] = command.description
        operation["reply"] = {
            "channel": {"$ref": _CHANNEL},
            "messages": [_message_reference(result), _message_reference("error")],
        }
        self.operations[name] = operation

    def _needs(self, command: Command) -> list[str]:
        return ["payload"] if self._book.fields(command)[1] else []

    def add_event(self, kind: str, event: type[Event]) -> None:
        written = self._book.written(event)
        properties = dict(written.get("properties", {}))
        schema_name = event.__name__
        self._book.components[schema_name] = {
            **written,
            "title": schema_name,
            "properties": {"type": {"type": "string", "const": kind}, **_ENVELOPE, **properties},
            "required": ["type", *_ENVELOPE, *written.get("required", [])],
        }
        summary = str(written.get("description", kind)).partition("\n")[0]
        self.messages[kind] = _message(kind, summary, reference(schema_name))
        self.operations[kind] = self._operation("send", kind, summary)

    def add_signals(self) -> None:
        """Add the frames that are neither commands nor events."""
        count: Schema = {"type": "integer", "minimum": 1}
        self._message("connected", "The first frame of the server", {}, [])
        self._message(
            "ping",
            "Sent every 30 seconds; an answer is welcome but not needed",
            {"seq": {**count, "description": "counts pings from 1"}, "event_id": count},
            ["seq", "event_id"],
        )
        self._message(
            "events_dropped",
            "Events were dropped because the client reads slowly",
            {"count": count},
            ["count"],
        )
        failure: Schema = {
            "type": "object",
            "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
            "required": ["code", "message"],
        }
        self._message(
            "error", "A command was refused or failed", {"request_id": _REQUEST_ID, "data": failure}, ["data"]
        )
        for name in ("connected", "ping", "events_dropped", "error"):
            self.operations[name] = self._operation("send", name, self.messages[name]["summary"])
        for name, summary in {"pong": "Answer to a ping", "stop": "Close the connection"}.items():
            self._message(name, summary, {}, [])
            self.operations[name] = self._operation("receive", name, summary)

    def _message(self, name: str, summary: str, properties: dict[str, Schema], required: list[str]) -> None:
        payload: Schema = {
            "type": "object",
            "properties": {"type": {"type": "string", "const": name}, **properties},
            "required": ["type", *required],
        }
        self.messages[name] = _message(name, summary, payload)

    def _operation(self, action: str, name: str, summary: str) -> dict[str, Any]:
        return {
            "action": action,
            "channel": {"$ref": _CHANNEL},
            "summary": summary,
            "messages": [_message_reference(name)],
        }


def _message(name: str, summary: str, payload: Schema) -> dict[str, Any]:
    return {"name": name, "title": name, "summary": summary, "payload": payload}


def _message_reference(name: str) -> dict[str, str]:
    return {"$ref": f"{_CHANNEL}/messages/{name}"}
