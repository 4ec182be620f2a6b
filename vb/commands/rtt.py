"""Commands that send real-time text, and say whether a leg's text counts."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from vb.commands.params import LegRef
from vb.commands.registry import Route, command
from vb.commands.views import Status
from vb.engine import Engine
from vb.errors import BadRequest, Conflict, InternalError
from vb.parameters import shown_as_required


class SendRtt(LegRef):
    """Text to send."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("id", "text"))

    text: str = Field(default="", description="text of any length; backspace and line ends may be part of it")


@command("send_leg_rtt", rest=Route("POST", "/v1/legs/{id}/rtt", body=True), errors=(400, 404, 409, 500))
async def send_leg_rtt(engine: Engine, p: SendRtt) -> Status:
    """Send real-time text to the far end of a call; answered when it is queued."""
    leg = engine.legs.get(p.id)
    if not p.text:
        raise BadRequest("text: is required")
    if not leg.has_text:
        raise Conflict("RTT not negotiated for this leg")
    if not leg.send_text(p.text):
        raise InternalError("too much text waits to be sent to this leg")
    return Status(status="sent")


@command("accept_leg_rtt", rest=Route("POST", "/v1/legs/{id}/rtt/accept"), errors=(404,))
async def accept_leg_rtt(engine: Engine, p: LegRef) -> Status:
    """Tell a leg's text again and pass it on, and let the leg get the text of its room mates."""
    engine.legs.get(p.id).accept_rtt = True
    return Status(status="rtt_accepting")


@command("reject_leg_rtt", rest=Route("POST", "/v1/legs/{id}/rtt/reject"), errors=(404,))
async def reject_leg_rtt(engine: Engine, p: LegRef) -> Status:
    """Drop a leg's text without a word, and keep the text of its room mates from it."""
    engine.legs.get(p.id).accept_rtt = False
    return Status(status="rtt_rejecting")
