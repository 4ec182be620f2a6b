"""Offer/answer where we offer: answers, forks, hold, refresh, refusal."""

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
    AnswerRejected,
    Direction,
    MediaAddress,
    OfferAnswer,
)


def test_agreement_of_a_call_we_made() -> None:
    ours = leg()
    ours.offer()
    agreed = ours.receive_answer(pcmu_offer("a=rtcp-mux"))
    assert (agreed.send_codec, agreed.send_payload_type) == (PCMU, 0)
    assert agreed.receive == {0: PCMU, 8: PCMA, 9: G722, 111: OPUS}
    assert agreed.telephone_event_send == (101, 8000)
    assert agreed.telephone_event_receive == {100: 48000, 101: 8000}
    assert agreed.rtcp_mux
    assert agreed.remote_rtcp == MediaAddress("192.0.2.7", 40000)
    assert ours.agreed is agreed


def test_offered_formats_may_arrive_before_the_answer() -> None:
    ours = leg([OPUS, PCMU])
    assert ours.receivable.codecs == {}
    ours.offer()
    assert ours.receivable.codecs == {111: OPUS, 0: PCMU}
    assert ours.receivable.telephone_events == {100: 48000, 101: 8000}


def test_first_common_codec_of_the_answer_is_sent() -> None:
    ours = leg()
    ours.offer()
    assert ours.receive_answer(offer("m=audio 40000 RTP/AVP 3 8 0")).send_codec == PCMA


def test_types_of_the_answer_are_sent_and_ours_received_first() -> None:
    ours = leg([OPUS])
    ours.offer()
    agreed = ours.receive_answer(
        offer(
            "m=audio 40000 RTP/AVP 96 97",
            "a=rtpmap:96 opus/48000/2",
            "a=rtpmap:97 telephone-event/48000",
        )
    )
    assert agreed.send_payload_type == 96
    assert next(iter(agreed.receive)) == 111
    assert agreed.telephone_event_send == (97, 48000)


def test_types_without_rtpmap_in_an_answer_mean_what_we_offered() -> None:
    ours = leg([PCMU])
    ours.offer()
    assert ours.receive_answer(offer("m=audio 40000 RTP/AVP 0 101")).telephone_event_send == (
        101,
        8000,
    )


def test_events_we_did_not_offer_are_not_sent() -> None:
    ours = leg([PCMU])
    ours.offer()
    answer = offer("m=audio 40000 RTP/AVP 0 97", "a=rtpmap:97 telephone-event/16000")
    assert ours.receive_answer(answer).telephone_event_send is None


def test_mux_needs_the_answer() -> None:
    ours = leg()
    ours.offer()
    agreed = ours.receive_answer(pcmu_offer())
    assert not agreed.rtcp_mux
    assert agreed.remote_rtcp == MediaAddress("192.0.2.7", 40001)


@pytest.mark.parametrize(
    "data",
    [
        b"rubbish",
        sdp("v=0", "o=- 1 1 IN IP4 192.0.2.7", "s=-", "t=0 0"),
        sdp("v=0", "o=- 1 1 IN IP4 192.0.2.7", "s=-", "m=audio 9 RTP/AVP 0"),
        offer("m=audio 0 RTP/AVP 0"),
        offer("m=audio 40000 RTP/SAVP 0"),
        offer("m=video 40000 RTP/AVP 0"),
        offer("m=audio 40000 RTP/AVP 8"),
        offer("m=audio 40000 RTP/AVP 3"),
    ],
)
def test_bad_answer_is_rejected_and_changes_nothing(data: bytes) -> None:
    ours = leg([PCMU])
    sent = ours.offer()
    with pytest.raises(AnswerRejected):
        ours.receive_answer(data)
    assert ours.agreed is None
    assert ours.offer_pending
    assert ours.offer() == sent


def test_answer_without_an_offer_is_rejected() -> None:
    with pytest.raises(AnswerRejected):
        leg().receive_answer(pcmu_offer())


def test_later_answer_to_the_same_offer_replaces_the_first() -> None:
    ours = leg()
    ours.offer()
    ours.receive_answer(pcmu_offer("a=sendonly"))
    assert not ours.offer_pending
    agreed = ours.receive_answer(offer("m=audio 41000 RTP/AVP 8"))
    assert (agreed.send_codec, agreed.direction) == (PCMA, "sendrecv")
    assert agreed.remote_rtp == MediaAddress("192.0.2.7", 41000)
    assert not agreed.remote_held


