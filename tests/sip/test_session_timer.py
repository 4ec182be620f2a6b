"""Session timers on both sides.  Spec: RFC 4028."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.sip_pair import ANSWER, OFFER, Pair, RawPeer, kinds, statuses
from vb.sip.call_events import (
    DialogLost,
    OfferAnswered,
    OfferReceived,
    OfferRefused,
    RefreshDue,
    Refused,
    SessionExpired,
)
from vb.sip.inbound import InboundCall
from vb.sip.message import Request, Response
from vb.sip.outbound import OutboundCall
from vb.sip.settings import AgentSettings

Header = Mapping[str, str | None]
TIMER = {"Supported": "timer", "Allow": "INVITE, ACK, BYE, UPDATE"}
NO_UPDATE = {"Allow": "INVITE, ACK, BYE"}


def invited(
    peer: RawPeer, expires: str | None, headers: Header | None = None
) -> tuple[InboundCall, Response]:
    """A confirmed call of the peer's and our 200."""
    named = {**TIMER, "Session-Expires": expires, **(headers or {})}
    peer.send(peer.request("INVITE", body=OFFER, headers=named))
    call = peer.side.call
    call.accept(ANSWER, peer.now)
    answer = peer.collect()[-1]
    assert isinstance(answer, Response)
    peer.send(peer.request("ACK", to_tag=call.local_tag))
    peer.received.clear()
    peer.side.take()
    return call, answer


def dialled(peer: RawPeer, granted: str | None, headers: Header | None = None) -> OutboundCall:
    """A confirmed call of ours."""
    call = peer.dial()
    named = {**TIMER, "Session-Expires": granted, **(headers or {})}
    peer.respond(peer.received[-1], 200, body=ANSWER, headers=named)
    peer.received.clear()
    peer.side.take()
    return call


def one_request(messages: list[Request | Response]) -> Request:
    (message,) = messages
    assert isinstance(message, Request)
    return message


def timer_headers(message: Request | Response) -> tuple[str | None, str | None]:
    return message.headers.get("Session-Expires"), message.headers.get("Require")


# -- what is agreed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "supported", "answered"),
    [
        ("1800", "timer", ("1800;refresher=uac", "timer")),
        ("1800;refresher=uac", "timer, 100rel", ("1800;refresher=uac", "timer")),
        ("1800;refresher=uas", "timer", ("1800;refresher=uas", None)),
        ("1800 ; x=y ; refresher=UAS", "timer", ("1800;refresher=uas", None)),
        ("1800", None, ("1800;refresher=uas", None)),
        ("1800;refresher=uac", None, ("1800;refresher=uas", None)),
        ("90", "timer", ("90;refresher=uac", "timer")),
        ("30", None, ("30;refresher=uas", None)),
        (None, "timer", (None, None)),
        ("soon", "timer", (None, None)),
    ],
)
def test_the_200_to_an_invite(
    peer: RawPeer, asked: str | None, supported: str | None, answered: tuple[str | None, str | None]
) -> None:
    _, answer = invited(peer, asked, {"Supported": supported})
    assert timer_headers(answer) == answered
    assert "timer" in answer.headers.get_list("Supported")


def test_an_interval_below_90_gets_422_with_min_se(peer: RawPeer) -> None:
    headers = {"Supported": "timer", "Session-Expires": "89"}
    (answer,) = peer.send(peer.request("INVITE", body=OFFER, headers=headers))
    assert statuses([answer]) == [422]
    assert answer.headers.get("Min-SE") == "90"
    assert peer.side.calls == []


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_interval_below_90_inside_a_dialog_gets_422_and_the_call_goes_on(
    peer: RawPeer, method: str
) -> None:
    call, _ = invited(peer, "1800")
    headers = {"Supported": "timer", "Session-Expires": "30"}
    (answer,) = peer.send(peer.request(method, to_tag=call.local_tag, cseq=2, headers=headers))
    assert (statuses([answer]), answer.headers.get("Min-SE")) == ([422], "90")
    assert peer.side.take() == []


def test_our_invite_asks_and_leaves_the_choice_of_the_refresher(peer: RawPeer) -> None:
    peer.dial()
    invite = peer.received[-1]
    assert timer_headers(invite) == ("1800", None)
    assert "timer" in invite.headers.get_list("Supported")
    assert "Min-SE" not in invite.headers


