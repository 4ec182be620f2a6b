"""Which leg a SIP message belongs to."""

from __future__ import annotations

import pytest

from vb.history import sip_trace
from vb.history.sip_trace import Direction, SipMessage, SipTrace, dialog_of

REQUEST = b"%s sip:x SIP/2.0\r\nFrom: <sip:a@b>;tag=caller\r\nTo: <sip:c@d>%s\r\nCall-ID: one\r\n\r\nbody"
RESPONSE = (
    b'SIP/2.0 200 OK\r\nf: "a;tag=no" <sip:a@b> ; Tag = caller\r\nt:<sip:c@d>;tag=called\r\ni: one\r\n\r\n'
)
INVITE = REQUEST % (b"INVITE", b"")
BYE = REQUEST % (b"BYE", b";tag=called")


def message(direction: Direction, data: bytes, at_ns: int = 1) -> SipMessage:
    return SipMessage(direction, data, at_ns)


@pytest.mark.parametrize(
    ("direction", "data", "tag"),
    [
        ("in", INVITE, b""),
        ("out", INVITE, b"caller"),
        ("in", BYE, b"called"),
        ("out", BYE, b"caller"),
        ("out", RESPONSE, b"called"),
    ],
)
def test_our_tag_is_read_from_the_side_that_is_ours(direction: Direction, data: bytes, tag: bytes) -> None:
    assert dialog_of(direction, data) == (b"one", tag)


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"INVITE x SIP/2.0\r\nTo: a\r\n\r\n", b"\xff\x00"])
def test_what_names_no_dialog_belongs_to_none(data: bytes) -> None:
    assert dialog_of("in", data) is None


def test_messages_that_come_before_their_leg_wait_for_it_in_order() -> None:
    trace = SipTrace()
    late = message("out", RESPONSE, 2)
    early = message("in", INVITE, 1)
    assert trace.leg_of(late) is None
    assert trace.leg_of(early) is None
    assert list(trace.add("leg", "one", "called", inbound=True)) == [early, late]
    assert trace.leg_of(message("in", INVITE)) == "leg"
    assert trace.leg_of(message("in", BYE)) == "leg"


def test_both_legs_of_a_call_to_oneself_have_their_own_messages() -> None:
    trace = SipTrace()
    sent, received = message("out", INVITE), message("in", INVITE)
    assert list(trace.add("caller", "one", "caller", inbound=False)) == []
    assert trace.leg_of(sent) == "caller"
    assert trace.leg_of(received) is None
    assert list(trace.add("called", "one", "called", inbound=True)) == [received]
    assert (trace.leg_of(message("out", BYE)), trace.leg_of(message("in", BYE))) == ("caller", "called")


def test_a_leg_that_is_forgotten_has_no_dialog() -> None:
    trace = SipTrace()
    list(trace.add("leg", "one", "called", inbound=True))
    trace.forget("leg")
    trace.forget("leg")
    assert trace.leg_of(message("in", BYE)) is None


def test_what_never_becomes_a_call_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_trace, "MAX_EARLY", 10)
    monkeypatch.setattr(sip_trace, "MAX_EARLY_BYTES", 2_000)
    trace = SipTrace()
    for number in range(100):
        trace.leg_of(message("in", INVITE.replace(b"one", b"call-%d" % number)))
    for _ in range(100):
        trace.leg_of(message("in", INVITE))
    assert len(trace._early) <= 10
    assert trace._early_bytes <= 2_000
    assert len(list(trace.add("leg", "one", "x", inbound=True))) == sip_trace.MAX_EARLY_EACH
    assert trace._early_bytes == sum(len(item.data) for each in trace._early.values() for item in each)
