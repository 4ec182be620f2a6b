"""Offer and answer of a WebRTC leg: audio over one ICE transport with DTLS-SRTP.

An exchange has two steps on either side, because what we say depends on the ICE agent, which first hears
what the peer has said: `read_offer` then `answer`; `offer` then `read_answer`.

Spec: RFC 8829, RFC 3264, RFC 8842 §5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from vb.codecs.base import Codec
from vb.sdp.description import Shape, offer_shape
from vb.sdp.direction import Direction, direction_of, intersect, mirror, receives, sends
from vb.sdp.dtls import Setup
from vb.sdp.errors import AnswerRejected, OfferRejected, SdpParseError
from vb.sdp.fingerprint import Fingerprint
from vb.sdp.formats import (
    UNMAPPED,
    Format,
    assign_types,
    bind_types,
    first_format,
    wanted_formats,
)
from vb.sdp.parser import parse_sdp
from vb.sdp.session import Origin, SessionDescription
from vb.webrtc.agreement import AgreedWebRtc, audio_agreement, kept_formats, taken_events
from vb.webrtc.local_description import (
    FULL_BAND_HZ,
    Carrier,
    LocalMedia,
    LocalTransport,
    carrier_of,
    media_lines,
    our_format,
    session_attributes,
)
from vb.webrtc.peer_description import (
    SECURE_PROFILES,
    PeerMedia,
    PeerTransport,
    find_audio,
    read_media,
    read_transport,
)

_PROTOCOL: Final = "UDP/TLS/RTP/SAVPF"
_OUR_AUDIO_LEVEL_ID: Final = 1
_USUAL_PTIME_MS: Final = 20


@dataclass(frozen=True, slots=True)
class PeerOffer:
    """A peer's offer that can be answered; nothing has changed yet."""

    media: PeerMedia
    transport: PeerTransport
    shape: Shape
    codec: Codec
    format: Format
    carrier: Carrier | None = None


@dataclass(frozen=True, slots=True)
class _InForce:
    shape: Shape = field(default_factory=lambda: Shape(protocol=_PROTOCOL, mid="0"))
    bundled: bool = True
    formats: tuple[Format, ...] = ()
    bound: dict[int, Format] = field(default_factory=dict)
    audio_level_id: int | None = _OUR_AUDIO_LEVEL_ID
    carrier: Carrier | None = None


