"""Reliable provisional responses on both sides.  Spec: RFC 3262."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.sip_pair import ANSWER, OFFER, Pair, RawPeer, is_closed, kinds, statuses
from vb.sip.call_events import Acknowledged, NotAcknowledged, OfferAnswered, OfferReceived
from vb.sip.errors import CallStateError
from vb.sip.inbound import InboundCall
from vb.sip.message import Request, Response

SUPPORTED: Mapping[str, str | None] = {"Supported": "timer, 100rel"}
REQUIRED: Mapping[str, str | None] = {"Require": "100rel"}
OTHER_OFFER = OFFER.replace(b"1 1 IN", b"1 2 IN")


def invited(peer: RawPeer, headers: Mapping[str, str | None], body: bytes = OFFER) -> InboundCall:
    peer.send(peer.request("INVITE", body=body, branch="z9hG4bKinvite", headers=headers))
    peer.received.clear()
    return peer.side.call


def rseq(message: Request | Response) -> int:
    return int(message.headers.get("RSeq") or 0)


def prack(
    peer: RawPeer, response: Request | Response, *, cseq: int = 2, rack: str | None = None, body: bytes = b""
) -> list[Request | Response]:
    headers = {"RAck": rack or f"{rseq(response)} 1 INVITE"}
    return peer.send(peer.request("PRACK", to_tag=response.to.tag, cseq=cseq, body=body, headers=headers))


# -- the callee's side ----------------------------------------------------------------------------


@pytest.mark.parametrize(("headers", "reliable"), [({}, False), (SUPPORTED, False), (REQUIRED, True)])
def test_a_180_is_reliable_only_where_the_caller_requires_it(
    peer: RawPeer, headers: Mapping[str, str | None], reliable: bool
) -> None:
    invited(peer, headers).ring(0.0)
    (ringing,) = peer.collect()
    assert (ringing.headers.get("Require") == "100rel", rseq(ringing) > 0) == (reliable, reliable)


def test_a_183_with_sdp_is_reliable_where_the_caller_supports_it(peer: RawPeer) -> None:
    invited(peer, SUPPORTED).progress(ANSWER, 0.0)
    (progress,) = peer.collect()
    assert progress.headers.get("Require") == "100rel"
    assert 1 <= rseq(progress) < 2**31
    assert progress.body == ANSWER
    assert "Contact" in progress.headers


def test_a_reliable_response_is_repeated_at_doubling_intervals_until_its_prack(peer: RawPeer) -> None:
    invited(peer, REQUIRED).ring(0.0)
    (ringing,) = peer.collect()
    assert statuses(peer.advance(15.6)) == [180] * 5  # at 0.5, 1.5, 3.5, 7.5, 15.5
    assert statuses(prack(peer, ringing)) == [200]
    assert peer.advance(40) == []


def test_without_a_prack_the_invite_is_refused_with_504(peer: RawPeer) -> None:
    invited(peer, REQUIRED).ring(0.0)
    peer.advance(31.9)
    assert peer.side.take() == []
    assert statuses(peer.advance(0.2)) == [504]
    assert peer.side.take() == [NotAcknowledged()]
    peer.send(peer.request("ACK", branch="z9hG4bKinvite"))
    assert kinds(peer.side.take()) == ["Closed"]


@pytest.mark.parametrize("rack", ["1 1 INVITE", "{n} 2 INVITE", "{n} 1 BYE", "", "x", "99999999999 1 INVITE"])
def test_an_unmatched_prack_gets_481(peer: RawPeer, rack: str) -> None:
    invited(peer, REQUIRED).ring(0.0)
    (ringing,) = peer.collect()
    assert statuses(prack(peer, ringing, rack=rack.format(n=rseq(ringing)) or " ")) == [481]
    assert statuses(peer.advance(0.6)) == [180]


def test_a_second_prack_gets_481_and_a_repeated_one_its_200_again(peer: RawPeer) -> None:
    invited(peer, REQUIRED).ring(0.0)
    (ringing,) = peer.collect()
    first = peer.request(
        "PRACK", to_tag=ringing.to.tag, cseq=2, headers={"RAck": f"{rseq(ringing)} 1 INVITE"}
    )
    assert statuses(peer.send(first)) == [200]
    assert statuses(peer.send(first)) == [200]
    assert statuses(prack(peer, ringing, cseq=3)) == [481]


def test_a_prack_without_any_reliable_response_gets_481(peer: RawPeer) -> None:
    call = invited(peer, {})
    call.ring(0.0)
    (ringing,) = peer.collect()
    assert statuses(prack(peer, ringing, rack="1 1 INVITE")) == [481]


def test_the_next_reliable_response_waits_for_the_prack_of_the_one_before(peer: RawPeer) -> None:
    call = invited(peer, REQUIRED)
    call.ring(0.0)
    (ringing,) = peer.collect()
    call.ring(0.0)
    call.progress(ANSWER, 0.0)
    assert peer.collect() == []
    ok, progress = prack(peer, ringing)
    assert statuses([ok, progress]) == [200, 183]
    assert rseq(progress) == rseq(ringing) + 1
    assert progress.body == ANSWER


def test_too_many_waiting_responses_are_refused(peer: RawPeer) -> None:
    call = invited(peer, REQUIRED)
    call.ring(0.0)
    for _ in range(20):
        call.ring(0.0)
    call.progress(ANSWER, 0.0)
    (ringing,) = peer.collect()
    assert statuses(prack(peer, ringing)) == [200, 183]


def test_a_200_waits_for_the_prack_of_a_183_with_sdp(peer: RawPeer) -> None:
    call = invited(peer, SUPPORTED)
    call.progress(ANSWER, 0.0)
    (progress,) = peer.collect()
    call.accept(ANSWER, 0.0)
    assert peer.collect() == []
    assert not call.is_unanswered
    assert not call.is_answered
    ok, answer = prack(peer, progress)
    assert statuses([ok, answer]) == [200, 200]
    assert (ok.cseq.method, answer.cseq.method) == ("PRACK", "INVITE")
    assert call.is_answered


def test_the_200_does_not_repeat_what_a_reliable_183_said(peer: RawPeer) -> None:
    call = invited(peer, SUPPORTED)
    call.progress(ANSWER, 0.0)
    (progress,) = peer.collect()
    prack(peer, progress)
    call.accept(ANSWER, 0.0)
    (answer,) = peer.collect()
    assert (answer.body, answer.headers.get("Content-Type")) == (b"", None)
    peer.send(peer.request("ACK", to_tag=call.local_tag))
    assert peer.side.take() == [Acknowledged(None)]


def test_a_200_does_not_wait_for_the_prack_of_a_180(peer: RawPeer) -> None:
    call = invited(peer, REQUIRED)
    call.ring(0.0)
    (ringing,) = peer.collect()
    call.accept(ANSWER, 0.0)
    (answer,) = peer.collect()
    assert statuses([answer]) == [200]
    assert answer.body == ANSWER
    assert statuses(prack(peer, ringing)) == [200]
    assert {m.cseq.method for m in peer.advance(5)} == {"INVITE"}


def test_a_call_cancelled_while_its_200_waits_gets_487(peer: RawPeer) -> None:
    call = invited(peer, SUPPORTED)
    call.progress(ANSWER, 0.0)
    (progress,) = peer.collect()
    call.accept(ANSWER, 0.0)
    assert statuses(peer.send(peer.request("CANCEL", branch="z9hG4bKinvite"))) == [200, 487]
    assert kinds(peer.side.take()) == ["Cancelled"]
    assert statuses(prack(peer, progress)) == [200]
    peer.send(peer.request("ACK", branch="z9hG4bKinvite"))
    assert kinds(peer.side.take()) == ["Closed"]
    assert not call.is_answered


def test_a_call_hung_up_while_its_200_waits_gets_480(peer: RawPeer) -> None:
    call = invited(peer, SUPPORTED)
    call.progress(ANSWER, 0.0)
    peer.collect()
    call.accept(ANSWER, 0.0)
    with pytest.raises(CallStateError):
        call.accept(ANSWER, 0.0)
    call.hangup(0.0)
    assert statuses(peer.collect()) == [480]
    assert peer.advance(0.3) == []


def test_the_minutely_repetition_of_a_reliable_183_has_a_number_of_its_own_and_no_sdp(peer: RawPeer) -> None:
    call = invited(peer, REQUIRED)
    call.progress(ANSWER, 0.0)
    (progress,) = peer.collect()
    prack(peer, progress)
    (again,) = peer.advance(60.1)
    assert statuses([again]) == [183]
    assert (rseq(again), again.body) == (rseq(progress) + 1, b"")


def test_where_the_caller_only_supports_it_the_repetition_is_an_ordinary_one(peer: RawPeer) -> None:
    call = invited(peer, SUPPORTED)
    call.progress(ANSWER, 0.0)
    (progress,) = peer.collect()
    prack(peer, progress)
    (again,) = peer.advance(60.1)
    assert (statuses([again]), rseq(again), again.body) == ([183], 0, b"")


def test_an_offer_in_a_prack_is_answered_in_its_200(peer: RawPeer) -> None:
    call = invited(peer, SUPPORTED)
    call.progress(ANSWER, 0.0)
    (progress,) = peer.collect()
    assert prack(peer, progress, body=OTHER_OFFER) == []
    assert peer.side.take() == [OfferReceived(OTHER_OFFER, "PRACK")]
    call.accept(ANSWER, 0.0)
    assert peer.collect() == []  # the 200 waits for this exchange as well
    call.answer_offer(ANSWER, 0.0)
    ok, answer = peer.collect()
    assert (ok.cseq.method, ok.body) == ("PRACK", ANSWER)
    assert (answer.cseq.method, answer.body) == ("INVITE", b"")


def test_an_offer_in_a_prack_can_be_refused(peer: RawPeer) -> None:
    call = invited(peer, SUPPORTED)
    call.progress(ANSWER, 0.0)
    (progress,) = peer.collect()
    prack(peer, progress, body=OTHER_OFFER)
    call.refuse_offer(488, 0.0)
    assert statuses(peer.collect()) == [488]
    assert peer.advance(20) == []


def answered_before_prack(peer: RawPeer) -> tuple[InboundCall, Request | Response]:
    """A call whose 200 went out before the PRACK of its 180."""
    call = invited(peer, REQUIRED)
    call.ring(0.0)
    (ringing,) = peer.collect()
    call.accept(ANSWER, 0.0)
    assert statuses(peer.collect()) == [200]
    return call, ringing


def test_an_offer_in_a_prack_after_the_200_is_answered(peer: RawPeer) -> None:
    call, ringing = answered_before_prack(peer)
    assert prack(peer, ringing, body=OTHER_OFFER) == []
    assert peer.side.take() == [OfferReceived(OTHER_OFFER, "PRACK")]
    call.answer_offer(ANSWER, 0.0)
    (ok,) = peer.collect()
    assert (ok.cseq.method, statuses([ok]), ok.body) == ("PRACK", [200], ANSWER)
    peer.send(peer.request("ACK", to_tag=call.local_tag))
    assert peer.side.take() == [Acknowledged(None)]


def test_an_offer_in_a_prack_after_the_end_is_refused(peer: RawPeer) -> None:
    call, ringing = answered_before_prack(peer)
    call.hangup(0.0)
    assert statuses(prack(peer, ringing, body=OTHER_OFFER)) == [488]
    assert peer.side.take() == []


def test_after_a_reliable_answer_an_update_may_offer(peer: RawPeer) -> None:
    call = invited(peer, SUPPORTED)
    update = peer.request("UPDATE", to_tag=call.local_tag, cseq=2, body=OTHER_OFFER)
    (refused,) = peer.send(update)
    assert statuses([refused]) == [500]
    assert 0 <= int(refused.headers.get("Retry-After") or -1) <= 10
    call.progress(ANSWER, 0.0)
    (progress,) = peer.collect()
    prack(peer, progress, cseq=3)
    peer.send(peer.request("UPDATE", to_tag=call.local_tag, cseq=4, body=OTHER_OFFER))
    assert peer.side.take() == [OfferReceived(OTHER_OFFER, "UPDATE")]
    call.answer_offer(ANSWER, 0.0)
    assert statuses(peer.collect()) == [200]


def test_an_offer_in_a_183_is_answered_in_its_prack(peer: RawPeer) -> None:
    call = invited(peer, SUPPORTED, body=b"")
    assert call.takes_early_offer
    call.progress(OFFER, 0.0)
    (progress,) = peer.collect()
    assert (progress.body, progress.headers.get("Require")) == (OFFER, "100rel")
    update = peer.request("UPDATE", to_tag=call.local_tag, cseq=2, body=OTHER_OFFER)
    assert statuses(peer.send(update)) == [491]
    assert statuses(prack(peer, progress, cseq=3, body=ANSWER)) == [200]
    assert peer.side.take() == [OfferAnswered(ANSWER)]
    call.accept(OFFER, 0.0)
    (answer,) = peer.collect()
    assert answer.body == b""
    peer.send(peer.request("ACK", to_tag=call.local_tag))
    assert peer.side.take() == [Acknowledged(None)]


def test_a_prack_that_owes_an_answer_reports_that_it_has_none(peer: RawPeer) -> None:
    call = invited(peer, SUPPORTED, body=b"")
    call.progress(OFFER, 0.0)
    (progress,) = peer.collect()
    prack(peer, progress)
    assert peer.side.take() == [OfferAnswered(None)]


def test_an_offer_in_a_183_needs_a_caller_that_acknowledges_it(peer: RawPeer) -> None:
    call = invited(peer, {}, body=b"")
    assert not call.takes_early_offer
    with pytest.raises(CallStateError):
        call.progress(OFFER, 0.0)
    assert peer.collect() == []


def test_a_second_offer_in_a_183_is_refused(peer: RawPeer) -> None:
    call = invited(peer, SUPPORTED, body=b"")
    call.progress(OFFER, 0.0)
    with pytest.raises(CallStateError):
        call.progress(OTHER_OFFER, 0.0)


# -- the caller's side ----------------------------------------------------------------------------


def early(number: int) -> dict[str, str | None]:
    return {"Require": "100rel", "RSeq": str(number), "Contact": "<sip:gw@127.0.0.1:5061>"}


def test_the_invite_says_that_we_acknowledge(peer: RawPeer) -> None:
    peer.dial()
    assert "100rel" in peer.received[-1].headers.get_list("Supported")


def test_a_reliable_response_gets_a_prack_in_its_early_dialog(peer: RawPeer) -> None:
    peer.dial()
    headers = {**early(7), "Record-Route": "<sip:127.0.0.1:5061;lr>"}
    (found,) = peer.respond(peer.received[-1], 183, body=ANSWER, headers=headers)
    assert isinstance(found, Request)
    assert (found.method, found.uri) == ("PRACK", "sip:gw@127.0.0.1:5061")
    assert found.headers.get("RAck") == "7 1 INVITE"
    assert found.headers.get("CSeq") == "2 PRACK"
    assert found.headers.get_all("Route") == ["<sip:127.0.0.1:5061;lr>"]
    assert found.to.tag == "callee"
    assert kinds(peer.side.take()) == ["EarlyMedia"]


def test_responses_out_of_order_or_repeated_are_ignored(peer: RawPeer) -> None:
    peer.dial()
    invite = peer.received[-1]
    assert statuses(peer.respond(invite, 180, headers=early(7))) == ["PRACK"]
    assert peer.respond(invite, 180, headers=early(7)) == []
    assert peer.respond(invite, 183, headers=early(9), body=ANSWER) == []
    assert statuses(peer.respond(invite, 183, headers=early(8), body=ANSWER)) == ["PRACK"]
    assert kinds(peer.side.take()) == ["Ringing", "EarlyMedia"]


def test_each_fork_counts_for_itself(peer: RawPeer) -> None:
    peer.dial()
    invite = peer.received[-1]
    (one,) = peer.respond(invite, 180, headers=early(7))
    (two,) = peer.respond(invite, 180, headers=early(300), to_tag="fork")
    assert (one.to.tag, two.to.tag) == ("callee", "fork")
    assert one.cseq.number == two.cseq.number == 2


def test_the_bye_after_pracks_goes_on_counting(peer: RawPeer) -> None:
    call = peer.dial()
    invite = peer.received[-1]
    peer.respond(invite, 180, headers=early(1))
    peer.respond(invite, 183, headers=early(2), body=ANSWER)
    peer.respond(invite, 200, body=ANSWER)
    call.hangup(0.0)
    (bye,) = peer.collect()
    assert bye.headers.get("CSeq") == "4 BYE"


def test_a_refused_prack_does_not_end_the_call(peer: RawPeer) -> None:
    peer.dial()
    invite = peer.received[-1]
    (found,) = peer.respond(invite, 180, headers=early(1))
    peer.respond(found, 481)
    peer.respond(invite, 200, body=ANSWER)
    assert kinds(peer.side.take()) == ["Ringing", "Answered"]


def test_a_reliable_100_or_one_without_a_number_is_an_ordinary_response(peer: RawPeer) -> None:
    peer.dial()
    invite = peer.received[-1]
    assert peer.respond(invite, 100, headers=early(1)) == []
    assert peer.respond(invite, 180, headers={"Require": "100rel"}) == []
    assert kinds(peer.side.take()) == ["Ringing"]


def test_the_callee_may_offer_by_update_once_it_has_answered_reliably(peer: RawPeer) -> None:
    call = peer.dial()
    invite = peer.received[-1]
    peer.respond(invite, 183, headers=early(1))
    ids = {"call_id": call.call_id, "to_tag": call.local_tag, "from_tag": "callee"}
    assert statuses(peer.send(peer.request("UPDATE", cseq=1, body=OTHER_OFFER, **ids))) == [491]  # type: ignore[arg-type]  # all are text
    peer.respond(invite, 183, headers=early(2), body=ANSWER)
    peer.side.take()
    peer.send(peer.request("UPDATE", cseq=2, body=OTHER_OFFER, **ids))  # type: ignore[arg-type]  # all are text
    assert peer.side.take() == [OfferReceived(OTHER_OFFER, "UPDATE")]
    call.answer_offer(ANSWER, 0.0)
    assert statuses(peer.collect()) == [200]


# -- both ends --------------------------------------------------------------------------------------


def test_two_agents_use_it_between_them() -> None:
    pair = Pair()
    pair.dial()
    pair.bob.call.progress(ANSWER, pair.now)
    pair.bob.call.accept(ANSWER, pair.now)
    pair.settle()
    assert pair.seen() == [
        "alice INVITE",
        "bob 100",
        "bob 183",
        "alice PRACK",
        "bob 200",
        "bob 200",
        "alice ACK",
    ]
    assert kinds(pair.alice.take()) == ["EarlyMedia", "Answered"]


@pytest.mark.parametrize("lost", range(1, 14))
def test_early_media_survives_the_loss_of_any_one_datagram(lost: int) -> None:
    pair = Pair(lost=lambda number, _data: number == lost)
    outbound = pair.dial()
    pair.advance(2)
    pair.bob.call.progress(ANSWER, pair.now)
    pair.bob.call.accept(ANSWER, pair.now)
    pair.advance(8)
    outbound.hangup(pair.now)
    pair.advance(40)
    assert kinds(pair.alice.take()) == ["EarlyMedia", "Answered", "Closed"]
    assert kinds(pair.bob.take()) == ["Acknowledged", "RemoteHangup", "Closed"]


def test_nothing_is_left_after_a_call_that_ends_between_183_and_prack() -> None:
    pair = Pair(lost=lambda _number, data: data.startswith(b"PRACK"))
    outbound = pair.dial()
    pair.bob.call.progress(ANSWER, pair.now)
    pair.advance(1)
    outbound.hangup(pair.now)
    pair.advance(60)
    assert is_closed(pair.alice.take())
    assert is_closed(pair.bob.take())
    assert (pair.bob.agent.transactions, pair.bob.agent.deadline()) == (0, None)
