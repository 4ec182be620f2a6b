"""Commands that transcribe what legs, and all legs of a room, say."""

from __future__ import annotations

from pydantic import Field, SecretStr

from vb.commands.owners import owner_command
from vb.commands.params import LegRef, OwnerRef
from vb.commands.registry import Route, command
from vb.commands.views import RoomSttStart, Status, SttStart
from vb.engine import Engine
from vb.owner import Owner
from vb.stt.base import Options
from vb.stt.names import NAMES

_MAX_MS = 3_600_000


class Transcribe(OwnerRef):
    """How to transcribe."""

    language: str = Field(
        default="", description="such as en or es; the provider's default when absent", max_length=64
    )
    partial: bool = Field(default=False, description="tell what may still change, too")
    provider: str | None = Field(
        default=None,
        description=f"who listens; {NAMES[0]} when absent",
        max_length=64,
        json_schema_extra={"enum": [*NAMES]},
    )
    api_key: SecretStr = Field(
        default=SecretStr(""), description="key for the provider, else the server's", max_length=4096
    )
    model: str = Field(default="", description="the provider's model, else its usual one", max_length=128)
    keyterms: list[str] = Field(default=[], description="words that are likely to come", max_length=1000)
    endpointing: int | None = Field(
        default=None,
        description="deepgram, elevenlabs: silence after which words are final, in ms",
        ge=0,
        le=_MAX_MS,
    )
    utterance_end_ms: int | None = Field(
        default=None,
        description="deepgram: gap between words that ends an utterance, told by stt.turn",
        ge=0,
        le=_MAX_MS,
    )
    eager_eot_threshold: float | None = Field(
        default=None, description="deepgram_flux: how sure of the end of a turn to tell early, 0.3 to 0.9"
    )
    eot_threshold: float | None = Field(
        default=None,
        description="deepgram_flux: how sure of the end of a turn to tell it",
        json_schema_extra={"minimum": 0, "maximum": 1},
    )
    eot_timeout_ms: int | None = Field(
        default=None,
        description="deepgram_flux: silence after which a turn has ended anyway",
        ge=0,
        le=_MAX_MS,
    )
    language_hints: list[str] = Field(
        default=[], description="deepgram_flux, elevenlabs: languages likely to be spoken", max_length=100
    )

    def options(self) -> Options:
        """Return what a provider is asked for."""
        return Options(
            language=self.language,
            partial=self.partial,
            model=self.model,
            keyterms=tuple(self.keyterms),
            endpointing_ms=self.endpointing,
            utterance_end_ms=self.utterance_end_ms,
            eot_threshold=self.eot_threshold,
            eager_eot_threshold=self.eager_eot_threshold,
            eot_timeout_ms=self.eot_timeout_ms,
            language_hints=tuple(self.language_hints),
            api_key=self.api_key,
        )


_START_ERRORS = (400, 404, 409, 501, 503)


@command("leg_stt_start", rest=Route("POST", "/v1/legs/{id}/stt", body=True), errors=_START_ERRORS)
async def leg_stt_start(engine: Engine, p: Transcribe) -> SttStart:
    """Transcribe what a leg says, muted or not, told by stt.text and stt.turn.

    It goes on in whatever room the leg is, until the leg ends.
    """
    if not p.id:
        engine.legs.get(p.id)  # over VSI: who names nobody learns that first
    options = p.options()
    provider = engine.transcripts.choose(p.provider or "", options)
    engine.transcripts.start_leg(engine.legs.get(p.id), provider, options)
    return SttStart(status="stt_started", leg_id=p.id)


@command("room_stt_start", rest=Route("POST", "/v1/rooms/{id}/stt", body=True), errors=_START_ERRORS)
async def room_stt_start(engine: Engine, p: Transcribe) -> RoomSttStart:
    """Transcribe what each leg in a room says, apart from the others.

    Who joins later is transcribed too, as long as somebody is.
    """
    if not p.id:
        engine.rooms.get(p.id)
    options = p.options()
    provider = engine.transcripts.choose(p.provider or "", options)
    leg_ids = engine.transcripts.start_room(engine.rooms.get(p.id), provider, options)
    return RoomSttStart(status="stt_started", room_id=p.id, leg_ids=leg_ids)


@owner_command(
    "stt_stop",
    rest=Route("DELETE", "/v1/{owners}/{id}/stt"),
    errors=(404,),
    leg="End a leg's transcription; answered when its last words are told.",
    room="End a room's transcription; answered when its last words are told.",
)
async def stt_stop(engine: Engine, owner: Owner, p: OwnerRef) -> Status:
    """End a transcription."""
    room = owner.crowd
    if room is None:
        await engine.transcripts.stop_leg(engine.legs.get(p.id))
    else:
        await engine.transcripts.stop_room(room)
    return Status(status="stt_stopped")


@command("leg_stt_finalize", rest=Route("POST", "/v1/legs/{id}/stt/finalize"), errors=(404, 409, 501))
async def leg_stt_finalize(engine: Engine, p: LegRef) -> Status:
    """Ask the provider for what a leg has said up to now as final."""
    engine.transcripts.finalize(engine.legs.get(p.id))
    return Status(status="stt_finalized")
