"""What a peer's description means for the audio of one call, and which of its formats we take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from vb.codecs.base import CODECS, Codec
from vb.sdp.address import ANYWHERE, Network
from vb.sdp.bandwidth import RtcpUse, rtcp_use
from vb.sdp.direction import Direction, receives
from vb.sdp.errors import CodecNotOffered, OfferRejected, SdpParseError
from vb.sdp.formats import UNMAPPED, Format, first_format, read_formats
from vb.sdp.ice import Credentials, PeerIce
from vb.sdp.keying import Keying, Keys, OfferedKeys, has_broken_keys, offered_keys, takes
from vb.sdp.parser import as_description, decimal
from vb.sdp.session import SessionDescription
from vb.sdp.stream import MediaAddress, read_stream
from vb.sdp.text import AgreedText

_NOT_ACCEPTABLE: Final = "Not Acceptable Here"
_WARN_ADDRESS: Final = '301 vb "Incompatible network address format"'
_WARN_MEDIA: Final = '304 vb "Media type not available"'
_WARN_FORMAT: Final = '305 vb "Incompatible media format"'
_WARN_KEYS: Final = '306 vb "Attribute not understood"'

_PACKET_TIMES_MS: Final = (40, 60)
_USUAL_PACKET_TIME_MS: Final = 20
_SHORT_PACKET_TIME_MS: Final = 10


class OfferedCodec(NamedTuple):
    """A codec of an offer that vb speaks; `priority` counts from 1 in the order of the offer."""

    name: str
    payload_type: int
    clock_rate: int
    priority: int


@dataclass(frozen=True, slots=True)
class Agreed:
    """The audio that a completed offer/answer exchange gives us, seen from our side.

    Attributes:
        remote_rtp: where to send, or None when the peer gave no address that can be sent to.
        remote_rtcp: where to send RTCP; equals `remote_rtp` when multiplexed.
        rtcp_mux: RTP and RTCP share one port in both directions.
        send_codec: what we encode with, as `send_payload_type`.
        send_fmtp: the peer's parameters for what we send.
        receive: payload types to decode, those of our description first.
        telephone_event_send: (payload type, clock in Hz) for digits, or None when the peer takes none.
        telephone_event_receive: payload type to clock in Hz.
        direction: our direction.
        remote_held: the peer's direction or address keeps us from sending.
        ptime_ms: packet time of what we send.
        text: real-time text beside the audio, or None when there is none.
        rtcp_use: when the peer takes RTCP.
        srtp: what the audio is protected with, or None when it is plain.
        ice: the peer's credentials where ICE finds its address, None where that is known.
    """

    remote_rtp: MediaAddress | None
    remote_rtcp: MediaAddress | None
    rtcp_mux: bool
    send_codec: Codec
    send_payload_type: int
    receive: Mapping[int, Codec]
    telephone_event_send: tuple[int, int] | None
    telephone_event_receive: Mapping[int, int]
    direction: Direction
    remote_held: bool
    ptime_ms: int
    send_fmtp: str | None = None
    text: AgreedText | None = None
    rtcp_use: RtcpUse = "always"
    srtp: Keys | None = None
    ice: Credentials | None = None


@dataclass(frozen=True, slots=True)
class PeerAudio:
    """One audio line of a peer, read.

    Attributes:
        index: position of its `m=` line.
        rtcp: where it takes RTCP unless multiplexed.
        rtcp_mux: it offers or accepts RTCP on the RTP port.
        direction: the peer's direction; an unspecified address counts as "does not receive".
        ptime_ms: packet time the peer gets from us.
        rtcp_use: when it takes RTCP.
        host_name: what stands in place of its address, None for a literal.
        ice: what it says of ICE.
    """

    index: int
    protocol: str
    mid: str | None
    formats: tuple[Format, ...]
    rtp: MediaAddress | None
    rtcp: MediaAddress | None
    rtcp_mux: bool
    direction: Direction
    ptime_ms: int
    rtcp_use: RtcpUse = "always"
    host_name: str | None = None
    ice: PeerIce | None = None


class Choice(NamedTuple):
    """The audio line of an offer that we take, the format we answer it with, and the keys that we accept."""

    audio: PeerAudio
    format: Format
    codec: Codec
    keys: OfferedKeys | None = None


def offered_codecs(offer: bytes | SessionDescription, keying: Keying | None = None) -> list[OfferedCodec]:
    """List the codecs known to vb on the audio line of an offer that would be answered.

    Args:
        offer: the offer, read or not.
        keying: see `choose_audio`.

    Raises:
        SdpParseError: the offer cannot be read.
    """
    return _known_codecs(as_description(offer), None, keying)


def _known_codecs(
    description: SessionDescription, audio: PeerAudio | None, keying: Keying | None
) -> list[OfferedCodec]:
    """List the codecs of the line that would be answered; `audio` is one that has been read already."""
    for index in _audio_lines(description):
        media = description.media[index]
        is_read = audio is not None and audio.index == index
        formats = audio.formats if audio is not None and is_read else read_formats(media, UNMAPPED)
        known = [item for item in formats if item.codec is not None]
        if known and takes(description, media, keying):
            return [
                OfferedCodec(item.codec.name, item.payload_type, item.clock_rate_hz, priority)
                for priority, item in enumerate(known, 1)
                if item.codec is not None
            ]
    return []


def check_offer(
    offer: bytes | SessionDescription,
    codecs: Sequence[Codec],
    network: Network = ANYWHERE,
    keying: Keying | None = None,
) -> list[OfferedCodec]:
    """Find out whether an offer can be answered, and return its known codecs; see `examine_offer`."""
    return examine_offer(as_description(offer), codecs, network, keying)[0]


def examine_offer(
    description: SessionDescription, codecs: Sequence[Codec], network: Network, keying: Keying | None
) -> tuple[list[OfferedCodec], Choice]:
    """Find out, before a call exists, whether an offer can be answered.

    Args:
        description: the offer.
        codecs: the codecs enabled here, best first.
        network: what can be reached from here; a host name may still be looked up.
        keying: see `choose_audio`.

    Returns:
        Its known codecs, and what it would be answered with, which need not be worked out again.

    Raises:
        SdpParseError: the offer cannot be read.
        OfferRejected: nothing in it can be accepted.
    """
    choice = choose_audio(description, codecs, network=network, keying=keying)
    if choice.audio.host_name is None:
        require_reachable(choice.audio)
    return _known_codecs(description, choice.audio, keying), choice


def check_reachable(
    offer: bytes | SessionDescription,
    codecs: Sequence[Codec],
    network: Network,
    keying: Keying | None = None,
) -> None:
    """Find out whether an offer that passed `check_offer` can be sent audio, once its names are known.

    Raises:
        OfferRejected: it cannot.
    """
    description = as_description(offer)
    require_reachable(choose_audio(description, codecs, network=network, keying=keying).audio)


def choose_audio(
    description: SessionDescription,
    codecs: Sequence[Codec],
    *,
    codec: str | None = None,
    current: int | None = None,
    network: Network = ANYWHERE,
    keying: Keying | None = None,
    known: Choice | None = None,
) -> Choice:
    """Pick the audio line and the format to answer an offer with.

    Args:
        description: the offer.
        codecs: our codecs, best first; the first one that is offered wins.
        codec: name that overrides our order.
        current: index of the line in use by the session, which is preferred while it is still offered.
        network: what can be reached from here.
        keying: how audio may be protected; without it, not at all, and secure transports are refused.
        known: what came of this offer with the same codecs and keys, before a host name was looked up and a
            codec was asked for.

    Raises:
        OfferRejected: no audio, no transport, no key or no codec in common.
        CodecNotOffered: `codec` is not in the offer, or not among `codecs`.
        SdpParseError: the chosen line has no address.

    Spec: RFC 3264 §6.
    """
    if known is not None and codec is None and current is None and not network.names:
        return known
    usable = _audio_lines(description)
    if current in usable:
        usable.sort(key=lambda index: index != current)
    if not usable:
        raise _no_audio(in_session=current is not None)
    taken = [index for index in usable if takes(description, description.media[index], keying)]
    if not taken:
        broken = keying is not None and any(
            has_broken_keys(description, description.media[index]) for index in usable
        )
        raise OfferRejected(488, _NOT_ACCEPTABLE, _WARN_KEYS if broken else _WARN_MEDIA)
    for index in taken:
        formats = read_formats(description.media[index], UNMAPPED)
        found = _pick(formats, codecs)
        if found is not None:
            if codec is not None:
                found = _pick_named(formats, codecs, codec)
            keys = offered_keys(description, description.media[index], keying)
            return Choice(read_audio(description, index, UNMAPPED, network, formats), *found, keys)
    raise OfferRejected(488, _NOT_ACCEPTABLE, _WARN_FORMAT)


def require_reachable(audio: PeerAudio) -> None:
    """Refuse audio that would be a silent call: the peer wants ours, but not where it could be sent.

    Where there is ICE, its checks bring the address.

    Raises:
        OfferRejected: so it is.
    """
    if audio.rtp is None and audio.ice is None and receives(audio.direction):
        raise OfferRejected(488, _NOT_ACCEPTABLE, _WARN_ADDRESS)


def read_audio(
    description: SessionDescription,
    index: int,
    unmapped: Mapping[int, Format],
    network: Network = ANYWHERE,
    formats: tuple[Format, ...] | None = None,
) -> PeerAudio:
    """Read one audio line together with the session lines that apply to it; `formats` if they are known.

    Raises:
        SdpParseError: neither the line nor the session has a `c=` line.
    """
    media = description.media[index]
    stream = read_stream(description, media, network)
    if stream is None:
        raise SdpParseError("no c= line for the audio")
    return PeerAudio(
        index=index,
        protocol=media.protocol,
        mid=media.values.get("mid"),
        formats=read_formats(media, unmapped) if formats is None else formats,
        rtp=stream.rtp,
        rtcp=stream.rtcp,
        rtcp_mux=stream.rtcp_mux,
        direction=stream.direction,
        ptime_ms=packet_time_ms(media.values.get("ptime"), media.values.get("maxptime")),
        rtcp_use=rtcp_use(description, media),
        host_name=stream.host_name,
        ice=stream.ice,
    )


def packet_time_ms(ptime: str | None, maxptime: str | None) -> int:
    """Return the packet time to send with: 40 or 60 where asked for, 10 where 20 is too long, else 20.

    Args:
        ptime: value of the peer's `a=ptime`.
        maxptime: value of the peer's `a=maxptime`.

    Spec: RFC 8866 §6.4.
    """
    if ptime is None and maxptime is None:
        return _USUAL_PACKET_TIME_MS
    wanted, limit = _milliseconds(ptime), _milliseconds(maxptime)
    if limit is not None and limit < _USUAL_PACKET_TIME_MS:
        return _SHORT_PACKET_TIME_MS
    if wanted in _PACKET_TIMES_MS and (limit is None or wanted <= limit):
        return wanted
    return _USUAL_PACKET_TIME_MS


def _audio_lines(description: SessionDescription) -> list[int]:
    return [
        index
        for index, media in enumerate(description.media)
        if media.media.lower() == "audio" and media.port != 0
    ]


def _no_audio(*, in_session: bool) -> OfferRejected:
    """Return the refusal of an offer without live audio: in a session 488, which leaves it as it is."""
    if in_session:
        return OfferRejected(488, _NOT_ACCEPTABLE, _WARN_MEDIA)
    return OfferRejected(400, "Bad SDP")


def _pick(formats: Sequence[Format], codecs: Sequence[Codec]) -> tuple[Format, Codec] | None:
    for codec in codecs:
        found = first_format(formats, codec)
        if found is not None:
            return found, codec
    return None


def _pick_named(formats: Sequence[Format], codecs: Sequence[Codec], name: str) -> tuple[Format, Codec]:
    codec = next((item for item in codecs if item.name.lower() == name.lower()), None)
    if codec is None:
        known = any(item.lower() == name.lower() for item in CODECS)
        raise CodecNotOffered(name, "not enabled" if known else "unknown")
    found = first_format(formats, codec)
    if found is None:
        raise CodecNotOffered(codec.name, "not in the offer")
    return found, codec


def _milliseconds(text: str | None) -> int | None:
    """Return the whole milliseconds of a packet time, or None when it is missing, zero or no number."""
    if text is None:
        return None
    return decimal(text.strip().partition(".")[0], 10_000) or None
