"""Roles and routing of real rooms: what is heard, and what is told."""

from __future__ import annotations

import pytest

from tests.mixer.support import ToneSource, strength
from tests.rooms.support import Floor
from vb.rooms.room import Room
from vb.rooms.routing import RoutingMatrix

SUPERVISED = RoutingMatrix.of({"a": ["c"], "c": ["a"], "s": ["a", "c"]})


@pytest.fixture
def floor() -> Floor:
    return Floor()


@pytest.fixture
def room(floor: Floor) -> Room:
    room = floor.room("r")
    for role in "acs":
        floor.leg(role, room, role=role)
    return room


def test_the_supervisor_is_heard_by_nobody_that_may_not_hear_it(floor: Floor, room: Room) -> None:
    room.set_routing(SUPERVISED, "set")
    assert floor.hearing() == {"a": "c", "c": "a", "s": "ac"}


def test_an_empty_matrix_is_a_full_mesh_again(floor: Floor, room: Room) -> None:
    room.set_routing(SUPERVISED, "set")
    room.set_routing(RoutingMatrix(), "set")
    assert floor.hearing() == {"a": "cs", "c": "as", "s": "ac"}


def test_a_role_changed_in_a_call_changes_what_is_heard(floor: Floor, room: Room) -> None:
    room.set_routing(SUPERVISED, "set")
    floor.run(20)
    room.members["s"].set_role("a")
    assert floor.hearing() == {"a": "c", "c": "as", "s": "c"}


def test_a_role_taken_with_the_join_is_in_force_from_the_first_tick(floor: Floor, room: Room) -> None:
    room.set_routing(SUPERVISED, "set")
    floor.run(20)
    guest = floor.leg("g")
    floor.run(20)
    room.add(guest, "s")
    assert room.mix.plan().hears is not None
    heard_before = len(floor.phones["c"].heard)
    floor.run(40)
    pcm = floor.phones["c"].pcm()[160 * heard_before :]
    assert strength(pcm, floor.phones["g"].hz or 0) < 100
    assert floor.hearing() == {"a": "c", "c": "a", "s": "ac", "g": "ac"}


def test_a_leg_that_leaves_is_heard_by_nobody_and_the_rest_is_as_before(floor: Floor, room: Room) -> None:
    room.set_routing(SUPERVISED, "set")
    floor.run(20)
    room.remove(room.members["a"])
    assert floor.hearing() == {"a": "", "c": "", "s": "c"}


def test_mute_and_deaf_win_over_routing(floor: Floor, room: Room) -> None:
    room.set_routing(SUPERVISED, "set")
    room.members["c"].set_muted(True)
    room.members["a"].set_deaf(True)
    assert floor.hearing() == {"a": "", "c": "a", "s": "a"}


def test_a_held_leg_neither_hears_nor_is_heard(floor: Floor, room: Room) -> None:
    room.members["c"].set_holds(local=True)
    assert floor.hearing() == {"a": "s", "c": "", "s": "a"}


def test_room_playback_passes_every_row(floor: Floor, room: Room) -> None:
    room.set_routing(RoutingMatrix.of({"a": [], "c": [], "s": []}), "set")
    room.mix.add_source(ToneSource(3000))
    assert floor.hearing() == {"a": "", "c": "", "s": ""}
    for name in "acs":
        assert strength(floor.phones[name].pcm(20), 3000) > 3000


def test_a_role_and_its_reason_are_told_once(floor: Floor, room: Room) -> None:
    floor.events()
    leg = room.members["a"]
    leg.set_role("x")
    leg.set_role("x")
    assert floor.events() == [
        {
            "type": "leg.role_changed",
            "leg_id": "a",
            "app_id": "shop",
            "room_id": "r",
            "old_role": "a",
            "new_role": "x",
        },
        {
            "type": "room.routing_changed",
            "room_id": "r",
            "app_id": "app-r",
            "matrix": {},
            "reason": "leg_role_changed",
        },
    ]


def test_a_role_outside_any_room_is_told_without_a_room(floor: Floor) -> None:
    leg = floor.leg("g", role="x")
    leg.set_role("")
    assert floor.events() == [
        {"type": "leg.role_changed", "leg_id": "g", "app_id": "shop", "old_role": "x", "new_role": ""}
    ]


def test_a_join_that_names_a_role_is_told_as_one_change_of_the_routing(floor: Floor, room: Room) -> None:
    guest = floor.leg("g")
    floor.events()
    room.add(guest, "s")
    assert [(event["type"], event.get("reason")) for event in floor.events()] == [
        ("leg.joined_room", None),
        ("room.routing_changed", "leg_joined"),
    ]
    assert guest.role == "s"


def test_a_join_without_a_role_keeps_the_one_that_the_leg_has(floor: Floor, room: Room) -> None:
    guest = floor.leg("g", role="s")
    floor.events()
    room.add(guest)
    assert guest.role == "s"
    assert [event["type"] for event in floor.events()] == ["leg.joined_room"]


def test_a_move_takes_the_new_role_along_and_tells_both_rooms(floor: Floor, room: Room) -> None:
    room.set_routing(SUPERVISED, "set")
    other = floor.room("other")
    other.set_routing(RoutingMatrix.of({"x": []}), "set")
    floor.leg("g", other)
    floor.events()
    other.add(room.members["s"], "x")
    assert [(event["type"], event["room_id"], event.get("reason")) for event in floor.events()] == [
        ("leg.left_room", "r", None),
        ("room.routing_changed", "r", "leg_left"),
        ("leg.joined_room", "other", None),
        ("room.routing_changed", "other", "leg_joined"),
    ]
    assert floor.hearing() == {"a": "c", "c": "a", "s": "", "g": "s"}


@pytest.mark.parametrize(("role", "rows"), [("", SUPERVISED), ("a", RoutingMatrix())])
def test_leaving_says_nothing_of_routing_where_it_changes_nothing(
    floor: Floor, role: str, rows: RoutingMatrix
) -> None:
    room = floor.room("r")
    leg = floor.leg("g", room, role=role)
    room.set_routing(rows, "set")
    floor.events()
    room.remove(leg)
    assert [event["type"] for event in floor.events()] == ["leg.left_room"]


def test_a_dissolved_room_tells_who_left_and_nothing_of_its_routing(floor: Floor, room: Room) -> None:
    room.set_routing(SUPERVISED, "set")
    floor.events()
    for leg in list(room.members.values()):
        room.let_go(leg)
    assert [(event["type"], event["leg_id"]) for event in floor.events()] == [
        ("leg.left_room", "a"),
        ("leg.left_room", "c"),
        ("leg.left_room", "s"),
    ]
    assert room.members == {}


def test_rows_that_apply_to_nobody_leave_the_mesh_as_it_is(floor: Floor, room: Room) -> None:
    room.set_routing(RoutingMatrix.of({"nobody": []}), "set")
    assert room.mix.plan().hears is None
