"""The forks of a call that we made: each has its own session, which begins with the one offer of ours."""

import pytest

from tests.sdp.offers import PCMA, PCMU, direction, leg, lines, offer, pcmu_offer, version
from vb.sdp import AnswerRejected, MediaAddress, OfferAnswer
from vb.sdp.forks import MAX_FORKS, Forks

PCMA_ONLY = offer("m=audio 50000 RTP/AVP 8")


@pytest.fixture
def ours() -> OfferAnswer:
    """Our side of a call whose INVITE has gone out."""
    negotiation = leg([PCMU, PCMA])
    negotiation.offer()
    return negotiation


@pytest.fixture
def forks(ours: OfferAnswer) -> Forks:
    return Forks(ours)


def update(ours: OfferAnswer, forks: Forks, tag: str, data: bytes) -> bytes:
    """A fork offers a session of its own in its early dialog."""
    forks.enter(tag)
    return ours.receive_offer(data)


def test_the_answer_of_a_fork_counts_though_another_has_changed_its_session(
    ours: OfferAnswer, forks: Forks
) -> None:
    forks.receive_answer("a", pcmu_offer())
    update(ours, forks, "a", offer("m=audio 40002 RTP/AVP 0"))
    agreed = forks.settle("b", PCMA_ONLY)
    assert agreed is ours.agreed
    assert agreed is not None
    assert (agreed.remote_rtp, agreed.send_codec) == (MediaAddress("192.0.2.7", 50000), PCMA)


def test_its_next_description_has_the_version_after_our_offer(ours: OfferAnswer, forks: Forks) -> None:
    forks.receive_answer("a", pcmu_offer())
    assert version(update(ours, forks, "a", offer("m=audio 40002 RTP/AVP 0"))) == 1
    forks.settle("b", PCMA_ONLY)
    ours.hold = True
    hold = ours.offer()
    assert (version(hold), direction(hold)) == (1, "sendonly")
    assert "m=audio 30000 RTP/AVP 8" in lines(hold)


def test_a_fork_that_changed_its_session_keeps_it(ours: OfferAnswer, forks: Forks) -> None:
    forks.receive_answer("a", pcmu_offer())
    changed = update(ours, forks, "a", offer("m=audio 40002 RTP/AVP 0"))
    assert forks.receive_answer("b", PCMA_ONLY).send_codec == PCMA
    agreed = forks.settle("a", pcmu_offer())
    assert agreed is not None
    assert agreed.remote_rtp == MediaAddress("192.0.2.7", 40002)
    assert ours.local_description == changed
    ours.hold = True
    assert version(ours.offer()) == 2


def test_an_offer_of_another_fork_than_the_last_that_answered_belongs_to_its_own_session(
    ours: OfferAnswer, forks: Forks
) -> None:
    forks.receive_answer("a", pcmu_offer())
    forks.receive_answer("b", PCMA_ONLY)
    update(ours, forks, "a", offer("m=audio 40002 RTP/AVP 0"))
    agreed = forks.settle("b", offer("m=audio 50002 RTP/AVP 8"))
    assert agreed is not None
    assert agreed.remote_rtp == MediaAddress("192.0.2.7", 50002)


def test_without_a_description_a_fork_stands_by_what_it_said_before(ours: OfferAnswer, forks: Forks) -> None:
    first = forks.receive_answer("a", pcmu_offer())
    forks.receive_answer("b", PCMA_ONLY)
    assert forks.settle("a", None) is first


def test_one_that_said_nothing_before_has_no_session(ours: OfferAnswer, forks: Forks) -> None:
    assert forks.settle("b", None) is None
    forks.receive_answer("a", pcmu_offer())
    assert forks.settle("b", None) is None


def test_an_answer_that_cannot_be_used_changes_nothing(ours: OfferAnswer, forks: Forks) -> None:
    agreed = forks.receive_answer("a", pcmu_offer())
    with pytest.raises(AnswerRejected):
        forks.receive_answer("b", b"rubbish")
    assert ours.agreed is agreed
    assert forks.settle("a", None) is agreed


def test_a_second_answer_of_one_fork_replaces_its_first(ours: OfferAnswer, forks: Forks) -> None:
    forks.receive_answer("a", pcmu_offer())
    assert forks.receive_answer("a", PCMA_ONLY).send_codec == PCMA


def test_no_more_forks_are_remembered_than_a_call_may_have(ours: OfferAnswer, forks: Forks) -> None:
    for number in range(3 * MAX_FORKS):
        forks.receive_answer(str(number), pcmu_offer())
    assert len(forks) == MAX_FORKS
    forks.settle("b", PCMA_ONLY)
    assert len(forks) == 0
