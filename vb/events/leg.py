"""Events of legs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vb.choices import SrtpKeying
from vb.events.base import LegEvent


class OfferedCodecInfo(BaseModel):
    """A codec that the far end offered and vb knows."""

    model_config = ConfigDict(frozen=True)

    name: str
    payload_type: int
    clock_rate: int
    priority: int = Field(description="1-based order of the offer")


class Cdr(BaseModel):
    """The call detail record of one leg."""

    model_config = ConfigDict(frozen=True)

    reason: str = Field(description="why the leg ended; treat unknown words as opaque")
    duration_total: float = Field(description="seconds since the leg was created")
    duration_answered: float = Field(description="seconds since it was answered, 0 when never")


class QualityInfo(BaseModel):
    """Quality of the RTP that was received."""

    model_config = ConfigDict(frozen=True)

    mos_score: float
    rtp_packets_received: int
    rtp_packets_lost: int
    rtp_jitter_ms: float
    srtp: SrtpKeying | None = Field(
        default=None, description="how the RTP was protected: keys by SDES or DTLS; absent when it was not"
    )


class LegRinging(LegEvent, type="leg.ringing"):
    """A call came in, or an outgoing leg was created."""

    leg_type: str | None = None
    uri: str | None = None
    from_: str | None = Field(default=None, alias="from")
    to: str | None = None
    sip_headers: dict[str, str] | None = None
    offered_codecs: tuple[OfferedCodecInfo, ...] | None = None
    source_address: str | None = None


class LegEarlyMedia(LegEvent, type="leg.early_media"):
    """Media flows before the answer."""

    leg_type: str | None = None


class LegConnected(LegEvent, type="leg.connected"):
    """The call is answered and its media path is up. Sent once per leg."""

    leg_type: str | None = None
    srtp: SrtpKeying | None = Field(
        default=None, description="how its audio is protected: keys by SDES or DTLS; absent when it is not"
    )


class LegDisconnected(LegEvent, type="leg.disconnected"):
    """The leg has ended: exactly once per leg, and always its last event."""

    cdr: Cdr
    quality: QualityInfo | None = None


class LegJoinedRoom(LegEvent, type="leg.joined_room"):
    """The leg is in the room's mix."""

    room_id: str


class LegLeftRoom(LegEvent, type="leg.left_room"):
    """The leg is out of the room's mix."""

    room_id: str


class LegMuted(LegEvent, type="leg.muted"):
    """The leg is no longer heard by others."""


class LegUnmuted(LegEvent, type="leg.unmuted"):
    """The leg is heard by others again."""


class LegDeaf(LegEvent, type="leg.deaf"):
    """The leg no longer hears others."""


class LegUndeaf(LegEvent, type="leg.undeaf"):
    """The leg hears others again."""


class LegRoleChanged(LegEvent, type="leg.role_changed"):
    """The leg's routing role changed; an empty role is none."""

    room_id: str | None = None
    old_role: str
    new_role: str


class LegHold(LegEvent, type="leg.hold"):
    """The call is on hold."""

    leg_type: str | None = None


class LegUnhold(LegEvent, type="leg.unhold"):
    """The call is no longer on hold."""

    leg_type: str | None = None


class LegCommandFailed(LegEvent, type="leg.command_failed"):
    """A command that had been accepted failed later."""

    command: str
    error: str


class LegAudioDropped(LegEvent, type="leg.audio_dropped"):
    """Some of what a WebSocket or MoQ leg sends or hears was lost; told every few seconds at most."""

    direction: Literal["in", "out"] = Field(description="`in` is what the far end sends")
    reason: Literal["overflow", "underflow", "malformed", "flood", "slow_reader"] = Field(
        description="too fast, too late, unusable, too many texts and pings, or not taken in time"
    )
    count: int = Field(description="messages or frames")
    duration_ms: int = Field(description="how much audio that was; 0 where nobody knows")


class DtmfReceived(LegEvent, type="dtmf.received"):
    """A digit came in."""

    digit: str
    seq: int = Field(description="counts the leg's digits from 1")