def test_answer_repeated_after_an_exchange_of_the_peer_is_ignored() -> None:
    ours = leg()
    ours.offer()
    ours.receive_answer(pcmu_offer())
    agreed = answered(ours, offer("m=audio 41000 RTP/AVP 8"))
    assert ours.receive_answer(pcmu_offer()) is agreed


@pytest.mark.parametrize(
    ("theirs", "expected", "held"),
    [("sendrecv", "sendrecv", False), ("sendonly", "recvonly", True), ("inactive", "inactive", True)],
)
def test_direction_of_an_answer(theirs: str, expected: Direction, held: bool) -> None:
    ours = leg()
    ours.offer()
    agreed = ours.receive_answer(pcmu_offer(f"a={theirs}"))
    assert (agreed.direction, agreed.remote_held) == (expected, held)


def test_answer_cannot_give_more_than_was_offered() -> None:
    ours = leg()
    ours.offer("sendonly")
    assert ours.receive_answer(pcmu_offer("a=sendrecv")).direction == "sendonly"


def test_packet_time_of_the_answer_is_used() -> None:
    ours = leg()
    ours.offer()
    assert ours.receive_answer(offer("m=audio 40000 RTP/AVP 0", "a=maxptime:10")).ptime_ms == 10


# Our re-offers and hold


def connected() -> OfferAnswer:
    ours = leg([PCMU, PCMA])
    ours.offer()
    ours.receive_answer(pcmu_offer())
    return ours


def test_same_offer_twice_is_the_same_bytes() -> None:
    ours = leg()
    assert ours.offer() == ours.offer()


def test_hold_offers_what_is_agreed_as_sendonly() -> None:
    ours = connected()
    ours.hold = True
    assert lines(ours.offer()) == [
        "v=0",
        "o=- 77 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 30000 RTP/AVP 0 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=sendonly",
        "a=rtcp-mux",
    ]
    agreed = ours.receive_answer(pcmu_offer("a=recvonly"))
    assert (agreed.direction, agreed.remote_held) == ("sendonly", False)


def test_hold_and_resume_raise_the_version_each() -> None:
    ours = connected()
    ours.hold = True
    held = ours.offer()
    ours.receive_answer(pcmu_offer("a=recvonly"))
    ours.hold = False
    resumed = ours.offer()
    assert [version(held), version(resumed)] == [1, 2]
    assert direction(resumed) == "sendrecv"


def test_hold_of_a_stream_the_peer_holds_is_inactive_and_remembers_the_peer() -> None:
    ours = leg()
    answered(ours, pcmu_offer("a=sendonly"))
    ours.hold = True
    assert direction(ours.offer()) == "inactive"
    assert ours.receive_answer(pcmu_offer("a=inactive")).remote_held
    ours.hold = False
    assert direction(ours.offer()) == "sendrecv"
    assert ours.receive_answer(pcmu_offer("a=sendonly")).remote_held


def test_answer_to_an_offer_that_sent_nothing_tells_no_hold() -> None:
    ours = connected()
    ours.offer("recvonly")
    assert not ours.receive_answer(pcmu_offer("a=sendonly")).remote_held
    ours.offer("inactive")
    assert not ours.receive_answer(pcmu_offer("a=inactive")).remote_held


def test_text_still_in_force_after_a_refusal_keeps_its_version() -> None:
    ours = leg()
    said = ours.receive_offer(pcmu_offer())
    assert version(ours.offer("sendonly")) == 1
    ours.withdraw_offer()
    assert ours.receive_offer(pcmu_offer()) == said


def test_refused_re_offer_restores_the_description_in_force() -> None:
    ours = connected()
    before, agreed = ours.local_description, ours.agreed
    ours.hold = True
    refused = ours.offer()
    assert ours.offer() == refused
    ours.withdraw_offer()
    ours.hold = False
    assert ours.local_description == before
    assert ours.agreed is agreed
    assert ours.refresh_offer() == before


def test_versions_are_never_used_for_two_texts() -> None:
    ours = connected()
    refused = ours.offer("sendonly")
    ours.withdraw_offer()
    other = ours.offer("inactive")
    assert (version(refused), version(other)) == (1, 2)


def test_refresh_repeats_the_answer_in_force_during_a_hold_of_the_peer() -> None:
    ours = leg()
    said = ours.receive_offer(pcmu_offer("a=sendonly"))
    assert ours.refresh_offer() == said
    agreed = ours.receive_answer(pcmu_offer("a=sendonly"))
    assert (agreed.direction, agreed.remote_held) == ("recvonly", True)
    assert not agreed.rtcp_mux


