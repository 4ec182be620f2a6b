"""What a scenario sent, and what it looked at of that which it got, field by field.

A note is ``POST /v1/legs > ring_timeout`` for a field of a request that the server carried out,
``POST /v1/legs < state`` for one of an answer that the scenario read, ``POST /v1/legs = 404`` for a status,
and ``POST /v1/legs ! streams`` for a field of a request that was refused as not available. Commands and
events stand in the place of the operation. Members of nested objects and of the items of lists follow a dot;
``field=value`` notes a short value as well.
"""

from __future__ import annotations

import json
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import TypeVar

MAX_VALUE = 40
"""Characters of a value worth a note; longer ones stand in no list of values."""
MAX_DEPTH = 12
D = TypeVar("D")


class Notes(set[str]):
    """The notes of one scenario."""

    def sent(self, name: str, body: object) -> None:
        """Notes every field of a request that worked; ``body`` may also be its JSON text."""
        self._take(f"{name} > ", body)

    def unbuilt(self, name: str, body: object) -> None:
        """Notes every field of a request that the server refused as belonging to what it does not have."""
        self._take(f"{name} ! ", body)

    def _take(self, before: str, body: object) -> None:
        if isinstance(body, str | bytes):
            try:
                body = json.loads(body)
            except (ValueError, RecursionError):
                return
        if isinstance(body, Mapping):
            self.update(f"{before}{path}" for path in _paths(body, "", MAX_DEPTH))

    def answered(self, name: str, status: int) -> None:
        """Notes a status."""
        self.add(f"{name} = {status}")

    def reading(self, name: str, value: D) -> D:
        """The value as one that takes notes of what is read of it."""
        return _wrapped(value, f"{name} < ", self)


def _shown(path: str, value: object) -> Iterator[str]:
    """A field, and its value where that is short."""
    yield path
    if isinstance(value, str | int | float) and len(str(value)) <= MAX_VALUE:
        yield f"{path}={json.dumps(value) if isinstance(value, bool) else value}"


def _paths(value: object, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, Mapping) and depth:
        for key, inner in value.items():
            where = f"{path}.{key}" if path else str(key)
            yield from _shown(where, inner)
            yield from _paths(inner, where, depth - 1)
    elif isinstance(value, list) and depth:
        for item in value:
            yield from _shown(path, item)
            yield from _paths(item, path, depth - 1)


class Seen(dict[str, object]):
    """A JSON object that notes which of its members somebody looked at."""

    def __init__(self, members: Mapping[str, object], prefix: str, notes: Notes) -> None:
        super().__init__((key, _wrapped(value, f"{prefix}{key}.", notes)) for key, value in members.items())
        self._prefix = prefix
        self._notes = notes

    def _note(self, key: str) -> None:
        value = dict.get(self, key)
        for item in value if isinstance(value, list) else [value]:
            self._notes.update(_shown(f"{self._prefix}{key}", item))

    def _note_all(self) -> None:
        for key in dict.keys(self):
            self._note(key)

    def __getitem__(self, key: str) -> object:
        value = super().__getitem__(key)
        self._note(key)
        return value

    def get(self, key: str, default: object = None) -> object:
        """As of any dict."""
        if key not in self:
            return default
        return self[key]

    def items(self) -> ItemsView[str, object]:  # type: ignore[override]
        """As of any dict."""
        self._note_all()
        return super().items()

    def values(self) -> ValuesView[object]:  # type: ignore[override]
        """As of any dict."""
        self._note_all()
        return super().values()

    def __eq__(self, other: object) -> bool:
        self._note_all()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None


def _wrapped(value: D, prefix: str, notes: Notes) -> D:
    made: object = value
    if isinstance(value, dict):
        made = Seen(value, prefix, notes)
    elif isinstance(value, list):
        made = [_wrapped(item, prefix, notes) for item in value]
    return made  # type: ignore[return-value]
