"""Commands that play into legs and rooms."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vb.commands.owners import owner_command
from vb.commands.params import OwnerRef
from vb.commands.registry import Route
from vb.commands.views import PlaybackStart, Status
from vb.engine import Engine
from vb.errors import BadRequest
from vb.owner import Owner
from vb.parameters import Url
from vb.playback.player import PlaybackRequest
from vb.playback.players import check_volume

_PATH = "/v1/{owners}/{id}/play/{playbackID}"
_NAMES = {"playbackID": "playback_id"}


class Play(OwnerRef):
    """What to play: a URL or a tone."""

    url: Url | None = Field(default=None, description="WAV, MP3 or raw audio over http or https")
    tone: str | None = Field(default=None, description="for example us_ringback, busy or de_dial")
    mime_type: str | None = Field(default=None, description="format of the URL when it does not tell")
    repeat: Annotated[int, Field(ge=-1, le=1_000_000)] = Field(
        default=0, description="how often; 0 = once, -1 = until stopped"
    )
    volume: int = Field(
        default=0, description="steps of 3 dB", json_schema_extra={"minimum": -8, "maximum": 8}
    )


class PlaybackRef(OwnerRef):
    """Names a playback on a leg or room."""

    playback_id: str = Field(description="playback id")


class PlaybackVolume(PlaybackRef):
    """A new volume."""

    volume: int = Field(description="steps of 3 dB", json_schema_extra={"minimum": -8, "maximum": 8})


@owner_command(
    "play_start",
    rest=Route("POST", "/v1/{owners}/{id}/play", body=True),
    errors=(400, 404, 409),
    leg="Play a URL or a tone to a leg; others in its room do not hear it.",
    room="Play a URL or a tone to everybody in a room.",
)
async def play_start(engine: Engine, owner: Owner, p: Play) -> PlaybackStart:
    """Start a playback."""
    if bool(p.url) == bool(p.tone):
        raise BadRequest("exactly one of url and tone is required")
    check_volume(p.volume)
    owner.check_playable()
    request = PlaybackRequest(
        url=p.url or None, tone=p.tone or None, mime_type=p.mime_type, repeat=p.repeat, volume=p.volume
    )
    playback_id = engine.players.start(owner, request)
    return PlaybackStart(status="playing", playback_id=playback_id)


@owner_command(
    "play_stop",
    rest=Route("DELETE", _PATH, names=_NAMES),
    errors=(404,),
    leg="Stop a playback on a leg.",
    room="Stop a playback in a room.",
)
async def play_stop(engine: Engine, owner: Owner, p: PlaybackRef) -> Status:
    """Stop a playback."""
    engine.players.stop(owner, p.playback_id)
    return Status(status="stopped")


def _check_volume(engine: Engine, p: PlaybackVolume) -> None:
    check_volume(p.volume)


@owner_command(
    "play_volume",
    rest=Route("PATCH", _PATH, names=_NAMES, body=True),
    errors=(400, 404),
    leg="Change the volume of a playback on a leg while it plays.",
    room="Change the volume of a playback in a room while it plays.",
    check=_check_volume,
)
async def play_volume(engine: Engine, owner: Owner, p: PlaybackVolume) -> Status:
    """Change the volume of a playback."""
    engine.players.set_volume(owner, p.playback_id, p.volume)
    return Status(status="ok")
