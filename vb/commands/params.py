"""What commands take: path, query and body merged into one model each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vb.commands.registry import unbuilt

_CODEC_NAMES = {name.lower(): name for name in ("PCMU", "PCMA", "G722", "opus")}


def _canonical_codec(value: object) -> object:
    return _CODEC_NAMES.get(value.lower(), value) if isinstance(value, str) else value


CodecName = Annotated[Literal["PCMU", "PCMA", "G722", "opus"], BeforeValidator(_canonical_codec)]
HangupReason = Literal[
    "busy", "declined", "rejected", "unavailable", "not_found", "forbidden", "server_error"
]
Seconds = Annotated[int, Field(ge=0, le=10_000_000)]
Url = Annotated[str, Field(max_length=4096, json_schema_extra={"format": "uri"})]


class Params(BaseModel):
    """Base of all parameters: exact types, unknown keys ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", populate_by_name=True)


class NoParams(Params):
    """Nothing to say."""


class LegRef(Params):
    """Names a leg."""

    id: str = Field(description="leg id")


class RoomRef(Params):
    """Names a room."""

    id: str = Field(description="room id")


class SipAuth(Params):
    """Digest credentials."""

    username: str = ""
    password: str


class AmdParams(Params):
    """How an answering machine is told from a person, in milliseconds."""

    initial_silence_timeout: int = 2500
    greeting_duration: int = 1500
    after_greeting_silence: int = 800
    total_analysis_time: int = 5000
    minimum_word_length: int = 100
    beep_timeout: int = 0


class CreateLeg(Params):
    """An outgoing call."""

    type: Literal["sip", "whatsapp", "websocket", "livekit_room"] = Field(description="kind of leg")
    to: str | None = Field(default=None, description="where to call: a SIP URI", max_length=2048)
    uri: str | None = Field(default=None, description="older name of `to`", max_length=2048)
    from_: str | None = Field(default=None, alias="from", description="caller: a user, number or SIP URI")
    privacy: str | None = Field(default=None, description="Privacy header, for example id or none")
    ring_timeout: Seconds = Field(default=0, description="seconds until the call is given up; 0 = never")
    max_duration: Seconds = Field(default=0, description="seconds from the answer to the hang-up; 0 = never")
    codecs: list[str] | None = Field(
        default=None,
        description="codecs to offer, in order",
        json_schema_extra={"items": {"type": "string", "enum": ["PCMU", "PCMA", "G722", "opus"]}},
    )
    headers: dict[str, str] | None = Field(default=None, description="extra headers of the INVITE")
    room_id: str | None = Field(default=None, description="room to join once media flows; made when missing")
    auth: SipAuth | None = Field(default=None, description="credentials for a digest challenge")
    webhook_url: Url | None = Field(default=None, description="receives this leg's events")
    webhook_secret: str | None = Field(default=None, description="signs them")
    amd: AmdParams | None = unbuilt("tells answering machines from people")
    accept_dtmf: bool = Field(default=True, description="whether digits of room mates are sent to it")
    app_id: str | None = Field(default=None, description="word to filter events by")
    speech_detection: bool | None = unbuilt("speaking events")
    rtt: bool | None = unbuilt("real-time text")
    url: Url | None = unbuilt("WebSocket address")
    sample_rate: Literal[8000, 16000, 24000, 48000] | None = unbuilt("rate of a WebSocket leg")
    wire_format: Literal["binary", "json_base64"] | None = unbuilt("framing of a WebSocket leg")
    sample_format: Literal["s16le"] | None = unbuilt("samples of a WebSocket leg")
    outbound_proxy: str | None = unbuilt("next hop of this call")
    streams: list[dict[str, Any]] | None = unbuilt("further audio streams")


class AnswerLeg(LegRef):
    """How to answer."""

    speech_detection: bool | None = unbuilt("speaking events")
    codec: CodecName | None = Field(default=None, description="codec of the answer; must have been offered")
    streams: list[dict[str, Any]] | None = unbuilt("further audio streams")


class EarlyMedia(LegRef):
    """How to start media before the answer."""

    codec: CodecName | None = Field(default=None, description="codec of the answer; must have been offered")


class DeleteLeg(LegRef):
    """How to hang up."""

    reason: str | None = Field(
        default=None,
        description="final answer to an unanswered incoming call",
        json_schema_extra={
            "enum": ["busy", "declined", "rejected", "unavailable", "not_found", "forbidden", "server_error"]
        },
    )


class CreateRoom(Params):
    """A new room."""

    id: str | None = Field(default=None, description="identifier; drawn when absent")
    app_id: str | None = Field(default=None, description="word to filter events by")
    sample_rate: int | None = Field(
        default=None,
        description="mixing rate in Hz",
        json_schema_extra={"enum": [8000, 16000, 48000], "default": 16000},
    )
    webhook_url: Url | None = Field(default=None, description="receives this room's events")
    webhook_secret: str | None = Field(default=None, description="signs them")


class AddLeg(Params):
    """A leg that joins or moves into a room."""

    room_id: str = Field(description="room id")
    leg_id: str = Field(description="leg id")
    mute: bool | None = Field(default=None, description="set before the leg is heard")
    deaf: bool | None = Field(default=None, description="set before the leg hears")
    accept_dtmf: bool | None = Field(default=None, description="whether digits of room mates are sent to it")
    role: str | None = unbuilt("routing role")
    streams: list[dict[str, Any]] | None = unbuilt("further audio streams")


class RemoveLeg(Params):
    """A leg that leaves a room."""

    room_id: str = Field(description="room id")
    leg_id: str = Field(description="leg id")


class Play(Params):
    """What to play: a URL or a tone."""

    id: str = Field(description="id of the leg or room")
    url: Url | None = Field(default=None, description="WAV, MP3 or raw audio over http or https")
    tone: str | None = Field(default=None, description="for example us_ringback, busy or de_dial")
    mime_type: str | None = Field(default=None, description="format of the URL when it does not tell")
    repeat: Annotated[int, Field(ge=-1, le=1_000_000)] = Field(
        default=0, description="how often; 0 = once, -1 = until stopped"
    )
    volume: int = Field(
        default=0, description="steps of 3 dB", json_schema_extra={"minimum": -8, "maximum": 8}
    )


class PlaybackRef(Params):
    """Names a playback on a leg or room."""

    id: str = Field(description="id of the leg or room")
    playback_id: str = Field(description="playback id")


class PlaybackVolume(PlaybackRef):
    """A new volume."""

    volume: int = Field(description="steps of 3 dB", json_schema_extra={"minimum": -8, "maximum": 8})


class Record(Params):
    """How to record."""

    id: str = Field(description="id of the leg or room")
    storage: str | None = Field(
        default=None, description="where to keep it", json_schema_extra={"enum": ["file", "s3"]}
    )
    multi_channel: bool | None = unbuilt("one channel for each participant")
    s3_bucket: str | None = unbuilt("bucket")
    s3_region: str | None = unbuilt("region")
    s3_endpoint: str | None = unbuilt("endpoint")
    s3_prefix: str | None = unbuilt("key prefix")
    s3_access_key: str | None = unbuilt("access key")
    s3_secret_key: str | None = unbuilt("secret key")
    filename: str | None = unbuilt("name of the file")
