"""What a WebRTC peer's description says: of its transport, and of the audio that goes over it.

Every field that cannot be used gives one error that names it.

Spec: RFC 8829 §5.8, RFC 8839, RFC 8842, RFC 9143 (BUNDLE), RFC 6464.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast, get_args

from vb.sdp.direction import Direction
from vb.sdp.dtls import MAX_FINGERPRINTS, Setup
from vb.sdp.errors import OfferRejected, SdpParseError
from vb.sdp.fingerprint import Fingerprint, FingerprintError, parse_fingerprint, usable
from vb.sdp.formats import Format, read_formats
from vb.sdp.ice import PASSWORD, UFRAG, Credentials
from vb.sdp.negotiate import packet_time_ms
from vb.sdp.parser import decimal
from vb.sdp.session import MediaDescription, SessionDescription
from vb.sdp.stream import read_direction
from vb.webrtc.candidate import Candidate, CandidateError, UnknownCandidateType, parse_candidate

SECURE_PROFILES: Final = frozenset({"UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"})
AUDIO_LEVEL_URI: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

_MAX_ONE_BYTE_ID: Final = 14


@dataclass(frozen=True, slots=True)
class PeerTransport:
    """How a peer is reached, and how it is recognised.

    Attributes:
        setup: its part in the DTLS handshake.
        lite: it only answers checks.
        trickle: it takes candidates one by one.
        end_of_candidates: it has no further ones.
    """

    credentials: Credentials
    fingerprints: tuple[Fingerprint, ...]
    setup: Setup
    lite: bool
    trickle: bool
    candidates: tuple[Candidate, ...]
    end_of_candidates: bool


@dataclass(frozen=True, slots=True)
class PeerMedia:
    """The audio line of a peer.

    Attributes:
        index: position of its `m=` line.
        bundled: it is in a BUNDLE group.
        carrier: position of the line whose transport the audio uses, None when it is the audio's own.
        audio_level_id: number of the header extension that tells how loud a packet is, None without.
        ptime_ms: packet time that the peer gets from us.
    """

    index: int
    mid: str | None
    bundled: bool
    protocol: str
    formats: tuple[Format, ...]
    direction: Direction
    ptime_ms: int
    audio_level_id: int | None
    carrier: int | None = None


def find_audio(description: SessionDescription, current: int | None = None) -> int:
    """Returns the position of the audio line of an offer to take.

    Args:
        current: the one in use, which is preferred while it is still offered.

    Raises:
        OfferRejected: there is none, or none that is protected by DTLS.
    """
    lines = [index for index, media in enumerate(description.media) if _is_live_audio(description, media)]
    if not lines:
        raise OfferRejected(400, "no m=audio line in the offer")
    secure = [index for index in lines if description.media[index].protocol.upper() in SECURE_PROFILES]
    if not secure:
        raise OfferRejected(488, "the audio of the offer is not protected by DTLS-SRTP")
    return current if current in secure else secure[0]


def read_media(description: SessionDescription, index: int, unmapped: Mapping[int, Format]) -> PeerMedia:
    """Reads the audio line.

    Args:
        unmapped: meaning of payload types that have no `a=rtpmap`.

    Raises:
        SdpParseError: it has RTCP on a port of its own.
    """
    media = description.media[index]
    if media.attribute("rtcp-mux") is None:
        raise SdpParseError("a=rtcp-mux is missing from the audio")
    return PeerMedia(
        index=index,
        mid=media.attribute("mid"),
        bundled=_bundle_of(description, media) is not None,
        protocol=media.protocol,
        formats=read_formats(media, unmapped),
        direction=read_direction(description, media),
        ptime_ms=packet_time_ms(media.attribute("ptime"), media.attribute("maxptime")),
        audio_level_id=_audio_level_id(media),
        carrier=_carrier_of(description, media),
    )


def read_transport(description: SessionDescription, index: int) -> PeerTransport:
    """Reads what the audio line, the line that speaks for its BUNDLE group, or the session says.

    That line has the first word where the audio uses its transport.

    Raises:
        SdpParseError: a field is missing or cannot be used.
    """
    media = description.media[index]
    lines = [media]
    tagged = _tagged(description, media)
    if tagged is not None and tagged is not media:
        lines.insert(_carrier_of(description, media) is None, tagged)
    candidates = next((found for line in lines if (found := _candidates(line))), ())
    options = " ".join(_values(description, lines, "ice-options")).split()
    return PeerTransport(
        credentials=_credentials(description, lines),
        fingerprints=_fingerprints(description, lines),
        setup=_setup(description, lines),
        lite=description.attribute("ice-lite") is not None,
        trickle="trickle" in options,
        candidates=candidates,
        end_of_candidates=any(line.attribute("end-of-candidates") is not None for line in lines),
    )


def _is_live_audio(description: SessionDescription, media: MediaDescription) -> bool:
    """Tells whether a line is audio; port 0 means nothing where the line is for a bundle only."""
    if media.media.lower() != "audio":
        return False
    bundle_only = media.attribute("bundle-only") is not None and _bundle_of(description, media) is not None
    return media.port != 0 or bundle_only


def _bundle_of(description: SessionDescription, media: MediaDescription) -> list[str] | None:
    """Returns the tags of the BUNDLE group that a line is in."""
    mid = media.attribute("mid")
    for attribute in description.attributes:
        words = (attribute.value or "").split() if attribute.name == "group" else []
        if words[:1] == ["BUNDLE"] and mid in words[1:]:
            return words[1:]
    return None


def _tagged(description: SessionDescription, media: MediaDescription) -> MediaDescription | None:
    """Returns the line whose transport the whole group uses: the first one that is named."""
    mids = _bundle_of(description, media)
    if not mids:
        return None
    return next((line for line in description.media if line.attribute("mid") == mids[0]), None)


def _carrier_of(description: SessionDescription, media: MediaDescription) -> int | None:
    """Returns the position of the line before the audio whose transport we have to take with its group.

    Who has gathered for the first line of the bundle alone ("max-bundle") loses the audio's way with that
    line: browsers cannot apply an answer that refuses it. A line of data has no form without data.
    """
    tagged = _tagged(description, media)
    if (
        tagged is None
        or tagged.attribute("mid") == media.attribute("mid")
        or tagged.media.lower() not in ("audio", "video")
    ):
        return None
    usable = tagged.port and tagged.formats and tagged.attribute("rtcp-mux") is not None
    if not usable or tagged.protocol.upper() not in SECURE_PROFILES:
        return None
    return next(at for at, line in enumerate(description.media) if line is tagged)


def _values(description: SessionDescription, lines: list[MediaDescription], name: str) -> list[str]:
    """Returns all values of an attribute at the first place that has any."""
    for attributes in (*(line.attributes for line in lines), description.attributes):
        found = [attribute.value or "" for attribute in attributes if attribute.name == name]
        if found:
            return found
    return []


def _value(description: SessionDescription, lines: list[MediaDescription], name: str) -> str:
    values = _values(description, lines, name)
    if not values:
        raise SdpParseError(f"a={name} is missing for the audio")
    return values[0].strip()


def _credentials(description: SessionDescription, lines: list[MediaDescription]) -> Credentials:
    ufrag = _value(description, lines, "ice-ufrag")
    password = _value(description, lines, "ice-pwd")
    if not UFRAG.fullmatch(ufrag):
        raise SdpParseError("a=ice-ufrag is not of 4 to 256 letters, digits, + and /")
    if not PASSWORD.fullmatch(password):
        raise SdpParseError("a=ice-pwd is not of 22 to 256 letters, digits, + and /")
    return Credentials(ufrag, password)


def _fingerprints(description: SessionDescription, lines: list[MediaDescription]) -> tuple[Fingerprint, ...]:
    values = _values(description, lines, "fingerprint")[:MAX_FINGERPRINTS]
    if not values:
        raise SdpParseError("a=fingerprint is missing for the audio")
    try:
        fingerprints = tuple(parse_fingerprint(value) for value in values)
    except FingerprintError as error:
        raise SdpParseError(f"a=fingerprint cannot be used: {error}") from None
    if not usable(fingerprints):
        raise SdpParseError("a=fingerprint names no hash function that is known here")
    return fingerprints


def _setup(description: SessionDescription, lines: list[MediaDescription]) -> Setup:
    values = _values(description, lines, "setup")
    # Without the attribute the writer is the client (RFC 4145 §4).
    setup = values[0].strip().lower() if values else "active"
    if setup not in get_args(Setup):
        raise SdpParseError(f"a=setup has the value {setup[:16]!r}, not actpass, active or passive")
    return cast("Setup", setup)


def _candidates(line: MediaDescription) -> tuple[Candidate, ...]:
    """Returns the candidates of a line but those of unknown types, as others lead to the peer too."""
    found: list[Candidate] = []
    for attribute in line.attributes:
        if attribute.name != "candidate":
            continue
        try:
            found.append(parse_candidate(attribute.value or ""))
        except UnknownCandidateType:
            continue
        except CandidateError as error:
            raise SdpParseError(f"a=candidate cannot be used: {error}") from None
    return tuple(found)


def _audio_level_id(media: MediaDescription) -> int | None:
    """Returns the number that the audio level has in the peer's packets.

    Spec: RFC 8285 §5 and §4.2; numbers from 15 on do not fit the one-byte form.
    """
    for attribute in media.attributes:
        words = (attribute.value or "").split() if attribute.name == "extmap" else []
        if len(words) < 2 or words[1] != AUDIO_LEVEL_URI:
            continue
        number, _, direction = words[0].partition("/")
        if direction not in ("recvonly", "inactive"):
            return decimal(number, _MAX_ONE_BYTE_ID) or None
    return None
