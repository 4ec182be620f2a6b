"""The callee's side, against a peer whose messages are written by hand."""

from __future__ import annotations

import pytest

from tests.support.sip_pair import ANSWER, OFFER, RawPeer, is_closed, statuses
from vb.sip.call_events import (
    Acknowledged,
    Cancelled,
    Closed,
    InfoReceived,
    NotAcknowledged,
    OfferAnswered,
    OfferReceived,
    OfferRequested,
    RemoteHangup,
)
from vb.sip.errors import CallStateError, NoPendingOffer
from vb.sip.hop import Hop
from vb.sip.message import Request, Response
from vb.sip.settings import AgentSettings


def response(peer: RawPeer) -> Response:
    message = peer.received[-1]
    assert isinstance(message, Response)
    return message


def test_an_invite_gets_100_at_once(peer: RawPeer) -> None:
    call = peer.invite()
    trying = response(peer)
    assert (trying.status, trying.reason, trying.to.tag) == (100, "Trying", call.local_tag)
    assert trying.headers.get("Contact") == "<sip:127.0.0.1:5062>"
    assert trying.headers.get("Allow") == "INVITE, ACK, CANCEL, BYE, UPDATE, PRACK, REFER, NOTIFY, OPTIONS"
    assert trying.headers.get("Server") == "voiceblender"
    assert call.offer == OFFER


def test_an_invite_refused_at_once_gets_no_100(peer: RawPeer) -> None:
    peer.agent.receive(peer.request("INVITE", body=OFFER), peer.source, 0.0)
    peer.side.collect(peer.now)
    peer.side.call.reject(400, 0.0, reason="Bad SDP")
    assert statuses(peer.collect()) == [400]


def test_100_copies_the_timestamp(peer: RawPeer) -> None:
    peer.send(peer.request("INVITE", body=OFFER, headers={"Timestamp": "54.2"}))
    assert response(peer).headers.get("Timestamp") == "54.2"


def test_every_response_of_a_dialog_has_the_same_to_tag(peer: RawPeer) -> None:
    call = peer.invite()
    call.ring(0.0)
    call.progress(ANSWER, 0.0)
    peer.collect()
    peer.send(peer.request("CANCEL", branch="z9hG4bKinvite"))
    assert statuses(peer.received) == [100, 180, 183, 200, 487]
    assert {m.to.tag for m in peer.received} == {call.local_tag}


def test_a_repeated_invite_gets_the_last_response_again(peer: RawPeer) -> None:
    invite = peer.request("INVITE", body=OFFER)
    peer.send(invite)
    peer.side.call.ring(0.0)
    peer.collect()
    assert statuses(peer.send(invite)) == [180]
    assert len(peer.side.calls) == 1


def test_a_200_is_repeated_until_its_ack(peer: RawPeer) -> None:
    call = peer.invite()
    call.accept(ANSWER, 0.0)
    peer.collect()
    assert statuses(peer.advance(0.4)) == []
    assert statuses(peer.advance(7.2)) == [200] * 4  # at 0.5, 1.5, 3.5, 7.5
    peer.send(peer.request("ACK", to_tag=call.local_tag))
    assert peer.side.take() == [Acknowledged(None)]
    assert peer.advance(60) == []


def test_the_interval_between_200s_ends_at_t2(peer: RawPeer) -> None:
    peer.invite().accept(ANSWER, 0.0)
    peer.advance(7.5)
    assert statuses(peer.advance(8.0)) == [200, 200]


def test_without_an_ack_the_call_ends_with_bye(peer: RawPeer) -> None:
    peer.invite().accept(ANSWER, 0.0)
    peer.advance(31.9)
    sent = peer.advance(0.2)
    assert sent[-1].cseq.method == "BYE"
    assert peer.side.take() == [NotAcknowledged()]
    peer.advance(32)
    assert peer.side.take() == [Closed()]


def test_the_last_18x_is_repeated_every_minute(peer: RawPeer) -> None:
    call = peer.invite()
    call.ring(0.0)
    peer.collect()
    assert statuses(peer.advance(121)) == [180, 180]
    call.progress(ANSWER, peer.now)
    peer.collect()
    sent = peer.advance(61)
    assert statuses(sent) == [183]
    assert sent[0].body == ANSWER


