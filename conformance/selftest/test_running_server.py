"""The suite against a server that runs already: its token, what lies on it, and one that does not answer."""

import json
from pathlib import Path

import pytest

from conformance.__main__ import main
from conformance.expect import Difference
from conformance.ledger import read_surface
from conformance.peers.http import HttpClient
from conformance.peers.http_server import Request, Response, serve_http
from conformance.surface import messages_of, operations_of
from conformance.targets import remote
from conformance.world import clean_up


def test_the_token_goes_with_every_request() -> None:
    target = remote("http://127.0.0.1:1", "127.0.0.1:2", token="t0ken")
    assert target.headers == (("Authorization", "Bearer t0ken"),)
    assert remote("http://127.0.0.1:1", "127.0.0.1:2").headers == ()


@pytest.mark.integration
async def test_a_kept_connection_sends_the_client_s_headers_as_well() -> None:
    async def handler(request: Request) -> Response:
        return Response(200 if request.header("Authorization") == "Bearer t" else 401)

    async with serve_http(handler) as port:
        client = HttpClient("127.0.0.1", port, (("Authorization", "Bearer t"),))
        assert (await client.ask("GET", "/")).status == 200
        async with client.connection() as connection:
            assert (await connection.ask("GET", "/")).status == 200


@pytest.mark.integration
async def test_what_lies_on_a_server_is_deleted_whatever_its_id() -> None:
    deleted: list[str] = []

    async def handler(request: Request) -> Response:
        if request.method == "DELETE":
            deleted.append(request.path)
            return Response(200)
        items = [{"id": "a b/ü?"}] if request.path == "/v1/rooms" else []
        return Response(200, json.dumps(items).encode())

    async with serve_http(handler) as port:
        await clean_up(HttpClient("127.0.0.1", port))
    assert deleted == ["/v1/rooms/a%20b%2F%C3%BC%3F"]


@pytest.mark.integration
@pytest.mark.parametrize("answer", [Response(500), Response(200, b"[]"), Response(200, b"<html>")])
async def test_documents_that_are_none_are_a_difference(answer: Response) -> None:
    async def handler(request: Request) -> Response:
        del request
        return answer

    async with serve_http(handler) as port:
        with pytest.raises(Difference):
            await read_surface(remote(f"http://127.0.0.1:{port}", "127.0.0.1:2"))


def test_documents_without_their_lists_are_a_difference() -> None:
    apis: list[dict[str, object]] = [{}, {"paths": []}, {"paths": {"/v1/legs": 5}}]
    for document in apis:
        with pytest.raises(Difference):
            operations_of(document)
    apis = [{}, {"components": 5}, {"components": {"messages": None}}]
    for document in apis:
        with pytest.raises(Difference):
            messages_of(document)


@pytest.mark.integration
def test_a_server_that_does_not_answer_still_gets_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    assert main(["--url", "http://127.0.0.1:9", "--sip", "127.0.0.1:9", "--json", str(report)]) == 1
    written = json.loads(report.read_text())
    assert written["passed"] == 0
    assert written["failed"] > 0
    (problem,) = written["ledger_problems"]
    assert problem.startswith("the server does not tell what it has: GET /openapi.json")
    assert problem in capsys.readouterr().out