def test_our_invite_does_not_ask_when_told_not_to() -> None:
    peer = RawPeer(AgentSettings(port=5062, session_expires_s=0))
    peer.dial()
    assert "Session-Expires" not in peer.received[-1].headers
    assert "timer" in peer.received[-1].headers.get_list("Supported")


def test_a_422_to_our_invite_raises_the_interval(peer: RawPeer) -> None:
    peer.dial()
    sent = peer.respond(peer.received[-1], 422, headers={"Min-SE": "3600"})
    assert statuses(sent) == ["ACK", "INVITE"]
    assert timer_headers(sent[1]) == ("3600", None)
    assert sent[1].headers.get("Min-SE") == "3600"
    assert sent[1].headers.get("CSeq") == "2 INVITE"
    assert peer.side.take() == []


@pytest.mark.parametrize("minimum", [None, "x", "1800", "90", "99999999999"])
def test_a_422_that_asks_for_nothing_longer_ends_the_call(peer: RawPeer, minimum: str | None) -> None:
    peer.dial()
    assert statuses(peer.respond(peer.received[-1], 422, headers={"Min-SE": minimum})) == ["ACK"]
    assert kinds(peer.side.take()) == ["Refused", "Closed"]


def test_endless_422s_end_the_call(peer: RawPeer) -> None:
    peer.dial()
    for seconds in range(2000, 2100):
        if statuses(peer.respond(peer.received[-1], 422, headers={"Min-SE": str(seconds)})) == ["ACK"]:
            break
    assert kinds(peer.side.take()) == [Refused.__name__, "Closed"]
    assert seconds < 2010


# -- the peer refreshes -----------------------------------------------------------------------------


@pytest.mark.parametrize(("interval_s", "dead_after_s"), [(1800, 1768), (90, 60), (96, 64)])
def test_a_session_that_the_peer_does_not_refresh_ends(
    peer: RawPeer, interval_s: int, dead_after_s: int
) -> None:
    invited(peer, f"{interval_s};refresher=uac")
    peer.advance(dead_after_s - 0.1)
    assert (peer.side.take(), peer.received) == ([], [])
    assert statuses(peer.advance(0.2)) == ["BYE"]
    assert peer.side.take() == [SessionExpired()]


@pytest.mark.parametrize(
    "refresh", [{"Supported": "timer"}, {**TIMER, "Session-Expires": "120;refresher=uac"}]
)
@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
def test_any_refresh_of_the_peer_starts_anew(peer: RawPeer, method: str, refresh: dict[str, str]) -> None:
    call, _ = invited(peer, "120;refresher=uac")
    peer.advance(70)
    body = OFFER if method == "INVITE" else b""
    peer.send(peer.request(method, to_tag=call.local_tag, cseq=2, body=body, headers=refresh))
    if method == "INVITE":
        call.answer_offer(ANSWER, peer.now)
        peer.collect()
        peer.send(peer.request("ACK", to_tag=call.local_tag, cseq=2))
    assert timer_headers(peer.received[0]) == ("120;refresher=uac", "timer")
    peer.side.take()
    peer.advance(87)
    assert peer.side.take() == []
    peer.advance(2)
    assert peer.side.take() == [SessionExpired()]


def test_a_refused_refresh_of_the_peer_does_not_start_anew(peer: RawPeer) -> None:
    call, _ = invited(peer, "120;refresher=uac")
    peer.advance(80)
    peer.send(peer.request("INVITE", to_tag=call.local_tag, cseq=2, body=OFFER, headers=TIMER))
    call.refuse_offer(488, peer.now)
    peer.advance(9)
    assert SessionExpired() in peer.side.take()


def test_a_peer_that_hands_over_the_refreshing_is_obeyed(peer: RawPeer) -> None:
    call, _ = invited(peer, "120;refresher=uac")
    refresh = {**TIMER, "Session-Expires": "120;refresher=uas"}
    (answer,) = peer.send(peer.request("UPDATE", to_tag=call.local_tag, cseq=2, headers=refresh))
    assert timer_headers(answer) == ("120;refresher=uas", None)
    assert one_request(peer.advance(60.1)).method == "UPDATE"


# -- we refresh -------------------------------------------------------------------------------------


def test_we_refresh_at_half_the_interval_by_update_without_a_body(peer: RawPeer) -> None:
    call, _ = invited(peer, "1800;refresher=uas")
    assert peer.advance(899) == []
    update = one_request(peer.advance(1.1))
    assert (update.method, update.body, update.to.tag) == ("UPDATE", b"", "raw-tag")
    assert timer_headers(update) == ("1800;refresher=uac", None)
    assert "timer" in update.headers.get_list("Supported")
    assert "Contact" in update.headers
    peer.respond(update, 200, headers={"Session-Expires": "1800;refresher=uac"})
    assert one_request(peer.advance(900)).method == "UPDATE"
    assert call.session.timer.we_refresh


