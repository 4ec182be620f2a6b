from __future__ import annotations

import pytest

from tests.support.engine import Client, Observed
from vb.api.openapi import build_openapi
from vb.commands.registry import REGISTRY
from vb.errors import BadRequest, NotFound
from vb.rooms.routing import MAX_ROLE_CHARS, MAX_ROWS, MAX_SOURCES

SUPERVISED = {"agent": ["customer"], "customer": ["agent"], "supervisor": ["customer", "agent"]}


@pytest.fixture
async def client(observed: Observed) -> Client:
    client = Client(observed)
    await client.command("create_room", id="r", app_id="app-r")
    observed.events()
    return client


async def test_a_matrix_comes_back_as_it_was_put(client: Client, observed: Observed) -> None:
    assert await client.rest("GET", "rooms/r/routing") == (200, {"matrix": {}})
    assert await client.rest("PUT", "rooms/r/routing", {"matrix": SUPERVISED}) == (
        200,
        {"matrix": SUPERVISED},
    )
    _, answer = await client.rest("GET", "rooms/r/routing")
    assert list(answer["matrix"].items()) == list(SUPERVISED.items())
    assert observed.told("room_id", "app_id", "reason", "matrix") == [
        ("room.routing_changed", "r", "app-r", "set", SUPERVISED)
    ]


@pytest.mark.parametrize("body", [None, {}, {"matrix": None}])
async def test_a_put_without_a_matrix_puts_an_empty_one(
    client: Client, observed: Observed, body: object
) -> None:
    await client.command("room_routing_set", room_id="r", matrix=SUPERVISED)
    observed.events()
    assert await client.rest("PUT", "rooms/r/routing", body) == (200, {"matrix": {}})
    assert observed.told("reason", "matrix") == [("room.routing_changed", "set", {})]


async def test_a_patch_changes_its_rows_together_and_is_one_event(client: Client, observed: Observed) -> None:
    await client.command("room_routing_set", room_id="r", matrix=SUPERVISED)
    observed.events()
    updates = [
        {"listener_role": "customer", "sources": []},
        {"listener_role": "agent", "sources": None},
        {"listener_role": "guest", "sources": ["agent"]},
    ]
    left = {"customer": [], "supervisor": ["customer", "agent"], "guest": ["agent"]}
    assert await client.rest("PATCH", "rooms/r/routing", {"updates": updates}) == (200, {"matrix": left})
    assert observed.told("reason", "matrix") == [("room.routing_changed", "update", left)]


@pytest.mark.parametrize("body", [{}, {"updates": []}, {"updates": None}])
async def test_a_patch_without_rows_changes_and_says_nothing(
    client: Client, observed: Observed, body: object
) -> None:
    await client.command("room_routing_set", room_id="r", matrix=SUPERVISED)
    observed.events()
    assert await client.rest("PATCH", "rooms/r/routing", body) == (200, {"matrix": SUPERVISED})
    assert observed.events() == []


async def test_a_row_update_without_a_listener_is_kept_and_applies_to_nobody(client: Client) -> None:
    body = {"updates": [{"sources": ["x"]}]}
    assert await client.rest("PATCH", "rooms/r/routing", body) == (200, {"matrix": {"": ["x"]}})


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
async def test_an_unknown_room_has_no_routing(client: Client, method: str) -> None:
    status, _ = await client.rest(method, "rooms/nowhere/routing", {"matrix": {}, "updates": []})
    assert status == 404


@pytest.mark.parametrize(
    ("method", "body", "field"),
    [
        ("PUT", {"matrix": {"a": "b"}}, "matrix.a"),
        ("PUT", {"matrix": {"a": None}}, "matrix.a"),
        ("PUT", {"matrix": [["a", "b"]]}, "matrix"),
        ("PUT", {"matrix": {"a": [1]}}, "matrix.a.0"),
        ("PUT", {"matrix": {"a": ["x" * (MAX_ROLE_CHARS + 1)]}}, "matrix.a.0"),
        ("PUT", {"matrix": {"a": ["x"] * (MAX_SOURCES + 1)}}, "matrix.a"),
        ("PUT", {"matrix": {str(number): [] for number in range(MAX_ROWS + 1)}}, "matrix"),
        ("PATCH", {"updates": {"a": []}}, "updates"),
        ("PATCH", {"updates": [{"listener_role": 5, "sources": []}]}, "updates.0.listener_role"),
        ("PATCH", {"updates": [{"listener_role": "a", "sources": "b"}]}, "updates.0.sources"),
        ("PATCH", {"updates": ["a"]}, "updates.0"),
    ],
)
async def test_a_wrong_type_or_size_is_refused_by_name(
    client: Client, observed: Observed, method: str, body: object, field: str
) -> None:
    status, answer = await client.rest(method, "rooms/r/routing", body)
    assert status == 400
    assert answer["error"].startswith(f"{field}: ")
    assert observed.events() == []


