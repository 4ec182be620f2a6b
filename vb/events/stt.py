"""Events of transcripts: what a leg says, in words."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vb.events.base import LegEvent

_STREAM = "which of a leg's audio streams it is; absent for a leg that has one"
_ROOM = "the room whose transcription it is; absent when only the leg is transcribed"


class SttText(LegEvent, type="stt.text"):
    """Somebody said something."""

    room_id: str | None = Field(default=None, description=_ROOM)
    stream_id: str | None = Field(default=None, description=_STREAM)
    text: str
    is_final: bool = Field(description="false while it may still change")
    speech_final: bool | None = Field(default=None, description="whether the speaker has paused")
    audio_start_ms: int | None = Field(
        default=None, description="when it begins, counted from the start of the transcription"
    )
    audio_end_ms: int | None = Field(default=None, description="when it ends")


class SttWord(BaseModel):
    """One word of a turn and when it was said."""

    model_config = ConfigDict(frozen=True)

    word: str
    confidence: float
    start_ms: int
    end_ms: int


class SttTurn(LegEvent, type="stt.turn"):
    """A turn of somebody who speaks began, went on or ended, as far as the provider can tell."""

    room_id: str | None = Field(default=None, description=_ROOM)
    stream_id: str | None = Field(default=None, description=_STREAM)
    event: Literal[
        "start_of_turn", "update", "eager_end_of_turn", "turn_resumed", "end_of_turn", "utterance_end"
    ]
    turn_index: int | None = None
    text: str | None = Field(default=None, description="what was said in the turn so far")
    end_of_turn_confidence: float | None = None
    audio_window_start_ms: int | None = None
    audio_window_end_ms: int | None = None
    last_word_end_ms: int | None = None
    words: list[SttWord] | None = None
    languages: list[str] | None = None


class SttError(LegEvent, type="stt.error"):
    """A transcription has ended because its provider failed for good. Once, and the last of it."""

    room_id: str | None = Field(default=None, description=_ROOM)
    provider: str
    category: str = Field(
        description="permanent_auth, permanent_input, rate_limited, service_unavailable, retryable or unknown"
    )
    error: str