def test_roles_are_relative_to_the_transaction(peer: RawPeer) -> None:
    """We called and the callee refreshes; when it has done so once as UAC, it goes on doing so."""
    call = dialled(peer, "120;refresher=uas")
    refresh = {**TIMER, "Session-Expires": "120;refresher=uac"}
    ids = {"call_id": call.call_id, "to_tag": call.local_tag, "from_tag": "callee"}
    (answer,) = peer.send(peer.request("UPDATE", cseq=1, headers=refresh, **ids))  # type: ignore[arg-type]  # all are text
    assert timer_headers(answer) == ("120;refresher=uac", "timer")
    assert peer.advance(87) == []
    assert statuses(peer.advance(1.2)) == ["BYE"]


@pytest.mark.parametrize("granted", ["120;refresher=uac", "120"])
def test_the_caller_refreshes_when_the_200_says_so(peer: RawPeer, granted: str) -> None:
    dialled(peer, granted)
    assert one_request(peer.advance(60.1)).method == "UPDATE"


def test_a_200_without_session_expires_means_no_end(peer: RawPeer) -> None:
    dialled(peer, None)
    assert peer.advance(100_000) == []
    assert peer.side.take() == []


def test_nothing_shorter_than_90_seconds_is_armed(peer: RawPeer) -> None:
    invited(peer, "30", {"Supported": None})
    assert peer.advance(44.9) == []
    assert one_request(peer.advance(0.2)).method == "UPDATE"


def test_a_refresh_by_reinvite_where_the_peer_takes_no_update(peer: RawPeer) -> None:
    call = dialled(peer, "120;refresher=uac", NO_UPDATE)
    assert peer.advance(60.1) == []
    assert peer.side.take() == [RefreshDue()]
    call.reoffer(OFFER, peer.now)
    invite = one_request(peer.collect())
    assert (invite.method, invite.body) == ("INVITE", OFFER)
    assert timer_headers(invite) == ("120;refresher=uac", None)
    peer.respond(invite, 200, body=ANSWER, headers={"Session-Expires": "120;refresher=uac"})
    assert peer.side.take() == [OfferAnswered(ANSWER)]
    peer.advance(60.1)
    assert peer.side.take() == [RefreshDue()]


def test_an_offer_of_the_owner_refreshes_as_well_and_keeps_the_roles(peer: RawPeer) -> None:
    call = dialled(peer, "120;refresher=uas")
    call.reoffer(OFFER, peer.now)
    invite = one_request(peer.collect())
    assert timer_headers(invite) == ("120;refresher=uas", None)
    peer.advance(20)
    peer.respond(invite, 200, body=ANSWER, headers={"Session-Expires": "120;refresher=uas"})
    peer.side.take()
    peer.advance(87)
    assert peer.side.take() == []


@pytest.mark.parametrize("status", [408, 481])
def test_a_lost_dialog_ends_the_session(peer: RawPeer, status: int) -> None:
    dialled(peer, "120;refresher=uac")
    update = one_request(peer.advance(60.1))
    assert statuses(peer.respond(update, status)) == ["BYE"]
    assert peer.side.take() == [SessionExpired()]


def test_silence_ends_the_session_before_the_peer_gives_it_up(peer: RawPeer) -> None:
    dialled(peer, "120;refresher=uac")
    peer.advance(88.1)
    assert peer.side.take() == [SessionExpired()]
    assert peer.received[-1].cseq.method == "BYE"


@pytest.mark.parametrize("status", [408, 481])
def test_a_refresh_by_reinvite_that_meets_no_dialog_ends_the_session(peer: RawPeer, status: int) -> None:
    call = dialled(peer, "120;refresher=uac", NO_UPDATE)
    peer.advance(60.1)
    call.reoffer(OFFER, peer.now)
    peer.side.take()
    sent = peer.respond(one_request(peer.collect()), status)
    assert statuses(sent) == ["ACK", "BYE"]
    assert peer.side.take() == [SessionExpired()]


def test_an_ordinary_reinvite_that_meets_no_dialog_says_so(peer: RawPeer) -> None:
    call = dialled(peer, "120;refresher=uac")
    call.reoffer(OFFER, peer.now)
    peer.respond(one_request(peer.collect()), 481)
    assert peer.side.take() == [DialogLost(481)]


