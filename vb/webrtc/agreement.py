"""What the two descriptions of a WebRTC leg make together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vb.codecs.base import Codec
from vb.sdp.direction import Direction, receives
from vb.sdp.formats import Format, choose_event, event_format, within
from vb.sdp.negotiate import Agreed
from vb.webrtc.dtls import Role
from vb.webrtc.local_description import LocalMedia
from vb.webrtc.peer_description import PeerMedia, PeerTransport

_EVENT_CLOCKS_HZ: Final = (48_000, 8_000)


@dataclass(frozen=True, slots=True)
class AgreedWebRtc:
    """What a completed exchange gives us, seen from our side.

    Attributes:
        audio: codecs, payload types and direction; it has no addresses, which ICE finds.
        audio_level_id: number of the header extension with the level of what we receive, None without.
        role: our part in the DTLS handshake.
        transport: what the peer says of its own transport.
    """

    audio: Agreed
    audio_level_id: int | None
    role: Role
    transport: PeerTransport
    mid: str | None


def taken_events(formats: Iterable[Format]) -> list[Format]:
    """Returns the telephone events of an offer that we take: one of each usual clock."""
    taken: dict[int, Format] = {}
    for item in formats:
        if item.is_event and item.clock_rate_hz in _EVENT_CLOCKS_HZ:
            taken.setdefault(item.clock_rate_hz, event_format(item.payload_type, item.clock_rate_hz))
    return list(taken.values())


def kept_formats(ours: Iterable[Format], theirs: Iterable[Format]) -> tuple[Format, ...]:
    """Returns the formats of our offer that the answer has left."""
    keys = {item.key for item in theirs}
    return tuple(item for item in ours if item.key in keys)


def audio_agreement(
    media: PeerMedia, sent: Format, codec: Codec, local: LocalMedia, direction: Direction
) -> Agreed:
    """Returns the audio that is agreed on.

    Args:
        sent: the peer's format that we send, which is `codec`.
        direction: ours.
    """
    events = [
        item for item in media.formats if item.key in {ours.key for ours in local.formats if ours.is_event}
    ]
    event = choose_event(events, codec.clock_rate_hz)
    return Agreed(
        remote_rtp=None,
        remote_rtcp=None,
        rtcp_mux=True,
        send_codec=within(codec, sent.fmtp),
        send_payload_type=sent.payload_type,
        receive={item.payload_type: item.codec for item in local.formats if item.codec is not None},
        telephone_event_send=None if event is None else (event.payload_type, event.clock_rate_hz),
        telephone_event_receive={
            item.payload_type: item.clock_rate_hz for item in local.formats if item.is_event
        },
        direction=direction,
        remote_held=not receives(media.direction),
        ptime_ms=media.ptime_ms,
        send_fmtp=sent.fmtp,
    )
