"""Bridges between rooms: who hears whom, life cycle, refusals, chains."""

from __future__ import annotations

from conformance.expect import ABSENT, UUID, Difference, check, containing
from conformance.peers.measure import Heard
from conformance.phones import Phone, answered
from conformance.registry import scenario
from conformance.world import World

FLOWS = {"bidirectional": "bidirectional", "send": "a_to_b", "receive": "b_to_a", "none": "none"}


async def _in_rooms(world: World, *rooms: str) -> list[Phone]:
    """A call in each room, with a tone of its own: 500 Hz, 900 Hz, 1300 Hz."""
    phones = []
    for number, room_id in enumerate(rooms):
        phone = await answered(world, f"call{number + 1}", tone=500.0 + 400 * number)
        await phone.join(room_id)
        phones.append(phone)
    return phones


async def _bridged(world: World, a: str, b: str, **body: object) -> str:
    direction = str(body.get("direction", "bidirectional"))
    wanted = {"id": body.get("id", UUID), "room_id": b, "direction": direction, "sample_rate": 16000}
    view = await world.rest(
        "POST", f"/v1/rooms/{a}/bridges", {"room_id": b, **body}, status=201, expect=wanted
    )
    await _event(world, "room.bridged", str(view["id"]), a, b, direction=FLOWS[direction])
    return str(view["id"])


async def _event(world: World, kind: str, bridge_id: str, a: str, b: str, **fields: object) -> None:
    scope = {"bridge_id": bridge_id, "room_a_id": a, "room_b_id": b, "room_id": ABSENT, "leg_id": ABSENT}
    await world.event(kind, {**scope, **fields})


def _hears(heard: Heard, tones: tuple[int, ...]) -> None:
    heard.is_steady()
    if tones:
        heard.has_tones(*tones, level=-18 if len(tones) == 1 else None)
    else:
        heard.is_quiet()


@scenario("Bridges: bidirectional, changed to send, receive, none; errors; deleted; over VSI; a room deleted")
async def room_bridges(world: World) -> None:
    first, second = await _in_rooms(world, "sc-ba", "sc-bb")
    await _bridged(world, "sc-ba", "sc-bb", id="br1")
    path = "/v1/rooms/sc-ba/bridges/br1"
    for direction, at_first, at_second in (
        ("bidirectional", (900,), (500,)),
        ("send", (), (500,)),
        ("receive", (900,), ()),
        ("none", (), ()),
    ):
        view = {"id": "br1", "room_id": "sc-bb", "direction": direction, "sample_rate": 16000}
        await world.rest("PATCH", path, {"direction": direction}, status=200, expect=view)
        flow = FLOWS[direction]
        await _event(world, "room.bridge_updated", "br1", "sc-ba", "sc-bb", direction=flow)
        _hears(await first.hears(300), at_first)
        _hears(await second.rtp.listen(300, settle_ms=0), at_second)
    check("bridges of a", await world.rest_list("/v1/rooms/sc-ba/bridges"), [view])
    from_b = {"id": "br1", "room_id": "sc-ba", "direction": "none"}
    await world.rest("GET", "/v1/rooms/sc-bb/bridges/br1", status=200, expect=from_b)
    await world.rest(
        "PATCH",
        "/v1/rooms/sc-bb/bridges/br1",
        {"direction": "send"},
        status=200,
        expect={"direction": "send"},
    )
    await _event(world, "room.bridge_updated", "br1", "sc-ba", "sc-bb", direction="b_to_a")
    await world.rest("GET", path, status=200, expect={"direction": "receive"})
    participants = [{"id": first.leg_id}]
    await world.rest("GET", "/v1/rooms/sc-ba", status=200, expect={"participants": participants})
    await world.rest("DELETE", path, status=200, expect={"status": "deleted"})
    await _event(world, "room.unbridged", "br1", "sc-ba", "sc-bb", reason=ABSENT)
    for method in ("DELETE", "GET"):
        await world.rest(method, path, status=404, expect={"error": containing("bridge not found")})
    _hears(await first.hears(300), ())
    await _bridge_commands(world)
    await world.rest("DELETE", "/v1/rooms/sc-bb", status=200)
    await _event(world, "room.unbridged", "br2", "sc-ba", "sc-bb", reason="room_deleted")
    await second.is_hung_up("room_deleted")
    world.order(("room.unbridged", "br2"), ("room.deleted", "sc-bb"), ("leg.disconnected", second.leg_id))
    check("bridges of a", await world.rest_list("/v1/rooms/sc-ba/bridges"), [])
    await first.hang_up()


