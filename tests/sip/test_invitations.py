"""The callee's side, against a peer whose messages are written by hand."""

from __future__ import annotations

import pytest

from tests.support.ids import SequentialIds
from tests.support.sip_pair import ANSWER, OFFER, RawPeer, kinds, statuses
from vb.sip.inbound import InboundCall


def expiring(peer: RawPeer, expires: str) -> InboundCall:
    peer.send(peer.request("INVITE", body=OFFER, branch="z9hG4bKinvite", headers={"Expires": expires}))
    return peer.side.call


def test_an_invitation_that_expires_gets_487(peer: RawPeer) -> None:
    expiring(peer, "2").ring(0.0)
    peer.collect()
    assert statuses(peer.advance(1.9)) == []
    assert statuses(peer.advance(0.2)) == [487]
    peer.send(peer.request("ACK", to_tag=peer.side.call.local_tag, branch="z9hG4bKinvite"))
    peer.advance(40)
    assert kinds(peer.side.take()) == ["InvitationExpired", "Closed"]


def test_an_invitation_answered_in_time_stays(peer: RawPeer) -> None:
    call = expiring(peer, "2")
    call.accept(ANSWER, 0.0)
    peer.collect()
    peer.send(peer.request("ACK", to_tag=call.local_tag))
    peer.advance(5)
    assert kinds(peer.side.take()) == ["Acknowledged"]


def test_an_answer_that_waits_for_a_prack_was_in_time(peer: RawPeer) -> None:
    headers = {"Expires": "2", "Supported": "100rel"}
    peer.send(peer.request("INVITE", body=OFFER, branch="z9hG4bKinvite", headers=headers))
    call = peer.side.call
    call.progress(ANSWER, 0.0)
    call.accept(ANSWER, 0.0)
    peer.collect()
    assert 487 not in statuses(peer.advance(5))
    assert "InvitationExpired" not in kinds(peer.side.take())


@pytest.mark.parametrize("expires", ["soon", "", "-1", "86401", "10000000000000000"])
def test_an_expires_that_is_no_limit_ends_nothing(peer: RawPeer, expires: str) -> None:
    expiring(peer, expires)
    assert 487 not in statuses(peer.advance(100))


def test_an_invitation_for_no_time_at_all_ends_at_once(peer: RawPeer) -> None:
    expiring(peer, "0")
    assert statuses(peer.advance(0.0)) == [487]


@pytest.fixture
def lettered(peer: RawPeer) -> RawPeer:
    """A peer whose agent makes tags with letters."""
    peer.agent.ids = SequentialIds(0xABCDEF)
    return peer


def test_tags_are_the_same_in_any_case(lettered: RawPeer) -> None:
    peer = lettered
    call = peer.connected()
    tag = call.local_tag.upper()
    assert tag != call.local_tag
    assert statuses(peer.send(peer.request("OPTIONS", to_tag=tag, cseq=2, from_tag="RAW-Tag"))) == [200]
    assert statuses(peer.send(peer.request("BYE", to_tag=tag, cseq=3))) == [200]
    assert kinds(peer.side.take()) == ["RemoteHangup", "Closed"]


def test_an_ack_in_another_case_is_taken(lettered: RawPeer) -> None:
    peer = lettered
    call = peer.invite()
    call.accept(ANSWER, 0.0)
    peer.collect()
    peer.send(peer.request("ACK", to_tag=call.local_tag.upper(), from_tag="RAW-TAG"))
    assert kinds(peer.side.take()) == ["Acknowledged"]


def test_replaces_finds_its_dialog_by_tags_in_any_case(lettered: RawPeer) -> None:
    peer = lettered
    old = peer.connected()
    replaces = f"raw-call;to-tag={old.local_tag.upper()};from-tag=RAW-TAG"
    headers = {"Replaces": replaces}
    peer.send(peer.request("INVITE", body=OFFER, call_id="new", from_tag="n", headers=headers))
    assert peer.side.call.replaces is old
