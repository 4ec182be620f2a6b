from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.api.harness import SmallEngine, ask, register
from vb.api.app import PAGES, Application, create_app
from vb.api.calls import RECORDING_PATH
from vb.api.pages import ROUTES
from vb.api.sockets import SOCKETS
from vb.commands.params import NoParams
from vb.commands.registry import REGISTRY, Route
from vb.commands.views import Status
from vb.moqleg.request import PATH as MOQ_PATH

if TYPE_CHECKING:
    from vb.engine import Engine


async def test_path_and_body_become_one_set_of_parameters(app: Application) -> None:
    reply = await ask(app, "POST", "/v1/legs/leg-1/paint", b'{"colour":"red","coats":2,"from":"me"}')
    assert reply.status == 201
    assert json.loads(reply.body) == {
        "instance_id": "inst-1",
        "id": "leg-1",
        "colour": "red",
        "coats": 2,
        "from": "me",
    }


async def test_a_response_is_json_with_the_instance_first_and_a_line_feed_last(app: Application) -> None:
    reply = await ask(app, "POST", "/v1/legs/a/paint", b'{"colour":"red"}')
    assert reply.body == b'{"instance_id":"inst-1","id":"a","colour":"red","coats":1}\n'
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["content-length"] == str(len(reply.body))


async def test_a_list_goes_out_bare(app: Application) -> None:
    reply = await ask(app, "GET", "/v1/colours?x=1")
    assert reply.status == 200
    assert reply.body == b'[{"id":"a","colour":"red","coats":1}]\n'


async def test_the_path_wins_over_the_body(app: Application) -> None:
    reply = await ask(app, "POST", "/v1/legs/a/paint", b'{"id":"b","colour":"red"}')
    assert json.loads(reply.body)["id"] == "a"


async def test_a_path_parameter_fills_the_field_that_the_route_names(app: Application) -> None:
    reply = await ask(app, "GET", "/v1/rooms/r1/paint")
    assert json.loads(reply.body)["status"] == "r1:north"


async def test_the_query_counts_where_there_is_no_body(app: Application) -> None:
    reply = await ask(app, "GET", "/v1/rooms/r1/paint?wall=south&room_id=other")
    assert json.loads(reply.body)["status"] == "r1:south"


async def test_the_query_does_not_count_where_there_is_a_body(app: Application) -> None:
    reply = await ask(app, "POST", "/v1/legs/a/paint?coats=7&colour=blue", b'{"colour":"red"}')
    assert json.loads(reply.body)["colour"] == "red"


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"colour":"red"} x', b'{"colour":NaN}', b"\xff", b"5", b'{"colour":"\\ud800"}']
)
async def test_a_body_that_is_not_one_object_gets_400(app: Application, body: bytes) -> None:
    reply = await ask(app, "POST", "/v1/legs/a/paint", body)
    assert reply.status == 400
    assert json.loads(reply.body) == {"instance_id": "inst-1", "error": "invalid JSON"}


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_an_operation_without_body_still_refuses_nonsense(app: Application, method: str) -> None:
    assert (await ask(app, "DELETE", "/v1/legs/a/paint", b"nonsense")).status == 400


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"coats":null}'])
async def test_a_missing_field_is_named(app: Application, body: bytes) -> None:
    reply = await ask(app, "POST", "/v1/legs/a/paint", body)
    assert reply.status == 400
    assert json.loads(reply.body)["error"] == "colour: is required"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"colour":5}', "colour"),
        (b'{"colour":"red","coats":"2"}', "coats"),
        (b'{"colour":"red","coats":2.5}', "coats"),
        (b'{"colour":"red","coats":true}', "coats"),
        (b'{"colour":"red","coats":1e999}', "coats"),
        (b'{"colour":["red"]}', "colour"),
    ],
)
async def test_a_wrong_type_is_answered_with_the_name_of_the_field(
    app: Application, body: bytes, field: str
) -> None:
    reply = await ask(app, "POST", "/v1/legs/a/paint", body)
    assert reply.status == 400
    assert json.loads(reply.body)["error"].startswith(f"{field}: ")


async def test_unknown_fields_are_ignored(app: Application) -> None:
    assert (await ask(app, "POST", "/v1/legs/a/paint", b'{"colour":"red","no":[1]}')).status == 201


async def test_a_field_of_a_missing_feature_gets_501(app: Application) -> None:
    reply = await ask(app, "POST", "/v1/legs/a/paint", b'{"colour":"red","glitter":true}')
    assert reply.status == 501
    assert json.loads(reply.body)["error"] == "not available: glitter"


async def test_lack_of_capacity_says_when_to_try_again(app: Application) -> None:
    reply = await ask(app, "POST", "/v1/legs/busy/paint", b'{"colour":"red"}')
    assert reply.status == 503
    assert reply.headers["retry-after"] == "7"


async def test_a_fault_of_a_command_gives_500_without_details(app: Application) -> None:
    with structlog.testing.capture_logs() as logs:
        reply = await ask(app, "POST", "/v1/legs/broken/paint", b'{"colour":"red"}')
    assert reply.status == 500
    assert json.loads(reply.body)["error"] == "internal error"
    assert b"secret" not in reply.body
    assert logs[0]["command"] == "paint_leg"


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/nothing",
        "/v1/colours/",
        "//v1/colours",
        "/v1//colours",
        "",
        "*",
        "/v1/legs//paint",
        "/-",
    ],
)
async def test_an_unknown_path_gets_a_plain_404(app: Application, path: str) -> None:
    reply = await ask(app, "GET", path)
    assert reply.status == 404
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.body == b"404 page not found\n"


