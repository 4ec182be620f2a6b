"""Two agents stapled together, with and without loss."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sip_pair import ANSWER, OFFER, Pair, is_closed, kinds
from vb.sip.call_events import OfferReceived
from vb.sip.call_state import CallState
from vb.sip.errors import NoPendingOffer

ORDERS = ["ring", "accept", "hang_a", "hang_b", "offer_a", "offer_b", "wait"]
ORDERS += ["answer_a", "answer_b", "refuse_a", "refuse_b", "wait", "accept"]


def test_a_whole_call_on_the_wire() -> None:
    pair = Pair()
    outbound = pair.dial()
    pair.bob.call.ring(pair.now)
    pair.settle()
    pair.bob.call.accept(ANSWER, pair.now)
    pair.settle()
    outbound.hangup(pair.now)
    pair.settle()
    assert pair.seen() == [
        "alice INVITE",
        "bob 100",
        "bob 180",
        "bob 200",
        "alice ACK",
        "alice BYE",
        "bob 200",
    ]
    assert kinds(pair.alice.take()) == ["Ringing", "Answered", "Closed"]
    assert kinds(pair.bob.take()) == ["Acknowledged", "RemoteHangup", "Closed"]


def test_nothing_is_left_half_a_minute_after_a_call() -> None:
    pair = Pair()
    outbound, _ = pair.connect()
    outbound.hangup(pair.now)
    pair.advance(60)
    for side in (pair.alice, pair.bob):
        assert (side.agent.calls, side.agent.transactions, side.agent.deadline()) == (0, 0, None)


def test_the_callee_can_hang_up() -> None:
    pair = Pair()
    _, inbound = pair.connect()
    inbound.hangup(pair.now)
    pair.settle()
    assert kinds(pair.alice.take()) == ["RemoteHangup", "Closed"]
    assert kinds(pair.bob.take()) == ["Closed"]


def test_crossing_reinvites_both_back_off_and_both_succeed() -> None:
    pair = Pair()
    outbound, inbound = pair.connect()
    outbound.reoffer(OFFER, pair.now)
    inbound.reoffer(OFFER, pair.now)
    pair.settle()
    assert pair.seen()[-6:].count("alice 491") == 1
    for _ in range(50):
        pair.advance(0.1)
        for side, call in ((pair.alice, outbound), (pair.bob, inbound)):
            if any(isinstance(event, OfferReceived) for event in side.events):
                side.events = [e for e in side.events if not isinstance(e, OfferReceived)]
                call.answer_offer(ANSWER, pair.now)
                pair.settle()
    assert kinds(pair.alice.take()) == ["OfferAnswered"]
    assert kinds(pair.bob.take()) == ["OfferAnswered"]


def test_crossing_byes_close_both_ends_once() -> None:
    pair = Pair()
    outbound, inbound = pair.connect()
    outbound.hangup(pair.now)
    inbound.hangup(pair.now)
    pair.advance(40)
    assert kinds(pair.alice.take()) == ["Closed"]
    assert kinds(pair.bob.take()) == ["Closed"]


@pytest.mark.parametrize("lost", range(1, 12))
def test_a_call_survives_the_loss_of_any_one_datagram(lost: int) -> None:
    pair = Pair(lost=lambda number, _data: number == lost)
    outbound = pair.dial()
    pair.advance(2)
    pair.bob.call.ring(pair.now)
    pair.advance(2)
    pair.bob.call.accept(ANSWER, pair.now)
    pair.advance(5)
    outbound.hangup(pair.now)
    pair.advance(40)
    alice, bob = pair.alice.take(), pair.bob.take()
    assert [k for k in kinds(alice) if k != "Ringing"] == ["Answered", "Closed"]
    assert kinds(bob) == ["Acknowledged", "RemoteHangup", "Closed"]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(1, 60), max_size=40), st.integers(0, 3))
def test_every_call_ends_closed_once_whatever_is_lost(lost: set[int], order: int) -> None:
    pair = Pair(lost=lambda number, _data: number in lost)
    outbound = pair.dial()
    pair.advance(3)
    if pair.bob.calls and order != 0:
        pair.bob.call.accept(ANSWER, pair.now)
        pair.advance(order)
    outbound.hangup(pair.now)
    pair.advance(40)
    for call in pair.bob.calls:
        call.hangup(pair.now)
    pair.advance(150)
    assert is_closed(pair.alice.take())
    assert kinds(pair.bob.take()).count("Closed") == len(pair.bob.calls)
    for side in (pair.alice, pair.bob):
        assert (side.agent.calls, side.agent.transactions) == (0, 0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(ORDERS), max_size=14))
def test_any_order_of_orders_ends_in_one_closed_on_each_side(orders: list[str]) -> None:
    pair = Pair()
    outbound = pair.dial()
    inbound = pair.bob.call
    for order in orders:
        unanswered = inbound.is_unanswered
        if order == "ring" and unanswered:
            inbound.ring(pair.now)
        elif order == "accept" and unanswered:
            inbound.accept(ANSWER, pair.now)
        elif order == "hang_a":
            outbound.hangup(pair.now)
        elif order == "hang_b":
            inbound.hangup(pair.now)
        elif order == "wait":
            pair.advance(1.0)
        elif order.startswith("offer"):
            call = outbound if order == "offer_a" else inbound
            if call.state is CallState.CONFIRMED and not call.offers.has_waiting:
                call.reoffer(OFFER, pair.now)
        elif order.startswith(("answer", "refuse")):
            call = outbound if order.endswith("a") else inbound
            with contextlib.suppress(NoPendingOffer):
                if order.startswith("answer"):
                    call.answer_offer(ANSWER, pair.now)
                else:
                    call.refuse_offer(488, pair.now)
    outbound.hangup(pair.now)
    inbound.hangup(pair.now)
    pair.advance(200)
    assert is_closed(pair.alice.take())
    assert is_closed(pair.bob.take())
    for side in (pair.alice, pair.bob):
        assert (side.agent.calls, side.agent.transactions) == (0, 0)
