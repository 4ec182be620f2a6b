from __future__ import annotations

import html
import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, Field

from tests.api.harness import Paint, Painted, SmallEngine, ask, register, use_small_registry
from vb.api.app import create_app
from vb.api.asyncapi import build_asyncapi
from vb.api.docs_page import build_page
from vb.api.documents import Documents
from vb.api.examples import example_of
from vb.api.openapi import build_openapi
from vb.api.vsi import _command
from vb.commands import catalog
from vb.commands.registry import REGISTRY, Command, Route, call, parse_params
from vb.config import SettingRow, settings_table
from vb.errors import BadRequest
from vb.events.catalog import all_events

if TYPE_CHECKING:
    from vb.engine import Engine

Json = dict[str, Any]


def openapi(commands: list[Command] | None = None) -> Json:
    return build_openapi(list(REGISTRY.values()) if commands is None else commands, "1.0")


def asyncapi() -> Json:
    return build_asyncapi(list(REGISTRY.values()), all_events(), "1.0")


def follow(document: Json, node: Any) -> Any:
    while "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [item for value in node.values() for item in references(value)]
    return [item for value in node for item in references(value)] if isinstance(node, list) else []


def test_all_commands_make_a_valid_openapi_document() -> None:
    assert catalog.COMMAND_MODULES
    document = openapi()
    # Their defaults have no time zone, as the calls API has it; the validator asks for one.
    for path in ("/api/calls", "/api/calls/details"):
        for parameter in document["paths"][path]["get"]["parameters"]:
            if parameter["schema"].get("format") == "time":
                del parameter["schema"]["format"]
    OpenAPIV31SpecValidator(document).validate()


def test_every_command_is_an_operation_and_every_status_is_documented() -> None:
    document = openapi()
    for command in REGISTRY.values():
        operation = document["paths"][command.route.path][command.route.method.lower()]
        assert operation["operationId"] == command.name
        assert operation["summary"] == command.summary
        assert {str(status) for status in (command.route.status, *command.errors)} <= set(
            operation["responses"]
        )


def test_component_names_are_readable() -> None:
    for document in (openapi(), asyncapi()):
        for name in document["components"]["schemas"]:
            assert name.isidentifier(), name


def test_every_reference_leads_somewhere() -> None:
    for document in (openapi(), asyncapi()):
        for target in references(document):
            follow(document, {"$ref": target})


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Json:
    use_small_registry(monkeypatch)
    return openapi()


def test_a_request_body_leaves_out_what_the_path_says(small: Json) -> None:
    operation = small["paths"]["/v1/legs/{id}/paint"]["post"]
    assert operation["requestBody"]["required"] is True
    body = follow(small, operation["requestBody"]["content"]["application/json"]["schema"])
    assert set(body["properties"]) == {"colour", "coats", "from", "glitter"}
    assert body["required"] == ["colour"]
    assert [(item["name"], item["in"]) for item in operation["parameters"]] == [("id", "path")]


def test_a_field_of_a_missing_feature_is_described_with_501(small: Json) -> None:
    operation = small["paths"]["/v1/legs/{id}/paint"]["post"]
    body = follow(small, operation["requestBody"]["content"]["application/json"]["schema"])
    assert body["properties"]["glitter"]["x-available"] is False
    assert "501" in operation["responses"]


def test_fields_of_an_operation_without_body_are_query_parameters(small: Json) -> None:
    operation = small["paths"]["/v1/rooms/{id}/paint"]["get"]
    assert "requestBody" not in operation
    assert {item["name"]: (item["in"], item["required"]) for item in operation["parameters"]} == {
        "id": ("path", True),
        "wall": ("query", False),
    }


