"""Spans made of events, and how they are written down for a collector.

Spec: OpenTelemetry Protocol 1.x, OTLP/HTTP with JSON: https://opentelemetry.io/docs/specs/otlp/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from vb.events.agent import AgentConnected, AgentDisconnected, AgentTurn
from vb.events.base import Published
from vb.events.leg import LegConnected, LegDisconnected, LegRinging
from vb.ids import IdSource

Value: TypeAlias = str | int | float | bool
MAX_OPEN: Final = 10_000
"""Calls whose span is open; of more there are no traces."""
SERVER: Final = 2
INTERNAL: Final = 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STEPS: Final = (
    "vad_ms",
    "transcript_ms",
    "endpointing_ms",
    "first_words_ms",
    "first_text_ms",
    "first_audio_ms",
    "first_heard_ms",
)
_UNTOLD: Final = frozenset({"text", "heard", "leg_id", "room_id", "app_id", *_STEPS})
"""What people say stays out of traces; the rest is told in another way."""


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took a while.

    Attributes:
        trace_id: 32 hexadecimal digits, the same for a whole call.
        span_id: 16 of them.
        parent_id: of the span that it is part of; "" for the call itself.
        name: what it was.
        kind: as the protocol numbers them.
        begun_ns: since 1970.
        ended_ns: since 1970.
        attributes: what is known of it.
        steps: what happened in it, and when, in nanoseconds since 1970.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    begun_ns: int
    ended_ns: int
    attributes: Mapping[str, Value] = field(default_factory=dict)
    steps: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class _Open:
    trace_id: str
    span_id: str
    begun_ns: int
    attributes: dict[str, Value]


class Spans:
    """Makes spans of events.

    Args:
        ids: of traces and spans.

    Attributes:
        skipped: calls that have no trace because there were too many.
    """

    def __init__(self, ids: IdSource) -> None:
        self.skipped = 0
        self._ids = ids
        self._open: dict[str, _Open] = {}

    def take(self, published: Published) -> Span | None:
        """Take an event and return the span that ends with it, if one does."""
        event = published.event
        if isinstance(event, LegRinging | LegConnected | AgentConnected):
            self._begin(_key(event), published)
        elif isinstance(event, AgentTurn):
            return self._turn(event, published)
        elif isinstance(event, LegDisconnected):
            reason = str(event.cdr.reason)
            return self._end(_key(event), published, "call", {"vb.reason": reason})
        elif isinstance(event, AgentDisconnected) and event.leg_id is None:
            return self._end(_key(event), published, "room agent", {"vb.reason": event.reason or ""})
        return None

    def _begin(self, key: str, published: Published) -> None:
        if key in self._open:
            return
        if len(self._open) >= MAX_OPEN:
            self.skipped += 1
            return
        kind, _, name = key.partition(" ")
        attributes: dict[str, Value] = {f"vb.{kind}_id": name}
        if published.event.app_id:
            attributes["vb.app_id"] = published.event.app_id
        self._open[key] = _Open(self._ids.token(16), self._ids.token(8), _ns(published), attributes)

    def _end(self, key: str, published: Published, name: str, attributes: Mapping[str, Value]) -> Span | None:
        found = self._open.pop(key, None)
        if found is None:
            return None
        return Span(
            found.trace_id,
            found.span_id,
            "",
            name,
            SERVER,
            found.begun_ns,
            max(found.begun_ns, _ns(published)),
            {**found.attributes, **attributes},
        )

    def _turn(self, event: AgentTurn, published: Published) -> Span | None:
        call = self._open.get(_key(event))
        if call is None:
            return None
        ended_ns = _ns(published)
        begun_ns = ended_ns - event.took_ms * 1_000_000
        told = event.payload()
        steps = [(name, told[name]) for name in _STEPS if name in told]
        return Span(
            call.trace_id,
            self._ids.token(8),
            call.span_id,
            "agent turn",
            INTERNAL,
            begun_ns,
            ended_ns,
            {f"vb.{name}": value for name, value in told.items() if name not in _UNTOLD and _fits(value)},
            tuple((name.removesuffix("_ms"), begun_ns + at_ms * 1_000_000) for name, at_ms in steps),
        )


def _key(event: Any) -> str:
    leg_id = getattr(event, "leg_id", None)
    return f"leg {leg_id}" if leg_id is not None else f"room {event.room_id}"


def _fits(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _ns(published: Published) -> int:
    """Return when an event was published, in nanoseconds since 1970, right to a microsecond."""
    return (datetime.fromisoformat(published.timestamp) - _EPOCH) // timedelta(microseconds=1) * 1000


def write(spans: Iterable[Span], service: str, instance: str) -> bytes:
    """Return the body of a request that brings spans to a collector."""
    resource = _attributes({"service.name": service, "service.instance.id": instance})
    scope = {"scope": {"name": "vb"}, "spans": [_written(span) for span in spans]}
    body = {"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [scope]}]}
    return json.dumps(body).encode()


def _written(span: Span) -> dict[str, Any]:
    parent = {"parentSpanId": span.parent_id} if span.parent_id else {}
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        **parent,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.begun_ns),
        "endTimeUnixNano": str(span.ended_ns),
        "attributes": _attributes(span.attributes),
        "events": [{"timeUnixNano": str(at_ns), "name": name} for name, at_ns in span.steps],
    }


def _attributes(values: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items()]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}  # 64 bits are text in this JSON
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
