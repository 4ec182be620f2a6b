"""Commands on legs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from vb.choices import KNOWN_CODECS, CodecName
from vb.commands.params import LegRef, NoParams
from vb.commands.registry import Route, command
from vb.commands.show import show_leg
from vb.commands.views import Leg, Status
from vb.engine import Engine
from vb.errors import BadRequest
from vb.legs.cdr import REJECTIONS
from vb.legs.leg import Leg as LiveLeg
from vb.legs.requests import CreateLeg
from vb.parameters import unbuilt

_CODEC_NAMES = {name.lower(): name for name in KNOWN_CODECS}


def _canonical_codec(value: object) -> object:
    return _CODEC_NAMES.get(value.lower(), value) if isinstance(value, str) else value


AnyCaseCodecName = Annotated[CodecName, BeforeValidator(_canonical_codec)]


class AnswerLeg(LegRef):
    """How to answer."""

    speech_detection: bool | None = Field(
        default=None, description="whether to tell when the far end speaks; absent: as the server is set"
    )
    codec: AnyCaseCodecName | None = Field(
        default=None, description="codec of the answer; must have been offered"
    )
    streams: list[dict[str, Any]] | None = unbuilt("further audio streams")


class EarlyMedia(LegRef):
    """How to start media before the answer."""

    codec: AnyCaseCodecName | None = Field(
        default=None, description="codec of the answer; must have been offered"
    )


class DeleteLeg(LegRef):
    """How to hang up."""

    reason: str | None = Field(
        default=None,
        description="final answer to an unanswered incoming call",
        json_schema_extra={"enum": list(REJECTIONS)},
    )


@command(
    "create_leg", rest=Route("POST", "/v1/legs", status=201, body=True), errors=(400, 403, 429, 501, 503)
)
async def create_leg(engine: Engine, p: CreateLeg) -> Leg:
    """Place an outgoing call.

    Answered at once with the ringing leg; what becomes of the call is told by events.
    """
    return show_leg(await engine.kinds.get(p.type).create(p))


@command("list_legs", rest=Route("GET", "/v1/legs"))
async def list_legs(engine: Engine, p: NoParams) -> list[Leg]:
    """List the live legs in the order of their creation."""
    return [show_leg(leg) for leg in engine.legs]


@command("get_leg", rest=Route("GET", "/v1/legs/{id}"), errors=(404,))
async def get_leg(engine: Engine, p: LegRef) -> Leg:
    """Show a leg."""
    return show_leg(engine.legs.get(p.id))


@command("delete_leg", rest=Route("DELETE", "/v1/legs/{id}", status=202, body=True), errors=(400, 404))
async def delete_leg(engine: Engine, p: DeleteLeg) -> Status:
    """Hang up.

    An unanswered incoming call is refused, with the final answer that `reason` names; on any other leg the
    reason is ignored.
    """
    leg = engine.legs.get(p.id)
    leg.hangup(_hangup_reason(leg, p.reason))
    return Status(status="hanging_up")


def _hangup_reason(leg: LiveLeg, reason: str | None) -> str:
    if not leg.refusable:
        return "api_hangup"
    if not reason:
        return "caller_cancel"
    if reason not in REJECTIONS:
        raise BadRequest(f"reason: must be one of {', '.join(REJECTIONS)}")
    return reason


@command(
    "answer_leg", rest=Route("POST", "/v1/legs/{id}/answer", status=202, body=True), errors=(400, 404, 409)
)
async def answer_leg(engine: Engine, p: AnswerLeg) -> Status:
    """Answer an incoming call."""
    engine.legs.get(p.id).answer(p.codec, speech_detection=p.speech_detection)
    return Status(status="answering")


@command("leg_ring", rest=Route("POST", "/v1/legs/{id}/ring", status=202), errors=(400, 404, 409))
async def leg_ring(engine: Engine, p: LegRef) -> Status:
    """Tell the caller that it rings; may be repeated."""
    engine.legs.get(p.id).ring()
    return Status(status="ringing")


@command(
    "leg_early_media",
    rest=Route("POST", "/v1/legs/{id}/early-media", status=202, body=True),
    errors=(400, 404, 409),
)
async def leg_early_media(engine: Engine, p: EarlyMedia) -> Status:
    """Start media with an incoming call before it is answered."""
    engine.legs.get(p.id).start_early_media(p.codec)
    return Status(status="early_media")


@command("hold_leg", rest=Route("POST", "/v1/legs/{id}/hold", status=202), errors=(400, 404, 409))
async def hold_leg(engine: Engine, p: LegRef) -> Status:
    """Put a call on hold."""
    engine.legs.get(p.id).set_hold(True)
    return Status(status="holding")


@command("unhold_leg", rest=Route("DELETE", "/v1/legs/{id}/hold", status=202), errors=(400, 404, 409))
async def unhold_leg(engine: Engine, p: LegRef) -> Status:
    """Take a call off hold."""
    engine.legs.get(p.id).set_hold(False)
    return Status(status="unholding")


@command("mute_leg", rest=Route("POST", "/v1/legs/{id}/mute"), errors=(404,))
async def mute_leg(engine: Engine, p: LegRef) -> Status:
    """Keep others from hearing a leg."""
    engine.legs.get(p.id).set_muted(True)
    return Status(status="muted")


@command("unmute_leg", rest=Route("DELETE", "/v1/legs/{id}/mute"), errors=(404,))
async def unmute_leg(engine: Engine, p: LegRef) -> Status:
    """Let others hear a leg again."""
    engine.legs.get(p.id).set_muted(False)
    return Status(status="unmuted")


@command("deaf_leg", rest=Route("POST", "/v1/legs/{id}/deaf"), errors=(404,))
async def deaf_leg(engine: Engine, p: LegRef) -> Status:
    """Keep a leg from hearing others."""
    engine.legs.get(p.id).set_deaf(True)
    return Status(status="deaf")


@command("undeaf_leg", rest=Route("DELETE", "/v1/legs/{id}/deaf"), errors=(404,))
async def undeaf_leg(engine: Engine, p: LegRef) -> Status:
    """Let a leg hear others again."""
    engine.legs.get(p.id).set_deaf(False)
    return Status(status="undeaf")
