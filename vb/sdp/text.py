"""Real-time text beside the audio of a call: the `m=text` line, ours and the peer's.

Spec: RFC 4103 §7 to §10, RFC 4102.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vb.sdp.address import ANYWHERE, Network
from vb.sdp.direction import Direction, intersect, mirror
from vb.sdp.errors import SdpParseError
from vb.sdp.formats import Format, parameters_of, read_formats
from vb.sdp.ice import Credentials, LocalIce
from vb.sdp.keying import NO_KEYS, Keying, Keys, LocalKeys, OfferedKeys, offered_keys, takes
from vb.sdp.parser import as_description, decimal
from vb.sdp.session import Attribute, MediaDescription, SessionDescription
from vb.sdp.stream import MediaAddress, PeerStream, read_stream

CLOCK_HZ: Final = 1000
MAX_GENERATIONS: Final = 2
"""Earlier blocks that we repeat in each packet, where the peer takes as many."""

_T140: Final = "t140"
_RED: Final = "red"
_OUR_FORMATS: Final = (
    Format(98, _RED, CLOCK_HZ, 1, "/".join(["99"] * (MAX_GENERATIONS + 1))),
    Format(99, _T140, CLOCK_HZ),
)
_USUAL_CHARACTERS_PER_S: Final = 30
_MAX_CHARACTERS_PER_S: Final = 10_000


@dataclass(frozen=True, slots=True)
class TextTypes:
    """The payload types of a text stream in one direction.

    Attributes:
        t140: of text alone, and of the blocks inside redundant packets.
        red: of packets with redundancy, or None when there are none.
        generations: earlier blocks that each packet repeats, 0 without redundancy.
    """

    t140: int
    red: int | None = None
    generations: int = 0


@dataclass(frozen=True, slots=True)
class AgreedText:
    """The text stream that a completed offer/answer exchange gives us, seen from our side.

    Attributes:
        remote_rtp: where to send, or None when the peer gave no address that can be sent to.
        direction: our direction.
        send: how the peer takes text.
        receive: how we take it.
        characters_per_s: what the peer can show, as a mean over ten seconds.
        srtp: what it is protected with, or None when it is plain.
        ice: the peer's credentials where ICE finds its address.
    """

    remote_rtp: MediaAddress | None
    direction: Direction
    send: TextTypes
    receive: TextTypes
    characters_per_s: int = _USUAL_CHARACTERS_PER_S
    srtp: Keys | None = None
    ice: Credentials | None = None


@dataclass(frozen=True, slots=True)
class LocalText:
    """What our text line says.

    Attributes:
        keys: how it is protected.
        ice: how the peer finds us, None without ICE.
    """

    port: int
    formats: tuple[Format, ...] = _OUR_FORMATS
    direction: Direction = "sendrecv"
    protocol: str = "RTP/AVP"
    mid: str | None = None
    rtcp_mux: bool = False
    keys: LocalKeys = NO_KEYS
    ice: LocalIce | None = None

    def line(self) -> MediaDescription:
        """Return the media line."""
        attributes = [attribute for item in self.formats for attribute in item.attributes]
        attributes.append(Attribute(self.direction))
        if self.mid is not None:
            attributes.append(Attribute("mid", self.mid))
        if self.rtcp_mux:
            attributes.append(Attribute("rtcp-mux"))
        attributes += self.keys.attributes()
        if self.ice is not None:
            attributes += self.ice.attributes()
        types = tuple(str(item.payload_type) for item in self.formats)
        return MediaDescription("text", self.port, self.protocol, types, attributes=tuple(attributes))


@dataclass(frozen=True, slots=True)
class PeerText:
    """One text line of a peer that we can take.

    Attributes:
        index: position of its `m=` line.
        formats: those of its formats that we take, in its order.
        types: the same as payload types.
        keys: what we accept of the keys that it brings.
    """

    index: int
    protocol: str
    mid: str | None
    formats: tuple[Format, ...]
    types: TextTypes
    stream: PeerStream
    characters_per_s: int
    keys: OfferedKeys | None = None

    def answer(self, port: int, keys: LocalKeys = NO_KEYS, ice: LocalIce | None = None) -> LocalText:
        """Return our line that answers it: its formats as they are, its direction mirrored."""
        return LocalText(
            port=port,
            formats=self.formats,
            direction=mirror(self.stream.direction),
            protocol=self.protocol,
            mid=self.mid,
            rtcp_mux=self.stream.rtcp_mux,
            keys=keys,
            ice=ice,
        )

    def agree(self, ours: LocalText, srtp: Keys | None = None) -> AgreedText:
        """Return what the peer's line and ours make together."""
        ice = self.stream.ice
        found = ours.ice is not None and ours.ice.credentials is not None
        return AgreedText(
            remote_rtp=self.stream.rtp,
            direction=intersect(ours.direction, mirror(self.stream.direction)),
            send=self.types,
            receive=_types(ours.formats) or self.types,
            characters_per_s=self.characters_per_s,
            srtp=srtp,
            ice=ice.credentials if ice is not None and found else None,
        )


