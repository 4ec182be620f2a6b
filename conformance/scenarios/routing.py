"""Who hears whom in a room: the routing matrix and the roles of legs."""

from __future__ import annotations

from conformance.expect import ABSENT, check
from conformance.peers.http import Body
from conformance.phones import Phone, answered
from conformance.registry import scenario
from conformance.world import World

TONES = (500, 800, 1100)
SUPERVISOR = {"agent": ["customer"], "customer": ["agent"], "supervisor": ["agent", "customer"]}


async def _three(world: World, room_id: str) -> list[Phone]:
    phones = [await answered(world, f"call{n}", tone=float(tone)) for n, tone in enumerate(TONES, 1)]
    for phone in phones:
        await phone.join(room_id)
    return phones


async def _hear(phones: list[Phone], *tones: tuple[int, ...]) -> None:
    """Who hears what; the phones talk at 500, 800 and 1100 Hz."""
    settle_ms = 120
    for phone, wanted in zip(phones, tones, strict=True):
        heard = await phone.rtp.listen(300, settle_ms=settle_ms)
        settle_ms = 0
        heard.is_steady()
        if wanted:
            heard.has_tones(*wanted)
        else:
            heard.is_quiet()


async def _role(phone: Phone, role: str, old: str, room_id: str | None, *, changes: bool = True) -> None:
    """Gives a leg a role and waits for what is told of it."""
    world = phone.world
    shown = {"id": phone.leg_id, "role": role or ABSENT}
    await world.rest("PATCH", f"{phone.path}/role", {"role": role}, status=200, expect=shown)
    if changes:
        told = {"old_role": old, "new_role": role, "room_id": room_id or ABSENT}
        await world.event("leg.role_changed", told, leg_id=phone.leg_id)
        if room_id:
            await world.event("room.routing_changed", room_id=room_id, reason="leg_role_changed")
    await world.no_event("leg.role_changed", for_s=0.05)
    await world.no_event("room.routing_changed", for_s=0.0)


async def _matrix(
    world: World, method: str, room_id: str, body: dict[str, object], matrix: object, reason: str | None
) -> None:
    """Changes the matrix and checks the answer, the event, and that GET repeats it."""
    path = f"/v1/rooms/{room_id}/routing"
    answer = await world.rest(method, path, body, status=200)
    check("matrix", answer["matrix"], matrix)
    check("rows", sorted(answer["matrix"]), sorted(matrix))  # type: ignore[call-overload]
    if reason is not None:
        event = await world.event("room.routing_changed", room_id=room_id, reason=reason)
        check("matrix of the event", event["matrix"], answer["matrix"])
    await world.no_event("room.routing_changed", for_s=0.05)
    check("GET", (await world.rest("GET", path, status=200))["matrix"], answer["matrix"])


@scenario("Routing and roles: set, get, patch, null and empty rows, role changes in the room; over VSI")
async def room_routing(world: World) -> None:
    room_id = "sc-route"
    phones = await _three(world, room_id)
    agent, customer, supervisor = phones
    await _hear(phones, (800, 1100), (500, 1100), (500, 800))
    for phone, role in zip(phones, ("agent", "customer", "supervisor"), strict=True):
        await _role(phone, role, "", room_id)
    await _matrix(world, "PUT", room_id, {"matrix": SUPERVISOR}, SUPERVISOR, "set")
    await _hear(phones, (800,), (500,), (500, 800))
    updates = [{"listener_role": "customer", "sources": []}, {"listener_role": "agent", "sources": None}]
    changed = {"customer": [], "supervisor": ["agent", "customer"]}
    await _matrix(world, "PATCH", room_id, {"updates": updates}, changed, "update")
    await _hear(phones, (800, 1100), (), (500, 800))
    await _role(customer, "supervisor", "customer", room_id)
    await _role(customer, "supervisor", "supervisor", room_id, changes=False)
    await _hear(phones, (800, 1100), (500,), (500,))
    await _matrix(world, "PUT", room_id, {}, {}, "set")
    await _hear(phones, (800, 1100), (500, 1100), (500, 800))
    await world.rest("PATCH", f"{agent.path}/role", {}, status=200, expect={"role": ABSENT})
    await world.event("leg.role_changed", leg_id=agent.leg_id, old_role="agent", new_role="")
    await world.event("room.routing_changed", room_id=room_id, reason="leg_role_changed")
    await _matrix(world, "PATCH", room_id, {}, {}, None)
    await _routing_commands(world, room_id, supervisor)
    for phone in phones:
        await phone.hang_up()


async def _routing_commands(world: World, room_id: str, phone: Phone) -> None:
    room: dict[str, object] = {"room_id": room_id}
    matrix = {"matrix": {"x": ["z", "y"]}}
    await world.command("room_routing_set", {**room, **matrix}, matrix)
    await world.event("room.routing_changed", room_id=room_id, reason="set")
    await world.command("room_routing_get", {"id": room_id}, matrix)
    updates = [{"listener_role": "x", "sources": None}]
    data = await world.command("room_routing_update", {**room, "updates": updates})
    check("matrix after the update", data, {"matrix": {}})
    await world.event("room.routing_changed", room_id=room_id, reason="update")
    view = {"id": phone.leg_id, "role": "agent", "room_id": room_id}
    await world.command("set_leg_role", {"leg_id": phone.leg_id, "role": "agent"}, view)
    await world.event("leg.role_changed", leg_id=phone.leg_id, new_role="agent")


