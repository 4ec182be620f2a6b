"""Events of playback and recording, on a leg or on a room."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from vb.events.base import LegOrRoomEvent


class PlaybackStarted(LegOrRoomEvent, type="playback.started"):
    """The first frame is about to be heard."""

    playback_id: str


class PlaybackFinished(LegOrRoomEvent, type="playback.finished"):
    """Playback ended: at the end of the data, or because it was stopped."""

    playback_id: str
    reason: str | None = None
    played_ms: int | None = None


class PlaybackError(LegOrRoomEvent, type="playback.error"):
    """Playback could not go on."""

    playback_id: str
    error: str


class ChannelInfo(BaseModel):
    """Where one leg stands in a multi-channel recording."""

    model_config = ConfigDict(frozen=True)

    channel: int
    start_ms: int
    end_ms: int


class RecordingStarted(LegOrRoomEvent, type="recording.started"):
    """Recording runs; the file will exist when it has finished."""

    file: str


class RecordingFinished(LegOrRoomEvent, type="recording.finished"):
    """The recording is complete and lies in its file, which is empty when nothing was captured."""

    file: str
    multi_channel_file: str | None = None
    channels: dict[str, ChannelInfo] | None = None
    omitted_legs: list[str] | None = None
    error: str | None = None


class RecordingPaused(LegOrRoomEvent, type="recording.paused"):
    """Silence is recorded from now on."""

    file: str


class RecordingResumed(LegOrRoomEvent, type="recording.resumed"):
    """Audio is recorded again."""

    file: str
