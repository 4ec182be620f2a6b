"""Offer/answer where the peer offers, over the life of a call."""

from dataclasses import replace

import pytest

from tests.sdp.offers import (
    G722,
    OPUS,
    PCMA,
    PCMU,
    answered,
    direction,
    leg,
    lines,
    offer,
    pcmu_offer,
    sdp,
    version,
)
from vb.sdp import (
    Agreed,
    CodecNotOffered,
    Direction,
    MediaAddress,
    OfferRejected,
    SdpParseError,
)

EVENTS_8000 = ("a=rtpmap:101 telephone-event/8000",)


def test_agreement_of_a_plain_call() -> None:
    assert answered(leg(), pcmu_offer("a=sendrecv")) == Agreed(
        remote_rtp=MediaAddress("192.0.2.7", 40000),
        remote_rtcp=MediaAddress("192.0.2.7", 40001),
        rtcp_mux=False,
        send_codec=PCMU,
        send_payload_type=0,
        receive={0: PCMU},
        telephone_event_send=(101, 8000),
        telephone_event_receive={101: 8000},
        direction="sendrecv",
        remote_held=False,
        ptime_ms=20,
    )


def test_offered_mux_puts_rtcp_on_the_rtp_port() -> None:
    agreed = answered(leg(), pcmu_offer("a=rtcp-mux", "a=rtcp:50000"))
    assert agreed.rtcp_mux
    assert agreed.remote_rtcp == agreed.remote_rtp == MediaAddress("192.0.2.7", 40000)


def test_parameters_of_the_peer_reach_the_encoder() -> None:
    peer = offer("m=audio 40000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2", "a=fmtp:96 maxaveragebitrate=16000")
    agreed = answered(leg(), peer)
    assert (agreed.send_codec, agreed.send_payload_type) == (replace(OPUS, bit_rate=16_000), 96)
    assert agreed.send_fmtp == "maxaveragebitrate=16000"


def test_g722_takes_events_at_8_khz() -> None:
    peer = offer(
        "m=audio 40000 RTP/AVP 9 96 97",
        "a=rtpmap:96 telephone-event/16000",
        "a=rtpmap:97 telephone-event/8000",
    )
    assert answered(leg(), peer).telephone_event_send == (97, 8000)


def test_opus_takes_the_events_that_are_there() -> None:
    agreed = answered(leg(), offer("m=audio 40000 RTP/AVP 111 101", *EVENTS_8000))
    assert agreed.send_codec == OPUS
    assert agreed.telephone_event_send == (101, 8000)


def test_events_that_were_not_offered_are_not_answered() -> None:
    ours = leg()
    answer = ours.receive_offer(offer("m=audio 40000 RTP/AVP 0"))
    assert b"telephone-event" not in answer
    assert ours.agreed is not None
    assert ours.agreed.telephone_event_send is None
    assert ours.agreed.telephone_event_receive == {}


def test_packet_time_asked_for_is_used_and_echoed() -> None:
    ours = leg()
    answer = ours.receive_offer(offer("m=audio 40000 RTP/AVP 0", "a=ptime:40"))
    assert ours.agreed is not None
    assert ours.agreed.ptime_ms == 40
    assert "a=ptime:40" in lines(answer)


@pytest.mark.parametrize(
    ("theirs", "ours_says", "held"),
    [
        ("sendrecv", "sendrecv", False),
        ("sendonly", "recvonly", True),
        ("recvonly", "sendonly", False),
        ("inactive", "inactive", True),
    ],
)
def test_direction_is_mirrored(theirs: str, ours_says: Direction, held: bool) -> None:
    ours = leg()
    answer = ours.receive_offer(pcmu_offer(f"a={theirs}"))
    assert direction(answer) == ours_says
    assert ours.agreed is not None
    assert (ours.agreed.direction, ours.agreed.remote_held) == (ours_says, held)


def test_zero_address_is_a_hold() -> None:
    agreed = answered(leg(), pcmu_offer("c=IN IP4 0.0.0.0", "a=sendrecv"))
    assert agreed.remote_held
    assert (agreed.remote_rtp, agreed.remote_rtcp, agreed.direction) == (None, None, "recvonly")


@pytest.mark.parametrize(
    ("theirs", "ours_says", "held"),
    [
        ("sendrecv", "sendonly", False),
        (None, "sendonly", False),
        ("recvonly", "sendonly", False),
        ("sendonly", "inactive", True),
        ("inactive", "inactive", True),
    ],
)
def test_offer_of_the_peer_never_lifts_our_hold(theirs: str | None, ours_says: str, held: bool) -> None:
    ours = leg()
    ours.hold = True
    answer = ours.receive_offer(pcmu_offer(*([f"a={theirs}"] if theirs else [])))
    assert direction(answer) == ours_says
    assert ours.agreed is not None
    assert ours.agreed.remote_held is held


def test_caller_may_limit_the_direction() -> None:
    assert direction(leg().receive_offer(pcmu_offer(), direction="recvonly")) == "recvonly"


