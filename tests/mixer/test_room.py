import numpy as np

from tests.mixer.support import ListSink, ListSource, ToneSource, World
from vb.mixer.room import RoomMix


def test_members_keep_the_order_of_joining() -> None:
    world = World()
    ports = [world.phone().port for _ in range(3)]
    room = RoomMix("r", 16000)
    for name, port in zip("bca", ports, strict=True):
        room.join(name, port)
    assert list(room.members) == ["b", "c", "a"]
    assert [member.port for member in room.plan().members] == ports


def test_each_change_is_told_once() -> None:
    world = World()
    told: list[int] = []
    room = RoomMix("r", 16000, on_change=lambda: told.append(1))
    port = world.phone().port
    source, tap = ToneSource(400), ListSink()
    room.join("a", port)
    room.add_source(source)
    room.add_tap(tap)
    room.route(lambda ports: np.ones((len(ports), len(ports)), np.bool_))
    room.remove_source(source)
    room.remove_tap(tap)
    assert room.leave("a")
    assert len(told) == 7


def test_a_late_notice_does_not_evict_one_who_came_back() -> None:
    world = World()
    first, second = world.phone().port, world.phone().port
    room = RoomMix("r", 16000)
    room.join("a", first)
    room.join("a", second)
    assert not room.leave("a", first)
    assert room.leave("a", second)
    assert not room.leave("a")


def test_finished_sources_are_left_out_of_the_plan() -> None:
    room = RoomMix("r", 16000)
    room.add_source(ListSource([]))
    room.add_source(ToneSource(400))
    assert len(room.plan().sources) == 1


def test_the_plan_is_not_changed_by_later_changes() -> None:
    world = World()
    room = RoomMix("r", 8000, comfort_noise=False)
    plan = room.plan()
    room.join("a", world.phone().port)
    assert plan.members == ()
    assert (plan.rate_hz, plan.comfort_noise) == (8000, False)
