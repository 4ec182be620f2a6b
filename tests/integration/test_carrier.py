"""What carriers ask for, through a whole server: 100rel, session timers, Replaces, proxies, TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trustme

from tests.support.engine import sip_of
from tests.support.phone import Phone, open_phone
from tests.support.raw_sip import SDP, RawSip, open_raw
from tests.support.world import Events, call_in, rest_of, sip_uri, wait_for
from vb.commands.views import Leg
from vb.config import Config
from vb.errors import BadRequest, Conflict, NotAvailable
from vb.events.hooks import Hook
from vb.server import Server, open_server
from vb.sip import call_events as sip
from vb.sip.tasks.call import SipCall
from vb.sip.tasks.endpoint import DialRequest

pytestmark = pytest.mark.integration


@pytest.fixture
def config(config: Config) -> Config:
    """A server that does not wait long for peers that have gone."""
    return config.model_copy(update={"server": config.server.model_copy(update={"stop_timeout_s": 0.3})})


def with_sip(config: Config, **values: object) -> Config:
    return config.model_copy(update={"sip": config.sip.model_copy(update=values)})


# -- 100rel -------------------------------------------------------------------------------------------


async def ringing_leg(events: Events) -> str:
    return str((await wait_for(events, "leg.ringing"))["leg_id"])


async def acknowledge(raw: RawSip, cseq: int, *, refusal: bool = False) -> None:
    """Send the ACK of a 2xx; that of a refusal belongs to the INVITE's transaction."""
    await raw.request("ACK", cseq=cseq, branch_of="INVITE" if refusal else None)


async def early_offer(server: Server, raw: RawSip, events: Events) -> tuple[str, dict[str, str]]:
    """Call without an offer, get ours in a 183; returns the leg's id and the RAck it asks for."""
    await raw.request("INVITE", headers={"Supported": "100rel"})
    leg_id = await ringing_leg(events)
    await server.call("leg_early_media", id=leg_id)
    progress = await raw.wait_status(183)
    assert progress.headers.get("Require") == "100rel"
    assert b"m=audio" in progress.body
    return leg_id, {"RAck": f"{progress.headers.get('RSeq')} 1 INVITE"}


async def test_early_media_of_a_call_without_an_offer_starts_with_the_prack(config: Config) -> None:
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            leg_id, rack = await early_offer(server, raw, events)
            assert await rest_of(events) == []
            with pytest.raises(Conflict, match="already"):
                await server.call("leg_early_media", id=leg_id)
            await raw.request("PRACK", body=SDP, headers=rack)
            await raw.wait_status(200, "PRACK")
            await wait_for(events, "leg.early_media", leg_id=leg_id)
            await server.call("answer_leg", id=leg_id)
            assert (await raw.wait_status(200)).body == b""
            await acknowledge(raw, 1)
            await wait_for(events, "leg.connected", leg_id=leg_id)


async def test_an_answer_given_before_the_prack_follows_it(config: Config) -> None:
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            leg_id, rack = await early_offer(server, raw, events)
            await server.call("answer_leg", id=leg_id)
            with pytest.raises(Conflict):
                await server.call("answer_leg", id=leg_id)
            await raw.request("PRACK", body=SDP, headers=rack)
            await raw.wait_status(200, "PRACK")
            await raw.wait_status(200)
            await acknowledge(raw, 1)
            kinds = [event["type"] for event in await rest_of(events)]
            assert kinds == ["leg.early_media", "leg.connected"]


@pytest.mark.parametrize(("reason", "status", "told"), [("busy", 486, "busy"), (None, 480, "caller_cancel")])
async def test_an_answer_that_waits_for_the_prack_can_still_be_withheld(
    config: Config, reason: str | None, status: int, told: str
) -> None:
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            leg_id, _ = await early_offer(server, raw, events)
            await server.call("answer_leg", id=leg_id)
            with pytest.raises(BadRequest):
                await server.call("delete_leg", id=leg_id, reason="nonsense")
            await server.call("delete_leg", id=leg_id, reason=reason)
            await raw.wait_status(status)
            await acknowledge(raw, 1, refusal=True)
            gone = await wait_for(events, "leg.disconnected")
            assert gone["cdr"]["reason"] == told


@pytest.mark.parametrize("body", [b"", b"hello", SDP.replace(b"m=audio 40000", b"m=audio 0")])
async def test_a_prack_without_a_usable_answer_ends_the_call(config: Config, body: bytes) -> None:
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            _, rack = await early_offer(server, raw, events)
            await raw.request("PRACK", body=body, headers=rack)
            await raw.wait_status(480)
            await acknowledge(raw, 1, refusal=True)
            gone = await wait_for(events, "leg.disconnected")
            assert gone["cdr"]["reason"] == "connect_failed"


