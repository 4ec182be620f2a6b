"""Who is let into MoQ sessions, and what requests get that come over another HTTP."""

from __future__ import annotations

import json

import pytest
import trio

from tests.api.harness import ask
from tests.support.engine import open_engine
from vb.api.access import WrongTokens, access_of
from vb.api.app import create_app
from vb.api.moq import SessionGuard
from vb.api.openapi import build_openapi
from vb.commands.registry import REGISTRY
from vb.config import Config
from vb.metrics import Metrics
from vb.quic.session import Refusal, Request

TOKEN = "right-" + 20 * "x"
OFFER = "vb.token.cmlnaHQteHh4eHh4eHh4eHh4eHh4eHh4eHg"


def guard(**environ: str) -> SessionGuard:
    config = Config.from_env({"VB_API_TOKENS": TOKEN, **environ})
    return SessionGuard(access_of(config.http), WrongTokens(Metrics()))


def asked(
    *headers: tuple[str, str],
    origin: str | None = None,
    address: str = "192.0.2.7",
    authority: str = "pbx.example:8443",
) -> Request:
    lines = headers if origin is None else (*headers, ("origin", origin))
    return Request("/v1/legs/moq", "", lines, origin, (address, 4000), authority)


async def test_a_session_needs_a_token_where_there_are_any() -> None:
    assert guard()(asked()) == Refusal(401, "unauthorized")
    assert guard()(asked(("authorization", f"Bearer {TOKEN}"))) is None
    assert guard(VB_API_TOKENS="")(asked()) is None


async def test_a_script_offers_its_token_among_the_protocols() -> None:
    assert guard()(asked(("wt-available-protocols", f'"moq-00", "{OFFER}"'))) is None
    assert guard()(asked(("wt-available-protocols", '"moq-00"'))) == Refusal(401, "unauthorized")
    assert guard()(asked(("wt-available-protocols", '"vb.token.d3Jvbmc"'))) == Refusal(401, "unauthorized")


async def test_who_keeps_guessing_has_to_wait() -> None:
    let_in = guard()
    answers = [let_in(asked(("authorization", f"Bearer wrong{number}"))) for number in range(100)]
    assert answers[0] == Refusal(401, "unauthorized")
    assert answers[-1] == Refusal(429, "too many wrong tokens")
    assert let_in(asked(("authorization", f"Bearer {TOKEN}"))) is None


@pytest.mark.parametrize(
    ("origin", "authority", "status"),
    [
        ("https://pbx.example", "pbx.example:8443", None),
        ("http://pbx.example:8080", "pbx.example:8443", None),
        ("https://PBX.example:8080", "pbx.example:8443", None),
        ("http://[::1]:8080", "[::1]:8443", None),
        ("https://evil.example", "pbx.example:8443", 403),
        ("null", "pbx.example:8443", 403),
        ("https://[", "pbx.example:8443", 403),
        ("https://pbx.example", "", 403),
        (None, "", None),
    ],
)
async def test_pages_of_other_sites_use_no_token(
    origin: str | None, authority: str, status: int | None
) -> None:
    header = ("authorization", f"Bearer {TOKEN}")
    refusal = guard()(asked(header, ("host", "evil.example"), origin=origin, authority=authority))
    assert (None if refusal is None else refusal.status) == status


async def test_addresses_are_those_of_the_packets() -> None:
    let_in = guard(ALLOWED_IPS="192.0.2.0/24", VB_API_TOKENS="", TRUST_PROXY_HEADERS="true")
    assert let_in(asked()) is None
    stranger = asked(("x-forwarded-for", "192.0.2.7"), address="198.51.100.1")
    assert let_in(stranger) == Refusal(403, "forbidden")


async def test_plain_requests_are_told_where_to_go() -> None:
    for environ, status, allow in (({}, 503, None), ({"MOQ_ENABLED": "true"}, 405, "CONNECT")):
        async with open_engine(Config.from_env({"VB_DATABASE_URL": "off", **environ})) as observed:
            app = create_app(observed.engine)
            reply = await ask(app, "POST", "/v1/legs/moq", b"")
            assert reply.status == status
            assert reply.headers.get("allow") == allow
            assert "MOQ_" in json.loads(reply.body)["error"]
            await trio.lowlevel.checkpoint()


def test_the_operation_is_documented_as_the_contract_has_it() -> None:
    paths = build_openapi(list(REGISTRY.values()), "1")["paths"]
    operation = paths["/v1/legs/moq"]["post"]
    assert operation["operationId"] == "moqLeg"
    assert operation["x-actual-method"] == "CONNECT"
    assert set(operation["responses"]) == {"200", "400", "405", "500", "503"}