def test_a_refused_refresh_is_tried_again_and_only_a_2xx_starts_anew(peer: RawPeer) -> None:
    dialled(peer, "1800;refresher=uac")
    update = one_request(peer.advance(900.1))
    peer.respond(update, 500)
    again = one_request(peer.advance(434))
    while again.method == "UPDATE":
        peer.respond(again, 500)
        assert peer.side.take() == []
        while not (sent := peer.advance(0.25)):
            assert peer.now < 1769
        again = one_request(sent)
    assert again.method == "BYE"
    assert 1767 < peer.now < 1769
    assert peer.side.take() == [SessionExpired()]


def test_a_refused_refresh_by_reinvite_is_tried_again(peer: RawPeer) -> None:
    call = dialled(peer, "1800;refresher=uac", NO_UPDATE)
    peer.advance(900.1)
    call.reoffer(OFFER, peer.now)
    peer.respond(one_request(peer.collect()), 488)
    assert peer.side.take() == [RefreshDue(), OfferRefused(488)]
    peer.advance(435)
    assert peer.side.take() == [RefreshDue()]


def test_a_422_to_a_refresh_raises_the_interval(peer: RawPeer) -> None:
    dialled(peer, "120;refresher=uac")
    update = one_request(peer.advance(60.1))
    again = one_request(peer.respond(update, 422, headers={"Min-SE": "600"}))
    assert timer_headers(again) == ("600;refresher=uac", None)
    assert again.headers.get("Min-SE") == "600"
    peer.respond(again, 200, headers={"Session-Expires": "600;refresher=uac"})
    assert peer.advance(299) == []
    assert one_request(peer.advance(1.1)).method == "UPDATE"


@pytest.mark.parametrize("status", [405, 501])
def test_a_peer_that_takes_no_update_after_all_is_sent_a_reinvite(peer: RawPeer, status: int) -> None:
    dialled(peer, "120;refresher=uac")
    peer.respond(one_request(peer.advance(60.1)), status)
    assert peer.side.take() == [RefreshDue()]


def test_after_491_the_update_comes_again_soon(peer: RawPeer) -> None:
    dialled(peer, "1800;refresher=uac")
    peer.respond(one_request(peer.advance(900.1)), 491)
    assert peer.advance(2.05) == []
    assert {m.cseq.number for m in peer.advance(2)} == {3}


def test_a_refresh_waits_for_an_exchange_under_way(peer: RawPeer) -> None:
    call, _ = invited(peer, "120;refresher=uas")
    peer.advance(59)
    peer.send(peer.request("INVITE", to_tag=call.local_tag, cseq=2, body=OFFER, headers=TIMER))
    assert peer.side.take() == [OfferReceived(OFFER, "INVITE")]
    assert statuses(peer.advance(2)) == [100]
    call.answer_offer(ANSWER, peer.now)
    peer.collect()
    peer.send(peer.request("ACK", to_tag=call.local_tag, cseq=2))
    assert peer.advance(58) == []


def test_a_call_that_ends_during_a_refresh_is_silent_about_it(peer: RawPeer) -> None:
    call = dialled(peer, "120;refresher=uac")
    update = one_request(peer.advance(60.1))
    call.hangup(peer.now)
    bye = one_request(peer.collect())
    peer.respond(update, 200, headers={"Session-Expires": "120;refresher=uac"})
    peer.respond(bye, 200)
    assert peer.advance(500) == []
    assert kinds(peer.side.take()) == ["Closed"]
    assert peer.agent.deadline() is None


# -- both ends --------------------------------------------------------------------------------------


def test_two_agents_keep_a_call_alive_for_hours() -> None:
    pair = Pair()
    pair.connect()
    pair.seen()
    pair.advance(7250)
    assert (pair.alice.take(), pair.bob.take()) == ([], [])
    assert pair.seen() == ["alice UPDATE", "bob 200"] * 8


def test_a_vanished_peer_is_noticed_on_both_sides() -> None:
    pair = Pair()
    pair.connect()
    pair.lost = lambda _number, _data: True
    pair.advance(2000)
    assert kinds(pair.alice.take()) == ["SessionExpired", "Closed"]
    assert kinds(pair.bob.take()) == ["SessionExpired", "Closed"]
    for side in (pair.alice, pair.bob):
        assert (side.agent.calls, side.agent.transactions) == (0, 0)
