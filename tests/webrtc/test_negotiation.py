"""Answers to browsers' offers, offers of ours, and what follows in a session."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.webrtc.offers import (
    CHROME,
    CHROME_ALL,
    CHROME_AUDIO,
    CHROME_DATA,
    CHROME_HEAD_OF_THREE,
    CHROME_VIDEO,
    FIREFOX,
    SAFARI,
    changed,
    sdp,
)
from vb.choices import KNOWN_CODECS
from vb.codecs.base import CODECS
from vb.sdp.errors import AnswerRejected, OfferRejected, SdpParseError
from vb.sdp.fingerprint import Fingerprint
from vb.sdp.formats import Format
from vb.sdp.ice import Credentials
from vb.sdp.parser import parse_sdp
from vb.webrtc.agreement import AgreedWebRtc
from vb.webrtc.candidate import local_candidate
from vb.webrtc.local_description import LocalTransport
from vb.webrtc.negotiation import WebRtcNegotiation

OURS = LocalTransport(Credentials("ours", "p" * 24), Fingerprint("sha-256", bytes(32)))
THEIRS = LocalTransport(Credentials("them", "q" * 24), Fingerprint("sha-256", b"\1" * 32))
HOST = local_candidate("host", ("192.0.2.1", 4000))


def negotiation(*names: str, offered: tuple[Format, ...] | None = None) -> WebRtcNegotiation:
    codecs = [CODECS[name] for name in names or KNOWN_CODECS]
    return WebRtcNegotiation(codecs=codecs, session_id=7, ssrc=99, cname="vb", offered=offered)


def answered(
    data: bytes, *names: str, transport: LocalTransport = OURS, active: bool = True
) -> tuple[list[str], AgreedWebRtc]:
    ours = negotiation(*names)
    text = ours.answer(ours.read_offer(data), transport, active=active).decode()
    assert ours.agreed is not None
    return text.splitlines(), ours.agreed


def test_chrome_is_answered_with_opus_and_both_clocks_of_digits() -> None:
    lines, agreed = answered(sdp(*CHROME))
    assert "m=audio 9 UDP/TLS/RTP/SAVPF 111 110 126" in lines
    for line in (
        "a=group:BUNDLE 0",
        "a=mid:0",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:110 telephone-event/48000",
        "a=rtpmap:126 telephone-event/8000",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=rtcp-mux",
        "a=setup:active",
        "a=ice-ufrag:ours",
        "a=ice-options:trickle",
        "a=ssrc:99 cname:vb",
        "a=sendrecv",
    ):
        assert line in lines
    (fmtp,) = [line for line in lines if line.startswith("a=fmtp:111")]
    assert "useinbandfec=1" in fmtp
    assert "usedtx=1" in fmtp
    assert not [line for line in lines if "sdes:mid" in line or "end-of-candidates" in line]
    assert "maxplaybackrate" not in fmtp
    assert agreed.role == "client"
    assert agreed.audio_level_id == 1
    assert agreed.audio.send_codec.name == "opus"
    assert agreed.audio.telephone_event_send == (110, 48_000)
    assert dict(agreed.audio.telephone_event_receive) == {110: 48_000, 126: 8_000}
    assert list(agreed.audio.receive) == [111]
    assert agreed.audio.direction == "sendrecv"


def test_the_bit_rate_is_what_the_far_end_takes_at_most() -> None:
    fmtp = "a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;useinbandfec=1"
    _, agreed = answered(changed(CHROME, "a=fmtp:111", fmtp))
    assert agreed.audio.send_codec.bit_rate == 20_000


@pytest.mark.parametrize(
    ("heard_hz", "asked"),
    [(8000, "; maxplaybackrate=16000; maxaveragebitrate=32000"),
     (16000, "; maxplaybackrate=16000; maxaveragebitrate=32000"),
     (48000, "")],
)  # fmt: skip
def test_a_browser_is_asked_for_nothing_that_will_not_be_heard(heard_hz: int, asked: str) -> None:
    ours = negotiation("opus")
    ours.heard_hz = heard_hz
    text = ours.answer(ours.read_offer(sdp(*CHROME)), OURS).decode()
    ours_again = ours.offer(OURS).decode()
    for said in (text, ours_again):
        (fmtp,) = [line for line in said.splitlines() if line.startswith("a=fmtp:111")]
        assert fmtp.endswith(f"; usedtx=1{asked}")
    ours.heard_hz = 48000
    assert b"maxplaybackrate" not in ours.offer(OURS)


def test_firefox_and_safari_are_answered_with_their_own_numbers() -> None:
    lines, agreed = answered(sdp(*FIREFOX))
    assert "m=audio 9 UDP/TLS/RTP/SAVPF 109 101" in lines
    assert agreed.audio.telephone_event_send == (101, 8_000)
    assert agreed.audio.send_fmtp == "maxplaybackrate=48000;stereo=1;useinbandfec=1"
    lines, agreed = answered(sdp(*SAFARI))
    assert "a=group:BUNDLE audio" in lines
    assert "a=extmap:14 urn:ietf:params:rtp-hdrext:ssrc-audio-level" in lines
    assert agreed.audio_level_id == 14


@pytest.mark.parametrize(("name", "number"), [("G722", 9), ("PCMU", 0), ("PCMA", 8)])
def test_the_older_codecs_are_answered_where_they_are_ours(name: str, number: int) -> None:
    lines, agreed = answered(sdp(*CHROME), name)
    assert f"m=audio 9 UDP/TLS/RTP/SAVPF {number} 110 126" in lines
    assert agreed.audio.send_codec.name == name
    assert agreed.audio.telephone_event_send == (126, 8_000)


def test_video_and_data_are_refused_in_their_places_and_not_bundled() -> None:
    lines, _ = answered(sdp(*CHROME_ALL))
    assert [line for line in lines if line.startswith("m=")] == [
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 110 126",
        "m=video 0 UDP/TLS/RTP/SAVPF 96 97",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
    ]
    assert "a=group:BUNDLE 0" in lines
    assert [line for line in lines if line.startswith("a=mid")] == ["a=mid:0", "a=mid:1", "a=mid:2"]


def behind(first: tuple[str, ...], mids: str = "v 0") -> bytes:
    """An offer whose audio comes after another line."""
    other = tuple("a=mid:v" if line.startswith("a=mid:") else line for line in first)
    head = tuple(line.replace("BUNDLE 0 1 2", f"BUNDLE {mids}") for line in CHROME_HEAD_OF_THREE)
    return sdp(*head, *other, *CHROME_AUDIO)


def test_audio_after_video_keeps_its_place() -> None:
    for mids in ("0", "0 v"):
        lines, agreed = answered(behind(CHROME_VIDEO, mids))
        assert [line.split()[1] for line in lines if line.startswith("m=")] == ["0", "9"]
        assert "a=group:BUNDLE 0" in lines
        assert agreed.mid == "0"


def test_a_line_whose_transport_the_audio_uses_stays_and_is_silent() -> None:
    transport = replace(OURS, candidates=(HOST,), complete=True)
    ours = negotiation()
    text = ours.answer(ours.read_offer(behind(CHROME_VIDEO)), transport).decode()
    lines = text.splitlines()
    assert "a=group:BUNDLE v 0" in lines
    video, audio = text.split("m=")[1:]
    assert video.splitlines()[0] == "video 4000 UDP/TLS/RTP/SAVPF 96"
    for line in ("a=rtpmap:96 VP8/90000", "a=inactive", "a=mid:v", "a=rtcp-mux", "a=ice-ufrag:ours"):
        assert line in video.splitlines()
    for line in (f"a=candidate:{HOST.to_text()}", "a=end-of-candidates", "a=setup:active"):
        assert line in video.splitlines()
        assert line in audio.splitlines()
    assert "a=sendrecv" in audio.splitlines()
    parsed = parse_sdp(text.encode())
    assert [media.port for media in parsed.media] == [4000, 4000]
    again = ours.answer(ours.read_offer(behind(CHROME_VIDEO)), transport).decode()
    assert again == text
    assert [line for line in ours.offer(transport).decode().splitlines() if line.startswith("m=")] == [
        "m=video 4000 UDP/TLS/RTP/SAVPF 96",
        "m=audio 4000 UDP/TLS/RTP/SAVPF 111 110 126",
    ]


@pytest.mark.parametrize(
    "first",
    [
        CHROME_DATA,
        tuple(line for line in CHROME_VIDEO if line != "a=rtcp-mux"),
        tuple(line.replace("m=video 9", "m=video 0") for line in CHROME_VIDEO),
        tuple(line.replace("UDP/TLS/RTP/SAVPF", "RTP/AVPF") for line in CHROME_VIDEO),
    ],
    ids=["data", "no rtcp-mux", "port 0", "plain"],
)
def test_a_first_line_of_no_use_is_refused_although_it_is_bundled(first: tuple[str, ...]) -> None:
    lines, agreed = answered(behind(first))
    assert [line.split()[1] for line in lines if line.startswith("m=")] == ["0", "9"]
    assert "a=group:BUNDLE 0" in lines
    assert agreed.mid == "0"


def test_candidates_and_their_end_are_written() -> None:
    transport = replace(OURS, candidates=(HOST,), complete=True)
    lines, _ = answered(sdp(*CHROME), transport=transport)
    assert f"a=candidate:{HOST.to_text()}" in lines
    assert "a=end-of-candidates" in lines
    assert "c=IN IP4 192.0.2.1" in lines
    assert "m=audio 4000 UDP/TLS/RTP/SAVPF 111 110 126" in lines


@pytest.mark.parametrize(
    ("theirs", "active", "ours", "role"),
    [
        ("actpass", True, "active", "client"),
        ("actpass", False, "passive", "server"),
        ("active", True, "passive", "server"),
        ("passive", False, "active", "client"),
    ],
)
def test_the_part_in_the_handshake_fits_the_peers(theirs: str, active: bool, ours: str, role: str) -> None:
    lines, agreed = answered(changed(CHROME, "a=setup", f"a=setup:{theirs}"), active=active)
    assert f"a=setup:{ours}" in lines
    assert agreed.role == role


@pytest.mark.parametrize(
    ("theirs", "ours"), [("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")]
)
def test_the_direction_is_mirrored(theirs: str, ours: str) -> None:
    lines, agreed = answered(changed(CHROME, "a=sendrecv", f"a={theirs}"))
    assert f"a={ours}" in lines
    assert agreed.audio.direction == ours
    assert agreed.audio.remote_held == (theirs in ("sendonly", "inactive"))


def test_the_zero_address_of_browsers_is_no_hold() -> None:
    assert not answered(sdp(*CHROME))[1].audio.remote_held


def test_an_offer_without_a_codec_of_ours_is_refused_and_changes_nothing() -> None:
    ours = negotiation("opus")
    with pytest.raises(OfferRejected, match="no codec") as refused:
        ours.read_offer(changed(CHROME, "a=rtpmap:111", "a=rtpmap:111 vorbis/48000/2"))
    assert refused.value.status == 488
    assert ours.agreed is None


def test_where_no_candidates_come_later_none_are_asked_for() -> None:
    whole = replace(OURS, candidates=(HOST,), complete=True, trickles=False)
    lines, _ = answered(sdp(*CHROME), transport=whole)
    assert "a=end-of-candidates" in lines
    assert not [line for line in lines if line.startswith("a=ice-options")]


def test_a_lite_server_says_so() -> None:
    lines, _ = answered(sdp(*CHROME), transport=replace(OURS, lite=True))
    assert "a=ice-lite" in lines


def test_a_later_offer_keeps_version_and_role_until_something_changes() -> None:
    ours = negotiation()
    first = ours.answer(ours.read_offer(sdp(*CHROME)), OURS, active=False)
    again = ours.answer(ours.read_offer(sdp(*CHROME)), OURS)
    assert again == first
    restarted = replace(OURS, credentials=Credentials("newer", "r" * 24))
    third = ours.answer(ours.read_offer(changed(CHROME, "a=ice-ufrag", "a=ice-ufrag:other")), restarted)
    assert b"a=setup:passive" in third
    assert b"a=ice-ufrag:newer" in third
    assert parse_sdp(third).origin.version == "1"
    assert parse_sdp(first).origin.version == "0"


def test_another_certificate_in_a_session_is_refused() -> None:
    ours = negotiation()
    ours.answer(ours.read_offer(sdp(*CHROME)), OURS)
    other = changed(CHROME, "a=fingerprint", "a=fingerprint:sha-256 " + "00:" * 31 + "00")
    with pytest.raises(OfferRejected, match="certificate changed"):
        ours.read_offer(other)


def test_a_hold_lets_nothing_in() -> None:
    ours = negotiation()
    ours.hold = True
    answer = ours.answer(ours.read_offer(sdp(*CHROME)), OURS)
    assert b"a=sendonly" in answer


def exchange(
    offerer: WebRtcNegotiation, answerer: WebRtcNegotiation, ours: LocalTransport = OURS
) -> tuple[bytes, bytes]:
    offer = offerer.offer(ours)
    answer = answerer.answer(answerer.read_offer(offer), THEIRS)
    offerer.read_answer(answer)
    return offer, answer


def test_our_offer_is_answered_by_ourselves() -> None:
    offerer, answerer = negotiation(), negotiation("opus")
    offer, _ = exchange(offerer, answerer, replace(OURS, candidates=(HOST,), complete=True))
    assert b"a=setup:actpass" in offer
    assert b"m=audio 4000 UDP/TLS/RTP/SAVPF 111 9 0 8 100 101" in offer
    ours, theirs = offerer.agreed, answerer.agreed
    assert ours is not None
    assert theirs is not None
    assert (ours.role, theirs.role) == ("server", "client")
    assert ours.audio.send_codec == theirs.audio.send_codec == CODECS["opus"]
    assert ours.audio_level_id == theirs.audio_level_id == 1
    assert ours.audio.telephone_event_send == (100, 48_000)
    assert ours.transport.credentials == THEIRS.credentials
    assert theirs.transport.candidates == (HOST,)
    assert theirs.transport.end_of_candidates
    assert 111 in ours.audio.receive


def test_an_offer_lists_the_formats_that_it_is_told_to() -> None:
    formats = (Format(111, "opus", 48_000, 2), Format(126, "telephone-event", 8_000, 1, "0-16"))
    assert b"m=audio 9 UDP/TLS/RTP/SAVPF 111 126\r\n" in negotiation("opus", offered=formats).offer(OURS)


def test_our_later_offer_restarts_ice_with_the_formats_that_are_left() -> None:
    offerer, answerer = negotiation(), negotiation("PCMU")
    exchange(offerer, answerer)
    restart = replace(OURS, credentials=Credentials("again", "s" * 24))
    offer, _ = exchange(offerer, answerer, restart)
    assert b"m=audio 9 UDP/TLS/RTP/SAVPF 0 100 101" in offer
    assert b"a=ice-ufrag:again" in offer
    assert answerer.agreed is not None
    assert answerer.agreed.transport.credentials.ufrag == "again"
    assert parse_sdp(offer).origin.version == "1"


def test_after_a_browsers_offer_ours_keeps_all_lines() -> None:
    ours = negotiation()
    ours.answer(ours.read_offer(sdp(*CHROME_ALL)), OURS)
    offer = ours.offer(OURS)
    assert [line.media for line in parse_sdp(offer).media] == ["audio", "video", "application"]
    assert [line.port for line in parse_sdp(offer).media] == [9, 0, 0]


def test_offers_that_cross_are_told() -> None:
    ours = negotiation()
    ours.offer(OURS)
    assert ours.offer_pending
    with pytest.raises(OfferRejected) as refused:
        ours.read_offer(sdp(*CHROME))
    assert refused.value.status == 491
    ours.withdraw_offer()
    ours.read_offer(sdp(*CHROME))


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("m=audio", "m=audio 0 UDP/TLS/RTP/SAVPF 111", "refuses our audio"),
        ("m=audio", "m=video 9 UDP/TLS/RTP/SAVPF 111", "another medium"),
        ("m=audio", "m=audio 9 RTP/AVP 111", "another medium"),
        ("a=rtpmap:111", "a=rtpmap:111 vorbis/48000/2", "no codec"),
        ("a=setup", "a=setup:actpass", "leaves a=setup open"),
        ("a=ice-pwd", None, "a=ice-pwd is missing"),
        ("a=rtcp-mux", None, "a=rtcp-mux is missing"),
        ("v=0", "v=1", "cannot be used"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_the_offer_stays_open(
    before: str, after: str | None, reason: str
) -> None:
    offerer, answerer = negotiation("opus"), negotiation("opus")
    answer = answerer.answer(answerer.read_offer(offerer.offer(OURS)), THEIRS).decode().splitlines()
    with pytest.raises(AnswerRejected, match=reason):
        offerer.read_answer(changed(tuple(answer), before, after))
    assert offerer.offer_pending
    assert offerer.agreed is None
    offerer.read_answer(sdp(*answer))


def test_an_answer_to_nothing_is_refused() -> None:
    with pytest.raises(AnswerRejected, match="no offer"):
        negotiation().read_answer(sdp(*CHROME))


def test_what_is_no_description_is_refused() -> None:
    with pytest.raises(SdpParseError):
        negotiation().read_offer(b"\xff\xfe")


LINES = st.sampled_from([*CHROME_ALL, *FIREFOX, *SAFARI]) | st.text(max_size=30).map(lambda text: f"a={text}")


@given(
    st.lists(st.tuples(st.integers(0, 80), LINES | st.none()), max_size=6),
    st.sampled_from([CHROME_ALL, FIREFOX, SAFARI]),
)
@settings(max_examples=200, deadline=None)
def test_any_offer_is_answered_or_refused_with_the_errors_of_descriptions(
    changes: list[tuple[int, str | None]], lines: tuple[str, ...]
) -> None:
    mutated: list[str | None] = list(lines)
    for at, line in changes:
        mutated[at % len(mutated)] = line
    ours = negotiation()
    try:
        offer = ours.read_offer("\r\n".join(line for line in mutated if line is not None).encode())
    except (SdpParseError, OfferRejected):
        assert ours.agreed is None
        return
    answer = parse_sdp(ours.answer(offer, OURS))
    assert len(answer.media) == sum(1 for line in mutated if line is not None and line.startswith("m="))
