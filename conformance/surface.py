"""Names for the parts of the server's interface: operations, commands, events and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping

from conformance.expect import Difference

_PARAMETERS = (
    (re.compile(r"^(/v1/(?:legs(?!/websocket$)|rooms))/[^/]+"), r"\1/{id}"),
    (re.compile(r"^(/v1/rooms/\{id\}/legs)/[^/]+"), r"\1/{legID}"),
    (re.compile(r"/play/[^/]+"), "/play/{playbackID}"),
    (re.compile(r"/tts/(?!preflight$)[^/]+"), "/tts/{ttsID}"),
    (re.compile(r"^(/api/calls)/(?!details$)[^/]+"), r"\1/{id}"),
    (re.compile(r"/bridges/[^/]+"), "/bridges/{bridgeID}"),
)
_SETTING = re.compile(r"^  ([A-Z][A-Z0-9_]+) {2,}\S", re.MULTILINE)
_METHODS = ("get", "put", "post", "patch", "delete")


def operation(method: str, path: str) -> str:
    """A request as the name of its operation, such as ``GET /v1/legs/{id}``."""
    name = path.partition("?")[0]
    for pattern, template in _PARAMETERS:
        name = pattern.sub(template, name)
    return f"{method} {name}"


def _object(parent: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = parent.get(key)
    if not isinstance(found, Mapping):
        raise Difference(f"document: {key}", "an object", found)
    return found


def operations_of(openapi: Mapping[str, object]) -> set[str]:
    """The operations that an OpenAPI document lists.

    Raises:
        Difference: when it lists none.
    """
    paths = _object(openapi, "paths")
    return {f"{m.upper()} {path}" for path in paths for m in _object(paths, path) if m in _METHODS}


def messages_of(asyncapi: Mapping[str, object]) -> tuple[set[str], set[str]]:
    """The commands and the events that an AsyncAPI document lists.

    Raises:
        Difference: when it lists none.
    """
    names = set(_object(_object(asyncapi, "components"), "messages"))
    commands = {name for name in names if f"{name}.result" in names}
    results = {f"{name}.result" for name in commands}
    events = {name for name in names if "." in name} - results
    return commands | (names & {"pong", "stop"}), events


def settings_of(help_text: str) -> set[str]:
    """The settings that the server's own help lists."""
    return set(_SETTING.findall(help_text))
