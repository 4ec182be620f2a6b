from __future__ import annotations

from collections.abc import Callable

import pytest

from vb.codecs.base import PCMA, PCMU
from vb.errors import BadRequest, Conflict
from vb.sdp.errors import AnswerRejected
from vb.sdp.offer_answer import OfferAnswer
from vb.sip.errors import CallStateError
from vb.sipleg.late_offer import LateOffer


@pytest.fixture
def negotiation() -> OfferAnswer:
    return OfferAnswer(address="127.0.0.1", rtp_port=4000, codecs=[PCMU, PCMA], session_id=1)


@pytest.fixture
def late(negotiation: OfferAnswer) -> LateOffer:
    return LateOffer(negotiation, lambda: None)


def sent(make: Callable[[str | None, Callable[[bytes], None]], None], codec: str | None) -> bytes:
    """What goes out when an offer is made."""
    out: list[bytes] = []
    make(codec, out.append)
    (sdp,) = out
    return sdp


def refuse(sdp: bytes) -> None:
    raise CallStateError("the call has its final response already")


def formats(sdp: bytes) -> bytes:
    (line,) = [line for line in sdp.split(b"\r\n") if line.startswith(b"m=audio")]
    return line.partition(b"RTP/AVP ")[2]


@pytest.mark.parametrize(("codec", "listed"), [(None, b"0 8 101"), ("pcma", b"8 101")])
def test_a_codec_that_is_named_is_the_only_one_offered(
    late: LateOffer, codec: str | None, listed: bytes
) -> None:
    assert formats(sent(late.final, codec)) == listed
    assert late.in_answer


@pytest.mark.parametrize(("codec", "problem"), [("G722", "not enabled"), ("mp3", "unknown")])
def test_a_codec_that_cannot_be_offered_is_refused_and_no_offer_is_made(
    late: LateOffer, negotiation: OfferAnswer, codec: str, problem: str
) -> None:
    for make in (late.early, late.final):
        with pytest.raises(BadRequest, match=problem):
            make(codec, refuse)
    assert not negotiation.offer_pending
    assert not late.in_answer


def test_an_early_offer_settles_the_codec_and_is_the_one_of_the_answer_too(late: LateOffer) -> None:
    early = sent(late.early, "PCMA")
    assert sent(late.final, "PCMU") == early
    assert not late.in_answer


@pytest.mark.parametrize("first", ["early", "final"])
def test_an_offer_that_has_gone_out_is_not_made_early_again(late: LateOffer, first: str) -> None:
    made = sent(late.early if first == "early" else late.final, None)
    with pytest.raises(Conflict, match="gone out already"):
        late.early("PCMA", refuse)
    assert sent(late.final, None) == made


@pytest.mark.parametrize("first", ["early", "final"])
def test_an_offer_that_could_not_be_sent_has_not_been_made(
    late: LateOffer, negotiation: OfferAnswer, first: str
) -> None:
    with pytest.raises(CallStateError):
        (late.early if first == "early" else late.final)("PCMA", refuse)
    assert not negotiation.offer_pending
    assert not late.in_answer
    assert formats(sent(late.early, "PCMU")) == b"0 101"


def test_a_missing_answer_is_rejected(late: LateOffer) -> None:
    sent(late.early, None)
    with pytest.raises(AnswerRejected, match="missing"):
        late.receive_answer(None)


def test_an_offer_is_told_once_it_has_gone_out(negotiation: OfferAnswer) -> None:
    told: list[bool] = []
    late = LateOffer(negotiation, lambda: told.append(negotiation.offer_pending))
    with pytest.raises(CallStateError):
        late.early(None, refuse)
    assert told == []
    sent(late.early, None)
    assert told == [True]
