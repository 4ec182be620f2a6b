"""Events of what is told from a leg's audio: who answered, and when somebody speaks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vb.events.base import LegEvent


class AmdResult(LegEvent, type="amd.result"):
    """Answering machine detection has its verdict. Once per analysis."""

    result: Literal["human", "machine", "no_speech", "not_sure"]
    initial_silence_ms: int = Field(description="silence before the first speech")
    greeting_duration_ms: int = Field(description="speech that was counted")
    total_analysis_ms: int = Field(description="audio that was looked at")


class AmdBeep(LegEvent, type="amd.beep"):
    """The beep of an answering machine was heard. After amd.result, and at most once."""

    beep_ms: int = Field(description="time since the verdict")


class SpeakingStarted(LegEvent, type="speaking.started"):
    """The far end of a leg started to speak."""

    room_id: str | None = Field(default=None, description="the room that the leg is in")


class SpeakingStopped(LegEvent, type="speaking.stopped"):
    """The far end of a leg fell silent, was muted, or the leg ends."""

    room_id: str | None = Field(default=None, description="the room that the leg is in")
