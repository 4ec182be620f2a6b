import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.mixer.support import World, level
from vb.mixer.plan import MixPlan
from vb.mixer.room import RoomMix
from vb.mixer.tasks import run_room


async def test_changes_are_published_whole_and_the_room_is_withdrawn_at_the_end(
    autojump_clock: MockClock,
) -> None:
    world = World()
    one, two = world.phone(400), world.phone(600)
    room = RoomMix("r", 8000, comfort_noise=False)
    room.join("one", one.port)
    async with trio.open_nursery() as nursery:
        await nursery.start(run_room, room, world.plane)
        world.run(10)
        assert level(two.pcm()) == 0
        room.join("two", two.port)
        await wait_all_tasks_blocked()
        world.run(10)
        assert level(two.pcm(5)) > 5000
        nursery.cancel_scope.cancel()
    world.run(10)
    assert level(two.pcm(5)) == 0
    assert room.on_change is None


async def test_a_thousand_changes_at_once_end_in_the_last_state(autojump_clock: MockClock) -> None:
    world = World()
    one, two = world.phone(400), world.phone()
    room = RoomMix("r", 8000, comfort_noise=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(run_room, room, world.plane)
        for _ in range(1000):
            room.join("one", one.port)
            room.join("two", two.port)
            room.leave("one")
        room.join("one", one.port)
        await wait_all_tasks_blocked()
        world.run(10)
        assert level(two.pcm(5)) > 5000
        nursery.cancel_scope.cancel()


async def test_a_move_between_tasks_is_never_heard_twice(autojump_clock: MockClock) -> None:
    world = World()
    mover, left, right = world.phone(400), world.phone(), world.phone()
    rooms = [RoomMix(name, 8000, comfort_noise=False) for name in "ab"]
    rooms[0].join("m", mover.port)
    rooms[0].join("l", left.port)
    rooms[1].join("r", right.port)
    async with trio.open_nursery() as nursery:
        for room in rooms:
            await nursery.start(run_room, room, world.plane)
        for turn in range(20):
            here, there = rooms[turn % 2], rooms[1 - turn % 2]
            here.leave("m")
            there.join("m", mover.port)
            world.run(1)
            await wait_all_tasks_blocked()
            world.run(3)
            heard = [level(phone.pcm(2)) > 100 for phone in (left, right)]
            assert heard == [turn % 2 == 1, turn % 2 == 0]
        nursery.cancel_scope.cancel()


async def test_a_plan_that_takes_long_is_followed_by_a_rest_and_the_last_state_counts(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, room = World(), RoomMix("r", 8000)
    port = world.phone().port
    published: list[tuple[float, int]] = []

    def publish(plan: MixPlan) -> None:
        autojump_clock.jump(0.002)
        published.append((trio.current_time(), len(plan.members)))

    monkeypatch.setattr(world.plane, "publish", publish)
    async with trio.open_nursery() as nursery:
        await nursery.start(run_room, room, world.plane)
        for number in range(40):
            room.join(str(number), port)
            await trio.sleep(0.001)
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert len(published) < 8
    assert published[-1][1] == 40
