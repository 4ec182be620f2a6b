"""What is over goes at once: calls leave no cycles for the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from weakref import ref

import pytest

from tests.support.sip_pair import ANSWER, OFFER, RawPeer, kinds
from vb.sip.call import Call
from vb.sip.message import Request
from vb.sip.settings import AgentSettings

Headers = Mapping[str, str | None]
LINGER_S = 70.0


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


# -- requests that are still out when the call ends -------------------------------------------------


def reinvite_out(peer: RawPeer, call: Call) -> None:
    call.reoffer(OFFER, peer.now)


def refer_out(peer: RawPeer, call: Call) -> None:
    call.refer_client.refer("<sip:carol@127.0.0.1>", peer.now)


def notify_out(peer: RawPeer, call: Call) -> None:
    headers = {"Refer-To": "<sip:carol@127.0.0.1>"}
    peer.send(in_dialog(peer, call, "REFER", cseq=8, headers=headers))
    call.refer_server.accept(peer.now)
    (notify,) = (item for item in peer.collect() if isinstance(item, Request))
    peer.respond(notify, 200)
    call.refer_server.notify(200, "OK", peer.now)


def in_dialog(peer: RawPeer, call: Call, method: str, *, cseq: int, headers: Headers | None = None) -> bytes:
    assert call.dialog is not None
    ids = {"to_tag": call.local_tag, "call_id": call.call_id, "from_tag": call.dialog.remote_tag}
    return peer.request(method, cseq=cseq, headers=headers, **ids)  # type: ignore[arg-type]  # all are text


def abandon(peer: RawPeer, call: Call) -> ref[Call]:
    """Let the peer hang up; nobody but what is still under way holds the call after that."""
    peer.send(in_dialog(peer, call, "BYE", cseq=9))
    assert kinds(peer.side.take())[-1] == "Closed"
    peer.received.clear()
    peer.side.calls.clear()
    return ref(call)


@pytest.mark.parametrize("end", ["refused", "silent"])
@pytest.mark.parametrize("request_out", [reinvite_out, refer_out, notify_out])
@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_a_request_that_fails_after_the_end_of_its_call_disturbs_nothing(
    peer: RawPeer, direction: str, request_out: Callable[[RawPeer, Call], None], end: str
) -> None:
    call: Call = peer.connected() if direction == "inbound" else peer.dialled()
    peer.advance(LINGER_S)  # what set the call up is gone
    request_out(peer, call)
    peer.collect()
    gone = abandon(peer, call)
    del call
    if end == "refused":
        peer.agent.transport_failed("udp", "127.0.0.1", 5061, peer.now)
    peer.advance(2 * LINGER_S)
    assert (peer.agent.transactions, peer.agent.deadline(), gone()) == (0, None, None)
    assert peer.side.take() == []


@pytest.mark.parametrize("who", ["peer", "we"])
def test_a_reinvite_that_only_got_100_goes_soon_after_its_call(peer: RawPeer, who: str) -> None:
    call = peer.connected()
    call.reoffer(OFFER, 0.0)
    peer.respond(peer.collect()[0], 100)
    if who == "we":
        call.hangup(0.0)
        peer.respond(peer.collect()[0], 200)
    gone = abandon(peer, call) if who == "peer" else ref(call)
    peer.received.clear()
    peer.side.calls.clear()
    del call
    peer.advance(2 * LINGER_S)
    assert (peer.agent.transactions, peer.agent.deadline(), gone()) == (0, None, None)


@pytest.mark.parametrize("status", [405, 487, 491, 500, 501])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_refresh_that_is_refused_after_the_end_is_not_tried_again(method: str, status: int) -> None:
    peer = RawPeer(AgentSettings(port=5062, session_expires_s=90))
    call = peer.dial()
    granted = {"Session-Expires": "90;refresher=uac", "Allow": f"INVITE, ACK, BYE, {method}"}
    peer.respond(peer.received[-1], 200, body=ANSWER, headers=granted)
    peer.advance(46)
    if method == "INVITE":
        call.reoffer(OFFER, peer.now)
        peer.collect()
    (refresh,) = (item for item in peer.received[-1:] if isinstance(item, Request))
    assert refresh.method == method
    peer.side.take()
    gone = abandon(peer, call)
    del call
    peer.respond(refresh, status)
    del refresh
    peer.received.clear()
    peer.advance(2 * LINGER_S)
    assert (peer.agent.deadline(), gone()) == (None, None)


def test_a_call_that_closes_before_its_bye_could_go_is_gone(peer: RawPeer) -> None:
    call = peer.connected()
    notify_out(peer, call)
    call.hangup(peer.now)  # waits for the answer to the NOTIFY
    gone = abandon(peer, call)
    del call
    peer.advance(2 * LINGER_S)
    assert gone() is None


def test_a_call_that_was_replaced_does_not_live_on_behind_its_successor(peer: RawPeer) -> None:
    old = peer.connected()
    gone, headers = [], {"Replaces": f"{old.call_id};to-tag={old.local_tag};from-tag=raw-tag"}
    for call_id in ("second", "third", "fourth"):
        peer.send(peer.request("INVITE", body=OFFER, call_id=call_id, headers=headers))
        new = peer.side.call
        new.accept(ANSWER, peer.now)
        peer.send(peer.request("ACK", to_tag=new.local_tag, call_id=call_id))
        headers = {"Replaces": f"{call_id};to-tag={new.local_tag};from-tag=raw-tag"}
        old.hangup(peer.now)
        for bye in peer.collect():
            peer.respond(bye, 200)
        gone.append(ref(old))
        old = new
    close_both(peer, [])
    assert [call() for call in gone] == [None, None, None]
    assert new.replaces is None
