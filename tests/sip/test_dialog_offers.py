"""Whose turn it is to offer, and what becomes of offers that wait, are taken back, or meet the end."""

from __future__ import annotations

from tests.support.sip_pair import ANSWER, OFFER, RawPeer, kinds, statuses
from vb.sip.call import Call
from vb.sip.call_events import CallEvent, DialogLost, OfferAnswered, OfferReceived, OfferRefused
from vb.sip.dialog_offers import PATIENCE_S
from vb.sip.digest import Credentials
from vb.sip.inbound import InboundCall
from vb.sip.message import Request, Response
from vb.sip.outbound import OutboundCall


def reinvite(peer: RawPeer, call: Call, cseq: int = 2, body: bytes = OFFER) -> bytes:
    branch = f"z9hG4bKre{cseq}"
    return peer.request("INVITE", to_tag=call.local_tag, cseq=cseq, body=body, branch=branch)


def events_of(peer: RawPeer) -> list[CallEvent]:
    """Take the events as an owner that has not acted on any of them yet."""
    return [event for _, event in peer.agent.events()]


def sent(peer: RawPeer) -> int:
    return len(peer.agent.outgoing())


def asked_for_an_offer(peer: RawPeer) -> InboundCall:
    """A call whose peer has our offer, by a 200 to its empty re-INVITE, and has not acknowledged it."""
    call = peer.connected()
    peer.send(reinvite(peer, call, body=b""))
    call.answer_offer(OFFER, 0.0)
    assert statuses(peer.collect()) == [200]
    peer.side.take()
    return call


# -- offers that wait -----------------------------------------------------------------------------


def test_an_offer_that_waited_is_made_after_its_owner_has_read_the_answer_before(peer: RawPeer) -> None:
    call = asked_for_an_offer(peer)
    unmade = [OFFER]
    call.reoffer(unmade.pop, 0.0)
    ack = peer.request("ACK", to_tag=call.local_tag, cseq=2, body=ANSWER)
    peer.agent.receive(ack, peer.source, 0.0)
    assert kinds(events_of(peer)) == ["OfferAnswered", "OfferDue"]
    assert (unmade, sent(peer)) == ([OFFER], 0)
    call.send_offer(0.0)
    assert (unmade, sent(peer)) == ([], 1)


def test_an_offer_that_is_due_lets_one_of_the_peer_go_first(peer: RawPeer) -> None:
    call = peer.connected()
    call.reoffer(OFFER, 0.0)
    peer.agent.receive(reinvite(peer, call), peer.source, 0.0)
    assert kinds(events_of(peer)) == ["OfferDue", "OfferReceived"]
    call.send_offer(0.0)
    assert sent(peer) == 0
    call.answer_offer(ANSWER, 0.0)
    peer.agent.receive(peer.request("ACK", to_tag=call.local_tag, cseq=2), peer.source, 0.0)
    assert kinds(events_of(peer)) == ["OfferDue"]


def test_an_offer_is_due_once_although_its_turn_comes_twice(peer: RawPeer) -> None:
    call = peer.connected()
    call.reoffer(OFFER, 0.0)
    peer.agent.receive(reinvite(peer, call), peer.source, 0.0)
    call.refuse_offer(488, 0.0)
    assert kinds(events_of(peer)) == ["OfferDue", "OfferReceived"]


def test_an_offer_that_is_due_to_a_call_that_ended_is_not_sent(peer: RawPeer) -> None:
    call = peer.connected()
    call.reoffer(OFFER, 0.0)
    call.hangup(0.0)
    call.send_offer(0.0)
    assert statuses(peer.collect()) == ["BYE"]


# -- offers that are taken back -------------------------------------------------------------------


def test_the_offer_that_is_pending_is_known_by_its_event(peer: RawPeer) -> None:
    call = peer.connected()
    peer.send(reinvite(peer, call))
    (first,) = peer.side.take()
    known: list[CallEvent | None] = [call.pending_offer]
    peer.send(peer.request("CANCEL", to_tag=call.local_tag, cseq=2, branch="z9hG4bKre2"))
    known.append(call.pending_offer)
    peer.send(reinvite(peer, call, cseq=3))
    known.append(call.pending_offer)
    assert known == [first, None, first]  # the second offer says the same
    assert [event is first for event in known] == [True, False, False]


# -- before the answer to the INVITE ----------------------------------------------------------------


def answered_early(peer: RawPeer) -> OutboundCall:
    """A call of ours whose offer the peer has answered for good in its 183."""
    call = peer.dial()
    headers = {"Require": "100rel", "RSeq": "1"}
    (prack,) = peer.respond(peer.received[-1], 183, body=ANSWER, headers=headers)
    peer.send(peer.response(prack, 200))
    peer.side.take()
    return call


def in_dialog(peer: RawPeer, call: OutboundCall, method: str) -> list[Request | Response]:
    return peer.send(
        peer.request(
            method,
            to_tag=call.local_tag,
            call_id=call.call_id,
            from_tag="callee",
            cseq=7,
            body=OFFER,
            headers={"Contact": "<sip:bob@127.0.0.1:5061>"},
        )
    )


