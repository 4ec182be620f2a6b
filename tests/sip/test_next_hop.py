"""Where requests go: long ones by TCP, all of them by the outbound proxy.

Spec: RFC 3261 §18.1.1, §8.1.2.
"""

from __future__ import annotations

import dataclasses

import pytest

from tests.support.sip_pair import (
    ALICE,
    ANSWER,
    BOB,
    OFFER,
    RawPeer,
    dial_plan,
    kinds,
    last_request,
    statuses,
)
from vb.sip.agent import MAX_UDP_REQUEST_BYTES
from vb.sip.call_events import DialFailed, Ringing
from vb.sip.call_state import CallState
from vb.sip.dialog import uri_hop
from vb.sip.framing import PING
from vb.sip.hop import Hop
from vb.sip.outbound import OutboundCall
from vb.sip.settings import AgentSettings
from vb.sip.target import proxy_route
from vb.sip.uri import parse_uri

LONG = OFFER + b"a=x:" + b"y" * 900 + b"\r\n"
TCP = Hop("tcp", "127.0.0.1", 5061)


def dialled(uri: str, sdp: bytes, *, tcp: bool = True) -> tuple[RawPeer, OutboundCall]:
    peer = RawPeer(AgentSettings(port=5062, tcp_enabled=tcp))
    call = peer.agent.dial(dial_plan(ALICE, uri=uri))
    call.start(uri_hop(parse_uri(uri)), sdp, 0.0)
    peer.collect()
    return peer, call


def lose_connection(peer: RawPeer) -> None:
    """The connection that the INVITE went out on is gone."""
    peer.agent.sent_on((last_request(peer).via.branch.lower(), "INVITE"), 1)
    peer.agent.flow_lost(1, 0.1)
    peer.collect()


def test_a_long_request_goes_over_tcp_and_says_so() -> None:
    peer, _ = dialled("sip:bob@127.0.0.1:5061", LONG)
    assert len(last_request(peer).to_bytes()) > MAX_UDP_REQUEST_BYTES
    assert peer.hops == [TCP]
    assert last_request(peer).via.transport == "TCP"
    assert peer.advance(31) == []  # TCP repeats nothing


def test_a_short_one_goes_over_udp() -> None:
    peer, _ = dialled("sip:bob@127.0.0.1:5061", OFFER)
    assert peer.hops == [ALICE]


@pytest.mark.parametrize(
    ("uri", "tcp", "hop"),
    [
        ("sip:bob@127.0.0.1:5061;transport=udp", True, ALICE),
        ("sip:bob@127.0.0.1:5061", False, ALICE),
        ("sip:bob@127.0.0.1:5061;transport=tcp", True, TCP),
        ("sip:bob@127.0.0.1:5061;transport=tls", True, Hop("tls", "127.0.0.1", 5061)),
    ],
)
def test_a_transport_that_was_asked_for_is_kept(uri: str, tcp: bool, hop: Hop) -> None:
    peer, _ = dialled(uri, LONG, tcp=tcp)
    assert peer.hops == [hop]


def test_where_tcp_is_refused_udp_is_tried() -> None:
    peer, _ = dialled("sip:bob@127.0.0.1:5061", LONG)
    branch = last_request(peer).via.branch
    lose_connection(peer)
    assert statuses(peer.received) == ["INVITE", "INVITE"]
    assert (peer.hops[-1], last_request(peer).via.transport, last_request(peer).via.branch) == (
        ALICE,
        "UDP",
        branch,
    )
    assert statuses(peer.advance(0.7)) == ["INVITE"]  # UDP does repeat
    peer.respond(last_request(peer), 180)
    assert peer.side.take() == [Ringing(180, "Ringing")]


def test_where_both_are_refused_the_call_fails_once() -> None:
    peer, _ = dialled("sip:bob@127.0.0.1:5061", LONG)
    lose_connection(peer)
    peer.agent.transport_failed("udp", "127.0.0.1", 5061, 0.2)
    peer.collect()
    assert peer.side.take()[0] == DialFailed("transport")
    assert (peer.agent.calls, peer.agent.transactions) == (0, 0)


def test_after_an_answer_there_is_no_going_back() -> None:
    peer, _ = dialled("sip:bob@127.0.0.1:5061", LONG)
    peer.source = TCP
    peer.respond(last_request(peer), 100)
    lose_connection(peer)
    assert statuses(peer.received) == ["INVITE", "CANCEL"]
    assert kinds(peer.side.take()) == ["DialFailed"]
    peer.respond(peer.received[0], 487)
    assert kinds(peer.side.take()) == ["Closed"]
    assert (peer.agent.calls, peer.agent.transactions) == (0, 1)  # the CANCEL waits for its answer


def test_an_answer_that_comes_after_the_connection_is_lost_is_acked_and_hung_up() -> None:
    peer, _ = dialled("sip:bob@127.0.0.1:5061", LONG)
    peer.source = TCP
    peer.respond(last_request(peer), 180)
    lose_connection(peer)
    assert statuses(peer.respond(peer.received[0], 200, body=ANSWER)) == ["ACK", "BYE"]
    assert kinds(peer.side.take()) == ["Ringing", "DialFailed"]


