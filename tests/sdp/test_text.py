"""The text line: offered, answered, refused, carried through a session."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sdp.offers import answered, leg, lines, offer, pcmu_offer
from vb.sdp import (
    AgreedText,
    AnswerRejected,
    Direction,
    MediaAddress,
    OfferAnswer,
    OfferRejected,
    SdpParseError,
    TextTypes,
    offers_text,
)

TEXT = ("m=text 40010 RTP/AVP 98 99", "a=rtpmap:98 red/1000", "a=rtpmap:99 t140/1000", "a=fmtp:98 99/99/99")
PLAIN_TEXT = ("m=text 40010 RTP/AVP 96", "a=rtpmap:96 t140/1000")
PEER = MediaAddress("192.0.2.7", 40010)


def text_leg() -> OfferAnswer:
    """Our side of a call with text."""
    ours = leg()
    ours.text_port = 30_010
    return ours


def text_lines(data: bytes) -> list[str]:
    """The text line of a description and everything below it."""
    found = lines(data)
    start = next(index for index, line in enumerate(found) if line.startswith("m=text"))
    end = next((at for at in range(start + 1, len(found)) if found[at].startswith("m=")), len(found))
    return found[start:end]


def text_of(ours: OfferAnswer) -> AgreedText:
    assert ours.agreed is not None
    assert ours.agreed.text is not None
    return ours.agreed.text


def test_our_offer_asks_for_text_with_two_generations() -> None:
    assert text_lines(text_leg().offer()) == [
        "m=text 30010 RTP/AVP 98 99",
        "a=rtpmap:98 red/1000",
        "a=fmtp:98 99/99/99",
        "a=rtpmap:99 t140/1000",
        "a=sendrecv",
    ]


def test_a_leg_without_text_neither_offers_nor_takes_it() -> None:
    assert b"m=text" not in leg().offer()
    ours = leg()
    assert text_lines(ours.receive_offer(pcmu_offer(*TEXT))) == ["m=text 0 RTP/AVP 0"]
    assert ours.agreed is not None
    assert ours.agreed.text is None


def test_an_answer_gives_the_types_of_both_sides() -> None:
    ours = text_leg()
    ours.offer()
    ours.receive_answer(
        pcmu_offer(
            "m=text 40010 RTP/AVP 100 101",
            "a=rtpmap:100 red/1000",
            "a=rtpmap:101 T140/1000",
            "a=fmtp:100 101/101",
            "a=fmtp:101 cps=50",
        )
    )
    assert text_of(ours) == AgreedText(
        PEER, "sendrecv", TextTypes(101, 100, 1), TextTypes(99, 98, 2), characters_per_s=50
    )


@pytest.mark.parametrize(
    "answer",
    [
        pcmu_offer(),
        pcmu_offer("m=text 0 RTP/AVP 98 99"),
        pcmu_offer("m=text 40010 RTP/SAVP 98 99", *TEXT[1:]),
        pcmu_offer("m=text 40010 RTP/AVP 0"),
        pcmu_offer("m=video 40010 RTP/AVP 98"),
    ],
)
def test_an_answer_without_text_leaves_the_audio_and_is_not_asked_again(answer: bytes) -> None:
    ours = text_leg()
    ours.offer()
    assert ours.receive_answer(answer).text is None
    assert text_lines(ours.offer()) == ["m=text 0 RTP/AVP 0"]


def test_types_without_rtpmap_in_an_answer_are_those_we_offered() -> None:
    ours = text_leg()
    ours.offer()
    ours.receive_answer(pcmu_offer("m=text 40010 RTP/AVP 98 99"))
    assert text_of(ours).send == TextTypes(99, 98, 2)


def test_the_answer_echoes_types_order_and_redundancy_of_the_offer() -> None:
    ours = text_leg()
    answer = ours.receive_offer(
        pcmu_offer(
            "m=text 40010 RTP/AVP 101 100 97",
            "a=rtpmap:101 t140/1000",
            "a=rtpmap:100 red/1000",
            "a=fmtp:100 101/101/101/101",
            "a=fmtp:101 cps=20",
            "a=rtpmap:97 x/1000",
            "a=mid:t",
            "a=rtcp-mux",
        )
    )
    assert text_lines(answer) == [
        "m=text 30010 RTP/AVP 101 100",
        "a=rtpmap:101 t140/1000",
        "a=rtpmap:100 red/1000",
        "a=fmtp:100 101/101/101/101",
        "a=sendrecv",
        "a=mid:t",
        "a=rtcp-mux",
    ]
    types = TextTypes(101, 100, 2)
    assert text_of(ours) == AgreedText(PEER, "sendrecv", types, types, characters_per_s=20)


def test_a_peer_without_redundancy_gets_plain_text() -> None:
    ours = text_leg()
    answer = ours.receive_offer(pcmu_offer(*PLAIN_TEXT))
    assert text_lines(answer)[:2] == ["m=text 30010 RTP/AVP 96", "a=rtpmap:96 t140/1000"]
    assert text_of(ours).send == TextTypes(96)


@pytest.mark.parametrize(
    ("fmtp", "expected"),
    [
        (None, TextTypes(99, 98, 2)),
        ("99/99", TextTypes(99, 98, 1)),
        ("99/99/99/99/99", TextTypes(99, 98, 2)),
        ("99", TextTypes(99)),
        ("100/100/100", TextTypes(99)),
        ("99/x", TextTypes(99)),
        ("", TextTypes(99)),
    ],
)
def test_redundancy_counts_when_it_repeats_the_text(fmtp: str | None, expected: TextTypes) -> None:
    ours = text_leg()
    ours.receive_offer(pcmu_offer(*TEXT[:3], *([] if fmtp is None else [f"a=fmtp:98 {fmtp}"])))
    assert text_of(ours).receive == expected


@pytest.mark.parametrize(
    ("fmtp", "expected"), [("cps=50", 50), ("x=1; CPS = 7", 7), ("cps=0", 30), ("cps=fast", 30), ("", 30)]
)
def test_the_peers_reading_speed_is_30_unless_told(fmtp: str, expected: int) -> None:
    ours = text_leg()
    ours.receive_offer(pcmu_offer(*PLAIN_TEXT, f"a=fmtp:96 {fmtp}"))
    assert text_of(ours).characters_per_s == expected


def test_text_is_taken_wherever_it_stands_and_the_other_lines_are_refused() -> None:
    ours = text_leg()
    data = offer(*PLAIN_TEXT, "m=video 40020 RTP/AVP 97", "m=audio 40000 RTP/AVP 0", *TEXT)
    media = [line for line in lines(ours.receive_offer(data)) if line.startswith("m=")]
    assert media == [
        "m=text 30010 RTP/AVP 96",
        "m=video 0 RTP/AVP 97",
        "m=audio 30000 RTP/AVP 0",
        "m=text 0 RTP/AVP 0",
    ]


@pytest.mark.parametrize(
    "text",
    [
        ("m=text 0 RTP/AVP 98 99", *TEXT[1:]),
        ("m=text 40010 RTP/SAVP 98 99", *TEXT[1:]),
        ("m=text 40010 RTP/AVP 98 99",),
        ("m=text 40010 RTP/AVP 98", "a=rtpmap:98 red/1000"),
        ("m=text 40010 RTP/AVP 99", "a=rtpmap:99 t140/8000"),
    ],
)
def test_text_that_cannot_be_taken_is_refused_without_the_audio(text: tuple[str, ...]) -> None:
    ours = text_leg()
    assert text_lines(ours.receive_offer(pcmu_offer(*text))) == [f"m=text 0 {text[0].split()[2]} 0"]
    assert ours.agreed is not None
    assert ours.agreed.text is None
    assert not offers_text(pcmu_offer(*text))


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive"), ("sendrecv", "sendrecv")],
)
def test_the_direction_of_text_is_its_own(theirs: Direction, expected: Direction) -> None:
    ours = text_leg()
    answer = ours.receive_offer(pcmu_offer("a=sendrecv", *TEXT, f"a={theirs}"))
    assert f"a={expected}" in text_lines(answer)
    assert text_of(ours).direction == expected
    assert ours.agreed is not None
    assert ours.agreed.direction == "sendrecv"


def test_our_hold_holds_the_audio_and_not_the_text() -> None:
    ours = text_leg()
    ours.receive_offer(pcmu_offer(*TEXT))
    ours.hold = True
    assert "a=sendrecv" in text_lines(ours.offer())


def test_text_of_a_line_with_its_own_address_goes_there() -> None:
    ours = text_leg()
    ours.receive_offer(pcmu_offer(TEXT[0], "c=IN IP4 198.51.100.9", *TEXT[1:]))
    assert text_of(ours).remote_rtp == MediaAddress("198.51.100.9", 40010)


def test_text_stays_in_its_place_and_unchanged_through_later_offers_of_ours() -> None:
    ours = text_leg()
    data = offer(*TEXT, "m=audio 40000 RTP/AVP 0", "a=rtcp-mux")
    answer = ours.receive_offer(data)
    assert ours.offer() == answer
    ours.receive_answer(data)
    assert text_of(ours).remote_rtp == PEER
    assert ours.refresh_offer() == answer


def test_text_may_be_added_removed_and_added_again() -> None:
    ours = text_leg()
    assert answered(ours, pcmu_offer()).text is None
    assert answered(ours, pcmu_offer(*TEXT)).text is not None
    assert answered(ours, pcmu_offer("m=text 0 RTP/AVP 98 99")).text is None
    assert text_lines(ours.offer()) == ["m=text 0 RTP/AVP 0"]
    ours.withdraw_offer()
    assert answered(ours, pcmu_offer(*TEXT)).text is not None


def test_a_refused_offer_of_ours_leaves_the_text() -> None:
    ours = text_leg()
    ours.receive_offer(pcmu_offer(*TEXT))
    before = ours.local_description
    ours.offer()
    with pytest.raises(AnswerRejected):
        ours.receive_answer(b"rubbish")
    ours.withdraw_offer()
    assert ours.local_description == before
    assert text_of(ours).remote_rtp == PEER


_LINES = st.lists(
    st.sampled_from(
        [*TEXT, *PLAIN_TEXT, "m=audio 5000 RTP/AVP 0", "a=inactive", "a=mid:x", "c=IN IP4 0.0.0.0"]
    ),
    min_size=1,
    max_size=12,
).map(lambda rows: offer(*rows))


@settings(deadline=None, max_examples=200)
@given(st.lists(_LINES, max_size=4))
def test_any_series_of_offers_is_answered_line_by_line_with_one_text_at_most(series: list[bytes]) -> None:
    ours = text_leg()
    for data in series:
        try:
            answer = ours.receive_offer(data)
        except (OfferRejected, SdpParseError):
            continue
        media = [line.split()[0] for line in lines(answer) if line.startswith("m=")]
        assert media == [line.split()[0] for line in lines(data) if line.startswith("m=")]
        taken = sum(line.startswith("m=text 30010 ") for line in lines(answer))
        assert ours.agreed is not None
        assert taken == (ours.agreed.text is not None)


def test_rubbish_offers_no_text() -> None:
    assert not offers_text(b"rubbish")
