"""WebRTC callers as a load: what they send and what they keep."""

from __future__ import annotations

import datetime
import os
from functools import partial

import numpy as np
import pytest

from bench.cases import CASES, WebRtcCase
from bench.figures import Spread
from bench.generator import LoadLateness
from bench.host import placements
from bench.load.webrtc import HEADER, ONE_BYTE_FORM, PER_S, SILENT_LEVEL, TALKING_LEVEL, Leg, Load, Outgoing
from bench.outcome import Outcome, Stages, WebRtcFigures, Window
from bench.report import case_text, share_text
from vb.codecs.base import OPUS
from vb.sdp.ice import Credentials
from vb.webrtc.certificate import make_identity
from vb.webrtc.dtls import DtlsContext, SrtpKeys, SrtpProfile
from vb.webrtc.local_description import LocalTransport
from vb.webrtc.negotiation import WebRtcNegotiation
from vb.webrtc.srtp import Rows, Srtp, unprotect_rows

KEYS = SrtpKeys(SrtpProfile.AEAD_AES_128_GCM, bytes(28), bytes(28))


@pytest.fixture
def legs() -> list[Leg]:
    """Return a talker and a listener who have agreed on everything, and send to each other."""
    context = DtlsContext(make_identity(datetime.datetime.now(datetime.UTC), 1))
    found = [Leg(number, context, talks=number == 0) for number in range(2)]
    for number, (leg, other) in enumerate(zip(found, found[::-1], strict=True)):
        leg.payloads = [bytes([number, 7, 7])]
        talk = WebRtcNegotiation(codecs=[OPUS], session_id=1, ssrc=9, cname="far")
        offer = talk.read_offer(leg.offer())
        local = LocalTransport(Credentials("abcd", "a" * 22), context.identity.fingerprint, (), True, False)
        leg.talk.read_answer(talk.answer(offer, local))
        leg.srtp, leg.remote = Srtp(KEYS), other.base
    return found


def test_packets_have_the_level_of_who_sends_them_and_go_on_in_number_and_time(legs: list[Leg]) -> None:
    outgoing = Outgoing(legs)
    for at in (0, 1, 60):
        outgoing.send(at)
    for leg, level, number in ((legs[1], TALKING_LEVEL, 0), (legs[0], SILENT_LEVEL, 1)):
        session, rows = Srtp(KEYS), Rows(np.zeros((1, 1500), np.uint8))
        for at in (0, 1, 60):
            data = leg.socket.recv(1500)
            rows.array[0, : len(data)] = np.frombuffer(data, np.uint8)
            lengths = np.array([len(data)], np.int64)
            unprotect_rows([session], rows, [0], lengths)
            plain = rows.array[0, : lengths[0]].tobytes()
            assert plain[0] == 0x90
            assert (int.from_bytes(plain[2:4]), int.from_bytes(plain[4:8])) == (at, at * 960)
            assert plain[12:16] == ONE_BYTE_FORM
            assert plain[17] == level
            assert plain[20:] == bytes([number, 7, 7])
    for leg in legs:
        leg.socket.close()


def test_who_pauses_sends_now_and_then_and_its_packets_are_numbered_without_a_gap(legs: list[Leg]) -> None:
    legs[1].payloads = [None, b"x", *[None] * 8]
    outgoing = Outgoing(legs)
    for at in range(230):
        outgoing.send(at)
    session, rows = Srtp(KEYS), Rows(np.zeros((1, 1500), np.uint8))
    for number in range(23):
        data = legs[0].socket.recv(1500)
        rows.array[0, : len(data)] = np.frombuffer(data, np.uint8)
        unprotect_rows([session], rows, [0], np.array([len(data)], np.int64))
        plain = rows.array[0].tobytes()
        assert (int.from_bytes(plain[2:4]), int.from_bytes(plain[4:8])) == (number, (10 * number + 1) * 960)
    with pytest.raises(BlockingIOError):
        legs[0].socket.recv(1500)
    for leg in legs:
        leg.socket.close()


def test_what_was_heard_is_unprotected_at_the_end_and_gaps_are_counted(legs: list[Leg]) -> None:
    outgoing = Outgoing(legs)
    for at in (0, 1, 4):
        outgoing.send(at)
    leg = legs[0]
    for _ in range(3):
        leg.take(leg.socket.recv(1500))
    assert (leg.received, leg.lost) == (3, 2)
    assert [stamp for stamp, _ in leg.heard()] == [0, 960, 3840]
    for leg in legs:
        leg.socket.close()


def test_a_server_with_more_cores_shares_them_with_the_load_where_there_are_no_others() -> None:
    cores = sorted(os.sched_getaffinity(0))
    server, load = placements(realtime=False, server_cores=len(cores))
    assert (server.cores, load.cores) == (frozenset(cores), frozenset(cores))


def test_legs_take_what_has_come_and_once_settled_do_what_is_due_once_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = Load(legs=2, amplitude=1000.0, talkers=1)
    one, other = load.legs
    asked: list[Leg] = []
    for leg, mate in ((one, other), (other, one)):
        leg.remote = mate.base
        leg.srtp = Srtp(KEYS)
        leg.socket.connect(mate.base)
        monkeypatch.setattr(leg.session, "deadline", partial(asked.append, leg))
    for sequence in range(3):
        for leg in load.legs:
            leg.socket.send(HEADER.pack(0x80, 111, sequence, 0, leg.ssrc))
    while load.serve(0.0):
        pass
    assert [(leg.received, leg.lost) for leg in load.legs] == [(3, 0), (3, 0)]
    load.expire()
    assert asked == load.legs
    load.settle()
    for _ in range(PER_S):
        load.expire()
    assert sorted(map(id, asked[2:])) == sorted(map(id, load.legs))
    for leg in load.legs:
        leg.socket.close()


def run_that_costs(cpu_us: float) -> Outcome:
    late = Spread(0.0, 0.0, 0.0, 0.0)
    window = Window(cpu_us, 0.0, LoadLateness(0.0, 0.0, 0.0, 0.0, 0.0), late, 0.0, 0.0)
    stages = Stages(1.5 * cpu_us, {}, late, 0.0, 0.5)  # counting them has its price
    return Outcome(WebRtcFigures(window, None, 0.0, 0, 0, 1.0, 0.0, stages, cpu_us), ())


def test_a_room_in_which_few_talk_is_held_against_one_in_which_all_do_where_both_were_run() -> None:
    cases = {case.name: case for case in CASES if isinstance(case, WebRtcCase)}
    few, whole = cases["webrtc-room-few"], cases["webrtc-room-all"]
    results = [
        (whole, [run_that_costs(200.0), run_that_costs(180.0)], [run_that_costs(200.0)]),
        (few, [run_that_costs(45.0)], [run_that_costs(60.0)]),
    ]
    text = share_text(few, results)
    assert text is not None
    assert "0.25   bar 0.25" in text
    assert "ok" in text
    assert "baseline 0.30" in text
    assert share_text(few, results[1:]) is None
    assert share_text(whole, results) is None


def test_each_case_says_what_happens_in_it() -> None:
    titles = [case_text(case, [], []) for case in CASES if isinstance(case, WebRtcCase)]
    assert len(set(titles)) == len(titles)
    assert any("3 talk" in title for title in titles)
    assert any("30 further ones a second" in title for title in titles)
