"""Notes of fields, the fields of the server's documents, the ledger of both, and twins over VSI."""

import operator
from typing import Any

from conformance.expect import ABSENT, check
from conformance.field_ledger import check_field_run, check_fields
from conformance.fields import Place, groups, places
from conformance.peers.http import HttpClient, Reply
from conformance.registry import Scenario
from conformance.runner import Outcome
from conformance.seen import Notes
from conformance.surface import operation
from conformance.twins import as_command, command_of, twin
from conformance.world import World


def test_what_is_sent_is_noted_with_its_values() -> None:
    notes = Notes()
    notes.sent(
        "POST /v1/legs", {"type": "sip", "amd": {"beep_timeout": 5}, "codecs": ["PCMU", "opus"], "rtt": True}
    )
    assert notes == {
        "POST /v1/legs > type",
        "POST /v1/legs > type=sip",
        "POST /v1/legs > amd",
        "POST /v1/legs > amd.beep_timeout",
        "POST /v1/legs > amd.beep_timeout=5",
        "POST /v1/legs > codecs",
        "POST /v1/legs > codecs=PCMU",
        "POST /v1/legs > codecs=opus",
        "POST /v1/legs > rtt",
        "POST /v1/legs > rtt=true",
    }


def test_a_body_that_is_text_is_read_and_one_that_is_no_json_is_not() -> None:
    notes = Notes()
    notes.sent("X", '{"a": null}')
    notes.sent("X", "{")
    notes.sent("X", b"[1]")
    assert notes == {"X > a"}


def test_only_what_was_looked_at_is_noted() -> None:
    notes = Notes()
    told: dict[str, Any] = {"from": "a", "to": "b", "codecs": [{"name": "opus", "rate": 1}]}
    frame = notes.reading("leg.ringing", told)
    assert notes == set()
    check("frame", frame, {"from": "a", "gone": ABSENT})
    assert notes == {"leg.ringing < from", "leg.ringing < from=a"}
    assert frame["codecs"][0]["name"] == "opus"
    assert "leg.ringing < codecs.name" in notes
    assert "leg.ringing < codecs.rate" not in notes
    assert "leg.ringing < to" not in notes


def test_comparing_a_whole_object_looks_at_all_of_it() -> None:
    for compare in (operator.eq, operator.ne):
        notes = Notes()
        compare(notes.reading("X", {"a": {"b": 1}}), {"a": {"b": 2}})
        assert {"X < a", "X < a.b"} <= notes


def test_an_answer_that_is_an_array_is_noted_by_its_items() -> None:
    notes = Notes()
    reply = Reply("GET /v1/legs", 200, (("retry-after", "1"),), b'[{"id": "x"}]', notes)
    listed = reply.json
    assert isinstance(listed, list)
    assert listed[0]["id"] == "x"
    reply.header("Retry-After")
    reply.header("Allow")
    assert notes == {"GET /v1/legs < id", "GET /v1/legs < id=x", "headers < Retry-After"}


LEG = {
    "type": "object",
    "properties": {"state": {"enum": ["held"]}, "room": {"$ref": "#/components/schemas/Room"}},
}
ROOM = {"properties": {"id": {}, "legs": {"type": "array", "items": {"$ref": "#/components/schemas/Leg"}}}}
BODY = {"properties": {"to": {}, "streams": {"x-available": False}, "amd": {"properties": {"beep": {}}}}}
OPERATION = {
    "parameters": [{"in": "query", "name": "rate", "schema": {"enum": [8000]}}, {"in": "path", "name": "id"}],
    "requestBody": {"content": {"application/json": {"schema": BODY}}},
    "responses": {
        "201": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Leg"}}}},
        "default": {},
    },
}
OPENAPI = {"paths": {"/v1/legs": {"post": OPERATION}}, "components": {"schemas": {"Leg": LEG, "Room": ROOM}}}
ASYNCAPI = {
    "components": {
        "schemas": OPENAPI["components"]["schemas"],  # type: ignore[index]  # a mapping
        "messages": {
            "get_leg": {"payload": {"properties": {"payload": {"properties": {"id": {}}}}}},
            "get_leg.result": {"payload": {"properties": {"data": {"$ref": "#/components/schemas/Leg"}}}},
            "leg.hold": {"payload": {"properties": {"timestamp": {}, "leg_id": {}}}},
            "stop": {"payload": {"properties": {"type": {}}}},
        },
    }
}


