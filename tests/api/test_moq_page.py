"""What the page `/moq` is told of the listener, and where it may connect to."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from typing import cast

import pytest

from tests.api.harness import ask
from vb.api.app import Application
from vb.api.moq import listener_facts, listener_origin
from vb.quic.certificate import Identity, make_identity
from vb.quic.tasks import Listener

IDENTITY = make_identity(datetime.datetime(2026, 5, 4, tzinfo=datetime.UTC), 1)


class Bound:
    """A listener as far as the page knows it."""

    address = ("0.0.0.0", 8443)

    def __init__(self, identity: Identity = IDENTITY) -> None:
        self.identity = identity


def bound(identity: Identity = IDENTITY) -> Listener:
    return cast("Listener", Bound(identity))


@pytest.mark.parametrize(
    ("asked", "origin"),
    [
        ("pbx.example:8080", "https://pbx.example:8443"),
        ("pbx.example", "https://pbx.example:8443"),
        ("192.0.2.1:80", "https://192.0.2.1:8443"),
        ("[2001:db8::1]:8080", "https://[2001:db8::1]:8443"),
        ("pbx.example; script-src *", "https://localhost:8443"),
        ("", "https://localhost:8443"),
    ],
)
def test_the_listener_has_the_name_that_the_page_was_asked_for(asked: str, origin: str) -> None:
    assert listener_origin(bound(), asked) == origin


def test_a_page_needs_the_hash_of_a_certificate_that_nobody_signed() -> None:
    assert listener_facts(bound(), "pbx.example") == {
        "url": "https://pbx.example:8443/v1/legs/moq",
        "sha256": IDENTITY.sha256.hex(),
    }
    signed = replace(IDENTITY, self_made=False)
    assert listener_facts(bound(signed), "pbx.example")["sha256"] is None


async def test_the_page_may_connect_to_the_listener_and_others_may_not(app: Application) -> None:
    app.moq_listener = bound
    policy = (await ask(app, "GET", "/moq")).headers["content-security-policy"]
    assert "connect-src 'self' https://localhost:8443;" in policy
    assert "8443" not in (await ask(app, "GET", "/phone")).headers["content-security-policy"]
    facts = json.loads((await ask(app, "GET", "/moq/listener")).body)
    assert facts["url"] == "https://localhost:8443/v1/legs/moq"


async def test_without_a_listener_the_page_is_told_so(app: Application) -> None:
    policy = (await ask(app, "GET", "/moq")).headers["content-security-policy"]
    assert "connect-src 'self';" in policy
    assert json.loads((await ask(app, "GET", "/moq/listener")).body)["url"] is None
