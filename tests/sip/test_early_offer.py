"""Our offer in a provisional response, to a caller that made none.  Spec: RFC 3262 §5."""

from __future__ import annotations

import pytest

from tests.support.sip_pair import ANSWER, OFFER, RawPeer, statuses
from vb.sip.call_events import EarlyOfferDue, OfferAnswered
from vb.sip.errors import CallStateError
from vb.sip.inbound import InboundCall
from vb.sip.message import Request, Response


def invited(peer: RawPeer, header: str, body: bytes = b"") -> InboundCall:
    peer.send(peer.request("INVITE", body=body, headers={header: "100rel"}))
    return peer.side.call


def prack(
    peer: RawPeer, response: Request | Response, cseq: int, body: bytes = b""
) -> list[Request | Response]:
    rack = {"RAck": f"{response.headers.get('RSeq')} 1 INVITE"}
    return peer.send(peer.request("PRACK", to_tag=response.to.tag, cseq=cseq, body=body, headers=rack))


def test_the_first_response_to_a_caller_that_takes_only_reliable_ones_carries_our_offer(
    peer: RawPeer,
) -> None:
    call = invited(peer, "Require")
    assert call.needs_early_offer
    with pytest.raises(CallStateError, match="offer"):
        call.ring(0.0)
    assert peer.collect() == []
    call.ring(0.0, offer=OFFER)
    (ringing,) = peer.collect()
    assert (statuses([ringing]), ringing.headers.get("Require"), ringing.body) == ([180], "100rel", OFFER)
    assert statuses(prack(peer, ringing, 2, ANSWER)) == [200]
    assert peer.side.take() == [OfferAnswered(ANSWER)]


def test_only_the_first_one_carries_it(peer: RawPeer) -> None:
    call = invited(peer, "Require")
    call.ring(0.0, offer=OFFER)
    (ringing,) = peer.collect()
    assert not call.needs_early_offer
    call.ring(0.0)
    _, again = prack(peer, ringing, 2, ANSWER)
    assert (statuses([again]), again.body) == ([180], b"")
    call.accept(OFFER, 0.0)
    (answer,) = peer.collect()
    assert (statuses([answer]), answer.body) == ([200], b"")


@pytest.mark.parametrize(("header", "body"), [("Supported", b""), ("Require", OFFER)])
def test_no_offer_is_needed_where_the_caller_made_one_or_takes_other_responses(
    peer: RawPeer, header: str, body: bytes
) -> None:
    call = invited(peer, header, body)
    assert not call.needs_early_offer
    call.ring(0.0)
    (ringing,) = peer.collect()
    assert (statuses([ringing]), ringing.body) == ([180], b"")


@pytest.mark.parametrize(("header", "body"), [("X-None", b""), ("Supported", OFFER)])
def test_ringing_takes_no_offer_that_the_caller_could_not_answer(
    peer: RawPeer, header: str, body: bytes
) -> None:
    call = invited(peer, header, body)
    with pytest.raises(CallStateError, match="no offer"):
        call.ring(0.0, offer=OFFER)


def test_the_owner_is_asked_for_the_offer_when_nothing_was_said_for_a_minute(peer: RawPeer) -> None:
    invited(peer, "Require")
    assert peer.advance(59) == []
    assert peer.side.take() == []
    assert peer.advance(2) == []
    assert peer.side.take() == [EarlyOfferDue()]


@pytest.mark.parametrize("header", ["Require", "Supported"])
def test_the_repetition_of_an_answered_offer_is_none(peer: RawPeer, header: str) -> None:
    invited(peer, header).progress(OFFER, 0.0)
    (progress,) = peer.collect()
    prack(peer, progress, 2, ANSWER)
    peer.side.take()
    (again,) = peer.advance(60.1)
    assert (statuses([again]), again.body) == ([183], b"")
    if again.headers.get("RSeq"):
        assert statuses(prack(peer, again, 3)) == [200]
    assert peer.side.take() == []
