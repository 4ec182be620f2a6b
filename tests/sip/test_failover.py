"""A call that several servers may take: what makes it go on to the next one.  Spec: RFC 3263 §4.3."""

from __future__ import annotations

import pytest

from tests.support.sip_pair import ANSWER, BOB, OFFER, RawPeer, dial_plan, kinds, last_request, statuses
from vb.sip.call_events import Closed, NextTargetDue, Refused
from vb.sip.digest import Credentials
from vb.sip.hop import Hop
from vb.sip.outbound import OutboundCall

ELSEWHERE = Hop("udp", "127.0.0.1", 5069)


@pytest.fixture
def call(peer: RawPeer) -> OutboundCall:
    call = peer.agent.dial(dial_plan(BOB, uri="sip:bob@example.com", credentials=Credentials("a", "b")))
    call.has_alternatives = True
    call.start(peer.source, OFFER, 0.0)
    peer.collect()
    return call


def test_a_503_asks_for_the_next_server_and_the_invite_goes_there_anew(
    peer: RawPeer, call: OutboundCall
) -> None:
    first = last_request(peer)
    assert statuses(peer.respond(first, 503)) == ["ACK"]
    assert peer.side.take() == [NextTargetDue(silent=False)]
    call.start_elsewhere(ELSEWHERE, peer.now)
    peer.collect()
    second = last_request(peer)
    assert peer.hops[-1] == ELSEWHERE
    assert (second.call_id, second.from_.tag, second.body) == (first.call_id, first.from_.tag, OFFER)
    assert (second.cseq.number, second.uri) == (first.cseq.number + 1, first.uri)
    assert second.via.branch != first.via.branch
    peer.respond(second, 200, body=ANSWER)
    assert kinds(peer.side.take()) == ["Answered"]


def test_silence_and_a_refused_port_ask_for_the_next_server(peer: RawPeer, call: OutboundCall) -> None:
    peer.advance(32.1)
    assert peer.side.take() == [NextTargetDue(silent=True)]
    call.start_elsewhere(ELSEWHERE, peer.now)
    peer.agent.transport_failed("udp", "127.0.0.1", 5069, peer.now)
    peer.collect()
    assert peer.side.take() == [NextTargetDue(silent=True)]
    assert peer.agent.transactions == 0


@pytest.mark.parametrize("status", [302, 404, 408, 480, 486, 488, 500, 502, 504, 600, 603])
def test_any_other_refusal_is_an_answer(peer: RawPeer, call: OutboundCall, status: int) -> None:
    peer.respond(last_request(peer), status)
    assert kinds(peer.side.take()) == ["Refused", "Closed"]


def test_without_another_server_the_last_failure_is_told(peer: RawPeer, call: OutboundCall) -> None:
    peer.respond(last_request(peer), 503, reason="Full")
    peer.side.take()
    call.give_up(peer.now)
    peer.collect()
    assert peer.side.take() == [Refused(503, "Full"), Closed()]
    assert peer.agent.calls == 0


def test_a_503_of_the_only_server_is_told_at_once(peer: RawPeer) -> None:
    peer.dial()
    peer.respond(last_request(peer), 503)
    assert kinds(peer.side.take()) == ["Refused", "Closed"]


def test_a_server_that_rang_and_then_is_overloaded_is_left_with_its_forks(
    peer: RawPeer, call: OutboundCall
) -> None:
    peer.respond(last_request(peer), 180)
    peer.respond(last_request(peer), 503)
    assert kinds(peer.side.take()) == ["Ringing", "NextTargetDue"]
    assert not call.has_dialog("callee")


def test_a_call_hung_up_while_the_next_server_is_looked_up_goes_nowhere(
    peer: RawPeer, call: OutboundCall
) -> None:
    peer.respond(last_request(peer), 503)
    peer.side.take()
    call.hangup(peer.now)
    call.start_elsewhere(ELSEWHERE, peer.now)
    call.give_up(peer.now)
    assert peer.collect() == []
    assert peer.side.take() == [Closed()]


def test_a_call_that_is_being_cancelled_is_not_sent_elsewhere(peer: RawPeer, call: OutboundCall) -> None:
    peer.respond(last_request(peer), 180)
    call.hangup(peer.now)
    peer.collect()
    peer.side.take()
    invite = next(message for message in peer.received if statuses([message]) == ["INVITE"])
    peer.respond(invite, 503)
    assert peer.side.take() == [Closed()]


def test_the_next_server_may_ask_for_a_password_as_well(peer: RawPeer, call: OutboundCall) -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="x", nonce="1", qop="auth", algorithm=MD5'}
    assert statuses(peer.respond(last_request(peer), 401, headers=challenge)) == ["ACK", "INVITE"]
    peer.respond(last_request(peer), 503)
    call.start_elsewhere(ELSEWHERE, peer.now)
    peer.collect()
    assert statuses(peer.respond(last_request(peer), 401, headers=challenge)) == ["ACK", "INVITE"]
