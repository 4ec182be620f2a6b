from vb.rtp.latching import LEARN_S, SILENCE_S, SourceLatch, Verdict

SDP = ("192.0.2.1", 4000)
NAT = ("198.51.100.7", 30000)
STRANGER = ("203.0.113.9", 9)


def offer(
    latch: SourceLatch,
    source: tuple[str, int],
    sequence: int,
    now: float,
    *,
    ssrc: int = 1,
    known: bool = True,
) -> Verdict:
    return latch.receive(source, ssrc, sequence, known_type=known, now=now)


def learning() -> SourceLatch:
    latch = SourceLatch()
    latch.expect(SDP, 0.0)
    return latch


def test_the_source_of_the_sdp_wins_at_once() -> None:
    latch = learning()
    assert offer(latch, SDP, 1, 0.1) is Verdict.LOCK
    assert offer(latch, SDP, 2, 0.12) is Verdict.ACCEPT


def test_another_source_needs_four_packets_in_sequence() -> None:
    latch = learning()
    verdicts = [offer(latch, NAT, sequence, 0.1) for sequence in (65534, 65535, 0, 1)]
    assert verdicts == [Verdict.REFUSE] * 3 + [Verdict.LOCK]
    assert latch.refused == 3


def test_a_gap_or_another_ssrc_begins_the_count_anew() -> None:
    latch = learning()
    for sequence, ssrc in ((1, 1), (2, 1), (3, 1), (5, 1), (6, 1), (7, 2), (8, 2), (9, 2)):
        assert offer(latch, NAT, sequence, 0.1, ssrc=ssrc) is Verdict.REFUSE
    assert offer(latch, NAT, 10, 0.1, ssrc=2) is Verdict.LOCK


def test_payload_types_that_were_not_negotiated_never_lock() -> None:
    latch = learning()
    assert all(offer(latch, NAT, k, 0.1, known=False) is Verdict.REFUSE for k in range(20))


def test_once_locked_others_are_refused_and_counted() -> None:
    latch = learning()
    offer(latch, SDP, 1, 0.1)
    assert all(offer(latch, STRANGER, k, 0.2) is Verdict.REFUSE for k in range(20))
    assert latch.refused == 20
    assert latch.locked == SDP


def test_after_the_learning_time_eight_packets_are_needed() -> None:
    latch = learning()
    late = LEARN_S + 0.1
    assert [offer(latch, NAT, k, late) for k in range(8)][-2:] == [Verdict.REFUSE, Verdict.LOCK]


def test_a_silent_source_is_replaced_after_eight_packets() -> None:
    latch = learning()
    offer(latch, SDP, 1, 0.1)
    verdicts = [offer(latch, NAT, k, 0.1 + SILENCE_S + k * 0.02) for k in range(8)]
    assert verdicts == [Verdict.REFUSE] * 7 + [Verdict.LOCK]
    assert latch.locked == NAT


def test_the_locked_source_may_come_back_meanwhile() -> None:
    latch = learning()
    offer(latch, SDP, 1, 0.1)
    for k in range(7):
        offer(latch, NAT, k, 2.2 + k * 0.02)
    assert offer(latch, SDP, 2, 2.4) is Verdict.ACCEPT
    assert offer(latch, NAT, 7, 2.41) is Verdict.REFUSE
    assert latch.locked == SDP


def test_relearning_can_be_turned_off() -> None:
    latch = SourceLatch(relearn=False)
    latch.expect(SDP, 0.0)
    offer(latch, SDP, 1, 0.1)
    assert all(offer(latch, NAT, k, 60.0) is Verdict.REFUSE for k in range(20))


def test_a_spray_from_many_sources_is_bounded() -> None:
    latch = learning()
    for k in range(10_000):
        assert offer(latch, ("203.0.113.9", k), 1, 0.1) is Verdict.REFUSE
    assert len(latch._candidates) <= 8


def test_new_sdp_forgets_the_lock() -> None:
    latch = learning()
    offer(latch, SDP, 1, 0.1)
    latch.expect(NAT, 1.0)
    assert latch.locked is None
    assert offer(latch, NAT, 1, 1.1) is Verdict.LOCK
