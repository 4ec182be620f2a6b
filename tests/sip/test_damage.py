"""Damaged messages inside and outside calls: nothing raises, nothing is left, the next call works."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sip_pair import ANSWER, OFFER, RawPeer, is_closed, statuses
from vb.sip.call_events import Closed
from vb.sip.message import Request

Damage = list[tuple[int, int]]
DAMAGE = st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=4)
METHODS = st.sampled_from(["INVITE", "ACK", "BYE", "UPDATE", "OPTIONS", "CANCEL", "REFER", "NOTIFY", "INFO"])


def damaged(data: bytes, damage: Damage) -> bytes:
    """Return the bytes with some replaced; a value of 0 cuts the message there."""
    result = bytearray(data)
    for position, value in damage:
        position %= len(result)
        if value == 0 and position > 0:
            del result[position:]
        else:
            result[position] = value
    return bytes(result)


def assert_alive(peer: RawPeer) -> None:
    peer.collect()
    assert statuses(peer.send(peer.request("OPTIONS", call_id="alive")))[-1] == 200


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(METHODS, st.integers(1, 9), st.booleans(), DAMAGE), max_size=6))
def test_damaged_requests_in_a_call(messages: list[tuple[str, int, bool, Damage]]) -> None:
    peer = RawPeer()
    call = peer.connected()
    for method, cseq, has_body, damage in messages:
        body = OFFER if has_body else b""
        data = peer.request(method, to_tag=call.local_tag, cseq=cseq, body=body)
        peer.send(damaged(data, damage))
    assert_alive(peer)
    call.hangup(peer.now)
    for other in peer.side.calls:
        other.hangup(peer.now)
    peer.advance(200)
    assert isinstance(peer.side.take()[-1], Closed)
    assert (peer.agent.calls, peer.agent.transactions) == (0, 0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([100, 180, 183, 200, 302, 401, 486]), DAMAGE), max_size=5))
def test_damaged_responses_to_an_invite(responses: list[tuple[int, Damage]]) -> None:
    peer = RawPeer()
    call = peer.dial()
    invite = peer.received[-1]
    assert isinstance(invite, Request)
    for status, damage in responses:
        peer.send(damaged(peer.response(invite, status, body=ANSWER), damage))
    assert_alive(peer)
    call.hangup(peer.now)
    peer.advance(200)
    assert is_closed(peer.side.take())
    assert (peer.agent.calls, peer.agent.transactions) == (0, 0)
