from __future__ import annotations

import pytest

from vb.legs.capabilities import TrickledCandidate
from vb.rtcleg.candidates import LocalCandidates
from vb.sdp.ice import Credentials
from vb.webrtc.candidate import CandidateError, local_candidate

TEXT = "candidate:1 1 udp 2130706431 192.0.2.1 4000 typ host"
OURS = Credentials("ufrag", "password")


def test_what_was_taken_does_not_come_again() -> None:
    candidates = LocalCandidates("0", 1)
    candidates.add(local_candidate("host", ("192.0.2.1", 4000)))
    (first,) = candidates.take(OURS)
    assert first.text.startswith("candidate:")
    assert (first.mid, first.line_index, first.username_fragment) == ("0", 1, "ufrag")
    assert candidates.take(OURS) == []
    candidates.add(local_candidate("srflx", ("192.0.2.2", 4000), related=("192.0.2.1", 4000)))
    assert ["srflx" in item.text for item in candidates.take(OURS)] == [True]


def test_a_new_generation_takes_all_once_more() -> None:
    candidates = LocalCandidates("0", 0)
    candidates.add(local_candidate("host", ("192.0.2.1", 4000)))
    candidates.take(OURS)
    candidates.again()
    assert [item.username_fragment for item in candidates.take(OURS._replace(ufrag="other"))] == ["other"]


@pytest.mark.parametrize(
    ("given", "is_used"),
    [
        (TrickledCandidate(TEXT), True),
        (TrickledCandidate(TEXT, mid="audio"), True),
        (TrickledCandidate(TEXT, mid="audio", line_index=5), True),
        (TrickledCandidate(TEXT, mid="video"), False),
        (TrickledCandidate(TEXT, line_index=2), True),
        (TrickledCandidate(TEXT, line_index=0), False),
        (TrickledCandidate(TEXT, mid="", line_index=2), True),
        (TrickledCandidate(TEXT, mid="", line_index=0), False),
        (TrickledCandidate(""), False),
        (TrickledCandidate("  "), False),
    ],
)
def test_only_candidates_of_the_audio_are_used(given: TrickledCandidate, is_used: bool) -> None:
    assert (LocalCandidates("audio", 2).read(given) is not None) is is_used


def test_those_of_the_line_whose_transport_the_audio_uses_are_used_and_ours_are_named_for_it() -> None:
    candidates = LocalCandidates("a", 1)
    candidates.belong_to("a", 1, ("v", 0))
    used = [candidates.read(TrickledCandidate(TEXT, mid=mid)) is not None for mid in ("v", "a", "d")]
    assert used == [True, True, False]
    candidates.add(local_candidate("host", ("192.0.2.1", 4000)))
    assert [(item.mid, item.line_index) for item in candidates.take(OURS)] == [("v", 0)]


def test_a_generation_beside_the_text_counts() -> None:
    found = LocalCandidates(None, 0).read(TrickledCandidate(TEXT, username_fragment="abcd"))
    assert found is not None
    assert found.username_fragment == "abcd"


def test_nonsense_is_refused_whatever_its_line() -> None:
    with pytest.raises(CandidateError):
        LocalCandidates("0", 0).read(TrickledCandidate("nonsense", mid="1"))


def test_one_of_a_further_type_is_passed_over_as_in_a_description() -> None:
    assert LocalCandidates("0", 0).read(TrickledCandidate(TEXT.replace("host", "overlay"))) is None
