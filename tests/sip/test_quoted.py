"""What a report of the network quotes of a request of ours."""

from __future__ import annotations

import pytest

from tests.support.sip_pair import RawPeer, last_request
from vb.sip.hop import Hop
from vb.sip.message import Request
from vb.sip.quoted import quoted_key

ELSEWHERE = Hop("udp", "127.0.0.1", 5069)


@pytest.fixture
def sent(peer: RawPeer) -> bytes:
    peer.dial()
    return last_request(peer).to_bytes()


def key_of(request: Request) -> tuple[str, str]:
    return request.via.branch.lower(), request.method


def place(hop: Hop) -> list[tuple[str, str, int]]:
    return [(hop.transport, hop.host, hop.port)]


def test_the_first_bytes_of_a_request_name_its_transaction(peer: RawPeer, sent: bytes) -> None:
    assert quoted_key(sent) == key_of(last_request(peer))
    assert quoted_key(sent[:200]) == key_of(last_request(peer))


def test_what_is_no_request_or_too_little_of_one_names_none(sent: bytes) -> None:
    end = sent.index(b";branch=") + len(b";branch=") + 8
    for quoted in (
        b"",
        sent[:8],
        sent[:end],
        sent[1:end],
        b"SIP/2.0 200 OK\r\n",
        b"\xff" * 200,
        b"\r\n" * 50,
    ):
        assert quoted_key(quoted) is None


def test_a_report_counts_that_quotes_a_request_to_that_very_peer(peer: RawPeer, sent: bytes) -> None:
    assert peer.agent.has_asked(place(peer.source), sent)
    assert peer.agent.has_asked(place(ELSEWHERE) + place(peer.source), sent)


def test_a_forged_report_does_not_count(peer: RawPeer, sent: bytes) -> None:
    branch = last_request(peer).via.branch.encode()
    assert not peer.agent.has_asked(place(peer.source), b"")
    assert not peer.agent.has_asked(place(peer.source), sent.replace(branch, b"z9hG4bK" + b"0" * 16))
    assert not peer.agent.has_asked(place(ELSEWHERE), sent)


def test_a_report_about_an_answered_request_does_not_count(peer: RawPeer, sent: bytes) -> None:
    peer.respond(last_request(peer), 486)
    peer.advance(33)
    assert not peer.agent.has_asked(place(peer.source), sent)
