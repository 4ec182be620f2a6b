"""Offer and answer for the media of one leg: who offered what, what is in force, what we said last.

Spec: RFC 3264, RFC 6337.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from vb.codecs.base import Codec
from vb.sdp.address import local_network
from vb.sdp.agreement import agreement, announces_mux
from vb.sdp.description import LocalAudio, Shape, media_lines, offer_shape, session_attributes
from vb.sdp.direction import Direction, direction_of, intersect, mirror, receives, sends
from vb.sdp.errors import AnswerRejected, OfferRejected, SdpParseError
from vb.sdp.formats import (
    Format,
    assign_types,
    bind_types,
    choose_event,
    codec_format,
    codecs_by_type,
    event_format,
    events_by_type,
    first_format,
    wanted_formats,
)
from vb.sdp.ice import LocalIce
from vb.sdp.keying import NO_KEYS, RTP_AVP, Keying, LocalKeys, answered_keys, kept_keys
from vb.sdp.negotiate import Agreed, Choice, PeerAudio, choose_audio, read_audio, require_reachable
from vb.sdp.parser import as_description, parse_sdp
from vb.sdp.session import Connection, Origin, SessionDescription
from vb.sdp.text import LocalText, find_text
from vb.sdp.text_exchange import answer_text, answered_text, first_text, kept_text, offered_again

_USUAL_PTIME_MS: Final = 20


@dataclass(frozen=True, slots=True)
class Receivable:
    """What may arrive now: the agreement in force together with an offer of ours that is open.

    Attributes:
        codecs: payload type to codec.
        telephone_events: payload type to clock in Hz.
    """

    codecs: Mapping[int, Codec]
    telephone_events: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Offer:
    """An offer of ours; it stays after its answer because forks may bring more answers."""

    description: SessionDescription
    formats: tuple[Format, ...]
    direction: Direction
    shape: Shape
    text: LocalText | None
    keys: LocalKeys = NO_KEYS
    ice: LocalIce | None = None
    answered: bool = False


@dataclass(frozen=True, slots=True)
class _InForce:
    """What the last completed exchange left behind.

    Attributes:
        direction: what our description says, which the peer's may have narrowed.
        formats: what our next offer lists unless told otherwise, with the types we receive them as.
        described: every format our description lists.
        bound: every payload type the session has given a meaning.
        text: the text line of our description, which the peer may have refused.
        keys: those of ours in force, as our description says them.
        ice: what our description says of ICE.
    """

    agreed: Agreed | None = None
    description: SessionDescription | None = None
    direction: Direction = "sendrecv"
    shape: Shape = field(default_factory=Shape)
    formats: tuple[Format, ...] = ()
    described: tuple[Format, ...] = ()
    bound: dict[int, Format] = field(default_factory=dict)
    text: LocalText | None = None
    keys: LocalKeys = NO_KEYS
    ice: LocalIce | None = None


@dataclass(frozen=True, slots=True)
class SavedSession:
    """Where a negotiation stood; opaque, for `OfferAnswer.restore`."""

    in_force: _InForce
    offer: _Offer | None
    last_sent: SessionDescription | None
    next_version: int
    chosen_codec: str | None

    @property
    def agreed(self) -> Agreed | None:
        """The audio that was in force."""
        return self.in_force.agreed


@lru_cache(maxsize=8)
def _own_connection(address: str) -> Connection:
    """Return our `c=` line for one of our few addresses; a ValueError if it is no IP literal."""
    return Connection(f"IP{ip_address(address).version}", address)


class OfferAnswer:
    """The session descriptions of one leg, both ours and the peer's.

    A method that raises changes nothing.

    Args:
        address: IP literal that goes into our `c=` line; its version decides IP4 or IP6.
        rtp_port: UDP port of our audio.
        rtcp_port: UDP port of our RTCP; the one after `rtp_port` when None.
        codecs: our codecs, best first.
        session_id: number of the `o=` line, the same for the life of the leg.
        session_name: the `s=` line.
        keying: how the audio may be protected; without it secure transports are refused.

    Attributes:
        hold: we hold the peer; every description from now on lets nothing in from it.
        codecs: our codecs, best first.
        keying: as it was given.
        text_keying: how text may be protected; as the audio, with keys of its own.
        network: what can be reached from here; the names of descriptions that come in are to be in it.
        text_port: UDP port of our real-time text: the first offer then asks for text, and a text line of
            the peer is taken. None refuses text.
        agreed: the media in force, or None before the first exchange is complete.

    Raises:
        ValueError: `address` is not an IP literal, `codecs` is empty, or the name holds a line end.
    """

    def __init__(
        self,
        *,
        address: str,
        rtp_port: int,
        rtcp_port: int | None = None,
        codecs: Sequence[Codec],
        session_id: int,
        session_name: str = "-",
        keying: Keying | None = None,
    ) -> None:
        self.hold = False
        self.text_port: int | None = None
        if not codecs or not {"\r", "\n", "\0"}.isdisjoint(session_name):
            raise ValueError("a session needs at least one codec and a name on one line")
        self.codecs = tuple(codecs)
        self.network = local_network(address)
        self._connection = _own_connection(address)
        self._rtp_port = rtp_port
        self._rtcp_port = rtp_port + 1 if rtcp_port is None else rtcp_port
        self._session_id = session_id
        self._session_name = session_name
        self.keying = keying
        self.text_keying = None if keying is None else keying.twin()
        self._in_force = _InForce(shape=Shape(protocol=RTP_AVP if keying is None else keying.protocol))
        self._offer: _Offer | None = None
        self._last_sent: SessionDescription | None = None
        self._next_version = 0
        self._chosen_codec: str | None = None

    @property
    def agreed(self) -> Agreed | None:
        """The audio in force, or None before the first exchange is complete."""
        return self._in_force.agreed

    @property
    def local_description(self) -> bytes | None:
        """Our description in force, byte for byte, or None before the first exchange is complete."""
        description = self._in_force.description
        return None if description is None else description.to_bytes()

    @property
    def offer_pending(self) -> bool:
        """True while an offer of ours waits for its first answer."""
        return self._offer is not None and not self._offer.answered

    @property
    def open_keys(self) -> LocalKeys:
        """What the last offer of ours brings of keys."""
        return NO_KEYS if self._offer is None else self._offer.keys

    @property
    def receivable(self) -> Receivable:
        """Everything that may arrive from the peer now.

        Spec: RFC 3264 §5.1, an offerer must take what it offered at once.
        """
        formats = self._in_force.described
        if self._offer is not None:
            formats = (*formats, *self._offer.formats)
        return Receivable(codecs_by_type(formats), events_by_type(formats))

    def offer(self, direction: Direction = "sendrecv", codecs: Sequence[Codec] | None = None) -> bytes:
        """Make our offer; the `o=` version rises only when the text changed.

        Args:
            direction: what we want; a hold takes the peer's media out of it.
            codecs: what to list, best first. Without it our codecs at first, afterwards what is agreed;
                `self.codecs` puts everything on the table again, as an offerless re-INVITE asks for.
        """
        base = self._in_force
        if not codecs and base.agreed is not None:
            formats = base.formats
        else:
            formats = assign_types(wanted_formats(codecs or self.codecs), base.bound)
        audio = self._local_audio(formats, self._offer_direction(direction), rtcp_mux=True)
        shape, text = self._offered_text()
        description = self._stamped(shape, audio, text)
        self._offer = _Offer(description, formats, audio.direction, shape, text, audio.keys, audio.ice)
        return description.to_bytes()

    def refresh_offer(self) -> bytes:
        """Offers the description in force once more, unchanged, for a session timer refresh.

        Before the first exchange is complete this is the same as `offer()`.

        Spec: RFC 4028 §7.4.
        """
        base = self._in_force
        if base.description is None:
            return self.offer()
        self._offer = _Offer(
            base.description, base.described, base.direction, base.shape, base.text, base.keys, base.ice
        )
        return base.description.to_bytes()

    def withdraw_offer(self) -> None:
        """Forgets our offer after its refusal; what was in force stays in force."""
        if self.offer_pending:
            self._offer = None

    def save(self) -> SavedSession:
        """Return where the negotiation stands, so that another fork of the call can begin there."""
        return SavedSession(
            self._in_force, self._offer, self._last_sent, self._next_version, self._chosen_codec
        )

    def restore(self, saved: SavedSession) -> None:
        """Goes back to where the negotiation stood; what was said since then is forgotten."""
        self._in_force = saved.in_force
        self._offer = saved.offer
        self._last_sent = saved.last_sent
        self._next_version = saved.next_version
        self._chosen_codec = saved.chosen_codec

    def receive_answer(self, data: bytes) -> Agreed:
        """Apply an answer to our offer; a later one for the same offer replaces it.

        An answer that comes after an exchange begun by the peer repeats what is history, and is ignored.

        Raises:
            AnswerRejected: it cannot be read, refuses our audio, or has no codec in common.
        """
        offer, base = self._offer, self._in_force
        if offer is None:
            if base.agreed is None:
                raise AnswerRejected("no offer of ours is open")
            return base.agreed
        description, audio = self._read_answer(data, offer)
        line = description.media[audio.index]
        keys = answered_keys(description, line, offer.shape.protocol, offer.keys, self.keying)
        has_ice = offer.ice is not None and audio.ice is not None
        accepted = [
            (item, codec, ours)
            for item in audio.formats
            if (codec := item.codec) is not None and (ours := first_format(offer.formats, codec)) is not None
        ]
        if not accepted:
            raise AnswerRejected("the answer has no codec of our offer")
        clocks = events_by_type(offer.formats).values()
        events = [item for item in audio.formats if item.is_event and item.clock_rate_hz in clocks]
        sent, codec, _ = accepted[0]
        agreed = replace(
            self._answered(Choice(audio, sent, codec), events, offer),
            text=answered_text(
                description,
                offer.text,
                offer.shape.text_index,
                self.network,
                self.text_keying,
                protected=keys is not None,
            ),
            srtp=keys,
            ice=audio.ice.credentials if audio.ice is not None and has_ice else None,
        )
        event_clocks = {event.clock_rate_hz for event in events}
        self._in_force = _InForce(
            agreed=agreed,
            description=offer.description,
            direction=offer.direction,
            shape=offer.shape,
            formats=(
                *dict.fromkeys(ours for *_, ours in accepted),
                *(ours for ours in offer.formats if ours.is_event and ours.clock_rate_hz in event_clocks),
            ),
            described=offer.formats,
            bound=bind_types(base.bound, offer.formats),
            text=kept_text(offer.text, agreed.text),
            keys=kept_keys(offer.keys, keys),
            ice=offer.ice if has_ice else None,
        )
        self._offer = replace(offer, answered=True)
        return agreed

    def receive_offer(
        self,
        offer: bytes | SessionDescription,
        *,
        codec: str | None = None,
        direction: Direction = "sendrecv",
        known: Choice | None = None,
    ) -> bytes:
        """Apply the peer's offer and return our answer; `agreed` tells what came of it.

        Args:
            offer: the offer, read or not.
            codec: name of the codec to answer with; remembered for later offers that list it. None takes
                the first of our codecs that is offered.
            direction: the most we are ready for.
            known: see `choose_audio`.

        Raises:
            SdpParseError: the offer cannot be read.
            OfferRejected: nothing in it can be accepted, or an offer of ours is open (491).
            CodecNotOffered: `codec` is not in the offer or not enabled.
        """
        if self.offer_pending:
            raise OfferRejected(491, "Request Pending")
        description = as_description(offer)
        base = self._in_force
        current = None if base.agreed is None else base.shape.audio_index
        network, keying, best = self.network, self.keying, self._preference()
        choice = choose_audio(
            description, best, codec=codec, current=current, network=network, keying=keying, known=known
        )
        require_reachable(choice.audio)
        theirs = None
        if self.text_port is not None:
            at, secure = base.shape.text_index, choice.keys is not None
            theirs = find_text(description, at, network, self.text_keying, protected=secure)
        text_index = None if theirs is None else theirs.index
        shape = offer_shape(description.media, choice.audio.index, choice.audio.mid, text_index)
        answer = self._answer_audio(choice, direction)
        keys = None
        if keying is not None:
            if choice.keys is not None:
                local, keys = keying.answer(choice.keys, None if base.agreed is None else base.agreed.srtp)
                answer = replace(answer, keys=local)
            if choice.audio.ice is not None:
                answer = replace(answer, ice=keying.answer_ice(choice.audio.ice))
        has_ice = answer.ice is not None and answer.ice.credentials is not None
        before = None if base.agreed is None else base.agreed.text
        text, agreed_text = answer_text(theirs, self.text_port, self.text_keying, before)
        ours = self._stamped(shape, answer, text)
        events = [item for item in answer.formats if item.is_event]
        held = not receives(choice.audio.direction)
        ice = choice.audio.ice.credentials if choice.audio.ice is not None and has_ice else None
        self._in_force = _InForce(
            agreed=agreement(choice, events, answer, remote_held=held, text=agreed_text, srtp=keys, ice=ice),
            description=ours,
            direction=answer.direction,
            shape=shape,
            formats=answer.formats,
            described=answer.formats,
            bound=bind_types(bind_types(base.bound, choice.audio.formats), answer.formats),
            text=text,
            keys=answer.keys,
            ice=answer.ice if has_ice else None,
        )
        self._offer = None
        self._chosen_codec = codec or self._chosen_codec
        return ours.to_bytes()

    def _preference(self) -> list[Codec]:
        """Return our codecs with one that was asked for by name in front."""
        if not self._chosen_codec:
            return list(self.codecs)
        chosen = self._chosen_codec.lower()
        return sorted(self.codecs, key=lambda item: item.name.lower() != chosen)

    def _offered_text(self) -> tuple[Shape, LocalText | None]:
        """Return the media lines of our next offer, and the text among them.

        Text is asked for once: a peer that refused it is not asked again. It is no part of a hold.
        """
        base = self._in_force
        if base.agreed is not None:
            return base.shape, offered_again(base.text, base.agreed.text, self.text_keying)
        if self.text_port is None:
            return base.shape, None
        text = first_text(self.text_port, self.text_keying)
        return base.shape.with_text(text), text

    def _read_answer(self, data: bytes, offer: _Offer) -> tuple[SessionDescription, PeerAudio]:
        index = offer.shape.audio_index
        try:
            description = parse_sdp(data)
            if len(description.media) <= index:
                raise AnswerRejected("the answer lacks our audio line")
            media = description.media[index]
            if media.media.lower() != "audio":
                raise AnswerRejected("the answer has another medium or transport in place of our audio")
            if media.port == 0:
                raise AnswerRejected("the answer refuses our audio")
            ours = {item.payload_type: item for item in offer.formats}
            audio = read_audio(description, index, ours, self.network)
            if audio.rtp is None and audio.ice is None and receives(audio.direction):
                raise AnswerRejected("the answer has no address that can be reached")
            return description, audio
        except SdpParseError as error:
            raise AnswerRejected(f"the answer cannot be read: {error}") from error

    def _answered(self, choice: Choice, events: Sequence[Format], offer: _Offer) -> Agreed:
        """Return what an answer to our offer makes of the two descriptions."""
        audio, before = choice.audio, self._in_force.agreed
        # An answer to an offer that did not send cannot tell whether the peer would have listened.
        silent_offer = not sends(offer.direction)
        held = before is not None and before.remote_held if silent_offer else not receives(audio.direction)
        described = LocalAudio(
            self._rtp_port,
            self._rtcp_port,
            offer.formats,
            audio.ptime_ms,
            intersect(offer.direction, mirror(audio.direction)),
            rtcp_mux=audio.rtcp_mux and announces_mux(offer.description),
        )
        return agreement(choice, events, described, remote_held=held)

    def _answer_audio(self, choice: Choice, limit: Direction) -> LocalAudio:
        audio = choice.audio
        formats = [codec_format(choice.codec, choice.format.payload_type)]
        event = choose_event(audio.formats, choice.codec.clock_rate_hz)
        if event is not None:
            formats.append(event_format(event.payload_type, event.clock_rate_hz))
        direction = intersect(mirror(audio.direction), limit)
        return LocalAudio(
            self._rtp_port,
            self._rtcp_port,
            tuple(formats),
            audio.ptime_ms,
            self._under_hold(direction),
            rtcp_mux=audio.rtcp_mux,
        )

    def _local_audio(
        self, formats: tuple[Format, ...], direction: Direction, *, rtcp_mux: bool
    ) -> LocalAudio:
        agreed = self._in_force.agreed
        ptime_ms = _USUAL_PTIME_MS if agreed is None else agreed.ptime_ms
        keys, ice, keying = self._in_force.keys, self._in_force.ice, self.keying
        if keying is not None:
            keys = keying.first_offer() if agreed is None else keying.later_offer(agreed.srtp, keys)
        return LocalAudio(self._rtp_port, self._rtcp_port, formats, ptime_ms, direction, rtcp_mux, keys, ice)

    def _under_hold(self, direction: Direction) -> Direction:
        return direction_of(send=sends(direction), receive=False) if self.hold else direction

    def _offer_direction(self, wanted: Direction) -> Direction:
        """Return the direction to offer; a stream the peer holds too is held by `inactive`.

        Spec: RFC 3264 §8.4.
        """
        agreed = self._in_force.agreed
        if self.hold and agreed is not None and agreed.remote_held:
            return "inactive"
        return self._under_hold(wanted)

    def _stamped(self, shape: Shape, audio: LocalAudio, text: LocalText | None) -> SessionDescription:
        """Return our description under the version it has, or under the next one when its text is new."""
        draft = SessionDescription(
            origin=self._origin(self._next_version),
            name=self._session_name,
            connection=self._connection,
            attributes=session_attributes(audio, text),
            media=media_lines(shape, audio, text),
        )
        for known in (self._last_sent, self._in_force.description):
            if known is not None and replace(known, origin=draft.origin) == draft:
                self._last_sent = known
                return known
        self._next_version += 1
        self._last_sent = draft
        return draft

    def _origin(self, version: int) -> Origin:
        connection = self._connection
        return Origin("-", str(self._session_id), str(version), connection.address_type, connection.address)
