"""The caller's side, against a peer whose responses are written by hand."""

from __future__ import annotations

import pytest

from tests.support.sip_pair import ANSWER, OFFER, RawPeer, is_closed, kinds, last_request, statuses
from vb.sip.call_events import (
    Answered,
    Closed,
    DialFailed,
    DialogLost,
    EarlyMedia,
    OfferAnswered,
    OfferRefused,
    Refused,
    RemoteHangup,
    Ringing,
)
from vb.sip.call_state import CallState
from vb.sip.errors import CallStateError
from vb.sip.message import Request, Response


def test_the_invite_carries_what_a_callee_needs(peer: RawPeer) -> None:
    peer.dial()
    invite = last_request(peer)
    assert str(invite.via).startswith("SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bK")
    assert "rport" in invite.via.params
    assert invite.headers.get("Contact") == "<sip:127.0.0.1:5062>"
    assert invite.headers.get("User-Agent") == "voiceblender"
    assert invite.headers.get("Max-Forwards") == "70"
    assert invite.headers.get("CSeq") == "1 INVITE"
    assert invite.to.tag == ""
    assert invite.body == OFFER


def test_the_invite_is_repeated_until_a_provisional_response(peer: RawPeer) -> None:
    peer.dial()
    assert statuses(peer.advance(1.6)) == ["INVITE", "INVITE"]
    peer.respond(peer.received[0], 100)
    assert peer.advance(600) == []


def test_silence_fails_after_64_t1(peer: RawPeer) -> None:
    peer.dial()
    peer.advance(31.9)
    assert peer.side.take() == []
    peer.advance(0.2)
    assert peer.side.take() == [DialFailed("timeout"), Closed()]
    assert peer.agent.transactions == 0


def test_a_refused_port_fails_at_once(peer: RawPeer) -> None:
    peer.dial()
    peer.agent.transport_failed("udp", "127.0.0.1", 5061, 0.1)
    peer.collect()
    assert peer.side.take() == [DialFailed("transport"), Closed()]


def test_a_refused_port_after_ringing_is_ignored(peer: RawPeer) -> None:
    peer.dial()
    peer.respond(last_request(peer), 180)
    peer.agent.transport_failed("udp", "127.0.0.1", 5061, 0.1)
    peer.collect()
    assert kinds(peer.side.take()) == ["Ringing"]


def test_provisional_responses_are_reported(peer: RawPeer) -> None:
    peer.dial()
    invite = last_request(peer)
    peer.respond(invite, 100)
    peer.respond(invite, 180)
    peer.respond(invite, 180, to_tag="other", body=ANSWER)
    peer.respond(invite, 183, body=ANSWER)
    assert peer.side.take() == [
        Ringing(180, "Ringing"),
        EarlyMedia(180, ANSWER, "other"),
        EarlyMedia(183, ANSWER, "callee"),
    ]


def test_a_200_is_acked_and_reported(peer: RawPeer) -> None:
    peer.dial()
    invite = last_request(peer)
    (ack,) = peer.respond(invite, 200, body=ANSWER)
    assert isinstance(ack, Request)
    assert (ack.method, ack.uri) == ("ACK", "sip:bob@127.0.0.1:5061")
    assert ack.headers.get("CSeq") == "1 ACK"
    assert ack.to.tag == "callee"
    assert ack.via.branch != invite.via.branch
    (answered,) = peer.side.take()
    assert isinstance(answered, Answered)
    assert (answered.sdp, answered.to_tag) == (ANSWER, "callee")


def test_a_second_200_is_acked_again_rfc3261_13_2_2_4(peer: RawPeer) -> None:
    peer.dial()
    invite = last_request(peer)
    peer.respond(invite, 200, body=ANSWER)
    peer.now = 20.0
    assert statuses(peer.respond(invite, 200, body=ANSWER)) == ["ACK"]
    assert kinds(peer.side.take()) == ["Answered"]


def test_a_200_of_another_fork_gets_ack_and_bye(peer: RawPeer) -> None:
    peer.dial()
    invite = last_request(peer)
    peer.respond(invite, 200, body=ANSWER)
    ack, bye = peer.respond(invite, 200, to_tag="fork", body=ANSWER)
    assert statuses([ack, bye]) == ["ACK", "BYE"]
    assert (ack.to.tag, bye.to.tag) == ("fork", "fork")
    peer.respond(bye, 200, to_tag="")
    assert kinds(peer.side.take()) == ["Answered"]


