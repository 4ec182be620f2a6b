"""One bridge between two rooms, on a plane in virtual time."""

from __future__ import annotations

import numpy as np
import pytest

from tests.mixer.support import Broken, ListSink, ToneSource, strength
from tests.rooms.support import Floor
from vb.mixer.columns import PlaneFull
from vb.rooms.bridge import QUEUE_FRAMES, Bridge, Conduit, Direction
from vb.rooms.room import Room
from vb.rooms.routing import RoutingMatrix


def frame(value: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.full(320, value, np.int16)


def test_a_conduit_gives_frames_in_their_order_and_then_nothing() -> None:
    conduit = Conduit()
    conduit.push(frame(1), 16000)
    conduit.push(frame(2), 16000)
    taken = [conduit.take(16000) for _ in range(3)]
    assert [None if item is None else int(item[0]) for item in taken] == [1, 2, None]


def test_a_full_conduit_drops_the_oldest_frame_and_counts_it() -> None:
    conduit = Conduit()
    for value in range(QUEUE_FRAMES + 2):
        conduit.push(frame(value), 16000)
    oldest = conduit.take(16000)
    assert oldest is not None
    assert int(oldest[0]) == 2
    assert conduit.dropped == 2


def test_a_conduit_keeps_a_copy_of_what_it_was_lent() -> None:
    conduit, lent = Conduit(), frame(1)
    conduit.push(lent, 16000)
    lent[:] = 9
    taken = conduit.take(16000)
    assert taken is not None
    assert int(taken[0]) == 1


def test_a_closed_conduit_takes_and_gives_nothing() -> None:
    conduit = Conduit()
    conduit.push(frame(1), 16000)
    conduit.close()
    conduit.close()
    conduit.push(frame(2), 16000)
    assert conduit.take(16000) is None
    assert conduit.finished


@pytest.fixture
def floor() -> Floor:
    return Floor()


@pytest.fixture
def rooms(floor: Floor) -> tuple[Room, Room]:
    a, b = floor.room("A"), floor.room("B")
    floor.leg("a", a)
    floor.leg("b", b)
    floor.run(20)
    return a, b


def join(floor: Floor, room: Room, peer: Room, direction: Direction = "bidirectional") -> Bridge:
    return floor.bridges.open(floor.world.plane, f"{room.id}-{peer.id}", room, peer, direction)


@pytest.mark.parametrize(
    ("direction", "wanted"),
    [
        ("bidirectional", {"a": "b", "b": "a"}),
        ("send", {"a": "", "b": "a"}),
        ("receive", {"a": "b", "b": ""}),
        ("none", {"a": "", "b": ""}),
    ],
)
def test_audio_goes_where_the_direction_says(
    floor: Floor, rooms: tuple[Room, Room], direction: Direction, wanted: dict[str, str]
) -> None:
    join(floor, *rooms, direction)
    assert floor.hearing() == wanted


def test_a_direction_may_change_while_people_talk(floor: Floor, rooms: tuple[Room, Room]) -> None:
    bridge = join(floor, *rooms)
    assert floor.hearing() == {"a": "b", "b": "a"}
    bridge.set_direction(rooms[0], "receive")
    assert floor.hearing() == {"a": "b", "b": ""}
    bridge.set_direction(rooms[1], "receive")
    assert floor.hearing() == {"a": "", "b": "a"}
    bridge.set_direction(rooms[0], "bidirectional")
    assert floor.hearing() == {"a": "b", "b": "a"}


@pytest.mark.parametrize(
    ("direction", "flow", "from_b"),
    [
        ("bidirectional", "bidirectional", "bidirectional"),
        ("send", "a_to_b", "receive"),
        ("receive", "b_to_a", "send"),
        ("none", "none", "none"),
    ],
)
def test_each_room_sees_the_direction_from_its_own_side(
    floor: Floor, rooms: tuple[Room, Room], direction: Direction, flow: str, from_b: Direction
) -> None:
    a, b = rooms
    bridge = join(floor, a, b, direction)
    assert (bridge.flow, bridge.direction_from(a), bridge.direction_from(b)) == (flow, direction, from_b)
    bridge.set_direction(b, from_b)
    assert (bridge.flow, bridge.direction_from(a)) == (flow, direction)
    assert (bridge.peer_of(a), bridge.peer_of(b)) == (b, a)


def test_nobody_hears_its_own_voice_come_back(floor: Floor, rooms: tuple[Room, Room]) -> None:
    join(floor, *rooms)
    floor.run(60)
    for name in "ab":
        assert strength(floor.phones[name].pcm(20), floor.phones[name].hz or 0) < 50


def test_a_bridge_adds_one_tick_of_delay(floor: Floor) -> None:
    a, b = floor.room("A"), floor.room("B")
    join(floor, a, b)
    near, far = ListSink(), ListSink()
    a.mix.add_tap(near)
    b.mix.add_tap(far)
    floor.run(5)
    a.mix.add_source(ToneSource(440))
    floor.run(5)
    first_near = next(i for i, pcm in enumerate(near.frames) if pcm.any())
    first_far = next(i for i, pcm in enumerate(far.frames) if pcm.any())
    assert first_far - first_near == 1
    assert np.array_equal(near.frames[first_near], far.frames[first_far])


def test_a_bridge_drops_nothing_in_steady_state(floor: Floor, rooms: tuple[Room, Room]) -> None:
    bridge = join(floor, *rooms)
    floor.run(100)
    assert bridge.dropped == 0


def test_a_room_without_legs_goes_on_mixing(floor: Floor) -> None:
    a, middle = floor.room("A"), floor.room("M")
    floor.leg("a", a)
    join(floor, a, middle)
    tap = ListSink()
    middle.mix.add_tap(tap)
    floor.run(40)
    assert strength(tap.pcm(), floor.phones["a"].hz or 0, rate_hz=16000) > 3000


def test_a_chain_passes_audio_on(floor: Floor, rooms: tuple[Room, Room]) -> None:
    c = floor.room("C")
    floor.leg("c", c)
    join(floor, *rooms)
    join(floor, rooms[1], c)
    assert floor.hearing() == {"a": "bc", "b": "ac", "c": "ab"}


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
def test_rooms_of_every_rate_can_be_joined(rate_hz: int) -> None:
    floor = Floor()
    a, b = floor.room("A", rate_hz=rate_hz), floor.room("B", rate_hz=rate_hz)
    floor.leg("a", a)
    floor.leg("b", b)
    join(floor, a, b)
    assert floor.hearing() == {"a": "b", "b": "a"}


def test_a_muted_leg_is_not_heard_over_the_bridge(floor: Floor, rooms: tuple[Room, Room]) -> None:
    join(floor, *rooms)
    rooms[0].members["a"].set_muted(True)
    assert floor.hearing() == {"a": "b", "b": ""}


def test_a_bridge_passes_every_row_of_the_routing(floor: Floor, rooms: tuple[Room, Room]) -> None:
    join(floor, *rooms)
    rooms[0].members["a"].role = "alone"
    rooms[0].set_routing(RoutingMatrix.of({"alone": []}), "set")
    assert floor.hearing() == {"a": "b", "b": "a"}


def test_a_silent_room_sends_silence_not_its_comfort_noise() -> None:
    floor = Floor()
    a, b = floor.room("A", comfort_noise=True), floor.room("B")
    join(floor, a, b)
    tap = ListSink()
    b.mix.add_tap(tap)
    floor.run(20)
    assert not tap.pcm(20).any()


def test_a_closed_bridge_is_silent_and_gives_its_places_back(floor: Floor, rooms: tuple[Room, Room]) -> None:
    places = floor.world.plane.ports
    bridge = join(floor, *rooms)
    assert floor.world.plane.ports == places + 2
    floor.run(20)
    bridge.close()
    bridge.close()
    assert floor.world.plane.ports == places
    assert floor.hearing() == {"a": "", "b": ""}


def test_a_bridge_is_nobody_in_the_room(floor: Floor, rooms: tuple[Room, Room]) -> None:
    join(floor, *rooms)
    assert list(rooms[0].members) == ["a"]


@pytest.mark.parametrize("free", [0, 1])
def test_a_bridge_that_finds_no_place_leaves_nothing_behind(free: int) -> None:
    floor = Floor(capacity=free + 1)
    a, b = floor.room("A"), floor.room("B")
    floor.leg("a", a)
    with pytest.raises(PlaneFull):
        join(floor, a, b)
    assert floor.world.plane.ports == 1
    assert floor.bridges.of(a) == floor.bridges.of(b) == []
    assert list(a.mix.members) == ["a"]
    assert [event["type"] for event in floor.events()] == ["leg.joined_room"]


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("part", ["source", "sink"])
def test_an_end_that_fails_takes_the_whole_bridge_down(
    floor: Floor, rooms: tuple[Room, Room], end: int, part: str
) -> None:
    plane = floor.world.plane
    plane.set_fault_handlers(lambda port, error: seen.append(floor.bridges.port_failed(port)))
    seen: list[bool] = []
    places = plane.ports
    bridge = join(floor, *rooms)
    floor.run(20)
    floor.events()
    setattr(bridge.ports[end], part, Broken())
    floor.run(1)
    assert seen == [True]
    assert floor.events() == [
        {
            "type": "room.unbridged",
            "bridge_id": "A-B",
            "room_a_id": "A",
            "room_b_id": "B",
            "app_id": "app-A",
        }
    ]
    assert plane.ports == places
    assert floor.hearing() == {"a": "", "b": ""}
