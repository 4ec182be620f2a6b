"""REFERs that we send, against a peer whose messages are written by hand."""

from __future__ import annotations

import pytest

from tests.support.sip_pair import RawPeer, kinds, statuses
from vb.sip.call_events import DialogLost
from vb.sip.call_state import CallState
from vb.sip.digest import Credentials
from vb.sip.errors import CallStateError
from vb.sip.inbound import InboundCall
from vb.sip.message import Request, Response
from vb.sip.refer_client import NOTIFY_TIMEOUT_S
from vb.sip.refer_events import ReferAccepted, ReferFinished, ReferProgress, ReferRefused

CAROL = "<sip:carol@example.com>"
ACCEPTED = ReferAccepted(202, "Accepted", is_subscribed=True)


class Referred:
    """A call on which a REFER of ours is out."""

    def __init__(self) -> None:
        self.peer = RawPeer()
        self.call: InboundCall = self.peer.connected()
        self.cseq = 1
        self.refer = self.send_refer()

    def send_refer(self) -> Request:
        self.call.refer_client.refer(CAROL, self.peer.now)
        (refer,) = self.peer.collect()
        assert isinstance(refer, Request)
        return refer

    def accept(self) -> None:
        self.peer.respond(self.refer, 202)
        assert self.peer.side.take() == [ACCEPTED]

    def notify(self, status: str, state: str = "active;expires=60", event: str = "refer") -> list[int | str]:
        self.cseq += 1
        headers = {
            "Event": event or None,
            "Subscription-State": state or None,
            "Content-Type": "message/sipfrag;version=2.0",
        }
        body = f"SIP/2.0 {status}\r\n".encode() if status else b""
        request = self.peer.request(
            "NOTIFY", to_tag=self.call.local_tag, cseq=self.cseq, headers=headers, body=body
        )
        return statuses(self.peer.send(request))


@pytest.fixture
def referred() -> Referred:
    return Referred()


def test_a_refer_is_sent_inside_the_dialog(referred: Referred) -> None:
    refer = referred.refer
    assert (refer.method, refer.uri) == ("REFER", "sip:alice@127.0.0.1:5061")
    assert (refer.to.tag, refer.from_.tag) == ("raw-tag", referred.call.local_tag)
    assert refer.headers.get("Refer-To") == CAROL
    assert refer.headers.get("Referred-By") == "<sip:127.0.0.1>"
    assert refer.headers.get("Contact") == "<sip:127.0.0.1:5062>"
    assert "User-Agent" not in refer.headers


def test_a_transfer_goes_from_202_to_200(referred: Referred) -> None:
    referred.accept()
    assert referred.notify("100 Trying") == [200]
    assert referred.notify("180 Ringing") == [200]
    assert referred.notify("200 OK", "terminated;reason=noresource") == [200]
    assert referred.peer.side.take() == [
        ReferProgress(100, "Trying"),
        ReferProgress(180, "Ringing"),
        ReferFinished(200, "OK"),
    ]
    assert not referred.call.refer_client.is_busy
    assert referred.peer.advance(200) == []
    assert referred.peer.side.take() == []


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_an_acceptance(referred: Referred, status: int) -> None:
    referred.peer.respond(referred.refer, status)
    assert kinds(referred.peer.side.take()) == ["ReferAccepted"]
    assert referred.call.refer_client.is_busy


def test_a_refusal_ends_it_and_the_call_goes_on(referred: Referred) -> None:
    referred.peer.respond(referred.refer, 603, reason="No")
    assert referred.peer.side.take() == [ReferRefused(603, "No")]
    assert referred.call.state is CallState.CONFIRMED
    assert referred.notify("200 OK", "terminated") == [481]


@pytest.mark.parametrize("status", [408, 481])
def test_a_lost_dialog_ends_the_call(referred: Referred, status: int) -> None:
    referred.peer.respond(referred.refer, status)
    events = referred.peer.side.take()
    assert isinstance(events[0], ReferRefused)
    assert events[1] == DialogLost(status)
    assert statuses(referred.peer.received[-1:]) == ["BYE"]


def test_silence_ends_the_call(referred: Referred) -> None:
    sent = referred.peer.advance(33)
    assert referred.peer.side.take() == [ReferRefused(408, "Request Timeout"), DialogLost(408)]
    assert "BYE" in statuses(sent)


