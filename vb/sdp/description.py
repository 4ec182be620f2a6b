"""The text of our own descriptions: one line of audio, perhaps one of text, every other line refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vb.sdp.direction import Direction
from vb.sdp.formats import Format
from vb.sdp.ice import LITE, LocalIce
from vb.sdp.keying import NO_KEYS, RTP_AVP, LocalKeys
from vb.sdp.session import Attribute, MediaDescription
from vb.sdp.text import LocalText


@dataclass(frozen=True, slots=True)
class Shape:
    """The media lines of a session, which no later description may drop or reorder.

    Attributes:
        lines: each line as we write it when refused; None where our audio is.
        protocol: transport of the audio line, as the peer spells it.
        mid: its identification tag, echoed when the peer uses one.
        text_index: position of the line that our text has or may have, None when there is none.

    Spec: RFC 3264 §8.
    """

    lines: tuple[MediaDescription | None, ...] = (None,)
    protocol: str = RTP_AVP
    mid: str | None = None
    text_index: int | None = None

    @property
    def audio_index(self) -> int:
        """Position of our audio line."""
        return self.lines.index(None)

    def with_text(self, text: LocalText) -> "Shape":
        """Return the shape with a line for our text at its end."""
        return replace(self, lines=(*self.lines, refused(text.line())), text_index=len(self.lines))


@dataclass(frozen=True, slots=True)
class LocalAudio:
    """What our audio line says.

    Attributes:
        rtcp_port: written as `a=rtcp` where it is not the port after `rtp_port`.
        keys: how it is protected.
        ice: how the peer finds us, None without ICE.
    """

    rtp_port: int
    rtcp_port: int
    formats: tuple[Format, ...]
    ptime_ms: int
    direction: Direction
    rtcp_mux: bool
    keys: LocalKeys = NO_KEYS
    ice: LocalIce | None = None


def offer_shape(
    media: Sequence[MediaDescription], index: int, mid: str | None, text_index: int | None = None
) -> Shape:
    """Return the shape of a session after an offer whose audio line `index` we take, and this text line."""
    return Shape(
        lines=tuple([None if at == index else refused(line) for at, line in enumerate(media)]),
        protocol=media[index].protocol,
        mid=mid,
        text_index=text_index,
    )


def refused(media: MediaDescription) -> MediaDescription:
    """Return the line that refuses a media line: port 0, one to many formats, its own `a=mid`.

    Spec: RFC 3264 §6, RFC 5888 §6.
    """
    formats = ("0",) if media.media == "text" else media.formats or ("0",)
    mid = media.attribute("mid")
    attributes = () if mid is None else (Attribute("mid", mid),)
    return MediaDescription(media.media, 0, media.protocol, formats, attributes=attributes)


def session_attributes(audio: LocalAudio, text: LocalText | None) -> tuple[Attribute, ...]:
    """Return the attributes of our whole description."""
    if audio.ice is None and text is None:
        return ()
    ices = (audio.ice, None if text is None else text.ice)
    return (LITE,) if any(ice is not None and ice.credentials is not None for ice in ices) else ()


def media_lines(shape: Shape, audio: LocalAudio, text: LocalText | None) -> tuple[MediaDescription, ...]:
    """Return every media line of our description; without a text of ours its line is refused."""
    lines = [_audio_line(shape, audio) if line is None else line for line in shape.lines]
    if text is not None and shape.text_index is not None:
        lines[shape.text_index] = text.line()
    return tuple(lines)


def _audio_line(shape: Shape, audio: LocalAudio) -> MediaDescription:
    attributes = [attribute for item in audio.formats for attribute in item.attributes]
    attributes += [Attribute("ptime", str(audio.ptime_ms)), Attribute(audio.direction)]
    if shape.mid is not None:
        attributes.append(Attribute("mid", shape.mid))
    if audio.rtcp_port != audio.rtp_port + 1:
        attributes.append(Attribute("rtcp", str(audio.rtcp_port)))
    if audio.rtcp_mux:
        attributes.append(Attribute("rtcp-mux"))
    if audio.keys is not NO_KEYS:
        attributes += audio.keys.attributes()
    if audio.ice is not None:
        attributes += audio.ice.attributes()
    return MediaDescription(
        "audio",
        audio.rtp_port,
        shape.protocol,
        tuple([str(item.payload_type) for item in audio.formats]),
        attributes=tuple(attributes),
    )
