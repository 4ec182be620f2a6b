"""A client made from a description of the calls API reads what a server answers; no odd request breaks it.

The description is put together here from the facts that tests/history compares the models with, so it is the
API that others describe and not the server's own opinion of it.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.history.test_model import FACTS
from tests.support.history import history_config
from tests.support.phone import open_phone
from tests.support.world import call_in
from vb.config import Config, HttpConfig
from vb.events.history import CallRecorded
from vb.server import Server, open_server

pytestmark = pytest.mark.integration

TOKEN = "token-of-the-calls-tests"
PARAMETERS: dict[str, dict[str, Any]] = {
    "agentIds": {"type": "array", "items": {"type": "string", "format": "uuid"}},
    "cursor": {"type": "string"},
    "durationMax": {"type": "string"},
    "durationMin": {"type": "string"},
    "fromDate": {"type": "string", "format": "date-time"},
    "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
    "pageSize": {"type": "integer"},
    "search": {"type": "string", "minLength": 1},
    "sort": {"type": "string"},
    "timeOfDayEnd": {"type": "string", "format": "time", "default": "23:59:59.999999"},
    "timeOfDayStart": {"type": "string", "format": "time", "default": "00:00:00"},
    "toDate": {"type": "string", "format": "date-time"},
    "voiceId": {"type": "string", "format": "uuid"},
}
"""What the list of calls takes. metadata stands for any number of `metadata.key=value`."""
PLAIN = {"string", "integer", "number", "boolean"}


def _schema(text: str, enums: dict[str, list[str]]) -> dict[str, Any]:
    """A schema of OpenAPI 3.0 in the notation of the facts."""
    text, _, default = text.partition(" = ")
    if text.endswith("?"):
        inner = _schema(text[:-1], enums)
        return {"allOf": [inner], "nullable": True} if "$ref" in inner else {**inner, "nullable": True}
    if text.startswith("["):
        return {"type": "array", "items": _schema(text[1:-1], enums)}
    if text.startswith("{"):
        inner = {} if text == "{any}" else _schema(text[1:-1], enums)
        return {"type": "object", "additionalProperties": inner}
    if text.startswith("enum("):
        return {"type": "string", "enum": text[5:-1].split("|")}
    if text == "any":
        return {}
    kind, _, form = text.partition(":")
    if kind in PLAIN:
        extra = {} if form in ("", "duration") else {"format": form}
        return {"type": kind, **extra, **({"default": json.loads(default)} if default else {})}
    return {"$ref": f"#/components/schemas/{text}"}


def description() -> dict[str, Any]:
    """The calls API as OpenAPI 3.0."""
    enums: dict[str, list[str]] = {}
    schemas: dict[str, Any] = {}
    current: dict[str, Any] = {}
    for line in FACTS.splitlines():
        if line.startswith("  "):
            name, _, rest = line.strip().partition(": ")
            current["properties"][name.rstrip("!")] = _schema(rest, enums)
            if name.endswith("!"):
                current.setdefault("required", []).append(name[:-1])
        elif " = " in line:
            name, _, values = line.partition(" = ")
            schemas[name] = {"type": "string", "enum": values.split("|")}
        elif line:
            current = schemas[line] = {"type": "object", "properties": {}}
    answer = {"$ref": "#/components/schemas/PaginatedCallList"}
    operation = {
        "operationId": "calls_list",
        "tags": ["calls"],
        "parameters": [{"name": name, "in": "query", "schema": item} for name, item in PARAMETERS.items()],
        "responses": {"200": {"description": "", "content": {"application/json": {"schema": answer}}}},
        "security": [{"key": []}],
    }
    key = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    return {
        "openapi": "3.0.3",
        "info": {"title": "Calls", "version": "1"},
        "paths": {"/api/calls": {"get": operation}},
        "components": {"schemas": schemas, "securitySchemes": {"key": key}},
    }


@pytest.fixture
async def server(config: Config, tmp_path: Path) -> AsyncIterator[Server]:
    """A server with tokens, one call that is over and one that goes on."""
    history = history_config(tmp_path / "history")
    http = HttpConfig.model_validate({"addr": "127.0.0.1:0", "api_tokens": TOKEN})
    settings = config.model_copy(update={"history": history, "http": http})
    async with open_server(settings) as found, open_phone(500) as one, open_phone(600) as other:
        with found.events() as events, found.events(CallRecorded) as recorded:
            over = await call_in(found, one, events, "r")
            await call_in(found, other, events, "r")
            await found.call("delete_leg", id=over)
            with trio.fail_after(20):
                await recorded.get()
        yield found


def test_the_server_describes_the_parameters_as_the_calls_api_does() -> None:
    from tests.api.test_specs import openapi

    operation = openapi()["paths"]["/api/calls"]["get"]
    found = {item["name"]: item["schema"] for item in operation["parameters"] if item["in"] == "query"}
    own = {"maximum", "minimum", "maxLength", "x-query-prefix"}
    assert {
        name: {key: value for key, value in schema.items() if key not in own}
        for name, schema in found.items()
    } == PARAMETERS
    assert not any(item["required"] for item in operation["parameters"])
    assert {"apiKeyAuth": []} in operation["security"]


async def test_a_client_made_from_a_description_reads_the_answers(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "api.json").write_text(json.dumps(description()))
    await trio.run_process(
        [
            *(
                sys.executable,
                "-m",
                "openapi_python_client",
                "generate",
                "--path",
                str(tmp_path / "api.json"),
            ),
            *("--output-path", str(tmp_path / "calls_client"), "--meta", "none"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    client = importlib.import_module("calls_client")
    listing = importlib.import_module("calls_client.api.calls.calls_list")
    assert server.url is not None
    ask = client.AuthenticatedClient(
        base_url=server.url,
        token=TOKEN,
        prefix="",
        auth_header_name="X-API-Key",
        raise_on_unexpected_status=True,
    )

    def read(**values: Any) -> Any:
        return listing.sync(client=ask, **values)

    with closing(ask.get_httpx_client()):
        page = await trio.to_thread.run_sync(lambda: read(sort="created"))
        over, open_ = page.results
        assert page.total == 2
        assert (over.end_reason.value, over.billing_status.value) == ("agent_hangup", "BILLING_STATUS_BILLED")
        assert over.ended >= over.joined > over.created  # it may be hung up within the millisecond
        assert over.sip_details.termination_reason.value == "SIP_TERMINATION_NORMAL"
        assert (open_.ended, open_.end_reason, open_.billed_duration) == (None, None, None)
        assert over.medium.sip.incoming is not None
        found = await trio.to_thread.run_sync(
            lambda: read(
                from_date=over.created,
                to_date=over.ended,
                duration_min="0s",
                duration_max="90s",
                search="tester",
            )
        )
        assert [call.call_id for call in found.results] == [over.call_id]


async def test_no_request_that_is_made_up_makes_the_server_fail(server: Server, tmp_path: Path) -> None:
    done = await trio.run_process(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
            *("--include-path-regex", "^/api/calls", "--header", f"X-API-Key: {TOKEN}"),
            *("--checks", "not_a_server_error,response_schema_conformance,status_code_conformance"),
            *("--max-examples", "25", "--seed", "7", "--phases", "examples,fuzzing", "--no-color"),
        ],
        capture_stdout=True,
        check=False,
        cwd=tmp_path,
        stderr=subprocess.STDOUT,
    )
    text = done.stdout.decode()
    assert done.returncode == 0, text[-4000:]
    assert "8 selected" in text, text