def test_a_200_without_contact_is_acked_at_the_request_uri(peer: RawPeer) -> None:
    peer.dial()
    (ack,) = peer.respond(last_request(peer), 200, body=ANSWER, headers={"Contact": None})
    assert isinstance(ack, Request)
    assert ack.uri == "sip:bob@127.0.0.1:5061"
    assert kinds(peer.side.take()) == ["Answered"]


def test_a_200_without_sdp_is_reported_as_such(peer: RawPeer) -> None:
    peer.dial()
    assert statuses(peer.respond(last_request(peer), 200)) == ["ACK"]
    (answered,) = peer.side.take()
    assert isinstance(answered, Answered)
    assert answered.sdp is None


def test_a_refusal_is_acked_and_reported(peer: RawPeer) -> None:
    peer.dial()
    invite = last_request(peer)
    (ack,) = peer.respond(invite, 486, reason="Busy Here")
    assert isinstance(ack, Request)
    assert ack.via.branch == invite.via.branch
    assert peer.side.take() == [Refused(486, "Busy Here"), Closed()]
    assert statuses(peer.respond(invite, 486)) == ["ACK"]
    assert peer.side.take() == []


def test_redirects_are_refusals(peer: RawPeer) -> None:
    peer.dial()
    peer.respond(last_request(peer), 302)
    assert peer.side.take() == [Refused(302, "Moved Temporarily"), Closed()]


# -- hanging up --------------------------------------------------------------------------------------


def test_cancel_waits_for_a_provisional_response(peer: RawPeer) -> None:
    call = peer.dial()
    invite = last_request(peer)
    call.hangup(0.0)
    assert peer.collect() == []
    (cancel,) = peer.respond(invite, 180)
    assert isinstance(cancel, Request)
    assert (cancel.method, cancel.uri) == ("CANCEL", invite.uri)
    assert cancel.via.branch == invite.via.branch
    assert cancel.headers.get("CSeq") == "1 CANCEL"
    assert cancel.to.tag == ""
    peer.respond(cancel, 200)
    assert statuses(peer.respond(invite, 487)) == ["ACK"]
    assert peer.side.take() == [Closed()]


def test_cancel_follows_at_once_after_a_provisional_response(peer: RawPeer) -> None:
    call = peer.dial()
    peer.respond(last_request(peer), 100)
    call.hangup(0.0)
    call.hangup(0.0)
    assert statuses(peer.collect()) == ["CANCEL"]


def test_a_200_that_crosses_the_cancel_gets_ack_and_bye(peer: RawPeer) -> None:
    call = peer.dial()
    invite = last_request(peer)
    peer.respond(invite, 180)
    call.hangup(0.0)
    peer.collect()
    assert statuses(peer.respond(invite, 200, body=ANSWER)) == ["ACK", "BYE"]
    peer.respond(last_request(peer), 200)
    assert is_closed(peer.side.take())


def test_a_200_before_the_cancel_could_be_sent_gets_ack_and_bye(peer: RawPeer) -> None:
    call = peer.dial()
    invite = last_request(peer)
    call.hangup(0.0)
    assert statuses(peer.respond(invite, 200, body=ANSWER)) == ["ACK", "BYE"]


def test_a_cancelled_invite_without_a_final_response_closes_after_64_t1(peer: RawPeer) -> None:
    call = peer.dial()
    peer.respond(last_request(peer), 180)
    call.hangup(0.0)
    peer.advance(32.1)
    assert peer.side.take() == [Ringing(180, "Ringing"), Closed()]
    assert peer.agent.transactions == 0


def test_a_hangup_before_the_address_is_known_sends_nothing(peer: RawPeer) -> None:
    call = peer.agent.dial(peer.dial().plan)
    peer.collect()
    call.hangup(0.0)
    call.start(peer.source, OFFER, 0.0)
    assert peer.collect() == []
    assert peer.side.take() == [Closed()]


def test_hangup_of_an_answered_call_sends_bye(peer: RawPeer) -> None:
    call = peer.dialled()
    call.hangup(0.0, headers=[("Reason", "Q.850;cause=16")])
    bye = peer.collect()[0]
    assert statuses([bye]) == ["BYE"]
    assert bye.headers.get("CSeq") == "2 BYE"
    assert bye.headers.get("Reason") == "Q.850;cause=16"
    peer.respond(bye, 200)
    assert peer.side.take() == [Closed()]


def test_an_unanswered_bye_closes_after_64_t1(peer: RawPeer) -> None:
    call = peer.dialled()
    call.hangup(0.0)
    peer.advance(32.1)
    assert peer.side.take() == [Closed()]