async def test_without_100rel_a_call_without_an_offer_has_no_early_media(config: Config) -> None:
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            await raw.request("INVITE")
            leg_id = await ringing_leg(events)
            await server.call("leg_early_media", id=leg_id)
            failed = await wait_for(events, "leg.command_failed", leg_id=leg_id)
            assert failed["command"] == "early_media"


async def test_a_caller_that_never_acknowledges_is_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.sip.response_retransmission.TIMEOUT_S", 0.7)
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            await early_offer(server, raw, events)
            await raw.wait_status(504)
            await acknowledge(raw, 1, refusal=True)
            gone = await wait_for(events, "leg.disconnected")
            assert gone["cdr"]["reason"] == "timeout"


# -- session timers -----------------------------------------------------------------------------------


async def test_the_leg_refreshes_by_reinvite_and_ends_when_nobody_answers(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.sip.session_timer.MIN_INTERVAL_S", 1.5)
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            await raw.request("INVITE", body=SDP, headers={"Session-Expires": "1"})
            leg_id = await ringing_leg(events)
            await server.call("answer_leg", id=leg_id)
            answer = await raw.wait_status(200)
            assert answer.headers.get("Session-Expires") == "1;refresher=uas"
            await acknowledge(raw, 1)
            await wait_for(events, "leg.connected")
            refresh = await raw.wait_request("INVITE")
            assert refresh.headers.get("Session-Expires") == "1.5;refresher=uac"
            assert refresh.body == answer.body  # the version of the o= line included
            await raw.respond(refresh, 200, body=SDP, headers={"Session-Expires": "1;refresher=uac"})
            await raw.wait_request("ACK")
            await server.call("hold_leg", id=leg_id)
            hold = await raw.wait_request("INVITE")
            held = SDP.replace(b"7 1 IN", b"7 2 IN") + b"a=recvonly\r\n"
            await raw.respond(hold, 200, body=held, headers={"Session-Expires": "1;refresher=uac"})
            await raw.wait_request("ACK")
            await wait_for(events, "leg.hold")
            again = await raw.wait_request("INVITE")
            assert again.body == hold.body
            assert b"a=sendonly" in again.body
            await raw.wait_request("BYE")
            gone = await wait_for(events, "leg.disconnected")
            assert gone["cdr"]["reason"] == "session_expired"


# -- Replaces -----------------------------------------------------------------------------------------


def replacing(phone: Phone, uri: str, old: SipCall, more: str = "") -> SipCall:
    """Let a phone call in, in the place of another phone's call."""
    assert phone.negotiation is not None
    value = f"{old.call_id};to-tag={old.remote_tag};from-tag={old.local_tag}{more}"
    call = phone.endpoint.dial(
        DialRequest(
            to=uri,
            sdp=phone.negotiation.offer(),
            server_headers=(("Replaces", value), ("Require", "replaces")),
        )
    )
    phone.calls.append(call)
    return call


async def test_a_call_with_replaces_takes_the_place_of_the_other(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as old, open_phone(1000) as new:
        with server.events() as events:
            call = old.dial(sip_uri(server), {"X-App-ID": "shop"})
            old_id = await ringing_leg(events)
            hook = Hook("http://127.0.0.1:9/hook", "secret")
            server.engine.hooks.set_leg(old_id, hook)
            await server.call("add_leg_to_room", room_id="r", leg_id=old_id)
            old.use_answer((await old.wait_for(call, sip.Answered)).sdp)
            await wait_for(events, "leg.joined_room", leg_id=old_id)
            taking = replacing(new, sip_uri(server), call)
            new.use_answer((await new.wait_for(taking, sip.Answered)).sdp)
            await old.wait_for(call, sip.RemoteHangup)
            gone = await wait_for(events, "leg.disconnected", leg_id=old_id)
            assert gone["cdr"]["reason"] == "transfer_completed"
            (leg,) = server.engine.legs
            assert (leg.app_id, leg.room.id if leg.room else None) == ("shop", "r")
            assert server.engine.hooks.leg_hook(leg.id) == hook


async def test_early_only_leaves_a_connected_call_alone(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as old, open_phone(1000) as new:
        with server.events() as events:
            await call_in(server, old, events)
            taking = replacing(new, sip_uri(server), old.calls[0], ";early-only")
            assert (await new.wait_for(taking, sip.Refused)).status == 486
            assert len(server.engine.legs) == 1


async def test_a_ringing_call_of_ours_can_be_picked_up(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as rung, open_phone(1000) as new:
        with server.events() as events:
            await server.call("create_leg", type="sip", to=rung.uri, room_id="r", app_id="shop")
            with trio.fail_after(5):
                await rung.arrived.wait()
            old_id = await ringing_leg(events)
            heard = sip_of(server.engine).stats.messages
            rung.calls[0].ring()
            with trio.fail_after(5):
                while sip_of(server.engine).stats.messages == heard:
                    await trio.lowlevel.checkpoint()
            taking = replacing(new, sip_uri(server), rung.calls[0], ";early-only")
            new.use_answer((await new.wait_for(taking, sip.Answered)).sdp)
            joined = await wait_for(events, "leg.joined_room", room_id="r")
            assert joined["leg_id"] != old_id
            await rung.wait_for(rung.calls[0], sip.Cancelled)
            gone = await wait_for(events, "leg.disconnected", leg_id=old_id)
            assert gone["cdr"]["reason"] == "transfer_completed"


# -- the way out --------------------------------------------------------------------------------------


async def test_a_call_goes_through_the_proxy_that_it_names(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as proxy:
        proxy_uri = f"sip:127.0.0.1:{proxy.port}"
        leg = await server.call("create_leg", type="sip", to="sip:bob@far.invalid", outbound_proxy=proxy_uri)
        assert isinstance(leg, Leg)
        with trio.fail_after(5):
            await proxy.arrived.wait()
        invite = proxy.calls[0].invite
        assert invite.uri == "sip:bob@far.invalid"
        assert invite.headers.get_all("Route") == [f"<{proxy_uri};lr>"]


async def test_a_call_goes_through_the_servers_proxy_otherwise(config: Config) -> None:
    async with open_phone(600) as proxy:
        settings = with_sip(config, outbound_proxy=f"sip:127.0.0.1:{proxy.port};lr")
        async with open_server(settings) as server:
            await server.call("create_leg", type="sip", to="sip:bob@far.invalid")
            with trio.fail_after(5):
                await proxy.arrived.wait()
            assert proxy.calls[0].invite.uri == "sip:bob@far.invalid"


@pytest.mark.parametrize("proxy", ["proxy.example", "http://x", "sip:"])
async def test_a_proxy_that_is_no_sip_uri_is_refused(config: Config, proxy: str) -> None:
    async with open_server(config) as server:
        with pytest.raises(BadRequest, match="outbound_proxy"):
            await server.call("create_leg", type="sip", to="sip:bob@127.0.0.1", outbound_proxy=proxy)


async def test_a_proxy_over_tls_needs_tls(config: Config) -> None:
    async with open_server(config) as server:
        with pytest.raises(NotAvailable, match="outbound_proxy: SIP over TLS"):
            await server.call(
                "create_leg", type="sip", to="sip:bob@127.0.0.1", outbound_proxy="sips:127.0.0.1"
            )


async def test_the_server_listens_on_tls_and_calls_itself_over_it(config: Config, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    both = str(tmp_path / "both.pem")
    settings = with_sip(config, tls_port=0, tls_cert=both, tls_key=both, tls_ca_file=str(tmp_path / "ca.pem"))
    async with open_server(settings) as server:
        (tls,) = [address for address in server.addresses.sip if address.startswith("tls:")]
        with server.events() as events:
            to = f"sips:room@localhost:{tls.rpartition(':')[2]}"
            await server.call("create_leg", type="sip", to=to)
            inbound = await wait_for(events, "leg.ringing", leg_type="sip_inbound")
            await server.call("answer_leg", id=inbound["leg_id"])
            await wait_for(events, "leg.connected")
            await wait_for(events, "leg.connected")


async def test_a_named_route_that_refuses_connections_fails_a_hold_at_once(config: Config) -> None:
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            route = {"Record-Route": "<sip:localhost:9;transport=tcp;lr>"}
            await raw.request("INVITE", body=SDP, headers=route)
            leg_id = await ringing_leg(events)
            await server.call("answer_leg", id=leg_id)
            await raw.wait_status(200)
            await acknowledge(raw, 1)
            await wait_for(events, "leg.connected", leg_id=leg_id)
            await server.call("hold_leg", id=leg_id)
            failed = await wait_for(events, "leg.command_failed", leg_id=leg_id)
            assert failed["command"] == "hold"
            leg = await server.call("get_leg", id=leg_id)
            assert isinstance(leg, Leg)
            assert leg.state == "connected"
