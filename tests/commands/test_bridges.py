from __future__ import annotations

import pytest

from tests.support.engine import Client, Observed
from vb.api.openapi import build_openapi
from vb.commands.registry import REGISTRY
from vb.errors import BadRequest, Conflict, NotFound, VbError
from vb.events.base import BridgeEvent
from vb.events.hooks import Hook


@pytest.fixture
async def client(observed: Observed) -> Client:
    client = Client(observed)
    for name in "AB":
        await client.command("create_room", id=name, app_id=f"app-{name}")
    await client.command("create_room", id="slow", sample_rate=8000)
    observed.events()
    return client


BOTH_WAYS = {"id": "x", "room_id": "B", "direction": "bidirectional", "sample_rate": 16000}
SCOPE = ("bridge_id", "room_a_id", "room_b_id", "app_id")


async def test_rest_and_vsi_name_the_same_fields_differently(client: Client) -> None:
    assert await client.rest("POST", "rooms/A/bridges", {"room_id": "B", "id": "x"}) == (201, BOTH_WAYS)
    await client.command("bridge_delete", room_id="A", bridge_id="x")
    made = await client.command("bridge_create", room_id="A", peer_room_id="B", bridge_id="x")
    assert made == BOTH_WAYS


async def test_the_names_of_vsi_are_unknown_to_rest(client: Client) -> None:
    status, answer = await client.rest("POST", "rooms/A/bridges", {"peer_room_id": "B"})
    assert (status, answer) == (400, {"error": "room_id: is required"})
    status, answer = await client.rest("POST", "rooms/A/bridges", {"room_id": "B", "bridge_id": "x"})
    assert status == 201
    assert answer["id"] != "x"


async def test_a_bridge_without_an_id_gets_one(client: Client) -> None:
    _, one = await client.rest("POST", "rooms/A/bridges", {"room_id": "B", "id": ""})
    assert len(one["id"]) == 36


async def test_every_operation_shows_the_bridge_from_the_room_in_the_path(
    client: Client, observed: Observed
) -> None:
    await client.rest("POST", "rooms/A/bridges", {"room_id": "B", "id": "x", "direction": "receive"})
    mine, theirs = {**BOTH_WAYS, "direction": "receive"}, {**BOTH_WAYS, "room_id": "A", "direction": "send"}
    assert await client.rest("GET", "rooms/A/bridges/x") == (200, mine)
    assert await client.rest("GET", "rooms/B/bridges/x") == (200, theirs)
    assert await client.rest("GET", "rooms/A/bridges") == (200, [mine])
    assert await client.rest("GET", "rooms/B/bridges") == (200, [theirs])
    assert await client.rest("PATCH", "rooms/B/bridges/x", {"direction": "receive"}) == (
        200,
        {**theirs, "direction": "receive"},
    )
    assert await client.rest("DELETE", "rooms/B/bridges/x") == (200, {"status": "deleted"})
    assert await client.rest("GET", "rooms/A/bridges") == (200, [])
    assert observed.told(*SCOPE, "direction") == [
        ("room.bridged", "x", "A", "B", "app-A", "b_to_a"),
        ("room.bridge_updated", "x", "A", "B", "app-A", "a_to_b"),
        ("room.unbridged", "x", "A", "B", "app-A", None),
    ]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "room_id: is required"),
        ({"room_id": 5}, 400, "room_id: "),
        ({"room_id": "B", "direction": "up"}, 400, "direction: "),
        ({"room_id": "B", "id": "a/b"}, 400, "id: must be"),
        ({"room_id": "A"}, 400, "cannot bridge a room to itself"),
        ({"room_id": ""}, 400, "room_id: is required"),
        ({"room_id": "nowhere"}, 404, "room not found: nowhere"),
        ({"room_id": "slow"}, 400, "sample rate mismatch"),
    ],
)
async def test_a_bridge_that_cannot_be_is_refused_in_the_words_of_rest(
    client: Client, observed: Observed, body: dict[str, object], status: int, words: str
) -> None:
    got, answer = await client.rest("POST", "rooms/A/bridges", body)
    assert got == status
    assert answer["error"].startswith(words)
    assert observed.events() == []
    assert len(observed.engine.bridges) == 0


async def test_the_room_in_the_path_must_exist(client: Client) -> None:
    assert (await client.rest("POST", "rooms/nowhere/bridges", {"room_id": "B"}))[0] == 404
    assert (await client.rest("GET", "rooms/nowhere/bridges"))[0] == 404
    for method in ("GET", "PATCH", "DELETE"):
        status, answer = await client.rest(method, "rooms/nowhere/bridges/x", {"direction": "none"})
        assert (status, answer) == (404, {"error": "bridge not found"})


async def test_a_second_bridge_of_a_pair_and_a_ring_are_conflicts(client: Client) -> None:
    await client.command("create_room", id="C")
    assert (await client.rest("POST", "rooms/A/bridges", {"room_id": "B", "id": "x"}))[0] == 201
    assert (await client.rest("POST", "rooms/B/bridges", {"room_id": "A"}))[0] == 409
    assert (await client.rest("POST", "rooms/B/bridges", {"room_id": "C", "id": "x"}))[0] == 409
    assert (await client.rest("POST", "rooms/B/bridges", {"room_id": "C"}))[0] == 201
    assert (await client.rest("POST", "rooms/C/bridges", {"room_id": "A"}))[0] == 409


