from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
import structlog
from pydantic import Field

from vb.commands import registry
from vb.commands.params import LegRef, NoParams
from vb.commands.registry import REGISTRY, Route, call, command, describe, dump, parse_params
from vb.commands.views import AddLegResult, Status
from vb.errors import BadRequest, Conflict, InternalError, InvalidField, NotAvailable
from vb.legs.requests import AmdParams, CreateLeg, SipAuth
from vb.metrics import Metrics
from vb.parameters import unbuilt

if TYPE_CHECKING:
    from vb.engine import Engine


class Wash(LegRef):
    """How to wash."""

    hot: bool = False
    soap_: str | None = Field(default=None, alias="soap")
    spin: int = Field(default=0, le=10)
    perfume: str | None = unbuilt("smell")
    extras: list[str] | None = unbuilt("more")


async def wash(engine: Engine, p: Wash) -> Status:
    """Wash a leg.

    With water.
    """
    if p.id == "dirty":
        raise Conflict("too dirty")
    if p.id == "broken":
        raise ZeroDivisionError("detail")
    return Status(status=f"{p.id} {p.hot} {p.soap_}")


async def dry(engine: Engine, p: NoParams) -> list[Status]:
    """Dry everything."""
    return [Status(status="dry")]


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(REGISTRY):
        monkeypatch.delitem(REGISTRY, name)
    monkeypatch.setitem(REGISTRY, "wash", describe("wash", wash, Route("POST", "/v1/legs/{id}/wash"), (404,)))


@dataclass
class CountingEngine:
    """As much of an engine as the dispatch itself needs."""

    metrics: Metrics = field(default_factory=Metrics)


ENGINE = cast("Engine", CountingEngine())


def test_a_command_is_described_by_its_function() -> None:
    spec = describe("wash", wash, Route("POST", "/v1/legs/{id}/wash"), (404, 409))
    assert (spec.params, spec.result, spec.result_is_list) == (Wash, Status, False)
    assert (spec.summary, spec.description) == ("Wash a leg.", "With water.")
    assert spec.errors == (404, 409)


def test_a_list_result_is_recognised() -> None:
    spec = describe("dry", dry, Route("GET", "/v1/dry"), ())
    assert (spec.result, spec.result_is_list) == (Status, True)


def test_path_parameters_map_to_fields() -> None:
    route = Route("GET", "/v1/rooms/{id}/legs/{legID}", names={"id": "room_id", "legID": "leg_id"})
    assert route.path_fields == {"id": "room_id", "legID": "leg_id"}
    assert Route("GET", "/v1/legs").path_fields == {}


def test_a_path_parameter_that_is_no_field_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        describe("wash", wash, Route("POST", "/v1/{colour}"), ())


def test_a_command_needs_a_docstring() -> None:
    async def silent(engine: Engine, p: NoParams) -> Status:
        return Status(status="")

    with pytest.raises(TypeError, match="docstring"):
        describe("silent", silent, Route("GET", "/v1/silent"), ())


@pytest.mark.usefixtures("own_registry")
def test_a_name_is_taken_once_and_the_function_stays_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "REGISTRY", dict(REGISTRY))
    assert command("dry", rest=Route("GET", "/v1/dry"))(dry) is dry
    with pytest.raises(TypeError, match="twice"):
        command("wash", rest=Route("POST", "/v1/legs/{id}/wash"))(wash)


