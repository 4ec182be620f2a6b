"""A call as the history shows it: one pydantic class for each object of the calls API."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from vb.history.base import Duration, Model, Time, Uri, omitted
from vb.history.mediums import CallMedium, DataConnectionConfig
from vb.history.voices import ExternalVoice
from vb.storage.address import OpenedBy

EndReason = Literal[
    "unjoined",
    "hangup",
    "agent_hangup",
    "timeout",
    "connection_error",
    "system_error",
]
BillingStatus = Literal[
    "BILLING_STATUS_PENDING",
    "BILLING_STATUS_FREE_CONSOLE",
    "BILLING_STATUS_FREE_ZERO_EFFECTIVE_DURATION",
    "BILLING_STATUS_FREE_MINUTES",
    "BILLING_STATUS_FREE_SYSTEM_ERROR",
    "BILLING_STATUS_FREE_OTHER",
    "BILLING_STATUS_BILLED",
    "BILLING_STATUS_REFUNDED",
    "BILLING_STATUS_UNSPECIFIED",
]
FirstSpeaker = Literal[
    "FIRST_SPEAKER_AGENT",
    "FIRST_SPEAKER_USER",
]
InitialOutputMedium = Literal[
    "MESSAGE_MEDIUM_VOICE",
    "MESSAGE_MEDIUM_TEXT",
]
RetentionPolicy = Literal[
    "retain",
    "auto_delete",
]
Direction = Literal["inbound", "outbound"]
TerminationReason = Literal[
    "SIP_TERMINATION_NORMAL",
    "SIP_TERMINATION_INVALID_NUMBER",
    "SIP_TERMINATION_TIMEOUT",
    "SIP_TERMINATION_DESTINATION_UNAVAILABLE",
    "SIP_TERMINATION_BUSY",
    "SIP_TERMINATION_CANCELED",
    "SIP_TERMINATION_REJECTED",
    "SIP_TERMINATION_UNKNOWN",
]


class FallbackAgentGreeting(Model):
    """What the agent says when the caller stays silent."""

    delay: Duration | None = omitted()
    text: str | None = omitted()
    prompt: str | None = omitted()


class FirstSpeakerSettingsUserGreeting(Model):
    """The caller speaks first."""

    fallback: FallbackAgentGreeting | None = omitted()


class FirstSpeakerSettingsAgentGreeting(Model):
    """The agent speaks first."""

    uninterruptible: bool | None = omitted()
    text: str | None = omitted()
    prompt: str | None = omitted()
    delay: Duration | None = omitted()


class FirstSpeakerSettings(Model):
    """Who opens the conversation, and how: exactly one of both is set."""

    user: FirstSpeakerSettingsUserGreeting | None = omitted()
    agent: FirstSpeakerSettingsAgentGreeting | None = omitted()


class TimedMessage(Model):
    """Something that the agent says after a while."""

    duration: Duration | None = omitted()
    message: str | None = omitted()
    end_behavior: (
        Literal["END_BEHAVIOR_UNSPECIFIED", "END_BEHAVIOR_HANG_UP_SOFT", "END_BEHAVIOR_HANG_UP_STRICT"] | None
    ) = omitted()


class VadSettings(Model):
    """When a turn begins and ends."""

    turn_endpoint_delay: Duration | None = omitted()
    minimum_turn_duration: Duration | None = omitted()
    minimum_interruption_duration: Duration | None = omitted()
    frame_activation_threshold: float | None = omitted()


class AgentBasic(Model):
    """The agent that took part."""

    agent_id: UUID
    name: str


class Callback(Model):
    """One address that is called."""

    url: str | None = omitted()
    secrets: list[str] | None = omitted()


class Callbacks(Model):
    """What is called over HTTP as the call goes on."""

    joined: Callback | None = omitted()
    ended: Callback | None = omitted()
    billed: Callback | None = omitted()


class CallSipDetails(Model):
    """What only SIP calls have."""

    billed_duration: str | None
    termination_reason: TerminationReason | None


class Call(Model):
    """One call: the life of one leg, in or out."""

    call_id: UUID = Field(description="identifier of the call")
    client_version: str | None = Field(description="software of the far end, when it told")
    created: Time = Field(description="when the leg came into being")
    joined: Time | None = Field(description="when it was answered")
    ended: Time | None = Field(description="when it was over; null while the call goes on")
    end_reason: EndReason | None = Field(description="why it ended")
    billed_duration: str | None = Field(description="time from the answer to the end")
    billed_side_input_tokens: int | None = Field(description="always null: nothing is counted in tokens")
    billed_side_output_tokens: int | None = Field(description="always null: nothing is counted in tokens")
    billing_status: BillingStatus = Field(description="what the call counts as")
    first_speaker: FirstSpeaker = Field(description="whose turn was the first: the user's on outgoing calls")
    first_speaker_settings: FirstSpeakerSettings = Field(description="the same as an object")
    inactivity_messages: list[TimedMessage] | None = omitted()
    initial_output_medium: InitialOutputMedium = Field(description="how the agent began to speak")
    join_timeout: str = Field(default="30s", description="how long the call might wait for an answer")
    join_url: str | None = Field(description="always null: calls are joined by their own protocols")
    language_hint: str | None = Field(default=None, max_length=16)
    max_duration: str = Field(default="3600s", description="how long the call might last once answered")
    medium: CallMedium | None = Field(default=None, description="protocol of the call")
    model: str = Field(default="ultravox-v0.7", description="model of the agent; empty when there was none")
    recording_enabled: bool = Field(default=False, description="whether it was recorded")
    retention_policy: RetentionPolicy | None = Field(default=None, description="how long it is kept")
    system_prompt: str | None = None
    temperature: float = Field(default=0, ge=0, le=1)
    time_exceeded_message: str | None = None
    voice: str | None = Field(default=None, description="voice of the agent")
    external_voice: ExternalVoice | None = omitted()
    voice_overrides: ExternalVoice | None = omitted()
    transcript_optional: bool = True
    vad_settings: VadSettings | None = None
    short_summary: str | None
    summary: str | None
    agent: AgentBasic = Field(description="the agent; a nil id and no name when there was none")
    agent_id: str | None = Field(description="the agent's id")
    experimental_settings: Any
    metadata: dict[str, str] = Field(description="headers and metadata of the request")
    initial_state: dict[str, Any]
    request_context: Any
    data_connection_config: DataConnectionConfig | None = omitted()
    callbacks: Callbacks | None = omitted()
    sip_details: CallSipDetails | None = Field(description="what only SIP calls have")


class PaginatedCallList(Model):
    """A page of calls."""

    next: Uri | None = Field(default=None, description="URL of the following page")
    previous: Uri | None = Field(default=None, description="URL of the page before")
    results: list[Call] = Field(description="the calls of this page")
    total: int | None = omitted(description="how many calls match, on all pages")


class RoomStay(Model):
    """A stay of the leg in a room."""

    room_id: str
    joined: Time
    left: Time | None = Field(description="null while it lasts")


class Recording(Model):
    """A recording of the leg, or of a room that it was in."""

    file: str = Field(description="path or s3:// address; empty when nothing was captured")
    multi_channel_file: str | None = None
    room_id: str | None = Field(default=None, description="the room, when it is a room's recording")
    finished: bool = False
    error: str | None = None
    opened_by: OpenedBy | None = Field(
        default=None,
        description="whose credentials open the bucket that it lies in; those of a request are not kept, so"
        " that the server neither hands it on nor deletes it",
    )


class AgentSession(Model):
    """An agent in the call."""

    agent_id: str | None = None
    name: str | None = None
    provider: str | None = None
    conversation_id: str | None = None
    started: Time
    ended: Time | None = None
    turns: int = Field(default=0, description="what user and agent said, each utterance one")
    reason: str | None = Field(default=None, description="why it ended")
    error: str | None = None


class LegDetail(Model):
    """What the server knows of the leg behind a call."""

    leg_id: str
    leg_type: str
    direction: Direction
    from_: str | None = Field(default=None, alias="from")
    to: str | None = None
    uri: str | None = None
    app_id: str | None = None
    instance_id: str = Field(description="server process that had the leg")
    reason: str | None = Field(description="why the leg ended, in the words of leg.disconnected")
    duration_total: float | None = Field(description="seconds since the leg was created")
    duration_answered: float | None = Field(description="seconds since it was answered")
    quality: dict[str, int | float | str] | None = Field(description="of the RTP that was received")
    rooms: list[RoomStay]
    recordings: list[Recording]
    agents: list[AgentSession]


class CallDetail(Call):
    """One call with all that is known of its leg."""

    leg: LegDetail


class CallDetailList(Model):
    """A page of calls, each with all that is known of its leg."""

    next: Uri | None = Field(default=None, description="URL of the following page")
    previous: Uri | None = Field(default=None, description="URL of the page before")
    results: list[CallDetail] = Field(description="the calls of this page")
    total: int = Field(description="how many calls match, on all pages")


class QualitySample(Model):
    """How a call sounded since the sample before."""

    time: Time
    packets_received: int
    packets_lost: int
    jitter_ms: float
    round_trip_ms: float | None = Field(default=None, description="null while the far end does not tell")
    far_lost_percent: float | None = Field(
        default=None, description="of the audio that we sent, as the far end tells"
    )
    mos_score: float = Field(description="1 to 5, estimated from loss and jitter")


class QualityList(Model):
    """How a call sounded over time, every five seconds, or more rarely in a long call."""

    results: list[QualitySample]


class Timespan(Model):
    """From when to when, since the call was answered; it ends when the words were there."""

    start: Duration
    end: Duration


class Message(Model):
    """Something that was said."""

    role: Literal["MESSAGE_ROLE_USER", "MESSAGE_ROLE_AGENT"]
    text: str
    medium: InitialOutputMedium
    created: Time
    timespan: Timespan | None = omitted()


class MessageList(Model):
    """A page of what was said."""

    next: str | None = None
    previous: str | None = None
    results: list[Message]
    total: int


class SipText(Model):
    """A SIP message of the call's dialog, without its secrets."""

    direction: Literal["in", "out"]
    text: str
    cut: bool = Field(default=False, description="whether some of it is missing because it was too long")


class Entry(Model):
    """One thing that happened in a call: an event, or a SIP message."""

    number: int = Field(description="counts from 1")
    timestamp: str
    type: str = Field(description="type of the event, or sip.message")
    event: dict[str, Any] | None = Field(default=None, description="the event as webhooks carry it")
    sip: SipText | None = None


class EntryList(Model):
    """A page of what happened."""

    next: str | None = None
    previous: str | None = None
    results: list[Entry]
    total: int
