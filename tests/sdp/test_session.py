"""The exact text of our own descriptions."""

from tests.sdp.offers import G722, OPUS, PCMA, PCMU, leg, lines, offer, pcmu_offer
from vb.sdp import OfferAnswer

SESSION = ["v=0", "o=- 77 0 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"]


def test_offer_of_narrowband_codecs() -> None:
    assert lines(leg([PCMU, PCMA]).offer()) == [
        *SESSION,
        "m=audio 30000 RTP/AVP 0 8 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=sendrecv",
        "a=rtcp-mux",
    ]


def test_offer_with_opus_has_events_at_both_clocks() -> None:
    assert lines(leg([G722, OPUS, PCMU]).offer()) == [
        *SESSION,
        "m=audio 30000 RTP/AVP 9 111 0 100 101",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=20; useinbandfec=1; stereo=0; sprop-stereo=0",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:100 telephone-event/48000",
        "a=fmtp:100 0-16",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=sendrecv",
        "a=rtcp-mux",
    ]


def test_default_offer_lists_our_order() -> None:
    assert lines(leg().offer())[5] == "m=audio 30000 RTP/AVP 111 9 0 8 100 101"


def test_answer_has_one_codec_and_its_events() -> None:
    assert lines(leg().receive_offer(pcmu_offer("a=sendrecv", "a=rtcp-mux"))) == [
        *SESSION,
        "m=audio 30000 RTP/AVP 0 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=sendrecv",
        "a=rtcp-mux",
    ]


def test_answer_uses_the_types_of_the_offerer() -> None:
    peer = offer(
        "m=audio 40000 RTP/AVP 96 97 98",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:97 telephone-event/8000",
        "a=rtpmap:98 telephone-event/48000",
    )
    assert lines(leg().receive_offer(peer))[5:10] == [
        "m=audio 30000 RTP/AVP 96 98",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 minptime=20; useinbandfec=1; stereo=0; sprop-stereo=0",
        "a=rtpmap:98 telephone-event/48000",
        "a=fmtp:98 0-16",
    ]


def test_every_line_is_answered_in_its_place() -> None:
    peer = offer(
        "m=video 40002 RTP/AVP 96 97",
        "a=mid:v",
        "m=audio 40000 RTP/AVP 8",
        "a=mid:a",
        "m=audio 40004 RTP/AVP 8",
        "m=text 40006 RTP/AVP 98 99",
        "m=image 40008 udptl t38",
    )
    assert lines(leg().receive_offer(peer))[5:] == [
        "m=video 0 RTP/AVP 96 97",
        "a=mid:v",
        "m=audio 30000 RTP/AVP 8",
        "a=rtpmap:8 PCMA/8000",
        "a=ptime:20",
        "a=sendrecv",
        "a=mid:a",
        "m=audio 0 RTP/AVP 8",
        "m=text 0 RTP/AVP 0",
        "m=image 0 udptl t38",
    ]


def test_refused_line_without_formats_gets_one() -> None:
    answer = leg().receive_offer(pcmu_offer() + b"m=video 40002 RTP/AVP\r\n")
    assert lines(answer)[-1] == "m=video 0 RTP/AVP 0"


def test_rtcp_port_is_written_only_when_it_is_not_the_next_one() -> None:
    assert not any(line.startswith("a=rtcp:") for line in lines(leg(rtcp_port=30001).offer()))
    assert lines(leg(rtcp_port=31000).offer())[-2:] == ["a=rtcp:31000", "a=rtcp-mux"]


def test_ipv6_address_is_named_ip6() -> None:
    ours = OfferAnswer(address="2001:db8::1", rtp_port=30000, codecs=[PCMU], session_id=5)
    assert lines(ours.offer())[1:4] == ["o=- 5 0 IN IP6 2001:db8::1", "s=-", "c=IN IP6 2001:db8::1"]


def test_feedback_profile_is_answered_in_kind() -> None:
    assert lines(leg().receive_offer(offer("m=audio 40000 RTP/AVPF 0")))[5] == "m=audio 30000 RTP/AVPF 0"