def test_fields_are_read_from_the_documents() -> None:
    found = groups(places(OPENAPI, ASYNCAPI))
    assert found["POST /v1/legs"] == {"rate", "rate=8000", "to", "streams", "amd", "amd.beep", "201"}
    assert found["Leg"] == {"state", "state=held", "room"}
    assert found["Room"] == {"id", "legs"}
    assert found["get_leg"] == {"id"}
    assert found["leg.hold"] == {"leg_id"}
    assert found["every event"] == {"timestamp"}
    assert "stop" not in found


def test_notes_lead_to_fields_wherever_they_come_from() -> None:
    found = places(OPENAPI, ASYNCAPI)
    assert found["POST /v1/legs < room.id"] == Place("POST /v1/legs < room.id", "Room", "id")
    assert found["get_leg.result < data.state"].group == "Leg"
    assert found["POST /v1/legs ! streams"].field == "streams"
    assert "POST /v1/legs > streams" not in found


async def _nothing(world: World) -> None:
    del world


CALLS = {"calls": Scenario("calls", "what", _nothing)}
PLACES = {"X > a": Place("X > a", "X", "a"), "X > b": Place("X > b", "X", "b")}


def test_a_field_is_shown_or_has_a_reason() -> None:
    whole = {"X": {"calls": "a"}, "unshown": {"X b": "nobody can"}}
    assert check_fields(whole, CALLS, PLACES) == []
    assert check_fields({"X": {"calls": "a"}}, CALLS, PLACES) == ["[fields] nothing shows X b"]
    assert check_fields({"X": {"calls": "a b c"}}, CALLS, PLACES) == ["[fields] X c: the server has none"]
    assert check_fields({"X": {"nobody": "a b"}}, CALLS, PLACES) == ["[fields] X: there is no nobody"]


def test_a_reason_that_excuses_nothing_is_told() -> None:
    shown = {"X": {"calls": "a b"}, "unshown": {"X *": "never"}}
    assert check_fields(shown, CALLS, PLACES) == ["[fields] X *: no field that nothing shows is named so"]
    assert check_fields({"unshown": {"X *": ""}}, CALLS, PLACES) == ["[fields] X *: no reason"]
    tests = {"unshown": {"X *": ["tests/test_boundaries.py::test_nobody"]}}
    assert check_fields(tests, CALLS, PLACES) == [
        "[fields] X *: there is no tests/test_boundaries.py::test_nobody"
    ]


def test_a_scenario_that_does_not_touch_its_field_is_told() -> None:
    ledger = {"X": {"calls": "a b"}}
    passed = Outcome("calls", "what", 1.0, fields=("X > a",))
    assert check_field_run(ledger, PLACES, [passed]) == ["[fields] X b: calls does not touch it"]
    assert check_field_run(ledger, PLACES, [Outcome("calls", "what", 1.0, where="here")]) == []


def test_a_request_becomes_its_command() -> None:
    assert as_command("POST", "/v1/rooms/a/bridges", {"room_id": "b", "id": "x"}) == (
        "bridge_create",
        {"room_id": "a", "peer_room_id": "b", "bridge_id": "x"},
    )
    assert as_command("PATCH", "/v1/legs/l/play/p", {"volume": 1}) == (
        "leg_play_volume",
        {"id": "l", "playback_id": "p", "volume": 1},
    )
    assert as_command("POST", "/v1/legs/l/ice-candidates", {"candidate": "c"}) == (
        "webrtc_add_candidate",
        {"id": "l", "candidate": {"candidate": "c"}},
    )
    assert as_command("PATCH", "/v1/legs/l/role", {"role": ""}) == (
        "set_leg_role",
        {"leg_id": "l", "role": ""},
    )
    assert as_command("GET", "/v1/rooms/a/routing", None) == ("room_routing_get", {"id": "a"})
    assert as_command("POST", "/v1/legs", "{") is None
    assert command_of(operation("GET", "/healthz")) is None


async def _over_vsi(world: World) -> None:
    assert world.over_vsi


def test_a_twin_keeps_what_its_scenario_needs() -> None:
    item = Scenario("calls", "what", _over_vsi, env={"A": "1"}, own_server=True, timeout_s=9.0)
    made = twin(item)
    assert (made.name, made.env, made.own_server, made.timeout_s) == ("calls_vsi", {"A": "1"}, True, 9.0)


async def test_a_client_keeps_its_notes_together() -> None:
    notes = Notes()
    assert HttpClient("127.0.0.1", 1, (), notes).notes is notes
