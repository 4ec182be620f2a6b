"""Requests inside a dialog that are sent once more because of a challenge or of a short interval."""

from __future__ import annotations

import pytest

from tests.support.sip_pair import ANSWER, OFFER, RawPeer, is_closed, statuses
from vb.sip.digest import Credentials
from vb.sip.message import Request, Response
from vb.sip.outbound import OutboundCall
from vb.sip.settings import AgentSettings

CREDENTIALS = Credentials("alice", "secret")
CHALLENGE = {"WWW-Authenticate": 'Digest realm="r", nonce="n1", qop="auth"'}
STALE = {"WWW-Authenticate": 'Digest realm="r", nonce="n2", qop="auth", stale=true'}


@pytest.fixture
def peer() -> RawPeer:
    return RawPeer(AgentSettings(port=5062, session_expires_s=1800))


def dialled(peer: RawPeer) -> OutboundCall:
    """A call of ours with credentials and a session timer."""
    call = peer.dial(credentials=CREDENTIALS)
    peer.respond(peer.received[-1], 200, body=ANSWER, headers={"Session-Expires": "1800;refresher=uac"})
    peer.received.clear()
    return call


def one(messages: list[Request | Response], method: str) -> Request:
    (found,) = (item for item in messages if isinstance(item, Request) and item.method == method)
    return found


def test_after_a_422_no_used_nonce_is_sent_twice(peer: RawPeer) -> None:
    dialled(peer).reoffer(OFFER, 0.0)
    authorized = one(peer.respond(one(peer.collect(), "INVITE"), 401, headers=CHALLENGE), "INVITE")
    longer = one(peer.respond(authorized, 422, headers={"Min-SE": "2400"}), "INVITE")
    assert "Authorization" not in longer.headers
    again = one(peer.respond(longer, 401, headers=CHALLENGE), "INVITE")
    assert "nc=00000002" in (again.headers.get("Authorization") or "")
    assert statuses(peer.respond(again, 200, body=ANSWER)) == ["ACK"]


@pytest.mark.parametrize(("status", "headers"), [(401, CHALLENGE), (422, {"Min-SE": "2400"})])
def test_a_reinvite_is_not_sent_again_once_the_call_is_over(
    peer: RawPeer, status: int, headers: dict[str, str | None]
) -> None:
    call = dialled(peer)
    call.reoffer(OFFER, 0.0)
    invite = one(peer.collect(), "INVITE")
    call.hangup(0.0)
    bye = one(peer.collect(), "BYE")
    assert statuses(peer.respond(invite, status, headers=headers)) == ["ACK"]
    peer.respond(bye, 200)
    assert is_closed(peer.side.take())


def test_a_challenged_bye_is_sent_again(peer: RawPeer) -> None:
    call = dialled(peer)
    call.hangup(0.0)
    again = one(peer.respond(one(peer.collect(), "BYE"), 401, headers=CHALLENGE), "BYE")
    final = one(peer.respond(again, 401, headers=STALE), "BYE")
    assert 'nonce="n2"' in (final.headers.get("Authorization") or "")
    peer.respond(final, 200)
    assert is_closed(peer.side.take())


def test_the_bye_to_a_surplus_fork_is_sent_again_even_after_the_call(peer: RawPeer) -> None:
    call = peer.dial(credentials=CREDENTIALS)
    invite = peer.received[-1]
    peer.respond(invite, 200, body=ANSWER)
    call.hangup(0.0)
    peer.respond(one(peer.collect(), "BYE"), 200)
    assert is_closed(peer.side.take())
    bye = one(peer.respond(invite, 200, to_tag="other", body=ANSWER), "BYE")
    assert one(peer.respond(bye, 401, to_tag="other", headers=CHALLENGE), "BYE").to.tag == "other"


def test_a_challenged_prack_takes_the_next_number_of_its_dialog(peer: RawPeer) -> None:
    peer.dial(credentials=CREDENTIALS)
    invite = peer.received[-1]
    first, second = (
        one(
            peer.respond(invite, 183, body=ANSWER, headers={"Require": "100rel", "RSeq": str(number)}),
            "PRACK",
        )
        for number in (1, 2)
    )
    again = one(peer.respond(first, 401, headers=CHALLENGE), "PRACK")
    assert again.headers.get("RAck") == first.headers.get("RAck")
    numbers = [item.cseq.number - 1 for item in (first, second, again)]
    assert numbers == [invite.cseq.number + step for step in range(3)]
