"""Commands that send digits, and say whose digits reach whom."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from vb.commands.params import LegRef
from vb.commands.registry import Route, command
from vb.commands.views import Status
from vb.engine import Engine
from vb.errors import BadRequest
from vb.legs.capabilities import Capability
from vb.parameters import shown_as_required

DIGITS = frozenset("0123456789*#ABCD")


class SendDtmf(LegRef):
    """Digits to send."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("id", "digits"))

    digits: str = Field(default="", description="of 0-9 * # A-D; anything else is skipped", max_length=256)


@command("send_leg_dtmf", rest=Route("POST", "/v1/legs/{id}/dtmf", body=True), errors=(400, 404, 409, 500))
async def send_leg_dtmf(engine: Engine, p: SendDtmf) -> Status:
    """Send digits to the far end of a call; answered when they are queued.

    They go as telephone-events, else in INFO requests where those are switched on and the far end takes them,
    else as tones in the audio. A call that is held or has no audio yet takes none.
    """
    leg = engine.legs.get(p.id)
    if not p.digits:
        raise BadRequest("digits: is required")
    digits = "".join(digit for digit in p.digits.upper() if digit in DIGITS)
    leg.check_can(Capability.DTMF)
    if digits:
        leg.send_digits(digits)
    return Status(status="sent")


@command("accept_leg_dtmf", rest=Route("POST", "/v1/legs/{id}/dtmf/accept"), errors=(404,))
async def accept_leg_dtmf(engine: Engine, p: LegRef) -> Status:
    """Let a leg get the digits of its room mates."""
    engine.legs.get(p.id).accept_dtmf = True
    return Status(status="dtmf_accepting")


@command("reject_leg_dtmf", rest=Route("POST", "/v1/legs/{id}/dtmf/reject"), errors=(404,))
async def reject_leg_dtmf(engine: Engine, p: LegRef) -> Status:
    """Keep the digits of its room mates from a leg; its own are still told and passed on."""
    engine.legs.get(p.id).accept_dtmf = False
    return Status(status="dtmf_rejecting")