class WebRtcNegotiation:
    """The descriptions of one leg, ours and the peer's; a method that raises changes nothing.

    Args:
        codecs: ours, best first.
        session_id: number of the `o=` line.
        ssrc: of what we send.
        cname: names us in RTCP; without spaces.
        offered: formats of our first offer instead of those of `codecs`.

    Attributes:
        ssrc: of what we send.
        cname: our name in RTCP.
        hold: we hold the peer; our descriptions let nothing in from it.
        heard_hz: highest sample rate at which we use what the peer says; our next description tells it.
        agreed: what is in force, None before the first exchange is complete.
    """

    def __init__(
        self,
        *,
        codecs: Sequence[Codec],
        session_id: int,
        ssrc: int,
        cname: str,
        heard_hz: int = FULL_BAND_HZ,
        offered: Sequence[Format] | None = None,
    ) -> None:
        if not codecs or not cname.isalnum():
            raise ValueError("a session needs at least one codec, and a name of letters and digits")
        self.hold = False
        self.heard_hz = heard_hz
        self.agreed: AgreedWebRtc | None = None
        self._codecs = tuple(codecs)
        self._session_id = session_id
        self.ssrc = ssrc
        self.cname = cname
        self._offered = tuple(offered or wanted_formats(codecs))
        self._in_force = _InForce()
        self._offer: LocalMedia | None = None
        self._last_sent: SessionDescription | None = None
        self._next_version = 0

    @property
    def offer_pending(self) -> bool:
        """True while an offer of ours waits for its answer."""
        return self._offer is not None

    def read_offer(self, data: bytes) -> PeerOffer:
        """Reads a peer's offer, first or later, and finds out whether it can be answered.

        Raises:
            SdpParseError: it cannot be read, or a field is missing or of no use.
            OfferRejected: it has no audio for us, comes with another certificate, or meets an offer of ours.
        """
        if self.offer_pending:
            raise OfferRejected(491, "an offer of this side waits for its answer")
        description = parse_sdp(data)
        current = None if self.agreed is None else self._in_force.shape.audio_index
        index = find_audio(description, current)
        media = read_media(description, index, UNMAPPED)
        transport = read_transport(description, index)
        self._check_certificate(transport.fingerprints)
        for codec in self._codecs:
            found = first_format(media.formats, codec)
            if found is not None:
                shape = offer_shape(description.media, index, media.mid)
                at = media.carrier
                carrier = None if at is None else carrier_of(description.media, at)
                return PeerOffer(media, transport, shape, codec, found, carrier)
        raise OfferRejected(488, "no codec of the offer is enabled here")

    def answer(
        self,
        offer: PeerOffer,
        transport: LocalTransport,
        *,
        active: bool = True,
        limit: Direction = "sendrecv",
    ) -> bytes:
        """Applies an offer that was read and returns our answer; `agreed` tells what came of it.

        Args:
            active: begin the DTLS handshake where the peer leaves it to us.
            limit: the most we are ready for.
        """
        media = offer.media
        ours = [our_format(offer.codec, offer.format.payload_type, self.heard_hz)]
        ours += taken_events(media.formats)
        setup = self._answer_setup(offer.transport.setup, active=active)
        direction = self._under_hold(intersect(mirror(media.direction), limit))
        local = LocalMedia(
            shape=offer.shape,
            bundled=media.bundled,
            formats=tuple(ours),
            direction=direction,
            ptime_ms=media.ptime_ms,
            audio_level_id=media.audio_level_id,
            setup=setup,
            ssrc=self.ssrc,
            cname=self.cname,
            carrier=offer.carrier,
        )
        bound = bind_types(bind_types(self._in_force.bound, media.formats), local.formats)
        self._conclude(local, bound)
        self.agreed = AgreedWebRtc(
            audio=audio_agreement(media, offer.format, offer.codec, local, direction),
            audio_level_id=media.audio_level_id,
            role="client" if setup == "active" else "server",
            transport=offer.transport,
            mid=media.mid,
        )
        return self._stamped(local, transport).to_bytes()

    def offer(self, transport: LocalTransport, direction: Direction = "sendrecv") -> bytes:
        """Makes our offer; with new credentials in `transport` it asks for an ICE restart.

        Once its answer is here, or `withdraw_offer` was called, another one can be made.
        """
        base = self._in_force
        formats = tuple(map(self._ours, base.formats)) or assign_types(
            list(map(self._ours, self._offered)), base.bound
        )
        local = LocalMedia(
            shape=base.shape,
            bundled=base.bundled,
            formats=formats,
            direction=self._under_hold(direction),
            ptime_ms=_USUAL_PTIME_MS if self.agreed is None else self.agreed.audio.ptime_ms,
            audio_level_id=base.audio_level_id,
            setup="actpass",
            ssrc=self.ssrc,
            cname=self.cname,
            carrier=base.carrier,
        )
        self._offer = local
        return self._stamped(local, transport).to_bytes()

    def withdraw_offer(self) -> None:
        """Forgets our offer after its refusal; what was in force stays in force."""
        self._offer = None

    def read_answer(self, data: bytes) -> AgreedWebRtc:
        """Applies the answer to our offer.

        Raises:
            AnswerRejected: it cannot be read, refuses our audio, or has no codec in common.
        """
        local = self._offer
        if local is None:
            raise AnswerRejected("no offer of ours is open")
        try:
            media, transport = self._read_answer(parse_sdp(data), local)
            self._check_certificate(transport.fingerprints)
        except (SdpParseError, OfferRejected) as error:
            raise AnswerRejected(f"the answer cannot be used: {error}") from error
        if transport.setup == "actpass":
            raise AnswerRejected("the answer leaves a=setup open")
        accepted = [
            (item, codec)
            for item in media.formats
            if (codec := item.codec) is not None and first_format(local.formats, codec) is not None
        ]
        if not accepted:
            raise AnswerRejected("the answer has no codec of our offer")
        sent, codec = accepted[0]
        direction = intersect(local.direction, mirror(media.direction))
        level = local.audio_level_id if media.audio_level_id == local.audio_level_id else None
        self._conclude(
            replace(
                local,
                audio_level_id=level,
                bundled=media.bundled,
                formats=kept_formats(local.formats, media.formats),
            ),
            bind_types(self._in_force.bound, local.formats),
        )
        self.agreed = AgreedWebRtc(
            audio=audio_agreement(media, sent, codec, local, direction),
            audio_level_id=level,
            role="server" if transport.setup == "active" else "client",
            transport=transport,
            mid=local.shape.mid,
        )
        self._offer = None
        return self.agreed

    def _read_answer(
        self, description: SessionDescription, local: LocalMedia
    ) -> tuple[PeerMedia, PeerTransport]:
        index = local.shape.audio_index
        if len(description.media) <= index:
            raise SdpParseError("it lacks our audio line")
        media = description.media[index]
        if media.media.lower() != "audio" or media.protocol.upper() not in SECURE_PROFILES:
            raise SdpParseError("it has another medium or transport in place of our audio")
        if media.port == 0:
            raise SdpParseError("it refuses our audio")
        ours = {item.payload_type: item for item in local.formats}
        return read_media(description, index, ours), read_transport(description, index)

    def _check_certificate(self, fingerprints: Sequence[Fingerprint]) -> None:
        """Refuse another certificate in a session: it would take a second DTLS association."""
        if self.agreed is not None and not set(fingerprints) & set(self.agreed.transport.fingerprints):
            raise OfferRejected(488, "the certificate changed, which takes a new session")

    def _answer_setup(self, offered: Setup, *, active: bool) -> Setup:
        if offered != "actpass":
            return "passive" if offered == "active" else "active"
        if self.agreed is not None:
            active = self.agreed.role == "client"
        return "active" if active else "passive"

    def _ours(self, item: Format) -> Format:
        return item if item.codec is None else our_format(item.codec, item.payload_type, self.heard_hz)

    def _under_hold(self, direction: Direction) -> Direction:
        return direction_of(send=sends(direction), receive=receives(direction) and not self.hold)

    def _conclude(self, local: LocalMedia, bound: dict[int, Format]) -> None:
        self._in_force = _InForce(
            local.shape, local.bundled, local.formats, bound, local.audio_level_id, local.carrier
        )

    def _stamped(self, media: LocalMedia, transport: LocalTransport) -> SessionDescription:
        """Returns our description, under the version it has or, when its text is new, under the next one."""
        lines = media_lines(media, transport)
        connection = lines[media.shape.audio_index].connection
        kind, address = (
            ("IP4", "0.0.0.0") if connection is None else (connection.address_type, connection.address)
        )
        draft = SessionDescription(
            origin=Origin("-", str(self._session_id), str(self._next_version), kind, address),
            attributes=session_attributes(media, transport),
            media=lines,
        )
        known = self._last_sent
        if known is not None and replace(known, origin=draft.origin) == draft:
            return known
        self._next_version += 1
        self._last_sent = draft
        return draft
