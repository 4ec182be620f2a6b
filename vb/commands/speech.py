"""Commands that tell people from machines."""

from __future__ import annotations

from vb.commands.params import AmdParams, LegRef
from vb.commands.registry import Route, command
from vb.commands.views import Status
from vb.engine import Engine
from vb.errors import BadRequest, Conflict
from vb.features.amd import replace_amd
from vb.legs.sip import SipLeg
from vb.legs.state import LegState
from vb.speech.amd_parameters import AmdParameters, AmdParametersError


class StartAmd(AmdParams, LegRef):
    """How to tell a machine from a person on a leg."""


def amd_parameters(p: AmdParams) -> AmdParameters:
    """Return the limits that a client asked for.

    Raises:
        BadRequest: no verdict could ever be reached with them.
    """
    try:
        return AmdParameters.from_request(p.model_dump(include=set(AmdParams.model_fields)))
    except AmdParametersError as exc:
        raise BadRequest(f"invalid AMD params: {exc}") from None


@command("leg_amd_start", rest=Route("POST", "/v1/legs/{id}/amd", body=True), errors=(400, 404, 409))
async def leg_amd_start(engine: Engine, p: StartAmd) -> Status:
    """Find out whether a person or a machine answered; told by amd.result.

    An analysis that runs on the leg is replaced, and tells nothing.
    """
    leg = engine.legs.get(p.id)
    if not isinstance(leg, SipLeg):
        raise BadRequest("AMD is for SIP legs only")
    if leg.state is not LegState.CONNECTED:
        raise Conflict(f"leg must be connected, current state: {leg.shown_state}")
    await replace_amd(leg, amd_parameters(p))
    return Status(status="started")