@scenario("A role with the join applies at once; it belongs to the leg and goes with it to other rooms")
async def room_routing_join(world: World) -> None:
    await world.rest("POST", "/v1/rooms", {"id": "sc-r1"}, status=201)
    await _matrix(world, "PUT", "sc-r1", {"matrix": SUPERVISOR}, SUPERVISOR, "set")
    customer = await answered(world, "call1", tone=500.0)
    await customer.join("sc-r1", role="customer")
    event = await world.event("room.routing_changed", room_id="sc-r1", reason="leg_joined")
    check("matrix", event["matrix"], SUPERVISOR)
    await world.no_event("leg.role_changed", for_s=0.05)
    supervisor = await answered(world, "call2", tone=800.0)
    mark = len(customer.rtp.received)
    await supervisor.join("sc-r1", role="supervisor")
    (await supervisor.hears(300)).has_tones(500, level=-18)
    first = list(customer.rtp.received)[mark].at
    customer.rtp.heard_since(first, 0.4).is_quiet()
    await world.leg_state(supervisor.leg_id, role="supervisor", room_id="sc-r1")
    await world.event("room.routing_changed", room_id="sc-r1", reason="leg_joined")
    await world.rest("DELETE", f"/v1/rooms/sc-r1/legs/{supervisor.leg_id}", status=200)
    await world.leg_state(supervisor.leg_id, role="supervisor", room_id=ABSENT)
    left = await world.event("room.routing_changed", room_id="sc-r1")
    check("reason", left["reason"], "leg_left")
    await _role(supervisor, "agent", "supervisor", None)
    await supervisor.join("sc-r1")
    await world.no_event("room.routing_changed", for_s=0.05)
    await _hear([customer, supervisor], (800,), (500,))
    move = {"leg_id": supervisor.leg_id, "role": "customer"}
    await world.rest("POST", "/v1/rooms/sc-r2/legs", move, status=200, expect={"status": "moved"})
    await world.leg_state(supervisor.leg_id, role="customer", room_id="sc-r2")
    for phone in (customer, supervisor):
        await phone.hang_up()


@scenario("Everybody hears room playback whatever the rows; mute and deaf win over them; own role counts")
async def room_routing_bypass(world: World) -> None:
    room_id = "sc-r3"
    phones = await _three(world, room_id)
    matrix = {"loner": [], "team": ["team"]}
    await _matrix(world, "PUT", room_id, {"matrix": matrix}, matrix, "set")
    for phone, role in zip(phones, ("loner", "team", "team"), strict=True):
        await _role(phone, role, "", room_id)
    await _hear(phones, (), (1100,), (800,))
    answer = await world.rest("POST", f"/v1/rooms/{room_id}/play", {"tone": "de_dial"}, status=200)
    await world.event("playback.started", room_id=room_id)
    (await phones[0].hears(300)).has_tones(425)
    await world.rest("DELETE", f"/v1/rooms/{room_id}/play/{answer['playback_id']}", status=200)
    await world.rest("POST", f"{phones[1].path}/mute", status=200)
    await world.rest("POST", f"{phones[2].path}/deaf", status=200)
    await _hear(phones, (), (1100,), ())
    for phone in phones:
        await phone.hang_up()


@scenario("Routing and role requests that are refused: types, unknown rooms and legs; nothing changes")
async def room_routing_refused(world: World) -> None:
    phone = await answered(world)
    await phone.join("sc-r4", role="agent")
    await world.event("room.routing_changed", room_id="sc-r4", reason="leg_joined")
    path = "/v1/rooms/sc-r4/routing"
    matrices: tuple[object, ...] = ({"a": "b"}, [], {"a": [1]}, {"a": None}, 5)
    bodies: list[Body] = ["[]", "{", *({"matrix": matrix} for matrix in matrices)]
    for body in bodies:
        await world.rest("PUT", path, body, status=400)
    updates: tuple[object, ...] = ({}, [5], [{"listener_role": 5}], [{"listener_role": "a", "sources": "b"}])
    bodies = ["[]", "{", *({"updates": rows} for rows in updates)]
    for update in bodies:
        await world.rest("PATCH", path, update, status=400)
    for role in ({"role": 5}, {"role": ["a"]}, "{"):
        assert isinstance(role, dict | str)
        await world.rest("PATCH", f"{phone.path}/role", role, status=400)
    join = {"leg_id": phone.leg_id, "role": 5}
    await world.rest("POST", "/v1/rooms/sc-r5/legs", join, status=400)
    await world.rest("GET", "/v1/rooms/sc-r5", status=404)
    for method in ("GET", "PUT", "PATCH"):
        await world.rest(method, "/v1/rooms/sc-nowhere/routing", None, status=404)
    await world.rest("GET", path, status=200, expect={"matrix": {}})
    await world.leg_state(phone.leg_id, role="agent")
    await world.no_event("room.routing_changed", for_s=0.1)
    await phone.hang_up()
