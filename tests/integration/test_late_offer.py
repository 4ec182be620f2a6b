"""Calls whose INVITE brings no offer: ours goes out with the first response that can carry it."""

from __future__ import annotations

import pytest

from tests.support.raw_sip import SDP, RawSip, open_raw
from tests.support.transfers import with_sip
from tests.support.world import Events, sip_uri, wait_for
from vb.config import Config
from vb.errors import BadRequest, Conflict
from vb.server import Server, open_server
from vb.sip.message import Response

pytestmark = pytest.mark.integration

REQUIRED = {"Require": "100rel"}
SUPPORTED = {"Supported": "100rel"}


@pytest.fixture
def config(config: Config) -> Config:
    """A server that does not wait long for peers that have gone."""
    return config.model_copy(update={"server": config.server.model_copy(update={"stop_timeout_s": 0.3})})


async def ringing(raw: RawSip, events: Events, headers: dict[str, str] | None = None) -> str:
    await raw.request("INVITE", headers=headers)
    return str((await wait_for(events, "leg.ringing"))["leg_id"])


def formats(message: Response) -> bytes:
    (line,) = [line for line in message.body.split(b"\r\n") if line.startswith(b"m=audio")]
    return line.partition(b"RTP/AVP ")[2]


async def answer_early_offer(server: Server, raw: RawSip, events: Events, offer: Response) -> None:
    """Answer an offer of ours in the PRACK, and see the call through to its connection."""
    assert offer.headers.get("Require") == "100rel"
    rack = {"RAck": f"{offer.headers.get('RSeq')} 1 INVITE"}
    await raw.request("PRACK", body=SDP, headers=rack)
    await raw.wait_status(200, "PRACK")
    leg_id = (await wait_for(events, "leg.early_media"))["leg_id"]
    await server.call("answer_leg", id=leg_id)
    assert (await raw.wait_status(200)).body == b""
    await raw.request("ACK", cseq=1)
    await wait_for(events, "leg.connected")


async def test_ringing_offers_to_a_caller_that_takes_only_reliable_responses(config: Config) -> None:
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            leg_id = await ringing(raw, events, REQUIRED)
            await server.call("leg_ring", id=leg_id)
            offer = await raw.wait_status(180)
            await server.call("leg_ring", id=leg_id)
            with pytest.raises(Conflict, match="already"):
                await server.call("leg_early_media", id=leg_id)
            await answer_early_offer(server, raw, events, offer)


async def test_so_does_the_ringing_that_nobody_asks_for(config: Config) -> None:
    settings = with_sip(config, auto_ringing=True)
    async with open_server(settings) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            await ringing(raw, events, REQUIRED)
            await answer_early_offer(server, raw, events, await raw.wait_status(180))


async def test_so_does_the_response_that_breaks_a_long_silence(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.sip.inbound.REPEAT_PROVISIONAL_S", 0.2)
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            await ringing(raw, events, REQUIRED)
            offer = await raw.wait_status(183)
            monkeypatch.setattr("vb.sip.inbound.REPEAT_PROVISIONAL_S", 60)
            await answer_early_offer(server, raw, events, offer)


async def test_an_answer_offers_only_the_codec_that_it_names(config: Config) -> None:
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            leg_id = await ringing(raw, events)
            for codec in ("mp3", "speex"):
                with pytest.raises(BadRequest, match="codec"):
                    await server.call("answer_leg", id=leg_id, codec=codec)
            await server.call("answer_leg", id=leg_id, codec="PCMA")
            assert formats(await raw.wait_status(200)) == b"8 101"


async def test_early_media_offers_only_the_codec_that_it_names(config: Config) -> None:
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            leg_id = await ringing(raw, events, SUPPORTED)
            with pytest.raises(BadRequest, match="codec"):
                await server.call("leg_early_media", id=leg_id, codec="mp3")
            await server.call("leg_early_media", id=leg_id, codec="PCMA")
            assert formats(await raw.wait_status(183)) == b"8 101"


async def test_early_media_asked_for_after_the_answer_leaves_the_offer_alone(config: Config) -> None:
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            leg_id = await ringing(raw, events, SUPPORTED)
            await server.call("answer_leg", id=leg_id)
            await raw.wait_status(200)
            with pytest.raises(Conflict):
                await server.call("leg_early_media", id=leg_id, codec="PCMA")
            await raw.request("ACK", cseq=1, body=SDP)
            await wait_for(events, "leg.connected", leg_id=leg_id)