def test_answer_to_a_refresh_may_end_a_hold_of_the_peer() -> None:
    ours = leg()
    ours.offer()
    assert ours.receive_answer(pcmu_offer("a=sendonly")).remote_held
    assert direction(ours.refresh_offer()) == "sendrecv"
    agreed = ours.receive_answer(pcmu_offer("a=sendrecv"))
    assert (agreed.direction, agreed.remote_held) == ("sendrecv", False)


def test_refresh_before_any_exchange_is_an_ordinary_offer() -> None:
    assert leg().refresh_offer() == leg().offer()


def test_mux_we_did_not_offer_is_not_agreed() -> None:
    ours = leg()
    ours.receive_offer(pcmu_offer())
    ours.refresh_offer()
    agreed = ours.receive_answer(pcmu_offer("a=rtcp-mux"))
    assert not agreed.rtcp_mux
    assert agreed.remote_rtcp == MediaAddress("192.0.2.7", 40001)


def test_full_re_offer_lists_everything_with_the_types_in_use() -> None:
    ours = leg()
    answered(
        ours,
        offer(
            "m=audio 40000 RTP/AVP 96 111",
            "a=rtpmap:96 opus/48000/2",
            "a=rtpmap:111 telephone-event/48000",
        ),
    )
    assert lines(ours.offer(codecs=ours.codecs))[5] == "m=audio 30000 RTP/AVP 96 9 0 8 111 101"


def test_full_re_offer_uses_the_first_of_two_types_of_a_codec() -> None:
    ours = leg([OPUS, PCMU])
    answered(
        ours,
        offer("m=audio 40000 RTP/AVP 96 98", "a=rtpmap:96 opus/48000/2", "a=rtpmap:98 opus/48000/2"),
    )
    assert lines(ours.offer(codecs=ours.codecs))[5] == "m=audio 30000 RTP/AVP 96 0 100 101"


def test_types_the_peer_gave_to_other_codecs_are_avoided() -> None:
    ours = leg([OPUS, PCMU])
    answered(ours, offer("m=audio 40000 RTP/AVP 0 111", "a=rtpmap:111 iLBC/8000"))
    assert lines(ours.offer(codecs=ours.codecs))[5] == "m=audio 30000 RTP/AVP 96 0 100 101"


def test_codec_answered_twice_is_offered_once() -> None:
    ours = leg([PCMU])
    ours.offer()
    ours.receive_answer(offer("m=audio 40000 RTP/AVP 0 96", "a=rtpmap:96 PCMU/8000"))
    assert lines(ours.offer())[5] == "m=audio 30000 RTP/AVP 0"


def test_re_offer_keeps_every_line_in_its_place() -> None:
    ours = leg()
    ours.receive_offer(
        offer("m=video 40002 RTP/AVP 96", "m=audio 40000 RTP/AVP 0", "a=mid:a", "m=text 9 RTP/AVP 98")
    )
    ours.hold = True
    media = [line for line in lines(ours.offer()) if line[0] == "m"]
    assert media == ["m=video 0 RTP/AVP 96", "m=audio 30000 RTP/AVP 0", "m=text 0 RTP/AVP 0"]
    assert "a=mid:a" in lines(ours.offer())
    answer = offer("m=video 0 RTP/AVP 96", "m=audio 40000 RTP/AVP 0", "a=recvonly", "m=text 0 RTP/AVP 0")
    assert ours.receive_answer(answer).direction == "sendonly"


def test_offerless_re_invite_may_bring_another_codec() -> None:
    ours = connected()
    ours.offer(codecs=ours.codecs)
    agreed = ours.receive_answer(offer("m=audio 40000 RTP/AVP 8"))
    assert (agreed.send_codec, agreed.receive) == (PCMA, {0: PCMU, 8: PCMA})


def test_withdrawing_nothing_is_harmless() -> None:
    ours = connected()
    agreed = ours.agreed
    ours.withdraw_offer()
    assert ours.agreed is agreed


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ValueError):
        OfferAnswer(address="host.example", rtp_port=1, codecs=[PCMU], session_id=1)
    with pytest.raises(ValueError):
        leg([])
    with pytest.raises(ValueError):
        OfferAnswer(address="192.0.2.1", rtp_port=1, codecs=[PCMU], session_id=1, session_name="a\nb=c")
