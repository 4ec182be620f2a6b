"""REFERs of a peer: hand-written ones, and those of our own agent."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sip_pair import Pair, RawPeer, is_closed, kinds, statuses
from vb.sip.call_state import CallState
from vb.sip.errors import CallStateError
from vb.sip.inbound import InboundCall
from vb.sip.message import Request, Response
from vb.sip.refer import ReferRequest
from vb.sip.refer_events import ReferAccepted, ReferExpired, ReferFinished, ReferProgress, ReferReceived
from vb.sip.refer_server import LIFETIME_S, MAX_REFERS

CAROL = "<sip:carol@example.com>"
ORDERS = ["refer", "accept", "decline", "ring", "succeed", "fail", "hang", "wait", "wait", "settle"]


class Referring:
    """A call whose peer sends REFERs."""

    def __init__(self) -> None:
        self.peer = RawPeer()
        self.call: InboundCall = self.peer.connected()
        self.cseq = 1

    def refer(self, value: str | None = CAROL, **headers: str) -> list[int | str]:
        self.cseq += 1
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        request = self.peer.request(
            "REFER", to_tag=self.call.local_tag, cseq=self.cseq, headers={"Refer-To": value, **named}
        )
        return statuses(self.peer.send(request))

    def accept(self) -> list[Request | Response]:
        self.call.refer_server.accept(self.peer.now)
        return self.peer.collect()

    def notify(self, status: int, reason: str) -> Request:
        self.call.refer_server.notify(status, reason, self.peer.now)
        (request,) = self.peer.collect()
        assert isinstance(request, Request)
        return request


@pytest.fixture
def referring() -> Referring:
    return Referring()


def said(request: Request | Response) -> tuple[str | None, str | None, bytes]:
    headers = request.headers
    return headers.get("Event"), headers.get("Subscription-State"), request.body


def test_a_refer_waits_for_a_decision(referring: Referring) -> None:
    assert referring.refer(Referred_By="<sip:x@example.com>") == []
    wanted = ReferRequest("sip:carol@example.com", referred_by="<sip:x@example.com>")
    assert referring.peer.side.take() == [ReferReceived(wanted)]
    assert referring.call.refer_server.phase == "undecided"


def test_an_accepted_refer_gets_202_and_a_notify(referring: Referring) -> None:
    referring.refer()
    accepted, notify = referring.accept()
    assert isinstance(accepted, Response)
    assert (accepted.status, accepted.headers.get("Contact")) == (202, "<sip:127.0.0.1:5062>")
    assert isinstance(notify, Request)
    assert said(notify) == ("refer", "active;expires=60", b"SIP/2.0 100 Trying\r\n")
    assert notify.headers.get("Content-Type") == "message/sipfrag;version=2.0"
    assert notify.headers.get("Contact") == "<sip:127.0.0.1:5062>"


def test_a_final_status_ends_the_subscription(referring: Referring) -> None:
    referring.refer()
    referring.accept()
    assert said(referring.notify(180, "Ringing"))[1:] == ("active;expires=60", b"SIP/2.0 180 Ringing\r\n")
    final = referring.notify(486, "Busy Here")
    assert said(final)[1:] == ("terminated;reason=noresource", b"SIP/2.0 486 Busy Here\r\n")
    assert referring.call.refer_server.phase == "none"
    with pytest.raises(CallStateError):
        referring.call.refer_server.notify(200, "OK", referring.peer.now)


def test_an_undecided_refer_is_declined_after_the_time_out(referring: Referring) -> None:
    referring.refer()
    referring.peer.side.take()
    assert statuses(referring.peer.advance(1.9)) == []
    assert statuses(referring.peer.advance(0.2)) == [603]
    assert referring.peer.side.take() == [ReferExpired(603, "Decline")]
    with pytest.raises(CallStateError):
        referring.call.refer_server.accept(referring.peer.now)


def test_a_refer_can_be_declined(referring: Referring) -> None:
    referring.refer()
    referring.call.refer_server.decline(480, "Not today", 0.0)
    (declined,) = referring.peer.collect()
    assert isinstance(declined, Response)
    assert (declined.status, declined.reason) == (480, "Not today")
    referring.peer.side.take()
    referring.peer.advance(10)
    assert referring.peer.side.take() == []


def test_a_repeated_refer_is_not_reported_again(referring: Referring) -> None:
    request = referring.peer.request(
        "REFER", to_tag=referring.call.local_tag, cseq=2, headers={"Refer-To": CAROL}
    )
    assert referring.peer.send(request) == []
    assert referring.peer.send(request) == []
    assert kinds(referring.peer.side.take()) == ["ReferReceived"]
    referring.accept()
    assert statuses(referring.peer.send(request)) == [202]


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "Missing Refer-To"), ("<nonsense>", "Bad Refer-To"), ("<sip:>", "Bad Refer-To")],
)
def test_a_refer_without_a_target_gets_400_and_no_event(
    referring: Referring, value: str | None, reason: str
) -> None:
    assert referring.refer(value) == [400]
    answer = referring.peer.received[-1]
    assert isinstance(answer, Response)
    assert answer.reason == reason
    assert referring.peer.side.take() == []


def test_the_second_refer_of_a_dialog_is_named_by_its_cseq(referring: Referring) -> None:
    referring.refer()
    referring.call.refer_server.decline(603, None, 0.0)
    referring.peer.collect()
    referring.refer()
    assert said(referring.accept()[1])[0] == f"refer;id={referring.cseq}"
    assert said(referring.notify(200, "OK"))[0] == f"refer;id={referring.cseq}"


def test_a_second_refer_meanwhile_is_declined_without_an_event(referring: Referring) -> None:
    referring.refer()
    referring.peer.side.take()
    assert referring.refer() == [603]
    referring.accept()
    assert referring.refer() == [603]
    assert referring.peer.side.take() == []


def test_too_many_refers_get_503(referring: Referring) -> None:
    for _ in range(MAX_REFERS):
        assert referring.refer() == []
        referring.call.refer_server.decline(603, None, referring.peer.now)
        referring.peer.collect()
    referring.peer.side.take()
    assert referring.refer() == [503]
    assert referring.peer.received[-1].headers.get("Retry-After") == "61"
    assert referring.peer.side.take() == []
    referring.peer.advance(60)
    assert referring.refer() == []


def test_without_a_subscription_no_notify_is_sent(referring: Referring) -> None:
    referring.refer(Refer_Sub="false", Require="norefersub")
    (accepted,) = referring.accept()
    assert isinstance(accepted, Response)
    assert (accepted.status, accepted.headers.get("Refer-Sub")) == (202, "false")
    referring.call.refer_server.notify(180, "Ringing", 0.0)
    referring.call.refer_server.notify(200, "OK", 0.0)
    assert referring.peer.collect() == []
    assert referring.call.refer_server.phase == "none"


def test_the_newest_status_is_repeated_before_the_subscription_runs_out(referring: Referring) -> None:
    referring.refer()
    notify = referring.accept()[1]
    referring.peer.respond(notify, 200)
    referring.peer.respond(referring.notify(180, "Ringing"), 200)
    assert referring.peer.advance(39) == []
    (again,) = referring.peer.advance(1.2)
    assert said(again)[1:] == ("active;expires=60", b"SIP/2.0 180 Ringing\r\n")


def test_a_refer_that_takes_too_long_ends_with_408(referring: Referring) -> None:
    referring.refer()
    referring.accept()
    referring.peer.side.take()
    for _ in range(int(LIFETIME_S) + 1):
        for request in referring.peer.advance(1):
            if isinstance(request, Request):
                referring.peer.respond(request, 200)
    assert referring.peer.side.take() == [ReferExpired(408, "Request Timeout")]
    last = [m for m in referring.peer.received if isinstance(m, Request)][-1]
    assert said(last)[1:] == ("terminated;reason=noresource", b"SIP/2.0 408 Request Timeout\r\n")


def test_a_peer_without_the_subscription_is_told_no_more(referring: Referring) -> None:
    referring.refer()
    notify = referring.accept()[1]
    referring.peer.respond(notify, 481)
    referring.call.refer_server.notify(200, "OK", 0.0)
    assert referring.peer.collect() == []
    assert referring.call.state is CallState.CONFIRMED


@pytest.mark.parametrize("is_answered", [False, True])
def test_a_refer_before_the_call_is_up_is_declined(is_answered: bool) -> None:
    peer = RawPeer()
    call = peer.invite()
    if is_answered:
        call.accept(b"v=0\r\n", 0.0)
        peer.collect()
    refer = peer.request("REFER", to_tag=call.local_tag, cseq=2, headers={"Refer-To": CAROL})
    assert statuses(peer.send(refer)) == [603]
    assert peer.side.take() == []


def test_a_refer_outside_a_dialog_is_declined() -> None:
    peer = RawPeer()
    assert statuses(peer.send(peer.request("REFER", headers={"Refer-To": CAROL}))) == [603]
    assert peer.side.take() == []


def test_bye_answers_an_undecided_refer_with_487(referring: Referring) -> None:
    referring.refer()
    bye = referring.peer.request("BYE", to_tag=referring.call.local_tag, cseq=9)
    assert statuses(referring.peer.send(bye)) == [200, 487]
    assert kinds(referring.peer.side.take()) == ["ReferReceived", "RemoteHangup", "Closed"]
    with pytest.raises(CallStateError):
        referring.call.refer_server.accept(0.0)


def test_our_hangup_answers_an_undecided_refer_with_487(referring: Referring) -> None:
    referring.refer()
    referring.call.hangup(0.0)
    assert statuses(referring.peer.collect()) == [487, "BYE"]
    assert referring.refer() == [481]


def test_our_bye_waits_for_the_answer_to_the_last_notify(referring: Referring) -> None:
    referring.refer()
    referring.accept()
    final = referring.notify(200, "OK")
    referring.call.hangup(0.0)
    assert referring.peer.collect() == []
    assert statuses(referring.peer.respond(final, 200)) == ["BYE"]
    assert referring.peer.side.take()[1:] == []


def test_our_bye_does_not_wait_for_long(referring: Referring) -> None:
    referring.refer()
    referring.accept()
    referring.notify(200, "OK")
    referring.call.hangup(0.0)
    assert "BYE" in statuses(referring.peer.advance(2.1))
    assert statuses(referring.peer.advance(0.1)).count("BYE") == 0


def test_a_bye_of_the_peer_makes_ours_needless(referring: Referring) -> None:
    referring.refer()
    referring.accept()
    final = referring.notify(200, "OK")
    referring.call.hangup(0.0)
    referring.cseq = 9
    bye = referring.peer.request("BYE", to_tag=referring.call.local_tag, cseq=9)
    assert statuses(referring.peer.send(bye)) == [200]
    assert referring.peer.respond(final, 200) == []
    assert kinds(referring.peer.side.take()) == ["ReferReceived", "Closed"]


# -- both roles at once -----------------------------------------------------------------------------


def test_two_agents_transfer_with_every_step() -> None:
    pair = Pair()
    outbound, inbound = pair.connect()
    pair.seen()
    outbound.refer_client.refer(CAROL, pair.now)
    pair.settle()
    inbound.refer_server.accept(pair.now)
    inbound.refer_server.notify(180, "Ringing", pair.now)
    pair.settle()
    inbound.refer_server.notify(200, "OK", pair.now)
    inbound.hangup(pair.now)
    pair.settle()
    assert pair.seen() == [
        "alice REFER",
        "bob 202",
        "bob NOTIFY",
        "bob NOTIFY",
        "alice 200",
        "alice 200",
        "bob NOTIFY",
        "alice 200",
        "bob BYE",
        "alice 200",
    ]
    assert [e for e in pair.alice.take() if type(e).__name__.startswith("Refer")] == [
        ReferAccepted(202, "Accepted", is_subscribed=True),
        ReferProgress(100, "Trying"),
        ReferProgress(180, "Ringing"),
        ReferFinished(200, "OK"),
    ]


@pytest.mark.parametrize("lost", range(1, 9))
def test_a_transfer_survives_the_loss_of_any_one_datagram(lost: int) -> None:
    pair = Pair()
    outbound, inbound = pair.connect()
    pair.count = 0
    pair.lost = lambda number, _data: number == lost
    outbound.refer_client.refer(CAROL, pair.now)
    pair.advance(1.5)
    inbound.refer_server.accept(pair.now)
    pair.advance(5)
    inbound.refer_server.notify(200, "OK", pair.now)
    inbound.hangup(pair.now)
    pair.advance(40)
    events = [e for e in pair.alice.take() if type(e).__name__.startswith("Refer")]
    assert events[-1] == ReferFinished(200, "OK")
    for side in (pair.alice, pair.bob):
        assert (side.agent.calls, side.agent.transactions, side.agent.deadline()) == (0, 0, None)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ORDERS), st.booleans()), max_size=16), st.sets(st.integers(1, 40)))
def test_any_order_of_transfers_leaves_nothing_behind(orders: list[tuple[str, bool]], lost: set[int]) -> None:
    pair = Pair()
    calls = pair.connect()
    pair.count = 0
    pair.lost = lambda number, _data: number in lost
    for order, by_alice in orders:
        call = calls[0] if by_alice else calls[1]
        with contextlib.suppress(CallStateError):
            if order == "refer":
                call.refer_client.refer(CAROL, pair.now)
            elif order == "accept":
                call.refer_server.accept(pair.now)
            elif order == "decline":
                call.refer_server.decline(603, None, pair.now)
            elif order == "ring":
                call.refer_server.notify(180, "Ringing", pair.now)
            elif order == "succeed":
                call.refer_server.notify(200, "OK", pair.now)
            elif order == "fail":
                call.refer_server.notify(486, "Busy Here", pair.now)
            elif order == "hang":
                call.hangup(pair.now)
        if order == "wait":
            pair.advance(15.0)
        elif order == "settle":
            pair.settle()
    calls[0].hangup(pair.now)
    calls[1].hangup(pair.now)
    pair.advance(200)
    for side in (pair.alice, pair.bob):
        assert is_closed(side.take())
        assert (side.agent.calls, side.agent.transactions, side.agent.deadline()) == (0, 0, None)
