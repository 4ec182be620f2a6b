from __future__ import annotations

from collections.abc import Iterator

import pytest

from vb.commands import registry
from vb.commands.owners import owner_command
from vb.commands.params import OwnerRef
from vb.commands.registry import Route
from vb.commands.views import RoomRecordingStop, Status
from vb.engine import Engine
from vb.owner import Owner


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    kept = dict(registry.REGISTRY)
    registry.REGISTRY.clear()
    yield
    registry.REGISTRY.clear()
    registry.REGISTRY.update(kept)


def register(**more: type[Status]) -> None:
    @owner_command(
        "paint",
        rest=Route("POST", "/v1/{owners}/{id}/paint"),
        leg="Paint a leg.",
        room="Paint a room.\n\nAll four walls.",
        room_result=more.get("room_result"),
    )
    async def paint(engine: Engine, owner: Owner, p: OwnerRef) -> Status:
        """Paint."""
        return Status(status=owner.key)


def test_one_function_becomes_a_command_of_legs_and_one_of_rooms() -> None:
    register()
    leg, room = registry.REGISTRY["leg_paint"], registry.REGISTRY["room_paint"]
    assert (leg.route.path, room.route.path) == ("/v1/legs/{id}/paint", "/v1/rooms/{id}/paint")
    assert (leg.summary, room.summary, room.description) == (
        "Paint a leg.",
        "Paint a room.",
        "All four walls.",
    )
    assert leg.params is room.params is OwnerRef


def test_a_room_may_answer_more_than_a_leg() -> None:
    register(room_result=RoomRecordingStop)
    assert registry.REGISTRY["leg_paint"].result is Status
    assert registry.REGISTRY["room_paint"].result is RoomRecordingStop


def test_a_name_is_taken_once() -> None:
    register()
    with pytest.raises(TypeError, match="leg_paint is defined twice"):
        register()