def offers_text(offer: bytes | SessionDescription, keying: Keying | None = None) -> bool:
    """Tell whether a description has a text line that we could take.

    Args:
        offer: the description, read or not.
        keying: how text may be protected.
    """
    try:
        return find_text(as_description(offer), None, keying=keying) is not None
    except SdpParseError:
        return False


def find_text(
    description: SessionDescription,
    current: int | None,
    network: Network = ANYWHERE,
    keying: Keying | None = None,
    *,
    protected: bool = False,
) -> PeerText | None:
    """Return the text line of an offer to take, or None when it has none for us.

    Args:
        description: the offer.
        current: index of the line in use by the session, which is preferred while it is still offered.
        network: what can be reached from here.
        keying: how text may be protected; without it, not at all.
        protected: text in the clear will not do.
    """
    indexes = [index for index, media in enumerate(description.media) if media.media.lower() == "text"]
    for index in sorted(indexes, key=lambda index: index != current):
        media = description.media[index]
        if not takes(description, media, keying):
            continue
        keys = offered_keys(description, media, keying)
        text = None if keys is None and protected else read_text(description, index, {}, network)
        if text is not None:
            return replace(text, keys=keys)
    return None


def read_text(
    description: SessionDescription,
    index: int,
    unmapped: Mapping[int, Format],
    network: Network = ANYWHERE,
) -> PeerText | None:
    """Read one media line as a text stream; None when it is none, is refused, or cannot be read.

    Args:
        description: what the peer says.
        index: the line.
        unmapped: meaning of payload types that have no `a=rtpmap`.
        network: what can be reached from here.
    """
    if index >= len(description.media):
        return None
    media = description.media[index]
    if media.media.lower() != "text" or media.port == 0:
        return None
    stream = read_stream(description, media, network)
    listed = read_formats(media, unmapped)
    types = _types(listed)
    if stream is None or types is None:
        return None
    text = next(item for item in listed if item.payload_type == types.t140)
    return PeerText(
        index=index,
        protocol=media.protocol,
        mid=media.attribute("mid"),
        formats=tuple(_taken(item) for item in listed if item.payload_type in (types.red, types.t140)),
        types=types,
        stream=stream,
        characters_per_s=_characters_per_s(text.fmtp),
    )


def _taken(item: Format) -> Format:
    """Return a format as we repeat it: the redundancy as offered, what the peer can show left out."""
    if item.name.lower() == _RED:
        return item
    return Format(item.payload_type, item.name, item.clock_rate_hz)


def _types(formats: Sequence[Format]) -> TextTypes | None:
    text = next((item for item in formats if item.key == (_T140, CLOCK_HZ)), None)
    if text is None:
        return None
    for item in formats:
        if item.key == (_RED, CLOCK_HZ):
            generations = _generations(item.fmtp, text.payload_type)
            if generations:
                return TextTypes(text.payload_type, item.payload_type, min(generations, MAX_GENERATIONS))
    return TextTypes(text.payload_type)


def _generations(fmtp: str | None, t140: int) -> int:
    """Return how many earlier blocks a redundancy format repeats, 0 when it is not one of this text."""
    if fmtp is None:
        return MAX_GENERATIONS
    types = [word.strip() for word in fmtp.split("/")]
    return len(types) - 1 if set(types) == {str(t140)} else 0


def _characters_per_s(fmtp: str | None) -> int:
    for name, value in parameters_of(fmtp):
        if name == "cps":
            return decimal(value, _MAX_CHARACTERS_PER_S) or _USUAL_CHARACTERS_PER_S
    return _USUAL_CHARACTERS_PER_S
