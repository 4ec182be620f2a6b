"""INVITE with Replaces.  Spec: RFC 3891 §3."""

from __future__ import annotations

import pytest

from tests.support.sip_pair import ANSWER, OFFER, RawPeer, statuses
from vb.sip.call import Call
from vb.sip.message import Request, Response
from vb.sip.replacing import MAX_REMEMBERED, EndedDialogs


def replacing(
    peer: RawPeer, value: str, method: str = "INVITE", call_id: str = "second"
) -> list[Request | Response]:
    headers = {"Replaces": value, "Require": "replaces"}
    return peer.send(
        peer.request(method, body=OFFER, headers=headers, call_id=call_id, from_tag="second-tag")
    )


def dialog_of(call: Call, remote_tag: str = "raw-tag", more: str = "") -> str:
    return f"{call.call_id};to-tag={call.local_tag};from-tag={remote_tag}{more}"


def test_a_confirmed_call_is_named_as_the_one_replaced_and_goes_on(peer: RawPeer) -> None:
    old = peer.connected()
    assert statuses(replacing(peer, dialog_of(old))) == [100]
    new = peer.side.call
    assert new is not old
    assert new.replaces is old
    new.accept(ANSWER, 0.0)
    assert statuses(peer.collect()) == [200]


def test_an_ordinary_call_replaces_none(peer: RawPeer) -> None:
    assert peer.invite().replaces is None


def test_the_order_of_parameters_is_free(peer: RawPeer) -> None:
    old = peer.connected()
    replacing(peer, f"{old.call_id} ;x=1;from-tag=raw-tag; to-tag={old.local_tag}")
    assert peer.side.call.replaces is old


def test_an_unknown_dialog_gets_481(peer: RawPeer) -> None:
    old = peer.connected()
    for value in (
        dialog_of(old, "other"),
        f"nobody;to-tag={old.local_tag};from-tag=raw-tag",
        f"{old.call_id};to-tag=x;from-tag=raw-tag",
    ):
        assert statuses(replacing(peer, value)) == [481]
    assert len(peer.side.calls) == 1


@pytest.mark.parametrize("value", ["", "x", "x;to-tag=1", "x;to-tag=1;to-tag=2;from-tag=3", ";;"])
def test_a_damaged_value_gets_400(peer: RawPeer, value: str) -> None:
    assert statuses(replacing(peer, value)) == [400]


def test_two_values_get_400(peer: RawPeer) -> None:
    old = peer.connected()
    data = peer.request("INVITE", body=OFFER, call_id="second", headers={"Replaces": dialog_of(old)})
    twice = data.replace(b"\r\nReplaces:", b"\r\nReplaces: a;to-tag=b;from-tag=c\r\nReplaces:")
    assert statuses(peer.send(twice)) == [400]


def test_in_another_request_it_gets_400(peer: RawPeer) -> None:
    assert statuses(replacing(peer, dialog_of(peer.connected()), "OPTIONS")) == [400]


def test_early_only_spares_a_confirmed_call_with_486(peer: RawPeer) -> None:
    assert statuses(replacing(peer, dialog_of(peer.connected(), more=";early-only"))) == [486]


def test_a_call_that_rings_here_cannot_be_replaced(peer: RawPeer) -> None:
    assert statuses(replacing(peer, dialog_of(peer.invite()))) == [481]


@pytest.mark.parametrize("more", ["", ";early-only"])
def test_a_call_of_ours_that_rings_there_can(peer: RawPeer, more: str) -> None:
    old = peer.dial()
    peer.respond(peer.received[-1], 180)
    replacing(peer, dialog_of(old, "callee", more))
    assert peer.side.call.replaces is old


def test_a_call_that_is_ending_or_has_ended_is_declined(peer: RawPeer) -> None:
    old = peer.connected()
    old.hangup(0.0)
    (bye,) = peer.collect()
    assert statuses(replacing(peer, dialog_of(old))) == [603]
    peer.respond(bye, 200)
    assert statuses(replacing(peer, dialog_of(old))) == [603]


def test_the_memory_of_ended_calls_is_bounded() -> None:
    ended = EndedDialogs()
    for number in range(MAX_REMEMBERED + 1):
        ended.add(str(number), "tag")
    assert ("0", "tag") not in ended
    assert ("1", "tag") in ended
    assert (str(MAX_REMEMBERED), "tag") in ended


def test_a_call_that_has_gone_to_another_one_is_declined(peer: RawPeer) -> None:
    old = peer.connected()
    assert statuses(replacing(peer, dialog_of(old))) == [100]
    first = peer.side.call
    assert statuses(replacing(peer, dialog_of(old), call_id="third")) == [603]
    first.accept(ANSWER, 0.0)
    peer.collect()
    assert statuses(replacing(peer, dialog_of(old), call_id="fourth")) == [603]


def test_a_call_can_be_replaced_again_after_the_first_that_was_to_do_it_has_failed(peer: RawPeer) -> None:
    old = peer.connected()
    replacing(peer, dialog_of(old))
    peer.side.call.reject(488, 0.0)
    peer.collect()
    assert statuses(replacing(peer, dialog_of(old), call_id="third")) == [100]
    assert peer.side.call.replaces is old
