"""Rooms: life cycle, membership, mute and deaf, mixing, rates."""

from __future__ import annotations

import trio

from conformance.expect import ABSENT, UUID, check, containing, require
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import sdp_of
from conformance.phones import Phone, answered, ringing
from conformance.registry import scenario
from conformance.world import World, leg_view

NOBODY = "00000000-0000-4000-8000-000000000000"


async def _created(world: World, body: dict[str, object] | str | None, **fields: object) -> str:
    view = await world.rest("POST", "/v1/rooms", body, status=201, expect={"participants": [], **fields})
    room_id = str(view["id"])
    await world.event("room.created", room_id=room_id)
    return room_id


@scenario(
    "Rooms: create with and without id, duplicate, every rate, bad values, list, get, delete twice, odd ids"
)
async def room_crud(world: World) -> None:
    check("rooms", await world.rest_list("/v1/rooms"), [])
    await world.rest(
        "POST",
        "/v1/rooms",
        {"id": "sc-a", "app_id": "shop"},
        status=201,
        expect={"id": "sc-a", "app_id": "shop", "sample_rate": 16000, "participants": []},
    )
    await world.event("room.created", room_id="sc-a", app_id="shop")
    await world.rest("POST", "/v1/rooms", {"id": "sc-a"}, status=409)
    await _created(world, {"id": "sc-b"}, sample_rate=16000, app_id=ABSENT)
    listed = await world.rest_list("/v1/rooms")
    check("rooms", listed, [{"id": "sc-a", "app_id": "shop", "participants": []}, {"id": "sc-b"}])
    for rate in (8000, 16000, 48000):
        await _created(world, {"id": f"sc-{rate}", "sample_rate": rate}, sample_rate=rate)
    await _created(world, {"id": "sc-0", "sample_rate": 0}, sample_rate=16000)
    for body in (None, "", "null", "{}"):
        await _created(world, body, id=UUID, sample_rate=16000)
    before = len(await world.rest_list("/v1/rooms"))
    for wrong in (24000, -1, 44100, "8000", 8000.5, True):
        await world.rest(
            "POST",
            "/v1/rooms",
            {"id": "sc-x", "sample_rate": wrong},
            status=400,
            expect={"error": containing("sample_rate")},
        )
    for text in ("{", "[]", "7", '"x"', '{"id": 7}', '{"id":"sc-y"} trailing'):
        await world.rest("POST", "/v1/rooms", text, status=400)
    for odd in ("a b/ü?", "a/b", "x" * 129, "a\u0000"):
        await world.rest("POST", "/v1/rooms", {"id": odd}, status=400, expect={"error": containing("id")})
    check("rooms after bad requests", len(await world.rest_list("/v1/rooms")), before)
    await _created(world, {"id": "A.b_c~d:e@f-1"})
    await world.rest("GET", "/v1/rooms/A.b_c~d:e@f-1", status=200)
    await world.rest("DELETE", "/v1/rooms/sc-a", status=200, expect={"status": "deleted"})
    await world.event("room.deleted", room_id="sc-a", app_id="shop")
    await world.rest("DELETE", "/v1/rooms/sc-a", status=404)
    await world.rest("GET", "/v1/rooms/sc-a", status=404)
    await _room_commands(world)


async def _room_commands(world: World) -> None:
    view = {"id": "sc-v", "app_id": "shop", "sample_rate": 8000, "participants": []}
    await world.command("create_room", {"id": "sc-v", "sample_rate": 8000, "app_id": "shop"}, view)
    await world.event("room.created", room_id="sc-v", app_id="shop")
    await world.command_fails("create_room", {"id": "sc-v"}, 409)
    await world.command("get_room", {"id": "sc-v"}, view)
    await world.command("delete_room", {"id": "sc-v"}, {"status": "deleted"})
    await world.event("room.deleted", room_id="sc-v")
    await world.command_fails("delete_room", {"id": "sc-v"}, 404)
    await world.command_fails("get_room", {"id": "sc-v"}, 404)
    listed = await world.command("list_rooms")
    check("list_rooms", listed, await world.rest_list("/v1/rooms"))
    await world.command("create_room", {}, {"id": UUID, "sample_rate": 16000, "participants": []})


