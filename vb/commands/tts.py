"""Commands that speak to legs and rooms."""

from __future__ import annotations

from pydantic import Field, SecretStr

from vb.commands.owners import owner_command
from vb.commands.params import LegRef, OwnerRef
from vb.commands.registry import Route, command
from vb.commands.views import Status, TtsStart
from vb.engine import Engine
from vb.errors import InvalidField
from vb.owner import Owner
from vb.playback.players import check_volume
from vb.tts.base import MAX_TEXT, Provider, Voice
from vb.tts.names import NAMES
from vb.tts.speech import Speech, check_text, check_voice

_PATH = "/v1/legs/{id}/tts"
_STAGED_PATH = "/v1/legs/{id}/tts/{ttsID}"
_NAMES = {"ttsID": "tts_id"}


class Tts(OwnerRef):
    """What to say, and how."""

    text: str = Field(description=f"what to say, at most {MAX_TEXT} characters")
    voice: str = Field(description="the provider's name or id of a voice")
    model_id: str = Field(default="", description="the provider's model or engine; its default when absent")
    language: str = Field(default="", description="such as en-US; the voice's own when absent")
    prompt: str = Field(default="", description="how to sound, for voices that can be told")
    volume: int = Field(
        default=0, description="steps of 3 dB", json_schema_extra={"minimum": -8, "maximum": 8}
    )
    provider: str = Field(default=NAMES[0], description="who speaks", json_schema_extra={"enum": [*NAMES]})
    api_key: SecretStr = Field(
        default=SecretStr(""),
        description="key for the provider, else the server's; for aws ACCESS_KEY:SECRET_KEY",
    )
    overlap: bool = Field(
        default=False, description="say it at once; otherwise utterances follow one another"
    )

    @property
    def wanted(self) -> Voice:
        """The voice as it is asked for."""
        return Voice(self.voice, self.model_id, self.language, self.prompt, self.api_key)


class StagedRef(LegRef):
    """Names a prepared utterance of a leg."""

    tts_id: str = Field(description="id of the utterance")


def _provider(engine: Engine, p: Tts) -> Provider:
    provider = engine.voices.providers.get(p.provider)
    if provider is None:
        raise InvalidField("provider", f"must be one of {', '.join(engine.voices.providers)}")
    return provider


def _check(engine: Engine, p: Tts) -> None:
    check_text(p.text)
    check_volume(p.volume)
    check_voice(p.provider, _provider(engine, p).capabilities, p.wanted)


def _speech(engine: Engine, p: Tts) -> Speech:
    provider = _provider(engine, p)
    return Speech(provider, provider.check(p.wanted), check_text(p.text), p.volume, p.overlap)


@owner_command(
    "tts",
    rest=Route("POST", "/v1/{owners}/{id}/tts", body=True),
    errors=(400, 404, 409, 503),
    leg="Say a text on a leg; others in its room do not hear it.",
    room="Say a text to everybody in a room.",
    check=_check,
)
async def tts(engine: Engine, owner: Owner, p: Tts) -> TtsStart:
    """Say a text."""
    speech = _speech(engine, p)
    owner.check_playable()
    return TtsStart(status="playing", tts_id=engine.voices.speak(owner, speech))


@command(
    "leg_tts_preflight", rest=Route("POST", f"{_PATH}/preflight", body=True), errors=(400, 404, 409, 503)
)
async def leg_tts_preflight(engine: Engine, p: Tts) -> TtsStart:
    """Prepare speech for a leg, to be heard the moment it is committed.

    What is not committed in time is discarded.
    """
    _check(engine, p)
    leg = engine.legs.get(p.id)
    speech = _speech(engine, p)
    leg.check_playable()
    return TtsStart(status="staged", tts_id=engine.voices.stage(leg, speech))


@command("leg_tts_commit", rest=Route("POST", f"{_STAGED_PATH}/commit", names=_NAMES), errors=(404, 409))
async def leg_tts_commit(engine: Engine, p: StagedRef) -> TtsStart:
    """Say what was prepared, as soon as it is ready."""
    engine.voices.commit(engine.legs.get(p.id), p.tts_id)
    return TtsStart(status="committed", tts_id=p.tts_id)


@command("leg_tts_discard", rest=Route("DELETE", _STAGED_PATH, names=_NAMES), errors=(404, 409))
async def leg_tts_discard(engine: Engine, p: StagedRef) -> Status:
    """Drop what was prepared."""
    engine.voices.discard(engine.legs.get(p.id), p.tts_id)
    return Status(status="discarded")