def test_without_any_answer_a_lost_connection_leaves_nothing_after_64_t1() -> None:
    peer, _ = dialled("sip:bob@127.0.0.1:5061", LONG)
    peer.source = TCP
    peer.respond(last_request(peer), 180)
    lose_connection(peer)
    peer.advance(33)
    assert (peer.agent.calls, peer.agent.transactions, peer.agent.deadline()) == (0, 0, None)


def test_a_request_that_cannot_be_sent_fails_alone() -> None:
    peer = RawPeer(AgentSettings(port=5062))
    calls = [peer.agent.dial(dial_plan(ALICE)) for _ in range(2)]
    for call in calls:
        call.start(ALICE, OFFER, 0.0)
    senders = [message.sender for message in peer.agent.outgoing()]
    assert senders[1] is not None
    peer.agent.undelivered(senders[1], 0.1)
    peer.collect()
    assert kinds(peer.side.take()) == ["DialFailed", "Closed"]
    assert (calls[0].state, calls[1].state, peer.agent.calls) == (CallState.EARLY, CallState.CLOSED, 1)


def test_a_connection_shows_life_while_a_call_rings_over_it() -> None:
    peer, _ = dialled("sip:bob@127.0.0.1:5061;transport=tcp", OFFER)
    peer.source = TCP
    assert (peer.advance(29), peer.keep_alives) == ([], [])
    peer.respond(last_request(peer), 180)
    assert peer.advance(95) == []
    assert [(sign.data, sign.hop, sign.sender) for sign in peer.keep_alives] == [
        (PING, TCP, (last_request(peer).via.branch.lower(), "INVITE"))
    ] * 3
    peer.respond(last_request(peer), 200, body=ANSWER)
    peer.advance(95)
    assert len(peer.keep_alives) == 3


def over_an_old_connection(peer: RawPeer) -> None:
    """The last request went out on a connection that had carried others, and that is lost."""
    request = last_request(peer)
    peer.agent.sent_on((request.via.branch.lower(), request.method), 1, reused=True)
    peer.agent.flow_lost(1, peer.now)


def test_an_invite_goes_again_over_another_connection_when_an_old_one_turns_out_dead() -> None:
    peer, call = dialled("sip:bob@127.0.0.1:5061;transport=tcp", OFFER)
    over_an_old_connection(peer)
    (again,) = peer.collect()
    assert again.to_bytes() == peer.received[0].to_bytes()
    over_an_old_connection(peer)  # once only
    assert (peer.collect(), kinds(peer.side.take())) == ([], ["DialFailed", "Closed"])
    assert (call.state, peer.agent.transactions) == (CallState.CLOSED, 0)


def test_a_bye_goes_again_over_another_connection_when_an_old_one_turns_out_dead() -> None:
    peer = RawPeer(source=TCP)
    call = peer.connected()
    call.hangup(0.0)
    peer.collect()
    over_an_old_connection(peer)
    assert statuses(peer.collect()) == ["BYE"]
    peer.respond(last_request(peer), 481)
    assert kinds(peer.side.take()) == ["Closed"]


def test_what_may_not_come_twice_fails_with_its_connection() -> None:
    peer = RawPeer(AgentSettings(port=5062, accept_info=True), source=TCP)
    call = peer.connected()
    call.refer_client.refer("<sip:carol@127.0.0.1>", 0.0)
    peer.collect()
    over_an_old_connection(peer)
    assert (peer.collect(), kinds(peer.side.take())) == ([], ["ReferRefused"])


def test_a_request_on_a_connection_of_its_own_fails_with_it() -> None:
    peer, _ = dialled("sip:bob@127.0.0.1:5061;transport=tcp", OFFER)
    lose_connection(peer)
    assert (statuses(peer.received), kinds(peer.side.take())) == (["INVITE"], ["DialFailed", "Closed"])


def test_a_call_that_rings_over_udp_needs_no_sign_of_life() -> None:
    peer, _ = dialled("sip:bob@127.0.0.1:5061", OFFER)
    peer.respond(last_request(peer), 180)
    assert (peer.advance(95), peer.keep_alives) == ([], [])


def test_a_lost_connection_ends_only_what_went_over_it() -> None:
    peer = RawPeer(AgentSettings(port=5062, tcp_enabled=True))
    calls = [peer.agent.dial(dial_plan(ALICE, uri="sip:bob@127.0.0.1:5061;transport=tcp")) for _ in range(3)]
    for call in calls:
        call.start(TCP, OFFER, 0.0)
    for flow, message in enumerate(peer.agent.outgoing(), 1):
        assert message.sender is not None
        peer.agent.sent_on(message.sender, flow)
    peer.agent.flow_lost(2, 0.1)
    assert [call.state for call in calls] == [CallState.EARLY, CallState.CLOSED, CallState.EARLY]