def test_a_183_without_sdp_follows_a_lonely_100_after_a_minute(peer: RawPeer) -> None:
    peer.invite()
    sent = peer.advance(61)
    assert statuses(sent) == [183]
    assert sent[0].body == b""
    assert sent[0].headers.get("Contact") == "<sip:127.0.0.1:5062>"


def test_cancel_ends_an_unanswered_invite(peer: RawPeer) -> None:
    peer.invite()
    assert statuses(peer.send(peer.request("CANCEL", branch="z9hG4bKinvite"))) == [200, 487]
    assert peer.side.take() == [Cancelled()]
    peer.send(peer.request("ACK", branch="z9hG4bKinvite"))
    assert peer.side.take() == [Closed()]
    assert peer.agent.calls == 0


def test_cancel_after_the_answer_changes_nothing(peer: RawPeer) -> None:
    call = peer.invite()
    call.accept(ANSWER, 0.0)
    peer.collect()
    assert statuses(peer.send(peer.request("CANCEL", branch="z9hG4bKinvite"))) == [200]
    assert peer.side.take() == []


def test_an_unmatched_cancel_gets_481(peer: RawPeer) -> None:
    assert statuses(peer.send(peer.request("CANCEL"))) == [481]


def test_a_487_is_repeated_until_its_ack(peer: RawPeer) -> None:
    peer.invite()
    peer.send(peer.request("CANCEL", branch="z9hG4bKinvite"))
    assert statuses(peer.advance(1.6)) == [487, 487]
    peer.send(peer.request("ACK", branch="z9hG4bKinvite"))
    assert peer.advance(40) == []


def test_a_refused_call_closes_even_without_an_ack(peer: RawPeer) -> None:
    peer.invite().reject(486, 0.0)
    peer.advance(33)
    assert peer.side.take() == [Closed()]
    assert peer.agent.transactions == 0


def test_reject_carries_reason_and_headers(peer: RawPeer) -> None:
    peer.invite().reject(488, 0.0, headers=[("Warning", '305 vb "Incompatible media format"')])
    peer.collect()
    assert response(peer).reason == "Not Acceptable Here"
    assert response(peer).headers.get("Warning") == '305 vb "Incompatible media format"'


def test_hangup_of_an_unanswered_call_sends_480(peer: RawPeer) -> None:
    call = peer.invite()
    call.hangup(0.0)
    call.hangup(0.0)
    assert statuses(peer.collect()) == [480]


def test_hangup_between_200_and_ack_sends_bye_after_the_ack(peer: RawPeer) -> None:
    call = peer.invite()
    call.accept(ANSWER, 0.0)
    peer.collect()
    call.hangup(0.0)
    assert peer.collect() == []
    assert statuses(peer.send(peer.request("ACK", to_tag=call.local_tag))) == ["BYE"]
    assert peer.side.take() == []


def test_hangup_between_200_and_ack_sends_bye_after_the_time_out(peer: RawPeer) -> None:
    call = peer.invite()
    call.accept(ANSWER, 0.0)
    peer.collect()
    call.hangup(0.0)
    assert peer.advance(32.1)[-1].cseq.method == "BYE"


def test_hangup_of_a_confirmed_call_sends_one_bye(peer: RawPeer) -> None:
    call = peer.connected()
    call.hangup(0.0)
    call.hangup(0.0)
    (bye,) = peer.collect()
    assert isinstance(bye, Request)
    assert (bye.method, bye.uri) == ("BYE", "sip:alice@127.0.0.1:5061")
    assert bye.from_.tag == call.local_tag
    assert "rport" in bye.via.params
    assert "User-Agent" not in bye.headers


def test_bye_ends_a_call(peer: RawPeer) -> None:
    call = peer.connected()
    assert statuses(peer.send(peer.request("BYE", to_tag=call.local_tag, cseq=2))) == [200]
    assert peer.side.take() == [RemoteHangup(), Closed()]
    assert peer.agent.calls == 0


def test_a_repeated_bye_gets_200_again(peer: RawPeer) -> None:
    call = peer.connected()
    bye = peer.request("BYE", to_tag=call.local_tag, cseq=2)
    peer.send(bye)
    assert statuses(peer.send(bye)) == [200]
    another = peer.request("BYE", to_tag=call.local_tag, cseq=3)
    assert statuses(peer.send(another)) == [481]


