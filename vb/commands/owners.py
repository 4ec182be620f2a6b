"""Commands that legs and rooms have alike: one function, registered once for each of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, get_type_hints

from pydantic import BaseModel

from vb.commands.params import OwnerRef
from vb.commands.registry import Route, add, describe

if TYPE_CHECKING:
    from vb.engine import Engine
    from vb.owner import Owner

P = TypeVar("P", bound=OwnerRef)
R = TypeVar("R", bound=BaseModel)
OwnerFunc = Callable[["Engine", "Owner", P], Awaitable[R]]


def owner_command(
    name: str,
    *,
    rest: Route,
    leg: str,
    room: str,
    errors: tuple[int, ...] = (),
    room_result: type[BaseModel] | None = None,
    check: Callable[[Engine, P], object] | None = None,
) -> Callable[[OwnerFunc[P, R]], OwnerFunc[P, R]]:
    """Register `leg_NAME` and `room_NAME`, two views of one function on an owner.

    Args:
        name: of both commands, without `leg_` and `room_`.
        rest: the route of both; `{owners}` in its path becomes `legs` and `rooms`.
        leg: what it does to a leg, as the documents say it: a summary, and more after an empty line.
        room: the same for a room.
        errors: HTTP statuses that it may answer besides success.
        room_result: the room's answer where it says more than the leg's.
        check: refuses what is wrong with the request whoever the owner is, before the owner is looked for.

    Raises:
        TypeError: as `command` does.
    """

    def register(func: OwnerFunc[P, R]) -> OwnerFunc[P, R]:
        async def on_leg(engine: Engine, p: P) -> R:
            if check is not None:
                check(engine, p)
            return await func(engine, engine.legs.get(p.id), p)

        async def on_room(engine: Engine, p: P) -> R:
            if check is not None:
                check(engine, p)
            return await func(engine, engine.rooms.get(p.id), p)

        hints = get_type_hints(func, {**func.__globals__, "Engine": object, "Owner": object})
        *_, params, result = hints.values()
        for kind, run, text in (("leg", on_leg, leg), ("room", on_room, room)):
            answer = room_result if room_result is not None and kind == "room" else result
            route = replace(rest, path=rest.path.replace("{owners}", f"{kind}s"))
            add(describe(f"{kind}_{name}", run, route, errors, params=params, result=answer, text=text))
        return func

    return register
