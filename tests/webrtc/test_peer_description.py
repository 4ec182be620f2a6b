import pytest

from tests.webrtc.offers import (
    CHROME,
    CHROME_ALL,
    CHROME_AUDIO,
    CHROME_DATA,
    CHROME_HEAD_OF_THREE,
    CHROME_VIDEO,
    FINGERPRINT,
    FIREFOX,
    PASSWORD,
    SAFARI,
    UFRAG,
    changed,
    sdp,
)
from vb.sdp.errors import OfferRejected, SdpParseError
from vb.sdp.formats import UNMAPPED
from vb.sdp.parser import parse_sdp
from vb.webrtc.peer_description import PeerMedia, PeerTransport, find_audio, read_media, read_transport


def read(data: bytes) -> tuple[PeerMedia, PeerTransport]:
    description = parse_sdp(data)
    index = find_audio(description)
    return read_media(description, index, UNMAPPED), read_transport(description, index)


@pytest.mark.parametrize(
    "lines", [CHROME, CHROME_ALL, FIREFOX, SAFARI], ids=["chrome", "all", "firefox", "safari"]
)
def test_every_browser_is_understood(lines: tuple[str, ...]) -> None:
    media, transport = read(sdp(*lines))
    assert transport.credentials == (UFRAG, PASSWORD)
    assert [item.to_text() for item in transport.fingerprints] == [FINGERPRINT]
    assert (transport.setup, transport.lite, transport.trickle) == ("actpass", False, True)
    assert media.bundled
    assert media.direction == "sendrecv"
    assert media.ptime_ms == 20
    assert "opus" in [item.name for item in media.formats]


def test_candidates_are_read_names_and_tcp_among_them() -> None:
    assert [item.is_usable for item in read(sdp(*FIREFOX))[1].candidates] == [False, False]
    assert [item.port for item in read(sdp(*SAFARI))[1].candidates] == [51372, 51372]


def test_a_candidate_of_a_further_type_leaves_the_others() -> None:
    further = "a=candidate:3 1 udp 1 198.51.100.5 51373 typ overlay raddr 0.0.0.0 rport 0"
    assert [item.port for item in read(sdp(*SAFARI, further))[1].candidates] == [51372, 51372]


@pytest.mark.parametrize(
    ("extmap", "expected"),
    [
        ("a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on", 1),
        ("a=extmap:14/sendonly urn:ietf:params:rtp-hdrext:ssrc-audio-level", 14),
        ("a=extmap:2/recvonly urn:ietf:params:rtp-hdrext:ssrc-audio-level", None),
        ("a=extmap:15 urn:ietf:params:rtp-hdrext:ssrc-audio-level", None),
        ("a=extmap:0 urn:ietf:params:rtp-hdrext:ssrc-audio-level", None),
        ("a=extmap:1", None),
        ("a=extmap:1 urn:ietf:params:rtp-hdrext:csrc-audio-level", None),
    ],
)
def test_the_audio_level_has_the_number_of_the_offer_where_it_fits(extmap: str, expected: int | None) -> None:
    media, _ = read(changed(CHROME, "a=extmap:1", extmap))
    assert media.audio_level_id == expected


def test_what_the_session_says_holds_for_the_line() -> None:
    head = (
        *CHROME_HEAD_OF_THREE,
        f"a=ice-ufrag:{UFRAG}",
        f"a=ice-pwd:{PASSWORD}",
        "a=setup:active",
        "a=ice-lite",
    )
    audio = tuple(line for line in CHROME_AUDIO if not line.startswith(("a=ice-", "a=setup")))
    _, transport = read(sdp(*head, *audio))
    assert transport.credentials == (UFRAG, PASSWORD)
    assert (transport.setup, transport.lite, transport.trickle) == ("active", True, False)


def test_a_line_for_a_bundle_only_uses_the_transport_of_the_first_line() -> None:
    audio = tuple(
        line.replace("m=audio 9", "m=audio 0").replace("a=mid:0", "a=mid:1")
        for line in CHROME_AUDIO
        if not line.startswith(("a=ice-", "a=setup", "a=fingerprint"))
    )
    video = tuple(line.replace("a=mid:1", "a=mid:0") for line in CHROME_VIDEO)
    media, transport = read(sdp(*CHROME_HEAD_OF_THREE, *video, *audio, "a=bundle-only"))
    assert (media.index, media.mid, media.carrier) == (1, "1", 0)
    assert transport.credentials == (UFRAG, PASSWORD)


def test_candidates_are_those_of_the_line_whose_transport_is_used() -> None:
    candidate = "a=candidate:1 1 udp 1 192.0.2.{} 4000 typ host"
    first = tuple(line.replace("a=mid:1", "a=mid:0") for line in (*CHROME_VIDEO, candidate.format(1)))
    audio = tuple(line.replace("a=mid:0", "a=mid:1") for line in (*CHROME_AUDIO, candidate.format(2)))
    media, transport = read(sdp(*CHROME_HEAD_OF_THREE, *first, *audio))
    assert media.carrier == 0
    assert [found.host for found in transport.candidates] == ["192.0.2.1"]
    data = tuple(line.replace("a=mid:2", "a=mid:0") for line in (*CHROME_DATA, candidate.format(1)))
    media, transport = read(sdp(*CHROME_HEAD_OF_THREE, *data, *audio))
    assert media.carrier is None
    assert [found.host for found in transport.candidates] == ["192.0.2.2"]


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("a=ice-ufrag", None, "a=ice-ufrag is missing"),
        ("a=ice-ufrag", "a=ice-ufrag:abc", "a=ice-ufrag is not"),
        ("a=ice-ufrag", "a=ice-ufrag:ab:cd", "a=ice-ufrag is not"),
        ("a=ice-ufrag", "a=ice-ufrag:äöüß", "a=ice-ufrag is not"),
        ("a=ice-pwd", None, "a=ice-pwd is missing"),
        ("a=ice-pwd", "a=ice-pwd:short", "a=ice-pwd is not"),
        ("a=ice-pwd", "a=ice-pwd:" + "x" * 257, "a=ice-pwd is not"),
        ("a=fingerprint", None, "a=fingerprint is missing"),
        ("a=fingerprint", "a=fingerprint:sha-256 AA", "a=fingerprint cannot be used"),
        ("a=fingerprint", "a=fingerprint:md5 " + "00:" * 15 + "00", "a=fingerprint names no hash"),
        ("a=setup", "a=setup:holdconn", "a=setup has the value 'holdconn'"),
        ("a=rtcp-mux", None, "a=rtcp-mux is missing"),
        ("a=ssrc", "a=candidate:rubbish", "a=candidate cannot be used"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(before: str, after: str | None, named: str) -> None:
    with pytest.raises(SdpParseError, match=named):
        read(changed(CHROME, before, after))


def test_offers_without_audio_for_us_are_rejected_with_the_reason() -> None:
    for data, reason in (
        (sdp(*CHROME_HEAD_OF_THREE, *CHROME_VIDEO), "no m=audio"),
        (changed(CHROME, "m=audio", "m=audio 0 UDP/TLS/RTP/SAVPF 111"), "no m=audio"),
        (changed(CHROME, "m=audio", "m=audio 9 RTP/AVP 0"), "not protected"),
    ):
        with pytest.raises(OfferRejected, match=reason):
            read(data)