def test_a_notify_makes_up_for_a_lost_202(referred: Referred) -> None:
    referred.notify("100 Trying")
    referred.peer.advance(40)
    referred.notify("200 OK", "terminated;reason=noresource")
    assert referred.peer.side.take() == [ReferProgress(100, "Trying"), ReferFinished(200, "OK")]


def test_a_final_notify_before_the_202_counts(referred: Referred) -> None:
    assert referred.notify("200 OK", "terminated;reason=noresource") == [200]
    assert referred.peer.side.take() == [ReferFinished(200, "OK")]
    referred.peer.respond(referred.refer, 202)
    assert referred.peer.side.take() == []


def test_a_failure_of_the_new_call_is_told(referred: Referred) -> None:
    referred.accept()
    referred.notify("486 Busy Here", "terminated;reason=noresource")
    assert referred.peer.side.take() == [ReferFinished(486, "Busy Here")]


def test_an_end_without_a_result_is_a_failure(referred: Referred) -> None:
    referred.accept()
    referred.notify("", "terminated;reason=giveup")
    (finished,) = referred.peer.side.take()
    assert isinstance(finished, ReferFinished)
    assert finished.status is None
    assert "giveup" in (finished.error or "")


def test_a_provisional_status_at_the_end_is_a_failure(referred: Referred) -> None:
    referred.accept()
    referred.notify("180 Ringing", "terminated;reason=timeout")
    (finished,) = referred.peer.side.take()
    assert isinstance(finished, ReferFinished)
    assert (finished.status, finished.error is not None) == (180, True)


def test_a_final_status_without_a_terminated_state_waits_for_the_end(referred: Referred) -> None:
    referred.accept()
    referred.notify("200 OK")
    assert referred.peer.side.take() == [ReferProgress(200, "OK")]
    referred.peer.advance(NOTIFY_TIMEOUT_S + 1)
    assert referred.peer.side.take() == [ReferFinished(200, "OK")]


def test_a_peer_that_leaves_the_state_out_ends_with_a_final_status(referred: Referred) -> None:
    referred.accept()
    referred.notify("180 Ringing", "")
    referred.notify("200 OK", "")
    assert referred.peer.side.take() == [ReferProgress(180, "Ringing"), ReferFinished(200, "OK")]


def test_without_notify_the_transfer_fails_and_the_call_goes_on(referred: Referred) -> None:
    referred.accept()
    referred.peer.advance(NOTIFY_TIMEOUT_S - 1)
    assert referred.peer.side.take() == []
    referred.peer.advance(2)
    (finished,) = referred.peer.side.take()
    assert isinstance(finished, ReferFinished)
    assert (finished.status, finished.error) == (None, "no NOTIFY came in time")
    assert referred.call.state is CallState.CONFIRMED
    assert referred.notify("200 OK", "terminated") == [481]


def test_every_notify_starts_the_wait_anew(referred: Referred) -> None:
    referred.accept()
    for _ in range(3):
        referred.peer.advance(NOTIFY_TIMEOUT_S - 5)
        referred.notify("180 Ringing")
    assert kinds(referred.peer.side.take()) == ["ReferProgress"] * 3


def test_a_longer_subscription_is_waited_for_within_limits(referred: Referred) -> None:
    referred.accept()
    referred.notify("180 Ringing", "active;expires=120")
    referred.peer.side.take()
    referred.peer.advance(119)
    assert referred.peer.side.take() == []
    referred.notify("180 Ringing", "active;expires=86400")
    referred.peer.advance(301)
    assert kinds(referred.peer.side.take()) == ["ReferProgress", "ReferFinished"]


def test_refer_sub_false_ends_the_wait(referred: Referred) -> None:
    referred.peer.respond(referred.refer, 202, headers={"Refer-Sub": "false"})
    assert referred.peer.side.take() == [ReferAccepted(202, "Accepted", is_subscribed=False)]
    assert not referred.call.refer_client.is_busy
    referred.peer.advance(200)
    assert referred.peer.side.take() == []