async def test_a_change_needs_a_direction_and_a_bridge(client: Client) -> None:
    await client.rest("POST", "rooms/A/bridges", {"room_id": "B", "id": "x"})
    assert await client.rest("PATCH", "rooms/A/bridges/x", {}) == (400, {"error": "direction is required"})
    assert (await client.rest("PATCH", "rooms/A/bridges/x", {"direction": "up"}))[0] == 400
    assert (await client.rest("PATCH", "rooms/slow/bridges/x", {"direction": "none"}))[0] == 404
    assert (await client.rest("DELETE", "rooms/slow/bridges/x"))[0] == 404


@pytest.mark.parametrize(
    ("name", "values", "error"),
    [
        ("bridge_create", {"room_id": "A"}, BadRequest),
        ("bridge_create", {"room_id": "A", "peer_room_id": "B", "bridge_id": "a b"}, BadRequest),
        ("bridge_create", {"room_id": "", "peer_room_id": "B"}, NotFound),
        ("bridge_list", {"room_id": ""}, NotFound),
        ("bridge_get", {"room_id": "A", "bridge_id": ""}, NotFound),
        ("bridge_update", {"room_id": "A", "bridge_id": "", "direction": "none"}, NotFound),
        ("bridge_delete", {"room_id": "A", "bridge_id": "y"}, NotFound),
    ],
)
async def test_commands_refuse_like_rest(
    client: Client, name: str, values: dict[str, str], error: type[VbError]
) -> None:
    with pytest.raises(error):
        await client.command(name, **values)


async def test_an_id_that_does_not_fit_a_path_is_named_as_the_view_names_it(client: Client) -> None:
    with pytest.raises(BadRequest, match=r"^bridge_id: must be"):
        await client.command("bridge_create", room_id="A", peer_room_id="B", bridge_id="a b")


async def test_a_deleted_room_takes_its_bridges_along_before_anybody_leaves(
    client: Client, observed: Observed
) -> None:
    await client.command("create_room", id="C")
    await client.command("bridge_create", room_id="A", peer_room_id="B", bridge_id="x")
    await client.command("bridge_create", room_id="C", peer_room_id="B", bridge_id="y")
    observed.leg("leg")
    await client.command("add_leg_to_room", room_id="B", leg_id="leg")
    observed.events()
    assert await client.rest("DELETE", "rooms/B") == (200, {"status": "deleted"})
    assert observed.told("bridge_id", "room_id", "reason") == [
        ("room.unbridged", "x", None, "room_deleted"),
        ("room.unbridged", "y", None, "room_deleted"),
        ("leg.left_room", None, "B", None),
        ("room.deleted", None, "B", None),
    ]
    assert await client.rest("GET", "rooms/A/bridges") == (200, [])


async def test_a_room_of_the_same_name_does_not_inherit_bridges(client: Client) -> None:
    await client.command("bridge_create", room_id="A", peer_room_id="B", bridge_id="x")
    await client.command("delete_room", id="B")
    await client.command("create_room", id="B")
    assert await client.command("bridge_list", room_id="B") == []
    await client.command("bridge_create", room_id="B", peer_room_id="A", bridge_id="x")


async def test_bridge_events_go_to_the_webhook_of_room_a(observed: Observed) -> None:
    client = Client(observed)
    for name in "AB":
        await client.command("create_room", id=name, webhook_url=f"http://{name}.example/")
    await client.command("bridge_create", room_id="B", peer_room_id="A", bridge_id="x")
    await client.command("delete_room", id="A")
    told = [item for item in observed.events() if isinstance(item.event, BridgeEvent)]
    assert [item.event.type for item in told] == ["room.bridged", "room.unbridged"]
    for item in told:
        assert observed.engine.hooks.route(item) == Hook("http://B.example/")
        assert "room_id" not in item.as_dict()


async def test_a_bridge_is_no_participant(client: Client) -> None:
    await client.command("bridge_create", room_id="A", peer_room_id="B")
    assert (await client.command("get_room", id="A"))["participants"] == []


def test_openapi_names_the_fields_of_the_rest_body() -> None:
    document = build_openapi(REGISTRY.values(), "1")
    operation = document["paths"]["/v1/rooms/{id}/bridges"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    body = document["components"]["schemas"][schema]
    assert set(body["properties"]) == {"id", "room_id", "direction"}
    assert body["required"] == ["room_id"]
    assert body["properties"]["room_id"]["description"] == "the room at the other end"
    assert [item["name"] for item in operation["parameters"]] == ["id"]


async def test_a_plane_that_is_full_refuses_for_now(client: Client, observed: Observed) -> None:
    plane = observed.engine.plane
    while plane.ports < 4095:
        plane.open_stream(None, None)
    status, _ = await client.rest("POST", "rooms/A/bridges", {"room_id": "B"})
    assert status == 503
    assert plane.ports == 4095
    with pytest.raises(NotFound):
        observed.engine.bridges.get(observed.engine.rooms.get("A"), "x")


async def test_one_room_has_so_many_bridges(client: Client) -> None:
    for number in range(64):
        await client.command("create_room", id=f"r{number}")
        await client.command("bridge_create", room_id="A", peer_room_id=f"r{number}")
    with pytest.raises(Conflict, match="64 bridges"):
        await client.command("bridge_create", room_id="B", peer_room_id="A")