def test_a_success_names_the_instance_and_a_list_does_not(small: Json) -> None:
    painted = small["paths"]["/v1/legs/{id}/paint"]["post"]["responses"]["201"]["content"]
    names = [item["$ref"].rpartition("/")[2] for item in painted["application/json"]["schema"]["allOf"]]
    assert names == ["Instance", "Painted"]
    listed = small["paths"]["/v1/colours"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert listed == {"type": "array", "items": {"$ref": "#/components/schemas/Painted"}}


def test_null_is_not_a_type_because_it_counts_as_absent(small: Json) -> None:
    assert '"null"' not in json.dumps(small)
    assert follow(small, {"$ref": "#/components/schemas/PaintBody"})["properties"]["from"]["type"] == "string"


def test_a_failure_is_described_with_its_schema(small: Json) -> None:
    responses = small["paths"]["/v1/legs/{id}/paint"]["post"]["responses"]
    assert responses["404"]["content"]["application/json"]["schema"]["$ref"].endswith("/Error")
    assert "Retry-After" in responses["503"]["headers"]
    assert small["components"]["schemas"]["Error"]["required"] == ["instance_id", "error"]


def test_vsi_and_the_pages_are_described(small: Json) -> None:
    vsi = small["paths"]["/v1/vsi"]["get"]
    assert set(vsi["responses"]) == {"101", "400", "426"}
    assert vsi["parameters"][0]["name"] == "app_id"
    assert {"/healthz", "/readyz", "/metrics"} <= set(small["paths"])


def test_asyncapi_has_every_command_with_its_reply() -> None:
    document = asyncapi()
    for name in REGISTRY:
        operation = document["operations"][name]
        assert operation["action"] == "receive"
        replies = {item["$ref"].rpartition("/")[2] for item in operation["reply"]["messages"]}
        assert replies == {f"{name}.result", "error"}
        payload = document["components"]["messages"][name]["payload"]
        assert payload["properties"]["type"]["const"] == name


def test_asyncapi_has_every_event_with_envelope_and_payload() -> None:
    document = asyncapi()
    for kind, event in all_events().items():
        assert document["operations"][kind]["action"] == "send"
        schema = follow(document, document["components"]["messages"][kind]["payload"])
        assert schema["properties"]["type"]["const"] == kind
        fields = {info.alias or name for name, info in event.model_fields.items()}
        assert set(schema["properties"]) == fields | {"type", "timestamp", "instance_id", "event_id"}
        needed = {info.alias or name for name, info in event.model_fields.items() if info.is_required()}
        assert set(schema["required"]) == needed | {"type", "timestamp", "instance_id", "event_id"}


def test_asyncapi_describes_the_frames_that_are_no_events() -> None:
    document = asyncapi()
    for name in ("connected", "ping", "events_dropped", "error", "pong", "stop"):
        assert name in document["channels"]["vsi"]["messages"]
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"]["vsi"]["address"] == "/v1/vsi"


class Bucket(BaseModel):
    """How a leg is painted after the change."""

    id: str
    colour: str
    coats: int = 1
    brush: int = Field(description="width in mm")


class Brushed(Painted):
    """What it looks like after the change."""

    brush: int


async def brush_leg(engine: Engine, p: Bucket) -> Brushed:
    """Paint a leg with a brush."""
    return Brushed(id=p.id, colour=p.colour, coats=p.coats, brush=p.brush)


async def test_one_altered_command_changes_all_its_views(
    engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(engine)
    path, values = "/v1/legs/a/paint", {"colour": "red", "brush": 40}
    body = json.dumps(values).encode()

    async def views() -> tuple[bool, bool, bool, bool, bool]:
        """Tell for REST, VSI, library, OpenAPI and AsyncAPI whether they know of the brush."""
        rest = json.loads((await ask(app, "POST", path, body)).body)
        try:
            _command("paint_leg", {"id": "a", "colour": "red"})
        except BadRequest as error:
            vsi = "brush" in error.message
        else:
            vsi = False
        fake: Any = engine
        result = await call(fake, "paint_leg", {"id": "a", **values})
        return (
            rest.get("brush") == 40,
            vsi,
            getattr(result, "brush", None) == 40,
            b'"brush"' in (await ask(app, "GET", "/openapi.json")).body,
            b'"brush"' in (await ask(app, "GET", "/asyncapi.json")).body,
        )

    assert await views() == (False, False, False, False, False)
    old = REGISTRY["paint_leg"]
    register(monkeypatch, "paint_leg", brush_leg, old.route, old.errors)
    assert await views() == (True, True, True, True, True)


def test_documents_are_built_once_for_one_state_of_the_registry(
    engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = Documents()
    first = documents.current()
    assert documents.current() is first
    assert Documents().current() is first  # of another server
    register(monkeypatch, "repaint", brush_leg, Route("PUT", "/v1/legs/{id}/paint", body=True), ())
    assert documents.current() is not first


class Outline(HTMLParser):
    """The element ids, link targets and tag balance of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: set[str] = set()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "input"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                assert value not in self.ids, f"{value} twice"
                self.ids.add(value)
            if name == "href" and value:
                self.targets.add(value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(page: str) -> Outline:
    parsed = Outline()
    parsed.feed(page)
    return parsed


def test_the_page_shows_every_operation_event_and_setting() -> None:
    page = outline(build_page(openapi(), asyncapi(), settings_table()))
    assert {f"op-{name}" for name in REGISTRY} <= page.ids
    assert {f"event-{kind}" for kind in all_events()} <= page.ids
    text = build_page(openapi(), asyncapi(), settings_table())
    assert all(f"<code>{row.name}</code>" in text for row in settings_table())


def test_the_page_is_whole_and_loads_nothing_from_elsewhere() -> None:
    page = outline(build_page(openapi(), asyncapi(), settings_table()))
    assert page.open == []
    assert {target.removeprefix("#") for target in page.targets if target.startswith("#")} <= page.ids
    assert all(target.startswith(("#", "/")) for target in page.targets)
    assert page.tags.isdisjoint({"link", "img", "iframe"})
    assert build_page(openapi(), asyncapi(), settings_table()).count("<script") == 1  # its own filter


async def hostile(engine: Engine, p: Paint) -> Painted:
    """Say <script>alert(1)</script> & "more" `<b>`."""
    return Painted(id="", colour="", coats=0)


def test_nothing_in_the_page_can_become_markup(engine: SmallEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "hostile", hostile, Route("GET", '/v1/"><script>x</script>'), ())
    row = SettingRow("<script>", "<script>", "<script>", "<script>`<script>", "g", "f")
    page = build_page(openapi(), asyncapi(), [row])
    assert "<script>" not in page
    assert page.count("<script") == 1


def test_every_operation_has_a_curl_line_and_every_body_an_example() -> None:
    page = build_page(openapi(), asyncapi(), settings_table())
    shown = html.unescape(page)
    bodies = sum(command.route.body for command in REGISTRY.values())
    assert page.count("<details>") == bodies + len(all_events())
    assert shown.count("<pre><code>curl ") >= len(REGISTRY)
    assert """curl -X POST http://localhost:8080/v1/rooms -d '{"id":""" in shown
    assert 'curl -X DELETE "http://localhost:8080/v1/legs/$ID"' in shown


def test_examples_of_bodies_are_taken_by_their_commands() -> None:
    document = openapi()
    schemas = document["components"]["schemas"]

    def resolved(schema: Any) -> Any:
        return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    for command in REGISTRY.values():
        operation = document["paths"][command.route.path][command.route.method.lower()]
        if "requestBody" not in operation:
            continue
        body = example_of(operation["requestBody"]["content"]["application/json"]["schema"], resolved)
        named = dict.fromkeys(command.route.path_fields.values(), "x")
        parse_params(command.params, {**command.route.from_body(body), **named})
