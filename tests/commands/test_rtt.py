"""The commands of real-time text, on legs that have none."""

from __future__ import annotations

import pytest

from tests.support.engine import Client, Observed


@pytest.fixture
async def client(observed: Observed) -> Client:
    observed.leg("a")
    return Client(observed)


async def test_text_for_a_leg_without_text_is_a_conflict(client: Client) -> None:
    status, answer = await client.rest("POST", "legs/a/rtt", {"text": "x"})
    assert (status, answer["error"]) == (409, "RTT not negotiated for this leg")


@pytest.mark.parametrize("body", [None, {}, {"text": ""}, {"text": None}])
async def test_no_text_is_refused_first(client: Client, body: object) -> None:
    assert (await client.rest("POST", "legs/a/rtt", body))[0] == 400


async def test_a_leg_that_does_not_exist_is_not_found(client: Client) -> None:
    assert (await client.rest("POST", "legs/x/rtt", {"text": "x"}))[0] == 404
    assert (await client.rest("POST", "legs/x/rtt/accept"))[0] == 404
    assert (await client.rest("POST", "legs/x/rtt/reject"))[0] == 404


async def test_any_leg_accepts_and_rejects_text(client: Client, observed: Observed) -> None:
    def accepts() -> bool:
        return observed.engine.legs.get("a").accept_rtt

    assert accepts()
    assert await client.rest("POST", "legs/a/rtt/reject") == (200, {"status": "rtt_rejecting"})
    assert not accepts()
    assert await client.rest("POST", "legs/a/rtt/accept") == (200, {"status": "rtt_accepting"})
    assert accepts()
