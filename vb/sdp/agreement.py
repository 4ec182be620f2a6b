"""What the audio lines of both sides make together.

Spec: RFC 3264 §6, §7.
"""

from collections.abc import Sequence

from vb.sdp.description import LocalAudio
from vb.sdp.formats import Format, choose_event, within
from vb.sdp.ice import Credentials
from vb.sdp.keying import Keys
from vb.sdp.negotiate import Agreed, Choice
from vb.sdp.peer_types import codecs_heard, events_heard
from vb.sdp.session import SessionDescription
from vb.sdp.text import AgreedText


def agreement(
    choice: Choice,
    events: Sequence[Format],
    ours: LocalAudio,
    *,
    remote_held: bool,
    text: AgreedText | None = None,
    srtp: Keys | None = None,
    ice: Credentials | None = None,
) -> Agreed:
    """Return the agreement between the peer's line and ours.

    Args:
        choice: the peer's line, and what we send of it.
        events: telephone events of the peer's line that we may send.
        ours: our line; its direction is the agreed one.
        remote_held, text, srtp, ice: see `Agreed`.
    """
    audio, sent, codec = choice.audio, choice.format, choice.codec
    event = choose_event(events, codec.clock_rate_hz)
    return Agreed(
        remote_rtp=audio.rtp,
        remote_rtcp=audio.rtp if ours.rtcp_mux else audio.rtcp,
        rtcp_mux=ours.rtcp_mux,
        send_codec=within(codec, sent.fmtp),
        send_payload_type=sent.payload_type,
        receive=codecs_heard(ours.formats, audio.formats),
        telephone_event_send=None if event is None else (event.payload_type, event.clock_rate_hz),
        telephone_event_receive=events_heard(ours.formats, audio.formats),
        direction=ours.direction,
        remote_held=remote_held,
        ptime_ms=audio.ptime_ms,
        send_fmtp=sent.fmtp,
        text=text,
        rtcp_use=audio.rtcp_use,
        srtp=srtp,
        ice=ice,
    )


def announces_mux(description: SessionDescription) -> bool:
    """Tell whether a description of ours lets RTCP come to the RTP port."""
    return any(media.port != 0 and media.attribute("rtcp-mux") is not None for media in description.media)