def test_bye_before_the_answer_ends_the_invite_with_487(peer: RawPeer) -> None:
    call = peer.invite()
    assert statuses(peer.send(peer.request("BYE", to_tag=call.local_tag, cseq=2))) == [200, 487]
    assert peer.side.take() == [RemoteHangup()]
    peer.send(peer.request("ACK", branch="z9hG4bKinvite"))
    assert peer.side.take() == [Closed()]


@pytest.mark.parametrize("method", ["BYE", "UPDATE", "OPTIONS", "INVITE", "NOTIFY", "REFER"])
def test_a_request_with_a_wrong_tag_gets_481(peer: RawPeer, method: str) -> None:
    call = peer.connected()
    assert statuses(peer.send(peer.request(method, to_tag="nonsense", cseq=2))) == [481]
    wrong_from = peer.request(method, to_tag=call.local_tag, from_tag="other", cseq=2)
    assert statuses(peer.send(wrong_from)) == [481]
    assert peer.side.take() == []


@pytest.mark.parametrize("method", ["INFO", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REGISTER", "FOO"])
def test_other_methods_in_a_dialog_get_405(peer: RawPeer, method: str) -> None:
    call = peer.connected()
    (answer,) = peer.send(peer.request(method, to_tag=call.local_tag, cseq=2))
    assert isinstance(answer, Response)
    assert answer.status == 405
    assert answer.headers.get("Allow") == "INVITE, ACK, CANCEL, BYE, UPDATE, PRACK, REFER, NOTIFY, OPTIONS"


def test_options_in_a_dialog_gets_200(peer: RawPeer) -> None:
    call = peer.connected()
    assert statuses(peer.send(peer.request("OPTIONS", to_tag=call.local_tag, cseq=2))) == [200]
    assert "UPDATE" in (response(peer).headers.get("Allow") or "")


def test_notify_without_a_subscription_gets_481(peer: RawPeer) -> None:
    call = peer.connected()
    assert statuses(peer.send(peer.request("NOTIFY", to_tag=call.local_tag, cseq=2))) == [481]


def test_info_is_reported_where_it_is_accepted() -> None:
    peer = RawPeer(AgentSettings(port=5062, accept_info=True))
    call = peer.connected()
    info = peer.request("INFO", to_tag=call.local_tag, cseq=2, body=b"Signal=5")
    assert statuses(peer.send(info)) == [200]
    assert peer.side.take() == [InfoReceived("application/sdp", b"Signal=5")]


def test_an_older_cseq_gets_500(peer: RawPeer) -> None:
    call = peer.connected()
    peer.send(peer.request("OPTIONS", to_tag=call.local_tag, cseq=9))
    assert statuses(peer.send(peer.request("BYE", to_tag=call.local_tag, cseq=8))) == [500]
    assert peer.side.take() == []


def test_record_route_is_copied_and_followed(peer: RawPeer) -> None:
    routes = "<sip:p2.example.com;lr>, <sip:127.0.0.9:5080;lr>"
    peer.send(peer.request("INVITE", body=OFFER, headers={"Record-Route": routes}))
    call = peer.side.call
    call.accept(ANSWER, 0.0)
    peer.collect()
    assert response(peer).headers.get("Record-Route") == routes
    peer.send(peer.request("ACK", to_tag=call.local_tag))
    call.hangup(0.0)
    (bye,) = peer.collect()
    assert bye.headers.get_list("Route") == ["<sip:p2.example.com;lr>", "<sip:127.0.0.9:5080;lr>"]
    assert peer.hops[-1] == Hop("udp", "p2.example.com", 5060)


@pytest.mark.parametrize("route", ["<sip:127.0.0.9:5080>;lr", "sip:127.0.0.9:5080;lr"])
def test_lr_outside_of_the_brackets_is_loose_all_the_same(peer: RawPeer, route: str) -> None:
    peer.send(peer.request("INVITE", body=OFFER, headers={"Record-Route": route}))
    call = peer.side.call
    call.accept(ANSWER, 0.0)
    peer.send(peer.request("ACK", to_tag=call.local_tag))
    call.hangup(0.0)
    bye = peer.collect()[-1]
    assert isinstance(bye, Request)
    assert bye.headers.get_list("Route") == [route]
    assert bye.uri == "sip:alice@127.0.0.1:5061"


# -- offers inside the dialog -----------------------------------------------------------------------


def test_a_reinvite_is_answered_by_the_owner(peer: RawPeer) -> None:
    call = peer.connected()
    peer.send(peer.request("INVITE", to_tag=call.local_tag, cseq=2, body=OFFER))
    assert peer.side.take() == [OfferReceived(OFFER, "INVITE")]
    call.answer_offer(ANSWER, 0.0)
    peer.collect()
    assert (response(peer).status, response(peer).body) == (200, ANSWER)
    assert response(peer).headers.get("Contact") == "<sip:127.0.0.1:5062>"
    assert statuses(peer.advance(0.6)) == [200]
    peer.send(peer.request("ACK", to_tag=call.local_tag, cseq=2))
    assert peer.advance(20) == []


def test_a_slow_answer_to_a_reinvite_is_preceded_by_100(peer: RawPeer) -> None:
    call = peer.connected()
    peer.send(peer.request("INVITE", to_tag=call.local_tag, cseq=2, body=OFFER))
    assert statuses(peer.advance(0.3)) == [100]


def test_a_refused_reinvite_leaves_the_call_up(peer: RawPeer) -> None:
    call = peer.connected()
    peer.send(peer.request("INVITE", to_tag=call.local_tag, cseq=2, body=OFFER))
    call.refuse_offer(488, 0.0)
    assert statuses(peer.collect()) == [488]
    with pytest.raises(NoPendingOffer):
        call.answer_offer(ANSWER, 0.0)


def test_a_second_reinvite_meanwhile_gets_500_with_retry_after(peer: RawPeer) -> None:
    call = peer.connected()
    peer.send(peer.request("INVITE", to_tag=call.local_tag, cseq=2, body=OFFER))
    assert statuses(peer.send(peer.request("INVITE", to_tag=call.local_tag, cseq=3, body=OFFER))) == [500]
    assert 0 <= int(response(peer).headers.get("Retry-After") or "-1") <= 10


def test_an_offer_while_ours_is_pending_gets_491(peer: RawPeer) -> None:
    call = peer.connected()
    call.reoffer(OFFER, 0.0)
    assert statuses(peer.collect()) == ["INVITE"]
    for method in ("INVITE", "UPDATE"):
        glare = peer.request(method, to_tag=call.local_tag, cseq=2, body=OFFER)
        assert statuses(peer.send(glare)) == [491]


def test_update_with_sdp_is_answered_by_the_owner(peer: RawPeer) -> None:
    call = peer.connected()
    peer.send(peer.request("UPDATE", to_tag=call.local_tag, cseq=2, body=OFFER))
    assert peer.side.take() == [OfferReceived(OFFER, "UPDATE")]
    call.answer_offer(ANSWER, 0.0)
    assert statuses(peer.collect()) == [200]
    assert peer.advance(20) == []


def test_update_without_a_body_gets_200(peer: RawPeer) -> None:
    call = peer.connected()
    assert statuses(peer.send(peer.request("UPDATE", to_tag=call.local_tag, cseq=2))) == [200]
    assert response(peer).headers.get("Contact") == "<sip:127.0.0.1:5062>"
    assert peer.side.take() == []


def test_update_with_sdp_before_the_answer_gets_500_with_retry_after(peer: RawPeer) -> None:
    call = peer.invite()
    update = peer.request("UPDATE", to_tag=call.local_tag, cseq=2, body=OFFER)
    assert statuses(peer.send(update)) == [500]
    assert "Retry-After" in response(peer).headers
    assert statuses(peer.send(peer.request("UPDATE", to_tag=call.local_tag, cseq=3))) == [200]


def test_a_reinvite_without_sdp_asks_for_our_offer(peer: RawPeer) -> None:
    call = peer.connected()
    peer.send(peer.request("INVITE", to_tag=call.local_tag, cseq=2))
    assert peer.side.take() == [OfferRequested()]
    call.answer_offer(OFFER, 0.0)
    peer.collect()
    assert response(peer).body == OFFER
    glare = peer.request("UPDATE", to_tag=call.local_tag, cseq=3, body=OFFER)
    assert statuses(peer.send(glare)) == [491]
    peer.send(peer.request("ACK", to_tag=call.local_tag, cseq=2, body=ANSWER))
    assert peer.side.take() == [OfferAnswered(ANSWER)]


def test_a_reinvite_can_be_cancelled(peer: RawPeer) -> None:
    call = peer.connected()
    peer.send(peer.request("INVITE", to_tag=call.local_tag, cseq=2, body=OFFER, branch="z9hG4bKre"))
    cancel = peer.request("CANCEL", to_tag=call.local_tag, cseq=2, branch="z9hG4bKre")
    assert statuses(peer.send(cancel)) == [200, 487]


def test_bye_answers_a_pending_reinvite_with_487(peer: RawPeer) -> None:
    call = peer.connected()
    peer.send(peer.request("INVITE", to_tag=call.local_tag, cseq=2, body=OFFER))
    bye = peer.request("BYE", to_tag=call.local_tag, cseq=3)
    assert statuses(peer.send(bye)) == [200, 487]
    assert is_closed(peer.side.take())


def test_a_reinvite_that_crosses_our_bye_gets_481(peer: RawPeer) -> None:
    call = peer.connected()
    call.hangup(0.0)
    peer.collect()
    crossing = peer.request("INVITE", to_tag=call.local_tag, cseq=2, body=OFFER)
    assert statuses(peer.send(crossing)) == [481]
    assert peer.side.take() == []


def test_a_reinvite_moves_the_remote_target(peer: RawPeer) -> None:
    call = peer.connected()
    moved = {"Contact": "<sip:alice@127.0.0.1:5099>"}
    peer.send(peer.request("INVITE", to_tag=call.local_tag, cseq=2, body=OFFER, headers=moved))
    call.answer_offer(ANSWER, 0.0)
    peer.send(peer.request("ACK", to_tag=call.local_tag, cseq=2))
    call.hangup(0.0)
    (bye,) = peer.collect()
    assert isinstance(bye, Request)
    assert bye.uri == "sip:alice@127.0.0.1:5099"


@pytest.mark.parametrize("how", ["refused", "cancelled"])
def test_a_reinvite_that_comes_to_nothing_moves_no_target(peer: RawPeer, how: str) -> None:
    call = peer.connected()
    moved = {"Contact": "<sip:alice@127.0.0.1:5099>"}
    tag, branch = call.local_tag, "z9hG4bKmove"
    peer.send(peer.request("INVITE", to_tag=tag, cseq=2, branch=branch, body=OFFER, headers=moved))
    if how == "refused":
        call.refuse_offer(488, 0.0)
    else:
        peer.send(peer.request("CANCEL", to_tag=tag, cseq=2, branch=branch))
    peer.send(peer.request("ACK", to_tag=tag, cseq=2, branch=branch))
    call.hangup(0.0)
    bye = peer.collect()[-1]
    assert isinstance(bye, Request)
    assert bye.uri != "sip:alice@127.0.0.1:5099"


def test_a_reinvite_of_another_type_gets_415(peer: RawPeer) -> None:
    call = peer.connected()
    odd = peer.request(
        "INVITE", to_tag=call.local_tag, cseq=2, body=b"x", headers={"Content-Type": "text/plain"}
    )
    assert statuses(peer.send(odd)) == [415]
    assert response(peer).headers.get("Accept") == "application/sdp, multipart/mixed"


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_body_whose_parts_cannot_be_read_leaves_the_session_as_it_was(peer: RawPeer, method: str) -> None:
    call = peer.connected()
    headers = {"Content-Type": "multipart/mixed"}
    assert statuses(
        peer.send(peer.request(method, to_tag=call.local_tag, cseq=2, body=b"x", headers=headers))
    ) == [488]
    assert peer.side.take() == []


# -- late offers and bodies -------------------------------------------------------------------------


def test_the_answer_to_our_offer_comes_in_the_ack(peer: RawPeer) -> None:
    call = peer.invite(body=b"")
    assert call.offer is None
    call.accept(OFFER, 0.0)
    peer.collect()
    peer.send(peer.request("ACK", to_tag=call.local_tag, body=ANSWER))
    assert peer.side.take() == [Acknowledged(ANSWER)]


def test_an_ack_with_the_branch_of_the_invite_is_taken(peer: RawPeer) -> None:
    call = peer.invite()
    call.accept(ANSWER, 0.0)
    peer.collect()
    peer.send(peer.request("ACK", to_tag=call.local_tag, branch="z9hG4bKinvite"))
    assert peer.side.take() == [Acknowledged(None)]


def test_ring_after_the_answer_is_an_error(peer: RawPeer) -> None:
    call = peer.connected()
    with pytest.raises(CallStateError):
        call.ring(0.0)
    with pytest.raises(CallStateError):
        call.accept(ANSWER, 0.0)