async def _bridge_commands(world: World) -> None:
    made = {"id": "br2", "room_id": "sc-bb", "direction": "receive", "sample_rate": 16000}
    payload: dict[str, object] = {
        "room_id": "sc-ba", "peer_room_id": "sc-bb", "bridge_id": "br2", "direction": "receive"
    }  # fmt: skip
    await world.command("bridge_create", payload, made)
    await _event(world, "room.bridged", "br2", "sc-ba", "sc-bb", direction="b_to_a")
    from_b = {"id": "br2", "room_id": "sc-ba", "direction": "send"}
    await world.command("bridge_list", {"room_id": "sc-bb"}, [from_b])
    await world.command("bridge_get", {"room_id": "sc-bb", "bridge_id": "br2"}, from_b)
    update: dict[str, object] = {"room_id": "sc-ba", "bridge_id": "br2", "direction": "send"}
    await world.command("bridge_update", update, {**made, "direction": "send"})
    await _event(world, "room.bridge_updated", "br2", "sc-ba", "sc-bb", direction="a_to_b")
    third: dict[str, object] = {"room_id": "sc-ba", "peer_room_id": "sc-bc", "bridge_id": "br3"}
    await world.rest("POST", "/v1/rooms", {"id": "sc-bc"}, status=201)
    await world.command("bridge_create", third, {"id": "br3"})
    await world.command("bridge_delete", {"room_id": "sc-bc", "bridge_id": "br3"}, {"status": "deleted"})
    await _event(world, "room.unbridged", "br3", "sc-ba", "sc-bc", reason=ABSENT)


@scenario(
    "Bridges that are refused: self, unknown rooms, other rate, bad direction, same pair, same id, types"
)
async def room_bridges_refused(world: World) -> None:
    for room_id, rate in (("sc-ba", 16000), ("sc-bb", 16000), ("sc-bc", 16000), ("sc-b8", 8000)):
        await world.rest("POST", "/v1/rooms", {"id": room_id, "sample_rate": rate}, status=201)
    await _bridged(world, "sc-ba", "sc-bb", id="br1", direction="none")
    bridges = "/v1/rooms/sc-ba/bridges"
    for body, status in (
        ({"room_id": "sc-bb"}, 409),
        ({"room_id": "sc-bc", "id": "br1"}, 409),
        ({"room_id": "sc-ba"}, 400),
        ({}, 400),
        ({"room_id": "sc-nowhere"}, 404),
        ({"room_id": "sc-b8"}, 400),
        ({"room_id": "sc-bc", "direction": "up"}, 400),
        ({"room_id": "sc-bc", "id": "a/b"}, 400),
        ({"room_id": 5}, 400),
        ("{", 400),
    ):
        assert isinstance(body, dict | str)
        await world.rest("POST", bridges, body, status=status)
    await world.rest("POST", "/v1/rooms/sc-bb/bridges", {"room_id": "sc-ba"}, status=409)
    await world.rest("POST", "/v1/rooms/sc-nowhere/bridges", {"room_id": "sc-ba"}, status=404)
    for bad in ({}, {"direction": "up"}, {"direction": 1}, "{"):
        assert isinstance(bad, dict | str)
        await world.rest("PATCH", f"{bridges}/br1", bad, status=400)
    await world.rest("PATCH", f"{bridges}/nope", {"direction": "send"}, status=404)
    await world.no_event("room.bridged", for_s=0.1)
    await world.no_event("room.bridge_updated", for_s=0.0)


@scenario("A chain of bridges passes audio on, without echo; a ring of bridges is refused, it would howl")
async def room_bridges_chain(world: World) -> None:
    phones = await _in_rooms(world, "sc-c1", "sc-c2", "sc-c3")
    await _bridged(world, "sc-c1", "sc-c2")
    await _bridged(world, "sc-c2", "sc-c3")
    for phone, tones in zip(phones, ((900, 1300), (500, 1300), (500, 900)), strict=True):
        _hears(await phone.hears(400), tones)
    reply = await world.http.ask("POST", "/v1/rooms/sc-c3/bridges", {"room_id": "sc-c1"})
    if reply.status not in (400, 409):
        raise Difference("a third bridge that makes a ring", "400 or 409", reply.status)
    muted = phones[0]
    await world.rest("POST", f"{muted.path}/mute", status=200)
    _hears(await phones[2].hears(400), (900,))
    for phone in phones:
        await phone.hang_up()


@scenario("A room without legs passes on what bridges and playback bring; its playback is heard across")
async def room_bridges_empty_room(world: World) -> None:
    first, third = await _in_rooms(world, "sc-e1", "sc-e3")
    await world.rest("POST", "/v1/rooms", {"id": "sc-e2"}, status=201)
    await _bridged(world, "sc-e1", "sc-e2")
    await _bridged(world, "sc-e2", "sc-e3")
    _hears(await first.hears(300), (900,))
    _hears(await third.hears(300), (500,))
    await world.rest("POST", "/v1/rooms/sc-e1/play", {"tone": "de_dial", "volume": -4}, status=200)
    await world.event("playback.started", room_id="sc-e1")
    (await third.hears(300)).has_tones(425, 500)
    for phone in (first, third):
        await phone.hang_up()
