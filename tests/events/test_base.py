from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from vb.events import base
from vb.events.base import Event, LegEvent, Published
from vb.events.catalog import all_events
from vb.events.leg import Cdr, LegDisconnected, LegRinging, OfferedCodecInfo
from vb.events.room import RoomCreated


def published(event: Event) -> Published:
    return Published(event, "e-1", "2026-01-01T00:00:00Z", "inst")


def test_an_event_is_one_flat_object_of_envelope_and_payload() -> None:
    event = LegRinging(
        leg_id="a",
        from_="bob",
        offered_codecs=(OfferedCodecInfo(name="PCMU", payload_type=0, clock_rate=8000, priority=1),),
    )
    assert published(event).as_dict() == {
        "type": "leg.ringing",
        "timestamp": "2026-01-01T00:00:00Z",
        "instance_id": "inst",
        "event_id": "e-1",
        "leg_id": "a",
        "from": "bob",
        "offered_codecs": [{"name": "PCMU", "payload_type": 0, "clock_rate": 8000, "priority": 1}],
    }


def test_absent_fields_have_no_key() -> None:
    cdr = Cdr(reason="x", duration_total=1.0, duration_answered=0)
    assert set(LegDisconnected(leg_id="a", cdr=cdr).payload()) == {"leg_id", "cdr"}


def test_the_body_is_compact_json_and_made_once() -> None:
    event = published(RoomCreated(room_id="zimmer ü"))
    assert json.loads(event.body) == event.as_dict()
    assert "zimmer ü".encode() in event.body
    assert event.body is event.body


def test_half_a_surrogate_pair_cannot_break_the_body() -> None:
    assert b'"room_id":"?"' in published(RoomCreated(room_id="\ud800")).body


def test_an_event_knows_its_scope() -> None:
    assert (published(RoomCreated(room_id="r")).room_id, published(RoomCreated(room_id="r")).leg_id) == (
        "r",
        None,
    )


def test_events_cannot_be_changed_or_given_unknown_fields() -> None:
    with pytest.raises(ValidationError):
        RoomCreated.model_validate({"room_id": "r", "other": 1})
    with pytest.raises(ValidationError):
        RoomCreated(room_id="r").room_id = "s"  # type: ignore[misc]  # the assignment is the test


def test_a_type_is_defined_once_and_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CATALOG", dict(base.CATALOG))
    with pytest.raises(TypeError, match="twice"):

        class Again(LegEvent, type="leg.ringing"):
            """A copy."""

    with pytest.raises(TypeError, match="docstring"):

        class Undescribed(LegEvent, type="leg.undescribed"):
            pass


def test_every_event_has_a_dotted_type_and_a_description() -> None:
    for kind, event in all_events().items():
        assert event.type == kind
        assert kind.count(".") == 1
        assert (event.__doc__ or "").strip()