def test_crossing_byes_close_once(peer: RawPeer) -> None:
    call = peer.dialled()
    call.hangup(0.0)
    peer.collect()
    bye = peer.request(
        "BYE",
        to_tag=call.local_tag,
        from_tag="callee",
        call_id=call.call_id,
        cseq=1,
    )
    assert statuses(peer.send(bye)) == [200]
    peer.advance(40)
    assert peer.side.take() == [Closed()]


def test_a_callee_that_ends_its_early_dialog_ends_the_call(peer: RawPeer) -> None:
    call = peer.dial()
    peer.respond(last_request(peer), 180)
    bye = peer.request("BYE", to_tag=call.local_tag, from_tag="callee", call_id=call.call_id)
    assert statuses(peer.send(bye)) == [200, "CANCEL"]
    assert peer.side.take()[-1] == RemoteHangup()


# -- digest ------------------------------------------------------------------------------------------


def test_a_reinvite_is_acked_and_its_answer_reported(peer: RawPeer) -> None:
    call = peer.dialled()
    call.reoffer(lambda: OFFER, 0.0)
    (reinvite,) = peer.collect()
    assert statuses(peer.respond(reinvite, 200, body=ANSWER)) == ["ACK"]
    assert statuses(peer.respond(reinvite, 200, body=ANSWER)) == ["ACK"]
    assert peer.side.take() == [OfferAnswered(ANSWER)]


def test_a_peer_out_of_reach_refuses_a_reinvite_and_leaves_the_call_up(peer: RawPeer) -> None:
    call = peer.dialled()
    call.reoffer(OFFER, 0.0)
    peer.collect()
    hop = peer.hops[-1]
    peer.agent.transport_failed(hop.transport, hop.host, hop.port, 0.1)
    peer.collect()
    assert peer.side.take() == [OfferRefused(503)]
    assert call.state is CallState.CONFIRMED


def test_a_silent_peer_has_lost_the_dialog(peer: RawPeer) -> None:
    call = peer.dialled()
    call.reoffer(OFFER, 0.0)
    peer.collect()
    peer.advance(40.0)
    assert kinds(peer.side.take())[0] == "DialogLost"


def test_a_refused_reinvite_leaves_the_call_up(peer: RawPeer) -> None:
    call = peer.dialled()
    call.reoffer(OFFER, 0.0)
    peer.respond(peer.collect()[0], 488)
    assert peer.side.take() == [OfferRefused(488)]
    call.reoffer(OFFER, 0.0)
    assert statuses(peer.collect()) == ["INVITE"]


@pytest.mark.parametrize("status", [481, 408])
def test_a_lost_dialog_ends_the_call(peer: RawPeer, status: int) -> None:
    call = peer.dialled()
    call.reoffer(OFFER, 0.0)
    _, bye = peer.respond(peer.collect()[0], status)
    assert statuses([bye]) == ["BYE"]
    peer.respond(bye, 481)
    assert peer.side.take() == [DialogLost(status), Closed()]


def test_silence_to_a_reinvite_ends_the_call(peer: RawPeer) -> None:
    call = peer.dialled()
    call.reoffer(OFFER, 0.0)
    assert statuses(peer.advance(32.1))[-1] == "BYE"
    assert peer.side.take() == [DialogLost(408)]


def test_after_491_the_owner_of_the_call_id_waits_longer(peer: RawPeer) -> None:
    call = peer.dialled()
    offers = [OFFER, ANSWER]
    call.reoffer(lambda: offers.pop(0), 0.0)
    peer.respond(peer.collect()[0], 491)
    assert peer.advance(2.0) == []
    again = peer.advance(2.1)[0]
    assert statuses([again]) == ["INVITE"]
    assert again.body == ANSWER
    assert peer.side.take() == []


def test_a_peer_that_always_answers_491_refuses_the_offer_after_a_while(peer: RawPeer) -> None:
    call = peer.dialled()
    call.reoffer(OFFER, 0.0)
    tries = 0
    while not peer.side.events:
        tries += 1
        peer.respond(peer.advance(4.1)[0], 491)
    assert (tries, peer.side.take()) == (9, [OfferRefused(491)])
    call.reoffer(OFFER, 0.0)
    peer.respond(peer.collect()[0], 491)
    assert peer.side.take() == []


def test_an_offer_waits_for_the_one_before(peer: RawPeer) -> None:
    call = peer.dialled()
    call.reoffer(OFFER, 0.0)
    (first,) = peer.collect()
    call.reoffer(ANSWER, 0.0)
    assert peer.collect() == []
    with pytest.raises(CallStateError):
        call.reoffer(ANSWER, 0.0)
    assert statuses(peer.respond(first, 200, body=ANSWER)) == ["ACK", "INVITE"]


