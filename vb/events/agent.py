"""Events of agents, on a leg or on a room."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vb.events.base import LegOrRoomEvent
from vb.providers.failure import FailureCategory


class AgentConnected(LegOrRoomEvent, type="agent.connected"):
    """The provider's handshake is done: the agent hears and may speak."""

    conversation_id: str
    provider: str | None = None
    agent_id: str | None = None


class AgentDisconnected(LegOrRoomEvent, type="agent.disconnected"):
    """The agent is gone, whether it was ever connected or not; said once, with a reason."""

    reason: str | None = None
    category: FailureCategory | None = None
    error: str | None = None
    conversation_id: str | None = None
    provider: str | None = None


class AgentUserTranscript(LegOrRoomEvent, type="agent.user_transcript"):
    """What the user said, as the agent understood it."""

    text: str
    is_final: bool = True


class AgentResponse(LegOrRoomEvent, type="agent.agent_response"):
    """What the agent says, in words."""

    text: str
    is_final: bool = True


class AgentResponseCorrected(LegOrRoomEvent, type="agent.response_corrected"):
    """A response was cut short: what was heard of it."""

    original: str
    text: str


class AgentInterrupted(LegOrRoomEvent, type="agent.interrupted"):
    """The user cut the agent short; nothing of that turn is heard any more."""

    turn: int
    played_ms: int


class AgentLatency(LegOrRoomEvent, type="agent.latency"):
    """The provider tells how long the parts of a turn took."""

    parts_ms: dict[str, float]


class AgentTurn(LegOrRoomEvent, type="agent.turn"):
    """One answer of an agent that runs here; its times count from the user's last voiced sample."""

    turn: int
    vad_ms: int | None = None
    transcript_ms: int | None = None
    endpointing_ms: int | None = None
    first_words_ms: int | None = None
    first_text_ms: int | None = None
    first_audio_ms: int | None = None
    first_heard_ms: int | None = None
    network_ms: int | None = None
    policy_ms: int | None = None
    provider_ms: int | None = None
    server_ms: int | None = None
    early: bool = False
    took_ms: int = 0
    ducked_ms: int | None = None
    played_ms: int
    interrupted: bool
    false_interruptions: int = 0
    resumed_samples: list[int] = Field(default_factory=list)
    text: str
    heard: str


class AgentError(LegOrRoomEvent, type="agent.error"):
    """A part of an agent that runs here has failed; the conversation goes on."""

    part: Literal["model", "voice", "transcript", "tool", "turn_model"]
    category: FailureCategory
    error: str
