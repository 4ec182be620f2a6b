"""Events of text to speech, on a leg or on a room."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vb.events.base import LegOrRoomEvent
from vb.providers.failure import FailureCategory


class TtsStarted(LegOrRoomEvent, type="tts.started"):
    """The first audio of an utterance is about to be heard."""

    tts_id: str


class TtsFinished(LegOrRoomEvent, type="tts.finished"):
    """An utterance ended: it was spoken to its end, or stopped."""

    tts_id: str
    reason: Literal["completed", "stopped"]
    played_ms: int = Field(description="how much of it was heard")


class TtsError(LegOrRoomEvent, type="tts.error"):
    """An utterance could not be spoken, or not to its end."""

    tts_id: str
    error: str
    category: FailureCategory = Field(description="what kind of failure it is")


class TtsStaged(LegOrRoomEvent, type="tts.staged"):
    """A prepared utterance is complete: once committed it is heard at once."""

    tts_id: str
    bytes: int = Field(description="size of its audio")
    duration_ms: int


class TtsDiscarded(LegOrRoomEvent, type="tts.discarded"):
    """A prepared utterance will not be spoken."""

    tts_id: str
    reason: Literal["app", "expired", "leg_gone"]
