"""Reading a peer's audio: addresses, directions, packet time, and the choice among its lines."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sdp.offers import (
    HEAD,
    OPUS,
    PCMA,
    PCMU,
    PCMU_LINES,
    PREFERENCE,
    answered,
    leg,
    offer,
    pcmu_offer,
    sdp,
)
from vb.sdp import (
    AnswerRejected,
    CodecNotOffered,
    MediaAddress,
    OfferedCodec,
    OfferRejected,
    SdpParseError,
    check_offer,
    offered_codecs,
    parse_sdp,
)
from vb.sdp.address import host_names
from vb.sdp.formats import UNMAPPED
from vb.sdp.negotiate import PeerAudio, choose_audio, packet_time_ms, read_audio


def audio_of(data: bytes) -> PeerAudio:
    return read_audio(parse_sdp(data), 0, UNMAPPED)


def test_offered_codecs_are_numbered_in_the_order_of_the_offer() -> None:
    data = offer(
        "m=audio 40000 RTP/AVP 3 8 101 96 0",
        "a=rtpmap:96 OPUS/48000/2",
        "a=rtpmap:101 telephone-event/8000",
    )
    assert offered_codecs(data) == [
        OfferedCodec("PCMA", 8, 8000, 1),
        OfferedCodec("opus", 96, 48000, 2),
        OfferedCodec("PCMU", 0, 8000, 3),
    ]


def test_no_known_codec_is_an_empty_list() -> None:
    assert offered_codecs(offer("m=audio 40000 RTP/AVP 3")) == []
    assert offered_codecs(sdp(*HEAD)) == []


def test_check_offer_lists_the_codecs_of_a_good_offer() -> None:
    assert [item.name for item in check_offer(pcmu_offer(), PREFERENCE)] == ["PCMU"]


def test_first_codec_of_our_list_wins_over_the_order_of_the_offer() -> None:
    description = parse_sdp(offer("m=audio 40000 RTP/AVP 0 8"))
    assert choose_audio(description, [PCMA, PCMU]).codec == PCMA


def test_codec_asked_for_by_name_wins() -> None:
    description = parse_sdp(offer("m=audio 40000 RTP/AVP 0 8"))
    assert choose_audio(description, [PCMA, PCMU], codec="pcmu").codec == PCMU


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ("G722", "codec G722 is not in the offer"),
        ("opus", "codec opus is not enabled"),
        ("GSM", "codec GSM is unknown"),
    ],
)
def test_codec_that_cannot_be_used_is_named(codec: str, message: str) -> None:
    enabled = [item for item in PREFERENCE if item != OPUS]
    with pytest.raises(CodecNotOffered, match=message) as caught:
        choose_audio(parse_sdp(pcmu_offer()), enabled, codec=codec)
    assert caught.value.codec == codec


@pytest.mark.parametrize(
    "profile", ["RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "udp", "TCP/RTP/AVP"]
)
def test_transport_we_do_not_speak_is_488_with_warning_304(profile: str) -> None:
    with pytest.raises(OfferRejected) as caught:
        check_offer(offer(f"m=audio 40000 {profile} 0"), PREFERENCE)
    assert (caught.value.status, caught.value.reason) == (488, "Not Acceptable Here")
    assert caught.value.warning == '304 vb "Media type not available"'


@pytest.mark.parametrize(
    "media_lines",
    [
        ("m=audio 40000 RTP/AVP 3",),
        ("m=audio 40000 RTP/AVP 3 101", "a=rtpmap:101 telephone-event/8000"),
        ("m=audio 40000 RTP/AVP",),
    ],
)
def test_no_common_codec_is_488_with_warning_305(media_lines: tuple[str, ...]) -> None:
    with pytest.raises(OfferRejected) as caught:
        check_offer(offer(*media_lines), PREFERENCE)
    assert caught.value.status == 488
    assert caught.value.warning == '305 vb "Incompatible media format"'


@pytest.mark.parametrize("media_lines", [(), ("m=audio 0 RTP/AVP 0",), ("m=video 40000 RTP/AVP 96",)])
def test_offer_without_live_audio_is_bad_sdp(media_lines: tuple[str, ...]) -> None:
    with pytest.raises(OfferRejected) as caught:
        check_offer(offer(*media_lines), PREFERENCE)
    assert (caught.value.status, caught.value.reason) == (400, "Bad SDP")


def test_plain_line_is_taken_after_a_secured_one() -> None:
    data = offer("m=audio 40000 RTP/SAVP 0", "m=audio 40002 RTP/AVP 8")
    assert choose_audio(parse_sdp(data), PREFERENCE).audio.index == 1
    assert [item.name for item in offered_codecs(data)] == ["PCMA"]


def test_letter_case_of_medium_and_transport_does_not_matter() -> None:
    assert [item.name for item in check_offer(offer("m=Audio 40000 rtp/avp 0"), PREFERENCE)] == ["PCMU"]


def test_line_with_a_common_codec_is_taken_after_one_without() -> None:
    data = offer("m=audio 40000 RTP/AVP 3", "m=audio 40002 RTP/AVP 8")
    assert choose_audio(parse_sdp(data), PREFERENCE).audio.index == 1


def test_line_in_use_is_preferred_while_it_lives() -> None:
    both = parse_sdp(offer("m=audio 40000 RTP/AVP 0", "m=audio 40002 RTP/AVP 8"))
    first_only = parse_sdp(offer("m=audio 40000 RTP/AVP 0", "m=audio 0 RTP/AVP 8"))
    assert choose_audio(both, PREFERENCE, current=1).audio.index == 1
    assert choose_audio(first_only, PREFERENCE, current=1).audio.index == 0


def test_media_connection_overrides_the_session() -> None:
    assert audio_of(pcmu_offer("c=IN IP4 198.51.100.9")).rtp == MediaAddress("198.51.100.9", 40000)
    assert audio_of(pcmu_offer()).rtp == MediaAddress("192.0.2.7", 40000)


def test_audio_without_any_connection_cannot_be_read() -> None:
    with pytest.raises(SdpParseError):
        check_offer(sdp("v=0", HEAD[1], "s=-", "t=0 0", *PCMU_LINES), PREFERENCE)


def test_ipv6_address_is_read() -> None:
    data = pcmu_offer("c=IN IP6 2001:db8::7")
    assert audio_of(data).rtp == MediaAddress("2001:db8::7", 40000)


@pytest.mark.parametrize(
    "connection",
    [
        "IN IP4 host.example",
        "IN IP4 224.2.1.1/127",
        "IN IP4 255.255.255.255",
        "IN IP6 fe80::1%2",
        "IN IP6 ff02::1",
        "TN RFC2543 +15550100",
    ],
)
def test_address_that_is_not_one_peer_is_no_target_and_no_hold(connection: str) -> None:
    audio = audio_of(pcmu_offer(f"c={connection}"))
    assert (audio.rtp, audio.rtcp, audio.direction) == (None, None, "sendrecv")


@pytest.mark.parametrize(
    ("connection", "host"),
    [
        ("IN IP6 192.0.2.7", "192.0.2.7"),
        ("IN IP4 2001:DB8::7", "2001:db8::7"),
        ("IN IP6 [2001:db8::7]", "2001:db8::7"),
        ("in ip4 192.000.002.007", "192.0.2.7"),
        ("IN IP4 010.1.1.08", "10.1.1.8"),
        ("IN IP6 ::ffff:192.0.2.7", "192.0.2.7"),
        ("IN IP4 192.0.2.7/127", "192.0.2.7"),
    ],
)
def test_an_address_in_another_spelling_is_the_same_address(connection: str, host: str) -> None:
    data = pcmu_offer(f"c={connection}")
    assert audio_of(data).rtp == MediaAddress(host, 40000)
    assert check_offer(data, PREFERENCE)


@pytest.mark.parametrize(
    "connection",
    [
        "IN IP4 224.2.1.1/127",
        "IN IP4 255.255.255.255",
        "IN IP4 999.1.1.1",
        "IN IP4 1.2.3",
        "IN IP4 0x7f.1",
        "IN IP4 -x-",
        "IN IP6 fe80::1%2",
        "IN IP6 2001:db8::7",
        "TN RFC2543 +15550100",
    ],
)
def test_an_address_that_would_mean_a_silent_call_is_refused(connection: str) -> None:
    ours = leg()
    data = pcmu_offer(f"c={connection}")
    for refused in (lambda: check_offer(data, PREFERENCE, ours.network), lambda: ours.receive_offer(data)):
        with pytest.raises(OfferRejected) as caught:
            refused()
        assert (caught.value.status, caught.value.warning) == (
            488,
            '301 vb "Incompatible network address format"',
        )
    assert ours.agreed is None
    for silent in ("a=sendonly", "a=inactive"):
        assert answered(ours, pcmu_offer(f"c={connection}", silent)).remote_rtp is None


def test_a_host_name_is_good_for_what_it_was_looked_up_to_be() -> None:
    ours, data = leg(), pcmu_offer("c=IN IP4 Media.Example.")
    assert host_names(data) == ["media.example."]
    assert check_offer(data, PREFERENCE, ours.network)
    with pytest.raises(OfferRejected):
        ours.receive_offer(data)
    ours.network = replace(ours.network, names={"media.example.": "192.0.2.9"})
    assert answered(ours, data).remote_rtp == MediaAddress("192.0.2.9", 40000)
    ours.network = replace(ours.network, names={"media.example.": "2001:db8::9"})
    with pytest.raises(OfferRejected):
        ours.receive_offer(data)
    assert ours.agreed is not None
    assert ours.agreed.remote_rtp == MediaAddress("192.0.2.9", 40000)


def test_an_answer_with_a_host_name_is_good_once_it_is_known() -> None:
    ours, data = leg([PCMU]), pcmu_offer("c=IN IP4 media.example")
    ours.offer()
    with pytest.raises(AnswerRejected, match="address"):
        ours.receive_answer(data)
    ours.network = replace(ours.network, names={"media.example": "192.0.2.9"})
    assert ours.receive_answer(data).remote_rtp == MediaAddress("192.0.2.9", 40000)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"c=IN IP4 a.example\r\nc=IN IP6 B.example/1\nc=in ip4 a.example\r\n", ["a.example", "b.example"]),
        (b"c=IN IP4 192.0.2.7\r\nc=IN IP6 ::1\r\nc=IN IP4 010.0.0.1\r\n", []),
        (b"a=rtcp:9 IN IP4 a.example\r\no=- 1 1 IN IP4 b.example\r\nc=TN RFC2543 c.example\r\n", []),
        (b"c=IN IP4 10.1\r\nc=IN IP4 0xa.0.0.1\r\nc=IN IP4 a..b\r\nc=IN IP4 \xff\r\n", []),
        (b"\n".join(b"c=IN IP4 h%d.example" % n for n in range(9)), [f"h{n}.example" for n in range(4)]),
        (b"c=IN IP4 " + b"a" * 300, []),
        (b"rubbish", []),
    ],
)
def test_host_names_of_a_description(text: bytes, names: list[str]) -> None:
    assert host_names(text) == names


@given(st.binary(max_size=200))
def test_any_bytes_have_host_names_or_none(data: bytes) -> None:
    assert all(name == name.lower() for name in host_names(b"c=IN IP4 " + data))


@pytest.mark.parametrize(
    "connection", ["IN IP4 0.0.0.0", "IN IP6 ::", "IN IP6 0.0.0.0", "IN IP4 000.000.000.000"]
)
def test_unspecified_address_means_that_the_peer_does_not_listen(connection: str) -> None:
    assert audio_of(pcmu_offer(f"c={connection}")).rtp is None
    assert audio_of(pcmu_offer(f"c={connection}")).direction == "sendonly"
    assert audio_of(pcmu_offer(f"c={connection}", "a=recvonly")).direction == "inactive"


def test_direction_of_the_media_overrides_the_session() -> None:
    held = sdp(*HEAD, "a=sendonly", *PCMU_LINES)
    assert audio_of(held).direction == "sendonly"
    assert audio_of(held + b"a=sendrecv\r\n").direction == "sendrecv"
    assert audio_of(pcmu_offer()).direction == "sendrecv"


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("a=x", MediaAddress("192.0.2.7", 40001)),
        ("a=rtcp:53020", MediaAddress("192.0.2.7", 53020)),
        ("a=rtcp:53020 IN IP4 198.51.100.9", MediaAddress("198.51.100.9", 53020)),
        ("a=rtcp:53020 IN IP4 host.example", None),
        ("a=rtcp:0", MediaAddress("192.0.2.7", 40001)),
        ("a=rtcp:junk", MediaAddress("192.0.2.7", 40001)),
        ("a=rtcp", MediaAddress("192.0.2.7", 40001)),
    ],
)
def test_rtcp_goes_to_the_next_port_unless_named(attribute: str, expected: MediaAddress | None) -> None:
    assert audio_of(pcmu_offer(attribute)).rtcp == expected


def test_last_port_has_no_rtcp_after_it() -> None:
    assert audio_of(offer("m=audio 65535 RTP/AVP 0")).rtcp is None


@pytest.mark.parametrize(
    ("ptime", "maxptime", "expected"),
    [
        (None, None, 20),
        ("20", None, 20),
        ("40", None, 40),
        ("60", "60", 60),
        ("60", "150", 60),
        ("60", "40", 20),
        ("30", None, 20),
        ("10", None, 20),
        ("20", "10", 10),
        ("40", "10", 10),
        ("40", "0", 40),
        ("0", None, 20),
        ("40.0", None, 40),
        ("junk", "junk", 20),
        ("9" * 4000, None, 20),
    ],
)
def test_packet_time(ptime: str | None, maxptime: str | None, expected: int) -> None:
    assert packet_time_ms(ptime, maxptime) == expected


@settings(deadline=None)
@given(st.text(max_size=12), st.text(max_size=12))
def test_packet_time_is_always_one_we_can_send(ptime: str, maxptime: str) -> None:
    assert packet_time_ms(ptime, maxptime) in (10, 20, 40, 60)