def test_an_offer_before_the_answer_is_an_error(peer: RawPeer) -> None:
    with pytest.raises(CallStateError):
        peer.dial().reoffer(OFFER, 0.0)


def test_an_update_with_sdp_while_our_invite_is_unanswered_gets_491(peer: RawPeer) -> None:
    call = peer.dial()
    peer.respond(last_request(peer), 183, body=ANSWER)
    update = peer.request(
        "UPDATE", to_tag=call.local_tag, from_tag="callee", call_id=call.call_id, body=OFFER
    )
    assert statuses(peer.send(update)) == [491]


def test_hangup_during_a_reinvite_sends_bye_and_acks_a_late_200(peer: RawPeer) -> None:
    call = peer.dialled()
    call.reoffer(OFFER, 0.0)
    (reinvite,) = peer.collect()
    call.hangup(0.0)
    (bye,) = peer.collect()
    assert statuses(peer.respond(reinvite, 200, body=ANSWER)) == ["ACK"]
    peer.respond(bye, 200)
    assert is_closed(peer.side.take())


# -- routes ------------------------------------------------------------------------------------------


def test_loose_routes_of_the_answer_are_followed_in_reverse(peer: RawPeer) -> None:
    call = peer.dial()
    routes: dict[str, str | None] = {"Record-Route": "<sip:127.0.0.2;lr>, <sip:127.0.0.3:5070;lr>"}
    (ack,) = peer.respond(last_request(peer), 200, body=ANSWER, headers=routes)
    assert isinstance(ack, Request)
    assert ack.uri == "sip:bob@127.0.0.1:5061"
    assert ack.headers.get_list("Route") == ["<sip:127.0.0.3:5070;lr>", "<sip:127.0.0.2;lr>"]
    assert (peer.hops[-1].host, peer.hops[-1].port) == ("127.0.0.3", 5070)
    assert call.is_answered


def test_a_strict_route_takes_the_request_uri(peer: RawPeer) -> None:
    peer.dial()
    routes: dict[str, str | None] = {"Record-Route": "<sip:127.0.0.2>, <sip:127.0.0.3:5070>"}
    (ack,) = peer.respond(last_request(peer), 200, body=ANSWER, headers=routes)
    assert isinstance(ack, Request)
    assert ack.uri == "sip:127.0.0.3:5070"
    assert ack.headers.get_list("Route") == ["<sip:127.0.0.2>", "<sip:bob@127.0.0.1:5061>"]


def test_a_response_to_another_via_is_ignored(peer: RawPeer) -> None:
    peer.dial()
    invite = last_request(peer)
    wrong_host = str(invite.via).replace("127.0.0.1", "127.0.0.77", 1)
    assert peer.respond(invite, 200, headers={"Via": wrong_host}) == []
    wrong_branch = str(invite.via).replace("z9hG4bK", "z9hG4bKx", 1)
    assert peer.respond(invite, 200, headers={"Via": wrong_branch}) == []
    assert peer.agent.stats.stray == 2
    assert peer.side.take() == []


def test_a_response_with_two_vias_is_ignored(peer: RawPeer) -> None:
    peer.dial()
    invite = last_request(peer)
    assert peer.respond(invite, 200, headers={"Via": f"{invite.via}, SIP/2.0/UDP 127.0.0.9"}) == []


def test_no_response_is_ever_answered(peer: RawPeer) -> None:
    broken = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\n\r\n"
    assert peer.send(broken) == []
    assert isinstance(peer.dial().invite, Request)
    assert not any(isinstance(m, Response) for m in peer.received)


def test_a_response_is_known_by_branch_and_tags_in_any_case(peer: RawPeer) -> None:
    call = peer.dial()
    invite = last_request(peer)
    peer.respond(invite, 183, to_tag="Fork-A", body=ANSWER)
    via = {"Via": str(invite.via).replace("z9hG4bK", "Z9HG4BK")}
    peer.respond(invite, 200, to_tag="FORK-a", body=ANSWER, headers=via)
    early, answered = peer.side.take()
    assert isinstance(early, EarlyMedia)
    assert isinstance(answered, Answered)
    assert early.to_tag == answered.to_tag
    assert statuses(
        peer.send(peer.request("BYE", call_id=call.call_id, to_tag=call.local_tag, from_tag="fork-A"))
    ) == [200]
