"""Bandwidth for RTCP in descriptions of peers."""

import pytest

from tests.sdp.offers import HEAD, PCMU_LINES, leg, offer, pcmu_offer, sdp

RTCP_USES = [
    ((), "always"),
    (("b=AS:64",), "always"),
    (("b=RS:0", "b=RR:0"), "never"),
    (("b=rs: 0", "b=rr:0 "), "never"),
    (("b=RR:0",), "sending"),
    (("b=RS:800", "b=RR:0"), "sending"),
    (("b=RS:0",), "always"),
    (("b=RS:0", "b=RR:3000"), "always"),
    (("b=RS:0", "b=RR:zero"), "always"),
    (("b=RS:0", "b=RR"), "always"),
    (("b=RS:0", "b=RR:99999999999999999999"), "always"),
    (("b=RS:0", "b=RR:0", "b=RR:3000"), "never"),
]


@pytest.mark.parametrize(("lines", "use"), RTCP_USES)
def test_bandwidth_of_an_offer_tells_when_rtcp_is_taken(lines: tuple[str, ...], use: str) -> None:
    ours = leg()
    first, *attributes = PCMU_LINES
    ours.receive_offer(offer(first, *lines, *attributes))
    assert ours.agreed is not None
    assert ours.agreed.rtcp_use == use


def test_bandwidth_of_an_answer_tells_when_rtcp_is_taken() -> None:
    ours = leg()
    ours.offer()
    assert ours.receive_answer(pcmu_offer("b=RS:0", "b=RR:0")).rtcp_use == "never"


def test_bandwidth_of_the_session_counts_where_the_line_says_nothing() -> None:
    head = (*HEAD[:4], "b=RS:0", "b=RR:0", HEAD[4])
    ours, other = leg(), leg()
    ours.receive_offer(sdp(*head, *PCMU_LINES))
    other.receive_offer(sdp(*head, PCMU_LINES[0], "b=RR:2000", *PCMU_LINES[1:]))
    assert ours.agreed is not None
    assert other.agreed is not None
    assert (ours.agreed.rtcp_use, other.agreed.rtcp_use) == ("never", "always")


def test_a_later_description_allows_rtcp_again() -> None:
    ours = leg()
    ours.receive_offer(pcmu_offer("b=RS:0", "b=RR:0"))
    ours.receive_offer(pcmu_offer())
    assert ours.agreed is not None
    assert ours.agreed.rtcp_use == "always"