def test_second_audio_is_primary_when_the_first_is_rejected() -> None:
    ours = leg()
    answer = ours.receive_offer(offer("m=audio 0 RTP/AVP 0", "m=audio 40002 RTP/AVP 8"))
    assert [line for line in lines(answer) if line[0] == "m"] == [
        "m=audio 0 RTP/AVP 0",
        "m=audio 30000 RTP/AVP 8",
    ]
    assert ours.agreed is not None
    assert ours.agreed.remote_rtp == MediaAddress("192.0.2.7", 40002)


def test_bundle_group_is_not_answered() -> None:
    answer = leg().receive_offer(
        sdp(*lines(pcmu_offer())[:5], "a=group:BUNDLE 0 1", *lines(pcmu_offer())[5:], "a=mid:0")
        + sdp("m=video 40002 RTP/AVP 96", "a=mid:1")
    )
    assert b"BUNDLE" not in answer
    assert b"a=mid:0" in answer
    assert b"a=mid:1" in answer


# Re-offers of the peer


def test_answer_with_the_same_text_keeps_its_version() -> None:
    ours = leg()
    first = ours.receive_offer(pcmu_offer())
    assert ours.receive_offer(pcmu_offer()) == first


def test_version_rises_by_one_with_every_new_text() -> None:
    ours = leg()
    said = [
        ours.receive_offer(pcmu_offer(f"a={theirs}"))
        for theirs in ("sendrecv", "sendonly", "sendonly", "sendrecv")
    ]
    assert [version(data) for data in said] == [0, 1, 1, 2]
    assert {lines(data)[1].split()[1] for data in said} == {"77"}


def test_codec_follows_a_re_offer() -> None:
    ours = leg()
    answered(ours, pcmu_offer())
    agreed = answered(ours, offer("m=audio 40000 RTP/AVP 8"))
    assert (agreed.send_codec, agreed.receive) == (PCMA, {8: PCMA})


def test_address_follows_a_re_offer() -> None:
    ours = leg()
    answered(ours, pcmu_offer())
    moved = answered(ours, pcmu_offer("c=IN IP4 198.51.100.9"))
    assert moved.remote_rtp == MediaAddress("198.51.100.9", 40000)


def test_codec_chosen_by_name_outlives_a_re_offer() -> None:
    ours = leg()
    both = offer("m=audio 40000 RTP/AVP 9 0")
    assert answered(ours, both, codec="PCMU").send_codec == PCMU
    assert answered(ours, both).send_codec == PCMU
    assert answered(ours, offer("m=audio 40000 RTP/AVP 9")).send_codec == G722


BAD_OFFERS = [
    (b"rubbish", None, SdpParseError),
    (offer("m=audio 40000 RTP/AVP 3"), None, OfferRejected),
    (offer("m=audio 40000 RTP/SAVP 0"), None, OfferRejected),
    (offer("m=audio 0 RTP/AVP 0"), None, OfferRejected),
    (sdp("v=0", "o=- 1 1 IN IP4 192.0.2.7", "s=-", "m=audio 9 RTP/AVP 0"), None, SdpParseError),
    (pcmu_offer(), "PCMA", CodecNotOffered),
]


@pytest.mark.parametrize(("data", "codec", "error"), BAD_OFFERS)
def test_failed_offer_leaves_the_session_as_it_was(
    data: bytes, codec: str | None, error: type[Exception]
) -> None:
    ours = leg()
    before = ours.receive_offer(pcmu_offer())
    agreed, receivable = ours.agreed, ours.receivable
    with pytest.raises(error):
        ours.receive_offer(data, codec=codec)
    assert ours.agreed is agreed
    assert ours.local_description == before
    assert ours.receivable == receivable
    assert ours.receive_offer(pcmu_offer()) == before


@pytest.mark.parametrize(("data", "codec", "error"), BAD_OFFERS)
def test_failed_first_offer_leaves_a_fresh_session(
    data: bytes, codec: str | None, error: type[Exception]
) -> None:
    ours = leg()
    with pytest.raises(error):
        ours.receive_offer(data, codec=codec)
    assert ours.agreed is None
    assert ours.local_description is None
    assert version(ours.receive_offer(pcmu_offer())) == 0


def test_re_offer_that_drops_all_audio_is_488_and_not_400() -> None:
    ours = leg()
    answered(ours, pcmu_offer())
    with pytest.raises(OfferRejected) as caught:
        ours.receive_offer(offer("m=audio 0 RTP/AVP 0"))
    assert caught.value.status == 488


def test_offer_while_ours_is_open_is_491() -> None:
    ours = leg()
    answered(ours, pcmu_offer())
    ours.offer("sendonly")
    with pytest.raises(OfferRejected) as caught:
        ours.receive_offer(pcmu_offer())
    assert (caught.value.status, caught.value.reason) == (491, "Request Pending")
    ours.withdraw_offer()
    ours.receive_offer(pcmu_offer())