async def test_an_absolute_target_is_served_like_its_path(app: Application) -> None:
    assert (await ask(app, "GET", "http://example.com/v1/colours")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/colours", "GET"),
        ("HEAD", "/v1/colours", "GET"),
        ("GET", "/v1/legs/a/paint", "DELETE, POST"),
        ("HEAD", "/healthz", "GET"),
        ("POST", "/v1/vsi", "GET"),
        ("BREW", "/v1/colours", "GET"),
    ],
)
async def test_a_wrong_method_gets_an_empty_405_with_allow(
    app: Application, method: str, path: str, allowed: str
) -> None:
    reply = await ask(app, method, path)
    assert reply.status == 405
    assert reply.headers["allow"] == allowed
    assert reply.headers["content-type"] == "application/json"
    assert reply.body == b""


@pytest.mark.parametrize("path", ["/v1/colours", "/v1/nothing", "/", "*"])
async def test_options_gets_204_on_any_path(app: Application, path: str) -> None:
    reply = await ask(app, "OPTIONS", path)
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "PATCH" in reply.headers["access-control-allow-methods"]
    assert reply.headers["access-control-allow-headers"] == "Content-Type, Authorization, X-API-Key"


@pytest.mark.parametrize("path", ["/v1/colours", "/v1/nothing", "/healthz", "/metrics", "/docs"])
async def test_every_response_may_be_read_from_other_origins(app: Application, path: str) -> None:
    assert (await ask(app, "GET", path)).headers["access-control-allow-origin"] == "*"


async def test_a_declared_body_beyond_the_limit_gets_413(app: Application) -> None:
    reply = await ask(app, "POST", "/v1/legs/a/paint", b" " * 1_048_577)
    assert reply.status == 413
    assert json.loads(reply.body)["error"] == "request entity too large"


async def test_a_deeply_nested_body_gets_400(app: Application) -> None:
    assert (await ask(app, "POST", "/v1/legs/a/paint", b'{"a":' + b"[" * 500_000)).status == 400


async def test_the_routes_are_those_of_the_registry_and_the_listed_pages(app: Application) -> None:
    routes = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    commands = {(command.route.method, command.route.path) for command in REGISTRY.values()}
    pages = {*PAGES, RECORDING_PATH, *ROUTES}
    pages |= {route.path for route in SOCKETS}
    moq = {("GET", "/moq/listener"), ("POST", MOQ_PATH)}
    assert routes == commands | {("GET", page) for page in pages} | moq


async def test_a_client_that_leaves_does_not_cut_a_command_short(
    engine: SmallEngine, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    steps: list[str] = []

    async def slow(engine: Engine, p: NoParams) -> Status:
        """Do two things."""
        steps.append("first")
        await trio.sleep(3)
        steps.append("second")
        return Status(status="done")

    register(monkeypatch, "slow", slow, Route("POST", "/v1/slow"), ())
    app = create_app(engine)
    with trio.move_on_after(1):
        await ask(app, "POST", "/v1/slow")
    assert steps == ["first", "second"]


async def test_a_released_runner_lets_commands_be_cancelled(
    engine: SmallEngine, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def endless(engine: Engine, p: NoParams) -> Status:
        """Never end."""
        await trio.Event().wait()
        return Status(status="")

    register(monkeypatch, "endless", endless, Route("POST", "/v1/endless"), ())
    app = create_app(engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, app, "POST", "/v1/endless")
        await trio.sleep(1)
        app.runner.release()
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 1


async def test_health_is_always_ok(app: Application, engine: SmallEngine) -> None:
    engine.stopping = True
    reply = await ask(app, "GET", "/healthz")
    assert (reply.status, json.loads(reply.body)["status"]) == (200, "ok")


@pytest.mark.parametrize(
    ("ready", "stopping", "status"), [(True, False, 200), (True, True, 503), (False, False, 503)]
)
async def test_readiness_follows_the_engine(
    app: Application, engine: SmallEngine, ready: bool, stopping: bool, status: int
) -> None:
    engine.ready, engine.stopping = ready, stopping
    assert (await ask(app, "GET", "/readyz")).status == status


async def test_metrics_are_shown_with_those_of_the_edge(app: Application) -> None:
    reply = await ask(app, "GET", "/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"\nvoiceblender_webhook_enqueued_total 0.0\n" in reply.body
    assert b"\nvoiceblender_vsi_clients 0.0\n" in reply.body


async def test_a_plain_get_of_vsi_asks_for_an_upgrade(app: Application) -> None:
    reply = await ask(app, "GET", "/v1/vsi")
    assert reply.status == 426
    assert reply.headers["upgrade"] == "websocket"
    assert "error" in json.loads(reply.body)


@pytest.mark.parametrize("query", ["(", "%5B", "(%3F%3Da)", "%5C1"])
async def test_a_bad_filter_gets_400_before_any_upgrade(app: Application, query: str) -> None:
    assert not app.accepts_upgrade("/v1/vsi", f"app_id={query}".encode())
    reply = await ask(app, "GET", f"/v1/vsi?app_id={query}")
    assert reply.status == 400
    assert json.loads(reply.body)["error"].startswith("invalid app_id regex: ")


async def test_only_vsi_upgrades(app: Application) -> None:
    assert app.accepts_upgrade("/v1/vsi", b"app_id=^x$&y=1")
    assert not app.accepts_upgrade("/v1/colours", b"")
