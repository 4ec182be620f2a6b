"""Commands that transfer calls, and that decide about transfers which far ends ask for."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from vb.commands.params import LegRef
from vb.commands.registry import Route, command
from vb.commands.views import Status
from vb.engine import Engine
from vb.errors import BadRequest, Conflict
from vb.legs.capabilities import Capability
from vb.legs.protocols import AskedTransfer
from vb.legs.state import LegState
from vb.sip.errors import SipParseError
from vb.sip.headers import parse_name_addr
from vb.sip.uri import parse_uri

Reason = Annotated[str, Field(max_length=256)]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class TransferLeg(LegRef):
    """Where to transfer a call."""

    target: str = Field(description="SIP URI that the far end is to call", max_length=2048)
    replaces_leg_id: str | None = Field(
        default=None, description="leg whose place the new call takes; absent for a blind transfer"
    )


class ProgressTransfer(LegRef):
    """How far a transfer has come."""

    status_code: int = Field(
        description="provisional SIP status of the new call",
        json_schema_extra={"minimum": 100, "maximum": 199},
    )
    reason: Reason | None = Field(default=None, description="its phrase; absent for the usual one")


class CompleteTransfer(LegRef):
    """How a transfer ended."""

    success: bool = Field(description="whether the new call is up")
    status_code: int | None = Field(
        default=None, description="final SIP status of the new call; absent for 200 or 500"
    )
    reason: Reason | None = Field(default=None, description="its phrase; absent for the usual one")


class DeclineTransfer(LegRef):
    """Why a transfer is declined."""

    code: int | None = Field(
        default=None,
        description="final SIP status; absent for 603",
        json_schema_extra={"minimum": 300, "maximum": 699},
    )
    reason: Reason | None = Field(default=None, description="its phrase; absent for the usual one")


@command(
    "leg_transfer",
    rest=Route("POST", "/v1/legs/{id}/transfer", status=202, body=True),
    errors=(400, 403, 404, 409),
)
async def leg_transfer(engine: Engine, p: TransferLeg) -> Status:
    """Ask the far end of a leg to call somebody else.

    What becomes of it is told by events. Once the new call is up, the leg ends, and with it the leg whose
    place that call took.
    """
    target = _target(p.target, is_attended=bool(p.replaces_leg_id))
    if p.replaces_leg_id == p.id:
        raise BadRequest("replaces_leg_id: a leg cannot be transferred to itself")
    leg = engine.legs.get(p.id)
    leg.check_can(Capability.TRANSFER)
    replaced = engine.legs.find(p.replaces_leg_id) if p.replaces_leg_id else None
    if leg.state is LegState.CONNECTED and p.replaces_leg_id and replaced is None:
        raise Conflict("replaces_leg_id: must be a connected or held SIP leg")
    leg.transfer(target, replaced)
    return Status(status="transfer_initiated")


@command(
    "accept_transfer",
    rest=Route("POST", "/v1/legs/{id}/transfer/accept", status=202),
    errors=(404, 409),
)
async def accept_transfer(engine: Engine, p: LegRef) -> Status:
    """Accept a transfer that the far end asks for.

    It is for the application to place the call, and to tell how it goes.
    """
    _asked(engine, p.id).accept()
    return Status(status="transfer_accepted")


@command(
    "progress_transfer",
    rest=Route("POST", "/v1/legs/{id}/transfer/progress", status=202, body=True),
    errors=(400, 404, 409),
)
async def progress_transfer(engine: Engine, p: ProgressTransfer) -> Status:
    """Tell the far end how far an accepted transfer has come."""
    status = _status("status_code", p.status_code, 100, 199)
    reason = _reason(p.reason)
    _asked(engine, p.id).tell(status, reason)
    return Status(status="transfer_progress")


@command(
    "complete_transfer",
    rest=Route("POST", "/v1/legs/{id}/transfer/complete", status=202, body=True),
    errors=(400, 404, 409),
)
async def complete_transfer(engine: Engine, p: CompleteTransfer) -> Status:
    """Tell the far end how an accepted transfer ended; with a success the leg ends too."""
    if p.success:
        status = _status("status_code", p.status_code or 200, 200, 299)
    else:
        status = _status("status_code", p.status_code or 500, 300, 699)
    reason = _reason(p.reason)
    _asked(engine, p.id).tell(status, reason)
    return Status(status="transfer_completed")


@command(
    "decline_transfer",
    rest=Route("POST", "/v1/legs/{id}/transfer/decline", status=202, body=True),
    errors=(400, 404, 409),
)
async def decline_transfer(engine: Engine, p: DeclineTransfer) -> Status:
    """Decline a transfer that the far end asks for."""
    status = _status("code", p.code or 603, 300, 699)
    reason = _reason(p.reason)
    _asked(engine, p.id).decline(status, reason)
    return Status(status="transfer_declined")


def _asked(engine: Engine, leg_id: str) -> AskedTransfer:
    return engine.legs.get(leg_id).asked_transfer


def _target(text: str, *, is_attended: bool) -> str:
    """Return the URI to transfer to, as text for a Refer-To."""
    target = text.strip()
    if not target:
        raise BadRequest("target: is required")
    try:
        if "<" in target:
            target = parse_name_addr(target).uri
        uri = parse_uri(target)
    except SipParseError:
        raise BadRequest(f"target: {text!r} is not a SIP URI") from None
    if uri.headers is not None and is_attended:
        raise BadRequest("target: cannot have headers beside replaces_leg_id")
    return str(uri)


def _status(field: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise BadRequest(f"{field}: must be {low} to {high}")
    return value


def _reason(text: str | None) -> str | None:
    if text is not None and _CONTROL.search(text) is not None:
        raise BadRequest("reason: has control characters")
    return text or None
