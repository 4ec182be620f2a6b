"""Digits that go out in INFO requests."""

from __future__ import annotations

from tests.support.sip_pair import ANSWER, OFFER, RawPeer, kinds, last_request, statuses
from vb.sip.call_events import DigitsRefused
from vb.sip.inbound import InboundCall
from vb.sip.info import InfoDigit, read_digit
from vb.sip.message import Request
from vb.sip.settings import AgentSettings


def taking(
    allow: str | None = "INVITE, ACK, BYE, INFO", accept_info: bool = True
) -> tuple[RawPeer, InboundCall]:
    peer = RawPeer(AgentSettings(port=5062, accept_info=accept_info))
    peer.send(peer.request("INVITE", body=OFFER, branch="z9hG4bKinvite", headers={"Allow": allow}))
    call = peer.side.call
    call.accept(ANSWER, 0.0)
    peer.collect()
    assert not call.info_client.takes_digits  # before the ACK there is no dialog to send anything in
    peer.send(peer.request("ACK", to_tag=call.local_tag))
    peer.received.clear()
    peer.side.take()
    return peer, call


def pressed(request: Request) -> InfoDigit | None:
    return read_digit(request.headers.get("Content-Type") or "", request.body)


def test_digits_go_one_after_another() -> None:
    peer, call = taking()
    assert call.info_client.send_digits("1#", peer.now)
    assert call.info_client.send_digits("D", peer.now)
    for digit in "1#D":
        peer.collect()
        info = last_request(peer)
        assert (info.method, pressed(info)) == ("INFO", InfoDigit(digit, 160))
        peer.advance(0.1)
        assert len([m for m in peer.received if isinstance(m, Request)]) == 1
        peer.received.clear()
        peer.respond(info, 200, to_tag="")
    assert peer.side.take() == []


def test_a_peer_that_does_not_say_so_takes_none() -> None:
    for allow in (None, "INVITE, ACK, BYE"):
        peer, call = taking(allow)
        assert not call.info_client.send_digits("1", peer.now)
        assert peer.collect() == []


def test_where_info_is_switched_off_none_is_sent() -> None:
    _, call = taking(accept_info=False)
    assert not call.info_client.takes_digits


def test_digits_that_are_refused_come_back_and_none_are_sent_any_more() -> None:
    peer, call = taking()
    call.info_client.send_digits("123", peer.now)
    peer.collect()
    peer.respond(last_request(peer), 200, to_tag="")
    peer.respond(last_request(peer), 415, to_tag="")
    assert peer.side.take() == [DigitsRefused("23")]
    assert not call.info_client.send_digits("4", peer.now)


def test_silence_brings_the_digits_back_too() -> None:
    peer, call = taking()
    call.info_client.send_digits("1", peer.now)
    peer.advance(33)
    assert peer.side.take() == [DigitsRefused("1")]


def test_a_call_that_ends_forgets_its_digits() -> None:
    peer, call = taking()
    call.info_client.send_digits("12", peer.now)
    peer.collect()
    call.hangup(peer.now)
    assert statuses(peer.collect()) == ["BYE"]
    peer.advance(70)
    assert kinds(peer.side.take()) == ["Closed"]
    assert (peer.agent.calls, peer.agent.transactions) == (0, 0)


def test_too_many_digits_are_refused_as_a_whole() -> None:
    peer, call = taking()
    assert not call.info_client.send_digits("1" * 257, peer.now)
    assert peer.collect() == []
