"""Calls whose connections break, against a peer whose messages are written by hand."""

from __future__ import annotations

from tests.support.sip_pair import ANSWER, RawPeer, kinds, statuses
from vb.sip.call_state import CallState
from vb.sip.hop import Hop
from vb.sip.inbound import InboundCall


def ringing_over_tcp() -> tuple[RawPeer, InboundCall]:
    """A call that rings over a connection, which then breaks."""
    peer = RawPeer(source=Hop("tcp", "127.0.0.1", 40000, flow=7))
    call = peer.invite()
    call.ring(0.0)
    peer.collect()
    peer.agent.flow_lost(7, 0.0)
    peer.collect()
    return peer, call


def test_a_caller_whose_connection_broke_is_reached_over_another_one() -> None:
    peer, call = ringing_over_tcp()
    assert peer.keep_alives[-1].hop.port == 5061  # that of its Via
    peer.agent.sent_on(peer.reopened(), 8)
    assert peer.advance(20) == []
    call.accept(ANSWER, peer.now)
    assert statuses(peer.collect()) == [200]
    peer.send(peer.request("ACK", to_tag=call.local_tag))
    assert kinds(peer.side.take()) == ["Acknowledged"]
    call.hangup(peer.now)
    assert statuses(peer.collect()) == ["BYE"]


def test_a_request_of_ours_takes_the_connection_that_was_opened_anew() -> None:
    peer, call = ringing_over_tcp()
    peer.agent.sent_on(peer.reopened(), 8)
    call.accept(ANSWER, 0.0)
    peer.agent.expire(33.0)
    assert statuses(peer.collect()[-1:]) == ["BYE"]
    assert peer.hops[-1].flow == 8


def test_a_caller_whose_connection_breaks_again_at_once_has_cancelled() -> None:
    peer, _ = ringing_over_tcp()
    peer.agent.sent_on(peer.reopened(), 8)
    peer.agent.flow_lost(8, 5.0)
    peer.collect()
    assert kinds(peer.side.take()) == ["Cancelled", "Closed"]
    assert peer.agent.transactions == 0


def test_a_caller_who_cannot_be_reached_any_more_has_cancelled() -> None:
    peer, _ = ringing_over_tcp()
    peer.agent.undelivered(peer.reopened(), 0.0)
    peer.collect()
    assert kinds(peer.side.take()) == ["Cancelled", "Closed"]


def test_a_connection_that_is_closed_every_minute_is_opened_each_time() -> None:
    peer, call = ringing_over_tcp()
    for flow in range(8, 13):
        peer.agent.sent_on(peer.reopened(), flow)
        peer.now += 59.0
        peer.agent.flow_lost(flow, peer.now)
        peer.collect()
    assert (len(peer.keep_alives), call.state) == (6, CallState.EARLY)


def test_an_answered_call_needs_no_new_connection_before_it_says_something() -> None:
    peer = RawPeer(source=Hop("tcp", "127.0.0.1", 40000, flow=7))
    call = peer.connected()
    peer.agent.flow_lost(7, 0.0)
    assert (peer.collect(), peer.keep_alives, call.state) == ([], [], CallState.CONFIRMED)
