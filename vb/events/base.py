"""The event base class: one flat JSON object of payload and envelope.

An event is defined once, as a pydantic class with its dotted type. Webhooks, VSI, metrics, the library and
the AsyncAPI document are views of that class.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

WITHOUT_DOCSTRINGS: Final = 2
"""The level of optimization at which Python leaves docstrings out."""

CATALOG: dict[str, type[Event]] = {}


class Event(BaseModel):
    """Something that happened; the envelope is added when it is published."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    type: ClassVar[str] = ""

    app_id: str | None = None

    def __init_subclass__(cls, *, type: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if type is None:
            return
        if type in CATALOG:
            raise TypeError(f"event {type} is defined twice")
        if sys.flags.optimize < WITHOUT_DOCSTRINGS and not (cls.__doc__ or "").strip():
            raise TypeError(f"event {type} needs a docstring")
        cls.type = type
        CATALOG[type] = cls

    def payload(self) -> dict[str, Any]:
        """Return the fields that are set, under their public names."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def written(self) -> bytes:
        """Return the payload as compact JSON.

        Raises:
            ValueError: a text in it is no Unicode.
        """
        return self.__pydantic_serializer__.to_json(self, by_alias=True, exclude_none=True)


class LegEvent(Event):
    """An event of one leg."""

    leg_id: str


class RoomEvent(Event):
    """An event of one room."""

    room_id: str


class BridgeEvent(Event):
    """An event of a bridge between two rooms."""

    bridge_id: str
    room_a_id: str
    room_b_id: str

    @property
    def room_id(self) -> str:
        """Room A, at which the bridge was created: its webhook gets the event."""
        return self.room_a_id


class LegOrRoomEvent(Event):
    """An event of a leg's operation or a room's operation: exactly one of both ids is set."""

    leg_id: str | None = None
    room_id: str | None = None


@dataclass(slots=True)
class Published:
    """An event with its envelope, as every subscriber sees it.

    `body` is serialised once, when the first subscriber asks for it, and so are the fields.
    """

    event: Event
    event_id: str
    timestamp: str
    instance_id: str
    _json: bytes | None = None
    _fields: dict[str, Any] | None = None

    @property
    def leg_id(self) -> str | None:
        """The leg that the event is about, if any."""
        return getattr(self.event, "leg_id", None)

    @property
    def room_id(self) -> str | None:
        """The room that the event is about, if any."""
        return getattr(self.event, "room_id", None)

    def as_dict(self) -> dict[str, Any]:
        """Return the flat object that clients receive; who changes it changes his own."""
        if self._fields is None:
            self._fields = self.event.payload()
        return {
            "type": self.event.type,
            "timestamp": self.timestamp,
            "instance_id": self.instance_id,
            "event_id": self.event_id,
            **self._fields,
        }

    @property
    def body(self) -> bytes:
        """The flat object as compact JSON."""
        if self._json is None:
            self._json = self._written()
        return self._json

    def _written(self) -> bytes:
        """Write the event straight from its class; what pydantic cannot write goes by way of the fields.

        Raises:
            ValueError: it cannot be written as JSON at all.
        """
        try:
            fields = self.event.written()
        except ValueError:
            return _dump(self.as_dict())
        head = (
            f'{{"type":"{self.event.type}","timestamp":"{self.timestamp}",'
            f'"instance_id":{_string(self.instance_id)},"event_id":"{self.event_id}"'
        ).encode()
        return head + b"," + fields[1:] if len(fields) > len(b"{}") else head + b"}"


@lru_cache(maxsize=8)
def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
