"""What the caller does when it is challenged, against a peer whose responses are written by hand."""

from __future__ import annotations

import pytest

from tests.support.sip_pair import ANSWER, OFFER, RawPeer, kinds, last_request, statuses
from vb.sip.call_events import Closed, Refused
from vb.sip.digest import Credentials
from vb.sip.message import Request, Response

CREDENTIALS = Credentials("u1", "pw")
CHALLENGE: dict[str, str | None] = {
    "WWW-Authenticate": 'Digest realm="test", nonce="n1", algorithm=MD5, qop="auth"'
}


def test_a_challenge_is_answered_with_a_new_branch_and_cseq(peer: RawPeer) -> None:
    peer.dial(credentials=CREDENTIALS)
    first = last_request(peer)
    ack, second = peer.respond(first, 401, headers=CHALLENGE)
    assert statuses([ack, second]) == ["ACK", "INVITE"]
    assert second.headers.get("CSeq") == "2 INVITE"
    assert second.via.branch != first.via.branch
    assert (second.call_id, second.from_.tag) == (first.call_id, first.from_.tag)
    value = second.headers.get("Authorization") or ""
    assert 'username="u1"' in value
    assert "nc=00000001" in value
    (ack2,) = peer.respond(second, 200, body=ANSWER)
    assert ack2.headers.get("Authorization") == value
    assert kinds(peer.side.take()) == ["Answered"]


def test_a_proxy_challenge_is_answered_in_its_own_header(peer: RawPeer) -> None:
    peer.dial(credentials=CREDENTIALS)
    challenge: dict[str, str | None] = {"Proxy-Authenticate": 'Digest realm="p", nonce="n"'}
    _, second = peer.respond(last_request(peer), 407, headers=challenge)
    assert 'realm="p"' in (second.headers.get("Proxy-Authorization") or "")


def test_a_second_challenge_is_a_refusal(peer: RawPeer) -> None:
    peer.dial(credentials=CREDENTIALS)
    _, second = peer.respond(last_request(peer), 401, headers=CHALLENGE)
    peer.respond(second, 401, headers=CHALLENGE)
    assert peer.side.take() == [Refused(401, "Unauthorized"), Closed()]


def test_a_stale_nonce_is_answered_again(peer: RawPeer) -> None:
    peer.dial(credentials=CREDENTIALS)
    _, second = peer.respond(last_request(peer), 401, headers=CHALLENGE)
    stale: dict[str, str | None] = {
        "WWW-Authenticate": 'Digest realm="test", nonce="n2", stale=true, qop="auth"'
    }
    _, third = peer.respond(second, 401, headers=stale)
    assert 'nonce="n2"' in (third.headers.get("Authorization") or "")


def test_the_bye_to_a_surplus_fork_goes_on_with_the_numbers_of_its_prack(peer: RawPeer) -> None:
    peer.dial()
    invite = last_request(peer)
    reliable: dict[str, str | None] = {"Require": "100rel", "RSeq": "7"}
    (prack,) = peer.respond(invite, 183, to_tag="other", headers=reliable)
    peer.respond(invite, 200, body=ANSWER)
    ack, bye = peer.respond(invite, 200, to_tag="other", body=ANSWER)
    assert isinstance(bye, Request)
    assert (bye.method, bye.to.tag) == ("BYE", "other")
    assert bye.cseq.number == prack.cseq.number + 1
    assert ack.cseq.number == invite.cseq.number


def test_a_proxy_and_the_callee_may_both_want_credentials(peer: RawPeer) -> None:
    peer.dial(credentials=CREDENTIALS)
    proxy: dict[str, str | None] = {"Proxy-Authenticate": 'Digest realm="p", nonce="n"'}
    _, second = peer.respond(last_request(peer), 407, headers=proxy)
    _, third = peer.respond(second, 401, headers=CHALLENGE)
    assert 'realm="p"' in (third.headers.get("Proxy-Authorization") or "")
    assert "Authorization" in third.headers
    peer.respond(third, 200, body=ANSWER)
    assert kinds(peer.side.take()) == ["Answered"]


@pytest.mark.parametrize("where", ["invite", "bye"])
def test_challenges_without_end_end_the_attempt(peer: RawPeer, where: str) -> None:
    request: Request | Response
    if where == "invite":
        peer.dial(credentials=CREDENTIALS)
        request = last_request(peer)
    else:
        peer.dialled(credentials=CREDENTIALS).hangup(0.0)
        (request,) = peer.collect()
    attempts = 1
    while True:
        stale: dict[str, str | None] = {
            "WWW-Authenticate": f'Digest realm="t", nonce="{attempts}", stale=true'
        }
        sent = peer.respond(request, 401, headers=stale)
        again = [item for item in sent if isinstance(item, Request) and item.method != "ACK"]
        if not again:
            break
        (request,) = again
        attempts += 1
        assert attempts < 10
    assert attempts == 5
    assert kinds(peer.side.take())[-1] == "Closed"


def test_without_credentials_a_challenge_is_a_refusal(peer: RawPeer) -> None:
    peer.dial()
    peer.respond(last_request(peer), 401, headers=CHALLENGE)
    assert peer.side.take() == [Refused(401, "Unauthorized"), Closed()]


@pytest.mark.parametrize("order", ["reoffer", "hangup"])
def test_challenges_in_the_dialog_are_answered(peer: RawPeer, order: str) -> None:
    call = peer.dialled(credentials=CREDENTIALS)
    if order == "reoffer":
        call.reoffer(OFFER, 0.0)
    else:
        call.hangup(0.0)
    (first,) = peer.collect()
    second = peer.respond(first, 401, headers=CHALLENGE)[-1]
    assert isinstance(second, Request)
    assert second.cseq.number == first.cseq.number + 1
    assert "Authorization" in second.headers
    assert second.body == first.body
    third = peer.respond(second, 200, body=ANSWER if order == "reoffer" else b"")
    assert statuses(third) == (["ACK"] if order == "reoffer" else [])


# -- offers of ours ----------------------------------------------------------------------------------