def test_a_callee_may_offer_by_update_but_not_by_another_invite(peer: RawPeer) -> None:
    call = answered_early(peer)
    assert statuses(in_dialog(peer, call, "INVITE")) == [491]
    assert peer.side.take() == []
    assert in_dialog(peer, call, "UPDATE") == []
    assert peer.side.take() == [OfferReceived(OFFER, "UPDATE")]


def test_a_caller_may_not_send_a_second_invite_before_the_answer_to_the_first(peer: RawPeer) -> None:
    peer.send(peer.request("INVITE", body=OFFER, headers={"Supported": "100rel"}))
    call = peer.side.call
    call.progress(ANSWER, 0.0)
    (progress,) = peer.collect()
    rack = {"RAck": f"{progress.headers.get('RSeq')} 1 INVITE"}
    peer.send(peer.request("PRACK", to_tag=call.local_tag, cseq=2, headers=rack))
    (refused,) = peer.send(reinvite(peer, call, cseq=3))
    assert statuses([refused]) == [500]
    assert 0 <= int(refused.headers.get("Retry-After") or "-1") <= 10


# -- peers that only say that they try ------------------------------------------------------------


def left_trying(peer: RawPeer) -> tuple[Call, Request]:
    """A call whose re-INVITE the peer answered with 100, once it has been cancelled for that."""
    call = peer.dialled()
    call.reoffer(OFFER, 0.0)
    (invite,) = peer.collect()
    assert isinstance(invite, Request)
    peer.respond(invite, 100)
    assert peer.advance(PATIENCE_S - 0.1) == []
    (cancel,) = peer.advance(0.2)
    assert isinstance(cancel, Request)
    assert (cancel.method, cancel.cseq.number) == ("CANCEL", invite.cseq.number)
    assert cancel.via == invite.via
    peer.respond(cancel, 200)
    return call, invite


def test_a_reinvite_that_is_tried_for_ever_is_cancelled_and_leaves_the_call_up(peer: RawPeer) -> None:
    call, invite = left_trying(peer)
    assert statuses(peer.respond(invite, 487)) == ["ACK"]
    assert peer.side.take() == [OfferRefused(487)]
    call.reoffer(OFFER, peer.now)
    assert statuses(peer.collect()) == ["INVITE"]


def test_a_cancelled_reinvite_without_a_final_response_has_lost_the_dialog(peer: RawPeer) -> None:
    _, invite = left_trying(peer)
    peer.advance(20)
    peer.respond(invite, 183)  # of no use any more
    assert statuses(peer.advance(12)) == ["BYE"]
    assert peer.side.take() == [DialogLost(408)]


def test_a_200_that_crosses_the_cancel_of_a_reinvite_counts(peer: RawPeer) -> None:
    _, invite = left_trying(peer)
    assert statuses(peer.respond(invite, 200, body=ANSWER)) == ["ACK"]
    assert peer.side.take() == [OfferAnswered(ANSWER)]
    assert peer.advance(100) == []


def test_a_reinvite_that_was_challenged_is_waited_for_anew(peer: RawPeer) -> None:
    call = peer.dialled(credentials=Credentials("u", "p"))
    call.reoffer(OFFER, 0.0)
    (first,) = peer.collect()
    peer.respond(first, 100)
    peer.advance(PATIENCE_S - 1)
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
    _, second = peer.respond(first, 401, headers=challenge)
    peer.respond(second, 100)
    assert peer.advance(PATIENCE_S - 1) == []
    cancel, *_ = peer.advance(2)
    assert (cancel.cseq.method, cancel.cseq.number) == ("CANCEL", second.cseq.number)


def test_a_200_after_the_goodbye_is_still_acknowledged(peer: RawPeer) -> None:
    call = peer.connected()
    call.reoffer(OFFER, 0.0)
    (invite,) = peer.collect()
    peer.respond(invite, 100)
    peer.send(peer.request("BYE", to_tag=call.local_tag, cseq=9))
    assert kinds(peer.side.take()) == ["RemoteHangup", "Closed"]
    assert statuses(peer.respond(invite, 200, body=ANSWER)) == ["ACK"]
    assert statuses(peer.respond(invite, 200, body=ANSWER)) == ["ACK"]
    assert peer.side.take() == []


# -- the end --------------------------------------------------------------------------------------------


def test_an_update_that_waits_for_an_answer_is_refused_when_the_callee_is_busy(peer: RawPeer) -> None:
    call = answered_early(peer)
    invite = next(m for m in peer.received if isinstance(m, Request) and m.method == "INVITE")
    in_dialog(peer, call, "UPDATE")
    assert statuses(peer.respond(invite, 486)) == ["ACK", 487]
    peer.advance(60)
    assert (peer.agent.calls, peer.agent.transactions) == (0, 0)


def test_a_closed_call_repeats_nothing(peer: RawPeer) -> None:
    call = asked_for_an_offer(peer)
    call.close(0.0)
    assert peer.advance(40) == []
    assert kinds(peer.side.take()) == ["Closed"]


def test_the_answer_to_an_offer_that_was_asked_for_comes_with_the_ack(peer: RawPeer) -> None:
    call = asked_for_an_offer(peer)
    peer.send(peer.request("ACK", to_tag=call.local_tag, cseq=2, body=ANSWER))
    assert peer.side.take() == [OfferAnswered(ANSWER)]