def test_cancel_follows_its_invite() -> None:
    peer, call = dialled("sip:bob@127.0.0.1:5061", LONG)
    peer.source = TCP
    peer.respond(last_request(peer), 180)
    call.hangup(0.0)
    (cancel,) = peer.collect()
    assert (peer.hops[-1], str(cancel.via)) == (TCP, str(peer.received[0].via))


# -- the outbound proxy -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ("sip:127.0.0.1:5061", "sip:127.0.0.1:5061;lr"),
        ("<sip:127.0.0.1:5061;lr>", "sip:127.0.0.1:5061;lr"),
        (" sips:proxy.example;x=1 ", "sips:proxy.example;x=1;lr"),
        ("sip:proxy.example?Subject=x", "sip:proxy.example;lr"),
    ],
)
def test_the_route_to_a_proxy_is_loose(text: str, route: str) -> None:
    assert str(proxy_route(text)) == route


def test_requests_outside_a_dialog_go_through_the_proxy() -> None:
    peer = RawPeer()
    plan = dataclasses.replace(
        dial_plan(BOB, uri="sip:bob@far.example"), route=proxy_route("sip:127.0.0.1:5061")
    )
    call = peer.agent.dial(plan)
    call.start(ALICE, OFFER, 0.0)
    peer.collect()
    sent = last_request(peer)
    assert (sent.uri, sent.headers.get_all("Route")) == ("sip:bob@far.example", ["<sip:127.0.0.1:5061;lr>"])
    peer.respond(sent, 180)
    call.hangup(0.0)
    (cancel,) = peer.collect()
    assert cancel.headers.get_all("Route") == ["<sip:127.0.0.1:5061;lr>"]
    (ack,) = peer.respond(sent, 487)
    assert ack.headers.get_all("Route") == ["<sip:127.0.0.1:5061;lr>"]


@pytest.mark.parametrize("recorded", [[], ["<sip:127.0.0.1:5061;lr>"]])
def test_a_dialog_keeps_to_the_route_that_was_recorded(recorded: list[str]) -> None:
    peer = RawPeer()
    plan = dataclasses.replace(
        dial_plan(BOB, uri="sip:bob@far.example"), route=proxy_route("sip:127.0.0.1:5061")
    )
    call = peer.agent.dial(plan)
    call.start(ALICE, OFFER, 0.0)
    peer.collect()
    headers = {"Contact": "<sip:bob@127.0.0.1:5062>", "Record-Route": recorded[0] if recorded else None}
    (ack,) = peer.respond(last_request(peer), 200, body=ANSWER, headers=headers)
    assert ack.headers.get_all("Route") == recorded
    assert peer.hops[-1] == (ALICE if recorded else BOB)


# -- SIPS -------------------------------------------------------------------------------------------


def test_a_sips_target_makes_our_contact_sips() -> None:
    peer, call = dialled("sips:bob@127.0.0.1:5061", OFFER)
    assert last_request(peer).headers.get("Contact") == "<sips:127.0.0.1:5061>"
    peer.source = Hop("tls", "127.0.0.1", 5061)
    (ack,) = peer.respond(
        last_request(peer), 200, body=ANSWER, headers={"Contact": "<sips:bob@127.0.0.1:5061>"}
    )
    assert ack.headers.get("Contact") == "<sips:127.0.0.1:5061>"
    assert call.dialog is not None
    assert call.dialog.is_secure


def test_our_contact_is_sips_where_the_caller_used_sips() -> None:
    peer = RawPeer(source=Hop("tls", "127.0.0.1", 40000, 7))
    headers = {"Via": "SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bKtls;rport"}
    data = peer.request("INVITE", uri="sips:bob@127.0.0.1", body=OFFER, headers=headers)
    assert peer.send(data)[0].headers.get("Contact") == "<sips:127.0.0.1:5061>"
    plain = peer.request("INVITE", body=OFFER, headers=headers, call_id="other", branch="z9hG4bKx")
    peer.send(plain.replace(b"z9hG4bKtls", b"z9hG4bKother"))
    assert peer.received[-1].headers.get("Contact") == "<sip:127.0.0.1:5061;transport=tls>"


@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sips:a@192.0.2.1", Hop("tls", "192.0.2.1", 5061)),
        ("sip:a@192.0.2.1;transport=TLS", Hop("tls", "192.0.2.1", 5061)),
        ("sip:a@192.0.2.1;transport=tcp", Hop("tcp", "192.0.2.1", 5060)),
        ("sip:a@192.0.2.1", Hop("udp", "192.0.2.1", 5060)),
    ],
)
def test_the_default_port_is_that_of_the_transport(uri: str, hop: Hop) -> None:
    assert uri_hop(parse_uri(uri)) == hop


def test_a_contact_on_the_connected_host_keeps_connection_and_name() -> None:
    source = Hop("tls", "192.0.2.1", 5061, 3, "proxy.example")
    assert uri_hop(parse_uri("sip:a@192.0.2.1:5070"), source) == Hop(
        "tls", "192.0.2.1", 5070, 3, "proxy.example"
    )
    assert uri_hop(parse_uri("sips:a@192.0.2.2"), source) == Hop("tls", "192.0.2.2", 5061)