def test_null_counts_as_absent_and_unknown_keys_are_ignored() -> None:
    params = parse_params(Wash, {"id": "a", "hot": None, "soap": "olive", "unknown": 1})
    assert (params.hot, params.soap_) == (False, "olive")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "id: is required"),
        ({"id": None}, "id: is required"),
        ({"id": 5}, "id: Input should be a valid string"),
        ({"id": "a", "hot": "true"}, "hot: Input should be a valid boolean"),
        ({"id": "a", "hot": 1}, "hot: Input should be a valid boolean"),
        ({"id": "a", "soap": 1}, "soap: Input should be a valid string"),
        ({"id": "a", "spin": 1.5}, "spin: Input should be a valid integer"),
        ({"id": "a", "spin": 11}, "spin: Input should be less than or equal to 10"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_params(Wash, values)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("values", [{"perfume": "rose"}, {"extras": ["a"]}])
def test_a_field_of_a_missing_feature_is_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(NotAvailable, match=f"not available: {next(iter(values))}"):
        parse_params(Wash, {"id": "a", **values})


@pytest.mark.usefixtures("own_registry")
async def test_a_call_runs_the_function() -> None:
    assert dump(await call(ENGINE, "wash", {"id": "a", "hot": True})) == {"status": "a True None"}


@pytest.mark.usefixtures("own_registry")
async def test_an_unknown_command_is_refused() -> None:
    with pytest.raises(BadRequest, match="unknown command: fly"):
        await call(ENGINE, "fly", {})


@pytest.mark.usefixtures("own_registry")
async def test_a_refusal_passes_through_as_it_is() -> None:
    with pytest.raises(Conflict, match="too dirty"):
        await call(ENGINE, "wash", {"id": "dirty"})


@pytest.mark.usefixtures("own_registry")
async def test_a_fault_is_logged_counted_and_told_without_details() -> None:
    engine = CountingEngine()
    with structlog.testing.capture_logs() as logs, pytest.raises(InternalError) as caught:
        await call(cast("Engine", engine), "wash", {"id": "broken"})
    assert b'recovered_panics_total{component="commands",site="call"} 1.0' in engine.metrics.render()
    assert caught.value.message == "internal error"
    assert [(line["command"], line["log_level"]) for line in logs] == [("wash", "error")]


def test_a_result_is_dumped_under_its_public_names_without_empty_fields() -> None:
    result = AddLegResult(status="moved", room_id="b", leg_id="l", from_="a", to="b")
    assert dump(result)["from"] == "a"
    assert dump([Status(status="x")]) == [{"status": "x"}]
    assert "to" not in dump(AddLegResult(status="added", room_id="b", leg_id="l"))


def test_null_counts_as_absent_however_deep_it_stands() -> None:
    params = parse_params(
        CreateLeg,
        {
            "type": "sip",
            "to": None,
            "amd": {"beep_timeout": None},
            "auth": {"username": None, "password": "x"},
        },
    )
    assert (params.amd, params.auth) == (AmdParams(), SipAuth(password="x"))
    with pytest.raises(InvalidField, match=r"auth\.password: is required"):
        parse_params(CreateLeg, {"type": "sip", "auth": {"password": None}})


def test_a_whole_body_may_be_one_field() -> None:
    route = Route("POST", "/v1/legs/{id}/soap", body=True, body_field="soap")
    assert route.from_body({"kind": "hard"}) == {"soap": {"kind": "hard"}}
    inner = route.in_body(InvalidField("soap.kind", "is required"))
    assert (inner.field, inner.problem) == ("kind", "is required")
    assert route.in_body(InvalidField("id", "is required")).field == "id"


def test_a_whole_body_must_be_a_field_that_there_is() -> None:
    route = Route("POST", "/v1/legs/{id}/wash", body=True, body_field="towel")
    with pytest.raises(TypeError, match="towel is no field"):
        describe("wash", wash, route, ())


async def _waits_in(engine: Engine, p: NoParams) -> Status:
    async with cast("Any", engine):
        return Status(status="")


async def _waits_for(engine: Engine, p: NoParams) -> Status:
    async for _ in cast("Any", engine):
        pass
    return Status(status="")


async def _waits_on(engine: Engine, p: NoParams) -> Status:
    return await wash(engine, Wash(id=""))


@pytest.mark.parametrize(
    ("func", "waits"), [(dry, False), (_waits_in, True), (_waits_for, True), (_waits_on, True)]
)
def test_whether_a_command_may_wait_is_read_from_its_code(func: Any, waits: bool) -> None:
    assert describe("x", func, Route("POST", "/x"), (), text="Do it.").waits is waits
