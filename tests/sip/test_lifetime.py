"""What is over goes at once: calls leave no cycles for the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from weakref import ref

import pytest

from tests.support.sip_pair import ANSWER, OFFER, RawPeer
from vb.sip.message import Request

LINGER_S = 70.0


@pytest.fixture
def peer() -> RawPeer:
    return RawPeer()


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def close_both(peer: RawPeer, byes: list[Request]) -> None:
    for bye in byes:
        peer.respond(bye, 200)
    peer.side.take()
    peer.advance(LINGER_S)
    peer.received.clear()
    peer.side.calls.clear()


def test_an_incoming_call_that_is_over_is_gone(peer: RawPeer) -> None:
    call = peer.connected()
    call.hangup(0.0)
    gone = ref(call)
    del call
    close_both(peer, [item for item in peer.collect() if isinstance(item, Request)])
    assert gone() is None


def test_an_incoming_call_with_reliable_answers_and_a_reinvite_is_gone(peer: RawPeer) -> None:
    supported = {"Supported": "100rel"}
    peer.send(peer.request("INVITE", body=OFFER, branch="z9hG4bKinvite", headers=supported))
    call = peer.side.call
    call.progress(ANSWER, 0.0)
    (progress,) = peer.collect()
    rack = {"RAck": f"{progress.headers.get('RSeq')} 1 INVITE"}
    peer.send(peer.request("PRACK", to_tag=call.local_tag, cseq=2, headers=rack))
    call.accept(ANSWER, 0.0)
    peer.send(peer.request("ACK", to_tag=call.local_tag, cseq=1))
    peer.send(peer.request("INVITE", to_tag=call.local_tag, cseq=3, body=OFFER))
    call.answer_offer(ANSWER, 0.0)
    peer.send(peer.request("ACK", to_tag=call.local_tag, cseq=3))
    peer.send(peer.request("BYE", to_tag=call.local_tag, cseq=4))
    gone = ref(call)
    del call, progress
    close_both(peer, [])
    assert gone() is None


def test_an_outgoing_call_that_is_over_is_gone(peer: RawPeer) -> None:
    call = peer.dialled()
    call.reoffer(OFFER, 0.0)
    peer.respond(peer.collect()[0], 200, body=ANSWER)
    call.hangup(0.0)
    gone = ref(call)
    del call
    close_both(peer, [item for item in peer.collect() if isinstance(item, Request)])
    assert gone() is None


@pytest.mark.parametrize("status", [486, 603])
def test_a_refused_outgoing_call_is_gone(peer: RawPeer, status: int) -> None:
    call = peer.dial()
    invite = peer.received[-1]
    peer.respond(invite, status)
    gone = ref(call)
    del call, invite
    close_both(peer, [])
    assert gone() is None
