"""Commands that tell people from machines."""

from __future__ import annotations

from vb.commands.params import LegRef
from vb.commands.registry import Route, command
from vb.commands.views import Status
from vb.engine import Engine
from vb.errors import Conflict
from vb.legs.amd import amd_parameters, replace_amd
from vb.legs.capabilities import Capability
from vb.legs.requests import AmdParams
from vb.legs.state import LegState


class StartAmd(AmdParams, LegRef):
    """How to tell a machine from a person on a leg."""


@command("leg_amd_start", rest=Route("POST", "/v1/legs/{id}/amd", body=True), errors=(400, 404, 409))
async def leg_amd_start(engine: Engine, p: StartAmd) -> Status:
    """Find out whether a person or a machine answered; told by amd.result.

    An analysis that runs on the leg is replaced, and tells nothing.
    """
    leg = engine.legs.get(p.id)
    leg.check_can(Capability.AMD)
    if leg.state is not LegState.CONNECTED:
        raise Conflict(f"leg must be connected, current state: {leg.shown_state}")
    await replace_amd(leg, amd_parameters(p))
    return Status(status="started")