async def test_rows_do_not_grow_beyond_the_limit_by_patches(client: Client) -> None:
    full: dict[str, list[str]] = {str(number): [] for number in range(MAX_ROWS)}
    await client.command("room_routing_set", room_id="r", matrix=full)
    with pytest.raises(BadRequest, match="matrix"):
        await client.command(
            "room_routing_update", room_id="r", updates=[{"listener_role": "one more", "sources": []}]
        )
    assert (await client.command("room_routing_get", id="r"))["matrix"] == full


async def test_a_role_is_set_shown_and_taken_away(client: Client, observed: Observed) -> None:
    observed.leg("leg")
    await client.command("add_leg_to_room", room_id="r", leg_id="leg")
    observed.events()
    status, leg = await client.rest("PATCH", "legs/leg/role", {"role": "agent"})
    assert (status, leg["id"], leg["role"]) == (200, "leg", "agent")
    status, leg = await client.rest("PATCH", "legs/leg/role", {"role": "agent"})
    assert (status, leg["role"]) == (200, "agent")
    status, leg = await client.rest("PATCH", "legs/leg/role", {})
    assert status == 200
    assert "role" not in leg
    assert observed.told("leg_id", "room_id", "old_role", "new_role", "reason") == [
        ("leg.role_changed", "leg", "r", "", "agent", None),
        ("room.routing_changed", None, "r", None, None, "leg_role_changed"),
        ("leg.role_changed", "leg", "r", "agent", "", None),
        ("room.routing_changed", None, "r", None, None, "leg_role_changed"),
    ]


async def test_a_role_that_is_no_text_or_of_no_leg_is_refused(client: Client, observed: Observed) -> None:
    observed.leg("leg")
    assert (await client.rest("PATCH", "legs/leg/role", {"role": 5}))[0] == 400
    assert (await client.rest("PATCH", "legs/nobody/role", {"role": "x"}))[0] == 404
    with pytest.raises(NotFound):
        await client.command("set_leg_role", leg_id="", role="x")


async def test_a_join_takes_its_role_and_says_so_without_a_role_event(
    client: Client, observed: Observed
) -> None:
    observed.leg("leg")
    await client.rest("POST", "rooms/r/legs", {"leg_id": "leg", "role": "agent"})
    assert observed.told("reason") == [("leg.joined_room", None), ("room.routing_changed", "leg_joined")]
    assert (await client.command("get_leg", id="leg"))["role"] == "agent"


async def test_a_move_without_a_role_keeps_it_and_with_an_empty_one_drops_it(
    client: Client, observed: Observed
) -> None:
    observed.leg("leg")
    await client.command("add_leg_to_room", room_id="r", leg_id="leg", role="agent")
    await client.command("add_leg_to_room", room_id="s", leg_id="leg", role=None)
    assert (await client.command("get_leg", id="leg"))["role"] == "agent"
    observed.events()
    await client.command("add_leg_to_room", room_id="r", leg_id="leg", role="")
    assert "role" not in await client.command("get_leg", id="leg")
    assert observed.told("room_id", "reason") == [
        ("leg.left_room", "s", None),
        ("leg.joined_room", "r", None),
        ("room.routing_changed", "r", "leg_joined"),
    ]


async def test_a_refused_join_does_not_touch_the_role(client: Client, observed: Observed) -> None:
    observed.leg("leg")
    await client.command("add_leg_to_room", room_id="r", leg_id="leg", role="agent")
    with pytest.raises(BadRequest):
        await client.command("add_leg_to_room", room_id="r", leg_id="leg", role="other")
    assert (await client.command("get_leg", id="leg"))["role"] == "agent"


async def test_a_held_leg_may_join_with_a_role(client: Client, observed: Observed) -> None:
    leg = observed.leg("leg")
    leg.remote_hold = True
    added = await client.command("add_leg_to_room", room_id="r", leg_id="leg", role="agent")
    assert added == {"status": "added", "room_id": "r", "leg_id": "leg"}


@pytest.mark.parametrize(
    ("path", "method", "required"),
    [
        ("/v1/rooms/{id}/routing", "put", ["matrix"]),
        ("/v1/rooms/{id}/routing", "patch", ["updates"]),
        ("/v1/legs/{id}/role", "patch", ["role"]),
        ("/v1/rooms/{id}/bridges/{bridgeID}", "patch", ["direction"]),
    ],
)
def test_fields_that_clients_should_set_are_described_as_required(
    path: str, method: str, required: list[str]
) -> None:
    document = build_openapi(REGISTRY.values(), "1")
    reference = document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"][
        "$ref"
    ]
    assert document["components"]["schemas"][reference.rpartition("/")[2]]["required"] == required
