"""The text of our own WebRTC descriptions: one line of audio with its transport, every other line refused.

One other line may stay, silent, where the audio uses its transport.

Spec: RFC 8829 §5.2 and §5.3, RFC 8839 §5, RFC 9143 §7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from vb.codecs.base import Codec
from vb.sdp.description import Shape
from vb.sdp.direction import Direction
from vb.sdp.dtls import Setup
from vb.sdp.fingerprint import Fingerprint
from vb.sdp.formats import Format, codec_format
from vb.sdp.ice import Credentials
from vb.sdp.session import Attribute, Connection, MediaDescription
from vb.webrtc.candidate import Candidate
from vb.webrtc.peer_description import AUDIO_LEVEL_URI

DISCARD_PORT: Final = 9
"""Stands for a port that candidates will tell."""
NO_ADDRESS: Final = Connection("IP4", "0.0.0.0")

FULL_BAND_HZ: Final = 48_000
WIDE_BAND_HZ: Final = 16_000
"""The least that we ask for: a narrower voice saves nearly nothing, and is worse to listen to."""

_USE_DTX: Final = "; usedtx=1"
# Browsers spend 20 kbit/s on a voice up to 8 kHz unless asked for more; the rate of a full one sounds better.
_UP_TO_WIDE_BAND: Final = f"; maxplaybackrate={WIDE_BAND_HZ}; maxaveragebitrate=32000"


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """How we are reached, and how we are recognised.

    Attributes:
        candidates: those known by now, the best first.
        complete: there will be no further ones.
        lite: we only answer checks.
        trickles: further ones of the peer may come after its description.
    """

    credentials: Credentials
    fingerprint: Fingerprint
    candidates: tuple[Candidate, ...] = ()
    complete: bool = False
    lite: bool = False
    trickles: bool = True


@dataclass(frozen=True, slots=True)
class Carrier:
    """A line that takes part with its transport only, which the audio uses.

    Attributes:
        index: its position.
        line: what it says, without the transport.
    """

    index: int
    line: MediaDescription

    @property
    def mid(self) -> str:
        """Return its identification tag."""
        return self.line.attribute("mid") or ""


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """What our audio line says.

    Attributes:
        shape: all lines of the session; ours is the audio among them.
        bundled: we name a BUNDLE group.
        audio_level_id: number of the audio level's header extension, None without.
        cname: names us in RTCP.
        carrier: the line whose transport the audio uses, None for its own.
    """

    shape: Shape
    bundled: bool
    formats: tuple[Format, ...]
    direction: Direction
    ptime_ms: int
    audio_level_id: int | None
    setup: Setup
    ssrc: int
    cname: str
    carrier: Carrier | None = None


def carrier_of(media: Sequence[MediaDescription], index: int) -> Carrier:
    """Returns how a line of the peer stays for its transport alone: one format, and no packets."""
    line = media[index]
    number = line.formats[0]
    kept = [
        attribute
        for attribute in line.attributes
        if attribute.name in ("rtpmap", "fmtp") and (attribute.value or "").split()[:1] == [number]
    ]
    kept += [Attribute("inactive"), Attribute("mid", line.attribute("mid")), Attribute("rtcp-mux")]
    return Carrier(
        index, MediaDescription(line.media, line.port, line.protocol, (number,), attributes=tuple(kept))
    )


def our_format(codec: Codec, payload_type: int, heard_hz: int) -> Format:
    """Returns a codec as our lines describe it.

    An Opus sender is asked to send next to nothing in silence, and nothing that we would only throw away: all
    of its bits go into what is heard, and its packets take two thirds of the time to decode.

    Args:
        heard_hz: highest sample rate at which we use what the peer says.

    Spec: RFC 7587 §6.1.
    """
    found = codec_format(codec, payload_type)
    if codec.name != "opus":
        return found
    band = _UP_TO_WIDE_BAND if heard_hz <= WIDE_BAND_HZ else ""
    fmtp = f"{found.fmtp}{_USE_DTX}{band}"
    return Format(payload_type, found.name, found.clock_rate_hz, found.channels, fmtp)


def session_attributes(media: LocalMedia, transport: LocalTransport) -> tuple[Attribute, ...]:
    """Returns the attributes of the session."""
    attributes = []
    if media.bundled and media.shape.mid is not None:
        mids = media.shape.mid if media.carrier is None else f"{media.carrier.mid} {media.shape.mid}"
        attributes.append(Attribute("group", f"BUNDLE {mids}"))
    if transport.lite:
        attributes.append(Attribute("ice-lite"))
    attributes.append(Attribute("msid-semantic", "WMS *"))
    return tuple(attributes)


def media_lines(media: LocalMedia, transport: LocalTransport) -> tuple[MediaDescription, ...]:
    """Returns every media line of our description."""
    lines = [_audio_line(media, transport) if line is None else line for line in media.shape.lines]
    if media.carrier is not None:
        lines[media.carrier.index] = _carrier_line(media.carrier, media, transport)
    return tuple(lines)


def _address(transport: LocalTransport) -> tuple[Connection, int]:
    default = next(iter(transport.candidates), None)
    if default is None:
        return NO_ADDRESS, DISCARD_PORT
    return Connection("IP6" if ":" in default.host else "IP4", default.host), default.port


def _carrier_line(carrier: Carrier, media: LocalMedia, transport: LocalTransport) -> MediaDescription:
    connection, port = _address(transport)
    attributes = (
        *carrier.line.attributes,
        *_transport_attributes(transport),
        Attribute("setup", media.setup),
    )
    return replace(carrier.line, port=port, connection=connection, attributes=attributes)


def _audio_line(media: LocalMedia, transport: LocalTransport) -> MediaDescription:
    connection, port = _address(transport)
    attributes = [attribute for item in media.formats for attribute in item.attributes]
    attributes += [Attribute("ptime", str(media.ptime_ms)), Attribute(media.direction)]
    if media.shape.mid is not None:
        attributes.append(Attribute("mid", media.shape.mid))
    if media.audio_level_id is not None:
        attributes.append(Attribute("extmap", f"{media.audio_level_id} {AUDIO_LEVEL_URI}"))
    attributes += [
        Attribute("rtcp-mux"),
        Attribute("msid", f"{media.cname} audio"),
        Attribute("ssrc", f"{media.ssrc} cname:{media.cname}"),
        *_transport_attributes(transport),
        Attribute("setup", media.setup),
    ]
    types = tuple(str(item.payload_type) for item in media.formats)
    return MediaDescription("audio", port, media.shape.protocol, types, connection, tuple(attributes))


def _transport_attributes(transport: LocalTransport) -> list[Attribute]:
    attributes = [
        Attribute("ice-ufrag", transport.credentials.ufrag),
        Attribute("ice-pwd", transport.credentials.password),
        *([Attribute("ice-options", "trickle")] if transport.trickles else []),
        Attribute("fingerprint", transport.fingerprint.to_text()),
    ]
    attributes += [Attribute("candidate", candidate.to_text()) for candidate in transport.candidates]
    if transport.complete:
        attributes.append(Attribute("end-of-candidates"))
    return attributes