@scenario("A leg joins an unknown room, again, moves, is removed, again; bad bodies; the same over VSI")
async def room_membership(world: World) -> None:
    phone = await answered(world)
    leg = phone.leg_id
    await phone.join("sc-a")
    world.order(("room.created", "sc-a"), ("leg.joined_room", leg))
    await world.rest("POST", "/v1/rooms/sc-a/legs", {"leg_id": leg}, status=400)
    participant = leg_view(id=leg, type="sip_inbound", state="connected", room_id="sc-a")
    await world.rest("GET", "/v1/rooms/sc-a", status=200, expect={"participants": [participant]})
    await world.rest(
        "POST",
        "/v1/rooms/sc-b/legs",
        {"leg_id": leg},
        status=200,
        expect={"status": "moved", "from": "sc-a", "to": "sc-b"},
    )
    await world.event("leg.left_room", leg_id=leg, room_id="sc-a")
    await world.event("leg.joined_room", leg_id=leg, room_id="sc-b")
    world.order(("room.created", "sc-b"), ("leg.left_room", "sc-a"), ("leg.joined_room", "sc-b"))
    await world.leg_state(leg, room_id="sc-b")
    await world.rest("DELETE", f"/v1/rooms/sc-a/legs/{leg}", status=404)
    await world.rest("DELETE", f"/v1/rooms/sc-b/legs/{leg}", status=200, expect={"status": "removed"})
    await world.event("leg.left_room", leg_id=leg, room_id="sc-b")
    await world.rest("DELETE", f"/v1/rooms/sc-b/legs/{leg}", status=404)
    await world.rest("DELETE", f"/v1/rooms/sc-none/legs/{leg}", status=400)
    await world.rest("DELETE", f"/v1/rooms/sc-b/legs/{NOBODY}", status=404)
    await world.no_event("leg.left_room", for_s=0.2)
    await world.leg_state(leg, state="connected", room_id=ABSENT)
    for body in ({}, {"leg_id": NOBODY}, {"leg_id": 5}, "{", {"leg_id": leg, "mute": "yes"}):
        assert isinstance(body, dict | str)
        await world.rest("POST", "/v1/rooms/sc-c/legs", body, status=400)
    await world.rest("GET", "/v1/rooms/sc-c", status=404)
    await world.no_event("room.created", room_id="sc-c", for_s=0.0)
    await _membership_commands(world, leg)
    await phone.hang_up()


async def _membership_commands(world: World, leg: str) -> None:
    await world.command(
        "add_leg_to_room",
        {"room_id": "sc-d", "leg_id": leg},
        {"status": "added", "room_id": "sc-d", "leg_id": leg},
    )
    await world.event("leg.joined_room", leg_id=leg, room_id="sc-d")
    await world.command(
        "add_leg_to_room",
        {"room_id": "sc-a", "leg_id": leg},
        {"status": "moved", "from": "sc-d", "to": "sc-a"},
    )
    await world.event("leg.left_room", leg_id=leg, room_id="sc-d")
    await world.command("remove_leg_from_room", {"room_id": "sc-a", "leg_id": leg}, {"status": "removed"})
    await world.event("leg.left_room", leg_id=leg, room_id="sc-a")
    await world.command_fails("remove_leg_from_room", {"room_id": "sc-a", "leg_id": leg}, 404)
    rooms = len(await world.rest_list("/v1/rooms"))
    await world.command_fails("add_leg_to_room", {"leg_id": leg}, 400)
    await world.command_fails("add_leg_to_room", {"room_id": "sc-d"}, 400)
    check("rooms after refused joins", len(await world.rest_list("/v1/rooms")), rooms)


async def _two(world: World, room_id: str) -> tuple[Phone, Phone]:
    first = await answered(world, "call1", tone=500.0)
    await first.join(room_id)
    second = await answered(world, "call2", tone=800.0)
    await second.join(room_id)
    return first, second


async def _hear(first: Phone, second: Phone, *, first_hears: bool = True, second_hears: bool = True) -> None:
    """Who hears whom: 500 Hz is the first phone's tone, 800 Hz the second's."""
    at_first, at_second = await first.hears(300), await second.rtp.listen(300, settle_ms=0)
    for heard, hears, tone in ((at_first, first_hears, 800), (at_second, second_hears, 500)):
        heard.is_steady()
        if hears:
            heard.has_tones(tone, level=-18)
        else:
            heard.is_quiet()


