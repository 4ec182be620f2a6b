"""All bridges of a server: which may be opened, and what is told of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rooms.support import Floor
from vb.errors import BadRequest, Conflict, NotFound, VbError
from vb.rooms.bridge import Bridge, Direction
from vb.rooms.bridges import MAX_BRIDGES
from vb.rooms.room import Room


@pytest.fixture
def floor() -> Floor:
    return Floor()


def join(
    floor: Floor, room: Room, peer: Room, bridge_id: str | None = None, direction: Direction = "bidirectional"
) -> Bridge:
    name = bridge_id or f"{room.id}-{peer.id}"
    return floor.bridges.open(floor.world.plane, name, room, peer, direction)


def refused(floor: Floor, room: Room, peer: Room, error: type[VbError], bridge_id: str | None = None) -> str:
    """Assert that a bridge is refused and nothing comes of it; returns the words."""
    before, places = len(floor.bridges), floor.world.plane.ports
    floor.events()
    with pytest.raises(error) as caught:
        join(floor, room, peer, bridge_id)
    assert (len(floor.bridges), floor.world.plane.ports, floor.events()) == (before, places, [])
    return caught.value.message


SCOPE: dict[str, Any] = {"bridge_id": "x", "room_a_id": "A", "room_b_id": "B", "app_id": "app-A"}


def test_a_bridge_is_told_from_the_side_of_the_room_that_asked(floor: Floor) -> None:
    a, b = floor.room("A"), floor.room("B")
    bridge = join(floor, a, b, "x", "receive")
    floor.bridges.set_direction(bridge, b, "receive")
    floor.bridges.set_direction(bridge, b, "receive")
    floor.bridges.close(bridge)
    assert floor.events() == [
        {"type": "room.bridged", "direction": "b_to_a", **SCOPE},
        {"type": "room.bridge_updated", "direction": "a_to_b", **SCOPE},
        {"type": "room.bridge_updated", "direction": "a_to_b", **SCOPE},
        {"type": "room.unbridged", **SCOPE},
    ]


def test_a_second_close_says_nothing(floor: Floor) -> None:
    a, b = floor.room("A"), floor.room("B")
    bridge = join(floor, a, b, "x")
    floor.bridges.close(bridge)
    join(floor, a, b, "x")
    floor.events()
    floor.bridges.close(bridge)
    assert floor.events() == []
    assert len(floor.bridges) == 1


def test_two_rooms_have_one_bridge_whoever_asks(floor: Floor) -> None:
    a, b = floor.room("A"), floor.room("B")
    join(floor, a, b)
    assert "already exists" in refused(floor, a, b, Conflict, "other")
    assert "already exists" in refused(floor, b, a, Conflict, "other")


def test_an_id_is_taken_by_one_bridge_of_the_server(floor: Floor) -> None:
    a, b, c, d = (floor.room(name) for name in "ABCD")
    join(floor, a, b, "x")
    assert "x already exists" in refused(floor, c, d, Conflict, "x")


def test_rooms_of_different_rates_are_refused(floor: Floor) -> None:
    a, b = floor.room("A"), floor.room("B", rate_hz=8000)
    assert refused(floor, a, b, BadRequest) == (
        "sample rate mismatch: room A mixes at 16000 Hz, room B at 8000 Hz"
    )


def test_a_ring_is_refused_whatever_its_directions(floor: Floor) -> None:
    a, b, c = (floor.room(name) for name in "ABC")
    join(floor, a, b, direction="send")
    join(floor, c, b, direction="none")
    assert "ring" in refused(floor, c, a, Conflict)
    assert "ring" in refused(floor, a, c, Conflict)


def test_a_bridge_that_is_gone_closes_no_ring(floor: Floor) -> None:
    a, b, c = (floor.room(name) for name in "ABC")
    first = join(floor, a, b)
    join(floor, b, c)
    floor.bridges.close(first)
    assert join(floor, c, a).rooms == (c, a)


def test_a_room_has_so_many_bridges_at_most() -> None:
    floor = Floor(capacity=2 * MAX_BRIDGES + 4)
    hub = floor.room("hub")
    for number in range(MAX_BRIDGES):
        join(floor, hub, floor.room(f"r{number}"))
    assert f"hub has {MAX_BRIDGES}" in refused(floor, floor.room("more"), hub, Conflict)


def test_bridges_are_listed_in_the_order_of_their_creation(floor: Floor) -> None:
    a, b, c = (floor.room(name) for name in "ABC")
    join(floor, b, a, "z")
    join(floor, a, c, "y")
    assert [bridge.id for bridge in floor.bridges.of(a)] == ["z", "y"]
    assert [bridge.id for bridge in floor.bridges.of(c)] == ["y"]


def test_a_bridge_is_found_from_its_own_rooms_only(floor: Floor) -> None:
    a, b, c = (floor.room(name) for name in "ABC")
    bridge = join(floor, a, b, "x")
    assert floor.bridges.get(a, "x") is floor.bridges.get(b, "x") is bridge
    with pytest.raises(NotFound):
        floor.bridges.get(c, "x")
    with pytest.raises(NotFound):
        floor.bridges.get(a, "y")


def test_a_room_that_is_deleted_takes_its_bridges_along_and_no_others(floor: Floor) -> None:
    a, b, c, d = (floor.room(name) for name in "ABCD")
    join(floor, a, b, "x")
    join(floor, c, b, "y")
    join(floor, c, d, "z")
    floor.events()
    floor.bridges.close_all(b, "room_deleted")
    assert [(event["bridge_id"], event["reason"]) for event in floor.events("room.unbridged")] == [
        ("x", "room_deleted"),
        ("y", "room_deleted"),
    ]
    assert [bridge.id for bridge in floor.bridges.of(c)] == ["z"]
    assert floor.bridges.of(a) == floor.bridges.of(b) == []


def test_a_port_of_no_bridge_is_none_of_its_business(floor: Floor) -> None:
    a, b = floor.room("A"), floor.room("B")
    join(floor, a, b)
    port = floor.leg("a", a).port
    assert port is not None
    assert floor.bridges.port_failed(port) is False
    assert len(floor.bridges) == 1


def test_dropped_frames_of_closed_bridges_stay_counted(floor: Floor) -> None:
    a, b = floor.room("A"), floor.room("B")
    bridge = join(floor, a, b)
    floor.run(5)
    a.mix.leave(f"__bridge:{bridge.id}")
    bridge.ports[0].close()
    floor.run(10)
    dropped = floor.bridges.dropped
    assert dropped > 0
    floor.bridges.close(bridge)
    assert floor.bridges.dropped == dropped


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 5)), max_size=40))
def test_whatever_is_opened_and_closed_rooms_form_no_ring(
    steps: list[tuple[bool, int, int]],
) -> None:
    floor = Floor()
    rooms = [floor.room(str(number)) for number in range(6)]
    edges: dict[frozenset[int], Bridge] = {}

    def component(start: int) -> set[int]:
        found, pending = {start}, [start]
        while pending:
            here = pending.pop()
            for edge in edges:
                if here in edge:
                    pending += edge - found
                    found |= edge
        return found

    for opens, one, other in steps:
        pair = frozenset((one, other))
        if not opens:
            bridge = edges.pop(pair, None)
            if bridge is not None:
                floor.bridges.close(bridge)
        elif other in component(one):
            refused(floor, rooms[one], rooms[other], Conflict)
        else:
            edges[pair] = join(floor, rooms[one], rooms[other])
    assert len(floor.bridges) == len(edges)
    assert floor.world.plane.ports == 2 * len(edges)
