"""Events of transfers by REFER, ours and those of far ends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vb.events.base import LegEvent

Kind = Literal["blind", "attended"]


class LegTransferInitiated(LegEvent, type="leg.transfer_initiated"):
    """The far end is about to be asked to call somebody else."""

    kind: Kind
    target: str = Field(description="SIP URI that it is to call")
    replaces_leg_id: str | None = Field(default=None, description="leg whose place the new call takes")


class LegTransferRequested(LegEvent, type="leg.transfer_requested"):
    """The far end asks us to call somebody else."""

    kind: Kind
    target: str = Field(description="SIP or tel URI that we are to call")
    replaces_call_id: str | None = Field(
        default=None, description="Call-ID of the dialog whose place the new call takes"
    )
    declined: bool = Field(description="whether it was declined at once")


class LegTransferProgress(LegEvent, type="leg.transfer_progress"):
    """How far a transfer has come."""

    status_code: int = Field(description="SIP status of the new call")
    reason: str | None = None


class LegTransferCompleted(LegEvent, type="leg.transfer_completed"):
    """A transfer has succeeded; the leg ends with the reason transfer_completed."""

    status_code: int = Field(description="SIP status of the new call; 202 if the far end tells no more")
    reason: str | None = None


class LegTransferFailed(LegEvent, type="leg.transfer_failed"):
    """A transfer was refused or has failed; the call goes on."""

    status_code: int | None = Field(default=None, description="SIP status, if there was one")
    reason: str | None = None
    error: str | None = Field(default=None, description="what went wrong, if no status says it")