@scenario(
    "mute and deaf in a room, by REST and VSI, twice each; flags survive a move; flags of the join body"
)
async def room_mute(world: World) -> None:
    first, second = await _two(world, "sc-mute")
    leg = first.leg_id
    steps: tuple[tuple[str, str, str, str, dict[str, bool]], ...] = (
        ("POST", "mute", "muted", "leg.muted", {"second_hears": False}),
        ("DELETE", "mute", "unmuted", "leg.unmuted", {}),
        ("POST", "deaf", "deaf", "leg.deaf", {"first_hears": False}),
        ("DELETE", "deaf", "undeaf", "leg.undeaf", {}),
    )
    for method, flag, status, event, hears in steps:
        for again in (False, True):
            await world.rest(method, f"{first.path}/{flag}", status=200, expect={"status": status})
            if again:
                await world.no_event(event, leg_id=leg, for_s=0.1)
            else:
                await world.event(event, leg_id=leg)
                await _hear(first, second, **hears)
    await world.command("mute_leg", {"id": leg}, {"status": "muted"})
    await world.event("leg.muted", leg_id=leg)
    await world.command("deaf_leg", {"id": leg}, {"status": "deaf"})
    await world.event("leg.deaf", leg_id=leg)
    for body, muted in (({"leg_id": leg}, True), ({"leg_id": leg, "mute": False}, False)):
        room = "sc-mute2" if muted else "sc-mute"
        await world.rest("POST", f"/v1/rooms/{room}/legs", body, status=200, expect={"status": "moved"})
        await world.event("leg.joined_room", leg_id=leg, room_id=room)
        await world.leg_state(leg, muted=muted, deaf=True, room_id=room)
    await world.event("leg.unmuted", leg_id=leg)
    await _hear(first, second, first_hears=False)
    await world.command("undeaf_leg", {"id": leg}, {"status": "undeaf"})
    await world.event("leg.undeaf", leg_id=leg)
    await world.command("unmute_leg", {"id": leg}, {"status": "unmuted"})
    await world.no_event("leg.unmuted", leg_id=leg, for_s=0.1)
    for path in ("mute", "deaf"):
        await world.rest("POST", f"/v1/legs/{NOBODY}/{path}", status=404, expect={"error": "leg not found"})
    await first.hang_up()
    await second.hang_up()


@scenario("mute and deaf with the join, and before it: no audible window; the events come")
async def room_mute_on_join(world: World) -> None:
    listener = await answered(world, "call2", tone=800.0)
    await listener.join("sc-join")
    phone = await answered(world, "call1", tone=500.0)
    mark = len(listener.rtp.received)
    await phone.join("sc-join", mute=True, deaf=True)
    await world.event("leg.muted", leg_id=phone.leg_id)
    await world.event("leg.deaf", leg_id=phone.leg_id)
    await trio.sleep(0.4)
    first_packet = list(listener.rtp.received)[mark].at
    listener.rtp.heard_since(first_packet, 0.4).is_quiet()
    (await phone.hears(300)).is_quiet()
    await world.rest("DELETE", f"{phone.path}/deaf", status=200)
    (await phone.hears(300)).has_tones(800, level=-18)
    await phone.hang_up()
    await listener.hang_up()


@scenario("Room rates 8000, 16000, 48000: the tone gets through at pitch and level")
async def room_rates(world: World) -> None:
    for rate in (8000, 16000, 48000):
        room_id = f"sc-r{rate}"
        await _created(world, {"id": room_id, "sample_rate": rate}, sample_rate=rate)
        first, second = await _two(world, room_id)
        await _hear(first, second)
        for phone in (first, second):
            await phone.call.bye()
            await world.event("leg.left_room", leg_id=phone.leg_id, room_id=room_id)
            await world.disconnected(phone.leg_id, "remote_bye", answered=True)
            world.order(("leg.left_room", phone.leg_id), ("leg.disconnected", phone.leg_id))
            phone.rtp.stop_talking()
        await world.rest("GET", f"/v1/rooms/{room_id}", status=200, expect={"participants": []})


@scenario(
    "Three calls in a room hear each other, not themselves; one is removed; the room is deleted with two"
)
async def room_three(world: World) -> None:
    tones = (500, 800, 1100)
    phones = [await answered(world, f"call{n}", tone=float(tone)) for n, tone in enumerate(tones, 1)]
    for phone in phones:
        await phone.join("sc-three")
    await trio.sleep(0.2)
    for phone, own in zip(phones, tones, strict=True):
        heard = await phone.rtp.listen(400, settle_ms=0)
        heard.is_steady()
        heard.has_tones(*(t for t in tones if t != own), level=-15)
    first, second, third = phones
    await world.rest("DELETE", f"/v1/rooms/sc-three/legs/{first.leg_id}", status=200)
    await world.event("leg.left_room", leg_id=first.leg_id, room_id="sc-three")
    alone = await first.hears()
    alone.is_steady()
    alone.is_quiet()
    (await second.hears()).has_tones(1100, level=-18)
    (await third.hears()).has_tones(800, level=-18)
    await world.rest("DELETE", "/v1/rooms/sc-three", status=200, expect={"status": "deleted"})
    for phone in (second, third):
        await phone.is_hung_up("room_deleted")
        world.order(("leg.left_room", phone.leg_id), ("room.deleted", "sc-three"))
        deleted = [f.get("type") for f in world.vsi.frames.items()].index("room.deleted")
        ended = next(
            i
            for i, f in enumerate(world.vsi.frames.items())
            if f.get("type") == "leg.disconnected" and f.get("leg_id") == phone.leg_id
        )
        require(ended > deleted, "leg.disconnected", "after room.deleted", "before")
    legs = await world.rest_list("/v1/legs")
    check("legs left", legs, [{"id": first.leg_id, "state": "connected", "room_id": ABSENT}])
    await first.hang_up()


