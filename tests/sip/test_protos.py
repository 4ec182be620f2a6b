"""Thousands of INVITEs with one damaged element each: nothing raises, answers are whole, nothing is left."""

from __future__ import annotations

import gc
import re
import time
from collections import Counter
from typing import Literal

import pytest

from tests.sip.protos import Case, cases, undamaged
from tests.support.ids import SequentialIds
from vb.codecs.base import CODECS
from vb.sdp import OfferRejected, SdpParseError, check_offer
from vb.sip.agent import UserAgent
from vb.sip.call import Call
from vb.sip.call_events import Incoming
from vb.sip.errors import SipParseError
from vb.sip.framing import PING, StreamFramer
from vb.sip.hop import Hop
from vb.sip.inbound import InboundCall
from vb.sip.message import Response
from vb.sip.parser import MAX_HEADER_LINE_BYTES, parse_message
from vb.sip.server_transaction import InviteServerTransaction
from vb.sip.settings import AgentSettings

Transport = Literal["udp", "tcp"]
MAX_TIME_S = 10.0
ANSWER = b"v=0\r\no=- 2 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
STATUS_LINE = re.compile(rb"SIP/2\.0 [1-6][0-9][0-9] [^\r\n]*")
HEADER_LINE = re.compile(rb"([A-Za-z-]+): ([^\r\n]*)")
COPIED = ("via", "from", "to", "call-id", "cseq")
OF_ANSWERS = frozenset(
    b"Via From To Call-ID CSeq Contact Allow Supported Server Warning Content-Length Accept "
    b"Accept-Encoding Unsupported Require RSeq Content-Type".split()
)


class Phone:
    """A server's side of one exchange after the other: an agent, and an application that lets calls ring."""

    def __init__(self, transport: Transport) -> None:
        self.agent = UserAgent(AgentSettings(port=5062), SequentialIds(1))
        self.source = Hop(transport, "127.0.0.1", 5061, flow=0 if transport == "udp" else 1)
        self.now = 0.0
        self.rung = 0
        self.ringing: list[InboundCall] = []

    def tell(self, data: bytes) -> list[bytes]:
        """Deliver a message as its transport does; returns the answers."""
        if self.source.transport == "udp":
            self.agent.receive(data, self.source, self.now)
        else:
            self._stream(data)
        return self.answers()

    def _stream(self, data: bytes) -> None:
        framer = StreamFramer()
        framer.feed(data, self.now)
        try:
            while (message := framer.next(self.now)) is not None:
                if message != PING:
                    self.agent.receive(message, self.source, self.now)
        except SipParseError as error:
            self.agent.refuse_unframed(framer.rest(), error.status, self.source)

    def answers(self) -> list[bytes]:
        """Judge the offers of new calls as a server does; returns what is to be sent."""
        for call, event in self.agent.events():
            if isinstance(event, Incoming):
                assert isinstance(call, InboundCall)
                self._offered(call)
        return [message.data for message in self.agent.outgoing()]

    def _offered(self, call: InboundCall) -> None:
        try:
            if call.offer is not None:
                check_offer(call.offer, [CODECS["PCMU"]])
        except SdpParseError:
            call.reject(400, self.now)
        except OfferRejected as error:
            call.reject(error.status, self.now, reason=error.reason)
        else:
            call.ring(self.now)
            self.ringing.append(call)
            self.rung += 1

    def settle(self) -> list[bytes]:
        """Hang up what nobody cancelled, and let every timer run out."""
        for call in self.ringing:
            call.hangup(self.now)
        self.ringing.clear()
        found, end = self.answers(), self.now + 100
        while (deadline := self.agent.deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.agent.expire(self.now)
            found += self.answers()
        self.now = end
        return found


def assert_answers(case: Case, data: bytes) -> int:
    """Check one answer against the case; returns its status."""
    head, empty_line, body = data.partition(b"\r\n\r\n")
    assert (empty_line, body) == (b"\r\n\r\n", b""), case
    status, *lines = head.split(b"\r\n")
    assert STATUS_LINE.fullmatch(status), (case, status[:80])
    found: dict[str, bytes] = {}
    for line in lines:
        match = HEADER_LINE.fullmatch(line)
        assert match is not None, (case, line[:80])
        assert match[1] in OF_ANSWERS, (case, line[:80])
        found.setdefault(match[1].decode().lower(), match[2])
    assert found["content-length"] == b"0", case
    if not case.is_torn and case.element.line not in COPIED:
        message = parse_message(data)
        assert isinstance(message, Response), case
        assert message.via.branch == f"z9hG4bK{case.number}", case
        assert message.from_.tag == f"from-{case.number}", case
        assert message.call_id == f"{case.number}@127.0.0.1", case
        assert message.cseq.number == 1, case
        assert message.status == 100 or message.to.tag, case
    expected = {
        "via": b"SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bK%d" % case.number,
        "from": b'"Alice" <sip:alice@127.0.0.1>;tag=from-%d' % case.number,
        "to": b"Bob <sip:bob@127.0.0.1:5062>",
        "call-id": b"%d@127.0.0.1" % case.number,
    }
    for name, value in expected.items():
        if not case.is_torn and case.element.line != name:
            assert found[name].startswith(value), (case, name, found[name][:80])
    return int(status[8:11])


def is_answerable(case: Case) -> bool:
    """Whether nothing that an answer needs is damaged."""
    short = len(case.anomaly) <= MAX_HEADER_LINE_BYTES
    return short and not case.is_torn and case.element.line not in ("start", *COPIED)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_every_case_is_answered_well_and_leaves_nothing(transport: Transport) -> None:
    phone = Phone(transport)
    began = time.process_time()
    statuses: Counter[int] = Counter()
    count = 0
    for case in cases():
        count += 1
        final = [assert_answers(case, data) for data in phone.tell(case.message())]
        final += [assert_answers(case, data) for data in phone.tell(case.message("CANCEL"))]
        after_ack = phone.tell(case.message("ACK"))
        assert not after_ack or case.element.line == "start", case
        final += [assert_answers(case, data) for data in phone.settle()]
        assert (phone.agent.calls, phone.agent.transactions) == (0, 0), case
        assert final or transport == "tcp" or not is_answerable(case), case
        statuses.update(final)
    assert count > 4500
    assert phone.rung > count / 5
    assert set(statuses) - {513} == {180, 200, 400, 415, 416, 481, 487, 488, 505}
    assert_next_call_works(phone, count)
    assert_forgotten()
    assert time.process_time() - began < MAX_TIME_S


def assert_next_call_works(phone: Phone, number: int) -> None:
    case = undamaged(number)
    assert [assert_answers(case, data) for data in phone.tell(case.message())] == [180]
    (call,) = phone.ringing
    phone.ringing.clear()
    call.accept(ANSWER, phone.now)
    (accepted,) = phone.answers()
    response = parse_message(accepted)
    assert isinstance(response, Response)
    assert (response.status, response.body) == (200, ANSWER)
    tag = f">;tag={response.to.tag}\r\n".encode()
    for method in ("ACK", "BYE"):
        message = case.message(method).replace(b"5062>\r\n", b"5062" + tag)
        message = message.replace(b"CSeq: 1 BYE", b"CSeq: 2 BYE").replace(b";branch=", b";branch=z9hG4bKnew")
        answers = phone.tell(message)
    assert [data[:11] for data in answers] == [b"SIP/2.0 200"]
    phone.settle()
    assert (phone.agent.calls, phone.agent.transactions) == (0, 0)


def assert_forgotten() -> None:
    gc.collect()
    assert not [item for item in gc.get_objects() if isinstance(item, Call | InviteServerTransaction)]
