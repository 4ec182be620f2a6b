"""Why and when a leg ended: reasons, their SIP answers, and the call detail record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vb.events.leg import Cdr

REJECTIONS: Final[dict[str, int]] = {
    "busy": 486,
    "declined": 603,
    "rejected": 603,
    "unavailable": 480,
    "not_found": 404,
    "forbidden": 403,
    "server_error": 500,
}
"""Reasons that an application may give to an unanswered incoming call → final SIP status."""

_REFUSALS: Final[dict[int, str]] = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    407: "unauthorized",
    408: "timeout",
    480: "unavailable",
    486: "busy",
    487: "cancelled",
    488: "not_acceptable",
    503: "service_unavailable",
    603: "declined",
}


def refusal_reason(status: int) -> str:
    """Return the word for a final SIP answer to our INVITE.

    Redirections count as a failed INVITE: vb does not follow them.
    """
    if status < 400:
        return "invite_failed"
    return _REFUSALS.get(status, f"sip_{status}")


@dataclass(slots=True)
class CallClock:
    """When a leg was created and answered, in monotonic seconds."""

    created_at: float
    answered_at: float | None = None

    def record(self, reason: str, now: float) -> Cdr:
        """Return the call detail record of a leg that ends at `now`.

        Durations are rounded to 10 ms; the total is never zero, and never less than the answered part.
        """
        answered = 0.0 if self.answered_at is None else max(0.0, now - self.answered_at)
        total = max(0.01, round(now - self.created_at, 2))
        return Cdr(reason=reason, duration_total=total, duration_answered=min(total, round(answered, 2)))