@scenario("A ringing inbound leg put into a room is answered first: adding, then joined")
async def room_ringing_join(world: World) -> None:
    phone = await ringing(world)
    await world.rest(
        "POST", "/v1/rooms/sc-ring/legs", {"leg_id": phone.leg_id}, status=200, expect={"status": "adding"}
    )
    await phone.take_answer()
    await world.event("leg.joined_room", leg_id=phone.leg_id, room_id="sc-ring")
    world.order(("leg.connected", phone.leg_id), ("leg.joined_room", phone.leg_id))
    await phone.hang_up()


@scenario(
    "A leg in early media joins a room and hears it; a held leg may join, contributes and hears nothing"
)
async def room_early_and_held(world: World) -> None:
    other = await answered(world, "call2", tone=800.0)
    await other.join("sc-early")
    phone = await ringing(world, "call1", tone=500.0)
    await world.rest("POST", f"{phone.path}/early-media", status=202)
    phone.media_to(sdp_of(await phone.call.response(183)))
    await phone.join("sc-early")
    await _hear(phone, other)
    await phone.answer()
    await _hear(phone, other)
    await world.rest("DELETE", f"/v1/rooms/sc-early/legs/{phone.leg_id}", status=200)
    await phone.reinvite(audio_sdp(phone.rtp.port, direction="sendonly", version=2))
    await world.event("leg.hold", leg_id=phone.leg_id)
    await phone.join("sc-early")
    (await phone.hears(300)).is_nothing()
    (await other.hears(300)).is_quiet()
    await phone.reinvite(audio_sdp(phone.rtp.port, version=3))
    await world.event("leg.unhold", leg_id=phone.leg_id)
    await _hear(phone, other)
    await phone.hang_up()
    await other.hang_up()


@scenario("DELETE of a room and of its leg at once: the leg ends exactly once")
async def room_delete_race(world: World) -> None:
    for number in range(3):
        room_id = f"sc-race{number}"
        phone = await answered(world, f"call{number}")
        await phone.join(room_id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.http.ask, "DELETE", f"/v1/rooms/{room_id}")
            nursery.start_soon(world.http.ask, "DELETE", phone.path)
        await phone.call.reply(await phone.call.request("BYE"), 200)
        await world.event("leg.disconnected", leg_id=phone.leg_id)
        await world.event("room.deleted", room_id=room_id)
        await world.no_event("leg.disconnected", leg_id=phone.leg_id, for_s=0.2)
        phone.rtp.stop_talking()
    await world.no_legs()


@scenario(
    "A leg that leaves, comes back and moves faster than its events are read stays where it was put last"
)
async def room_hops(world: World) -> None:
    phone = await answered(world, "call1", tone=500.0)
    listener = await answered(world, "call2")
    await listener.join("sc-b")
    leg = phone.leg_id
    hops = [("add_leg_to_room", "sc-a"), ("add_leg_to_room", "sc-b"), ("remove_leg_from_room", "sc-b")]
    rounds = 10
    for number, (command, room_id) in enumerate([*hops * rounds, ("add_leg_to_room", "sc-b")]):
        payload = {"room_id": room_id, "leg_id": leg}
        await world.vsi.send({"type": command, "request_id": f"hop-{number}", "payload": payload})
    for number in range(len(hops) * rounds + 1):
        reply = await world.vsi.frames.take(lambda frame: "request_id" in frame, 3.0)
        check(f"reply {number}", reply, {"request_id": f"hop-{number}", "type": containing(".result")})
    await trio.sleep(0.5)
    joined = {
        room_id: world.count("leg.joined_room", leg_id=leg, room_id=room_id) for room_id in ("sc-a", "sc-b")
    }
    left = {
        room_id: world.count("leg.left_room", leg_id=leg, room_id=room_id) for room_id in ("sc-a", "sc-b")
    }
    check("joined", joined, {"sc-a": rounds, "sc-b": rounds + 1})
    check("left", left, {"sc-a": rounds, "sc-b": rounds})
    await world.leg_state(leg, room_id="sc-b")
    await world.rest("GET", "/v1/rooms/sc-a", status=200, expect={"participants": []})
    (await listener.hears()).has_tones(500, level=-18)
    for each in (phone, listener):
        await each.hang_up()