@pytest.mark.parametrize("event", ["", "presence", "refer;id=0", "refer;id=2", "refer;id=x"])
def test_a_notify_of_something_else_gets_481(referred: Referred, event: str) -> None:
    referred.accept()
    assert referred.notify("200 OK", "terminated", event) == [481]
    assert referred.peer.side.take() == []


def test_the_id_of_a_notify_is_the_cseq_of_the_refer(referred: Referred) -> None:
    assert referred.notify("100 Trying", event=f"refer;id={referred.refer.cseq.number}") == [200]


def test_a_second_refer_is_told_from_the_first(referred: Referred) -> None:
    referred.accept()
    referred.notify("486 Busy Here", "terminated")
    first, referred.refer = referred.refer, referred.send_refer()
    referred.peer.side.take()
    referred.accept()
    assert referred.notify("200 OK", event=f"refer;id={first.cseq.number}") == [481]
    assert referred.notify("180 Ringing", event=f"refer;id={referred.refer.cseq.number}") == [200]
    assert referred.notify("200 OK", "terminated", event="refer") == [200]


def test_an_abandoned_subscription_keeps_the_notify_without_id(referred: Referred) -> None:
    referred.accept()
    referred.peer.advance(NOTIFY_TIMEOUT_S + 1)
    referred.peer.side.take()
    referred.refer = referred.send_refer()
    referred.accept()
    assert referred.notify("486 Busy Here", "terminated") == [481]
    assert referred.notify("200 OK", "terminated", f"refer;id={referred.refer.cseq.number}") == [200]


def test_a_body_of_another_type_gets_415(referred: Referred) -> None:
    referred.accept()
    headers = {"Event": "refer", "Subscription-State": "active", "Content-Type": "text/plain"}
    request = referred.peer.request(
        "NOTIFY", to_tag=referred.call.local_tag, cseq=2, headers=headers, body=b"hello"
    )
    (answer,) = referred.peer.send(request)
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers.get("Accept")) == (415, "message/sipfrag")


def test_only_one_refer_at_a_time(referred: Referred) -> None:
    with pytest.raises(CallStateError):
        referred.call.refer_client.refer(CAROL, 0.0)


def test_a_call_that_is_not_answered_cannot_be_transferred() -> None:
    peer = RawPeer()
    call = peer.invite()
    with pytest.raises(CallStateError):
        call.refer_client.refer(CAROL, 0.0)


def test_the_peers_bye_after_the_202_is_a_hangup(referred: Referred) -> None:
    referred.accept()
    bye = referred.peer.request("BYE", to_tag=referred.call.local_tag, cseq=9)
    assert statuses(referred.peer.send(bye)) == [200]
    assert kinds(referred.peer.side.take()) == ["RemoteHangup", "Closed"]
    assert referred.peer.advance(200) == []


def test_our_hangup_forgets_the_transfer(referred: Referred) -> None:
    referred.accept()
    referred.call.hangup(0.0)
    assert statuses(referred.peer.collect()) == ["BYE"]
    assert referred.notify("200 OK", "terminated") == [481]
    assert referred.peer.side.take() == []


def test_a_challenge_is_answered_and_the_id_follows() -> None:
    peer = RawPeer()
    call = peer.dialled(credentials=Credentials("alice", "secret"))
    call.refer_client.refer(CAROL, 0.0)
    (refer,) = peer.collect()
    challenge = {"WWW-Authenticate": 'Digest realm="x", nonce="y", algorithm=MD5'}
    (second,) = peer.respond(refer, 401, headers=challenge)
    assert isinstance(second, Request)
    assert second.headers.get("Refer-To") == CAROL
    assert "Authorization" in second.headers
    peer.respond(second, 202)
    assert peer.side.take() == [ACCEPTED]
    headers = {
        "Event": f"refer;id={second.cseq.number}",
        "Subscription-State": "terminated",
        "Content-Type": "message/sipfrag",
    }
    notify = peer.request(
        "NOTIFY",
        to_tag=call.local_tag,
        from_tag="callee",
        call_id=call.call_id,
        cseq=1,
        headers=headers,
        body=b"SIP/2.0 200 OK\r\n",
    )
    assert statuses(peer.send(notify)) == [200]
    assert peer.side.take() == [ReferFinished(200, "OK")]
