"""What commands answer: views of legs, rooms, playbacks and recordings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vb.choices import SrtpKeying
from vb.events.media import ChannelInfo
from vb.legs.kind import LegType
from vb.rooms.bridge import Direction

LegState = Literal["ringing", "early_media", "connected", "held", "hung_up"]


class View(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class Leg(View):
    """One call leg."""

    id: str = Field(description="identifier of the leg")
    type: LegType
    state: LegState
    room_id: str | None = Field(default=None, description="the room it is in; absent when in none")
    muted: bool = Field(description="whether others cannot hear it")
    deaf: bool = Field(description="whether it cannot hear others")
    accept_dtmf: bool = Field(description="whether digits of room mates are sent to it")
    held: bool = Field(description="whether the call is on hold")
    role: str | None = Field(default=None, description="routing role")
    app_id: str | None = Field(default=None, description="word to filter events by")
    sip_headers: dict[str, str] | None = Field(default=None, description="X- and P- headers of the INVITE")
    headers: dict[str, str] | None = Field(default=None, description="custom headers of the leg's protocol")
    srtp: SrtpKeying | None = Field(
        default=None, description="how its audio is protected: keys by SDES or DTLS; absent when it is not"
    )


class Room(View):
    """A room and who is in it."""

    id: str
    app_id: str | None = None
    sample_rate: int = Field(description="mixing rate in Hz")
    participants: list[Leg]


class Bridge(View):
    """A bridge as one of its rooms sees it."""

    id: str
    room_id: str = Field(description="the room at the other end")
    direction: Direction = Field(description="where audio goes, as seen from the room of the request")
    sample_rate: int = Field(description="mixing rate of both rooms in Hz")


class Routing(View):
    """Who hears whom in a room."""

    matrix: dict[str, list[str]] = Field(description="listener role to the roles that it hears")


class Status(View):
    """What became of the command."""

    status: str


class AddLegResult(Status):
    """Where a leg went."""

    room_id: str
    leg_id: str
    from_: str | None = Field(default=None, alias="from", description="the room that it left")
    to: str | None = Field(default=None, description="the room that it moved to")


class PlaybackStart(Status):
    """A playback was accepted."""

    playback_id: str


class AgentStart(Status):
    """An agent is being attached."""

    leg_id: str | None = None
    room_id: str | None = None


class TtsStart(Status):
    """An utterance was accepted."""

    tts_id: str


class RecordingStart(Status):
    """A recording runs."""

    file: str = Field(description="path that will exist once the recording has finished")


class RecordingStop(Status):
    """A recording has finished."""

    file: str = Field(description="its path or s3:// address; empty when nothing was captured")
    error: str | None = Field(default=None, description="why it ended early, was lost or was not uploaded")


class RoomRecordingStop(RecordingStop):
    """A room's recording has finished."""

    multi_channel_file: str | None = Field(
        default=None, description="the file with a channel per participant"
    )
    channels: dict[str, ChannelInfo] | None = Field(default=None, description="where each leg is in it")
    omitted_legs: list[str] | None = Field(default=None, description="legs that have no channel in it")


class SttStart(Status):
    """A leg is transcribed."""

    leg_id: str


class RoomSttStart(Status):
    """A room is transcribed."""

    room_id: str
    leg_ids: list[str] = Field(description="who is transcribed now")


class WebRtcAnswer(View):
    """The leg that an offer became."""

    leg_id: str
    sdp: str = Field(description="our answer")


class IceCandidate(View):
    """An ICE candidate of the server, as scripts in browsers take it."""

    candidate: str
    sdpMid: str | None = None  # noqa: N815 - the browsers' spelling
    sdpMLineIndex: int | None = None  # noqa: N815 - the browsers' spelling
    usernameFragment: str | None = None  # noqa: N815 - the browsers' spelling


class WebRtcCandidates(View):
    """What was found since the last call."""

    candidates: list[IceCandidate]
    done: bool = Field(description="whether all have been found")
