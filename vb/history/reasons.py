"""What our words for the end of a call mean in the calls API: one table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vb.history.change import PROCESS_LOST
from vb.history.model import BillingStatus, EndReason, TerminationReason


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a reason means.

    Attributes:
        answered: endReason of a call that had been answered.
        sip: terminationReason of a SIP call.
        unanswered: endReason of one that had not.
        sip_unanswered: its terminationReason, where it differs.
    """

    answered: EndReason
    sip: TerminationReason
    unanswered: EndReason = "unjoined"
    sip_unanswered: TerminationReason | None = None


_OURS: Final = Meaning("agent_hangup", "SIP_TERMINATION_NORMAL", sip_unanswered="SIP_TERMINATION_CANCELED")
_THEIRS: Final = Meaning("hangup", "SIP_TERMINATION_NORMAL", sip_unanswered="SIP_TERMINATION_CANCELED")
_CANCELLED: Final = Meaning("hangup", "SIP_TERMINATION_CANCELED")
_LATE: Final = Meaning("timeout", "SIP_TERMINATION_TIMEOUT")
_LOST: Final = Meaning("connection_error", "SIP_TERMINATION_TIMEOUT")
_BROKEN: Final = Meaning("connection_error", "SIP_TERMINATION_UNKNOWN")
_FAULT: Final = Meaning("system_error", "SIP_TERMINATION_UNKNOWN", unanswered="system_error")
_BUSY: Final = Meaning("hangup", "SIP_TERMINATION_BUSY")
_REJECTED: Final = Meaning("hangup", "SIP_TERMINATION_REJECTED")
_AWAY: Final = Meaning("hangup", "SIP_TERMINATION_DESTINATION_UNAVAILABLE")
_WRONG: Final = Meaning("hangup", "SIP_TERMINATION_INVALID_NUMBER")

MEANINGS: Final[dict[str, Meaning]] = {
    "api_hangup": _OURS,
    "room_deleted": _OURS,
    "transfer_completed": _OURS,
    "max_duration": Meaning("timeout", "SIP_TERMINATION_NORMAL"),
    "remote_bye": _THEIRS,
    "hangup": _THEIRS,
    "caller_cancel": _CANCELLED,
    "cancelled": _CANCELLED,
    "ring_timeout": _LATE,
    "timeout": _LATE,
    "rtp_timeout": _LOST,
    "session_expired": _LOST,
    "busy": _BUSY,
    "declined": _REJECTED,
    "rejected": _REJECTED,
    "forbidden": _REJECTED,
    "unauthorized": _REJECTED,
    "challenged": _REJECTED,
    "not_acceptable": _REJECTED,
    "server_error": _REJECTED,
    "unavailable": _AWAY,
    "service_unavailable": _AWAY,
    "invite_failed": _AWAY,
    "not_found": _WRONG,
    "connect_failed": _BROKEN,
    "transfer_originate_failed": _BROKEN,
    "transfer_connect_failed": _BROKEN,
    "ice_failure": _BROKEN,
    "ice_failed": _BROKEN,
    "ice_disconnected": _BROKEN,
    "bad_answer": _BROKEN,
    "connection_reset": _BROKEN,
    "peer_slow": _BROKEN,
    "ws_error": _BROKEN,
    "ws_dial_failed": _BROKEN,
    "moq_error": _BROKEN,
    "mixer_panic": _FAULT,
    "internal_error": _FAULT,
    "server_shutdown": _FAULT,
    PROCESS_LOST: _FAULT,
}

_SIP_STATUS: Final = re.compile(r"sip_([3-6]\d\d)")
_WRONG_NUMBER: Final = frozenset({410, 414, 416, 484, 485, 604})
_OTHERS: Final = Meaning("hangup", "SIP_TERMINATION_UNKNOWN")
"""Of reasons that are in no table."""


def meaning_of(reason: str) -> Meaning:
    """Return what a reason means; `sip_NNN` by its status, unknown ones as an unknown end by the far end."""
    known = MEANINGS.get(reason)
    if known is not None:
        return known
    match = _SIP_STATUS.fullmatch(reason)
    if match is None:
        return _OTHERS
    status = int(match[1])
    if status in _WRONG_NUMBER:
        return _WRONG
    if status == 600:
        return _BUSY
    return _AWAY if 500 <= status < 600 else _REJECTED


def end_reason(reason: str | None, *, answered: bool) -> EndReason | None:
    """Return the endReason of a call; None while it goes on."""
    if reason is None:
        return None
    meaning = meaning_of(reason)
    return meaning.answered if answered else meaning.unanswered


def termination_reason(reason: str | None, *, answered: bool) -> TerminationReason | None:
    """Return the terminationReason of a SIP call; None while it goes on."""
    if reason is None:
        return None
    meaning = meaning_of(reason)
    return meaning.sip if answered or meaning.sip_unanswered is None else meaning.sip_unanswered


def billing_status(reason: str | None, *, answered: bool) -> BillingStatus:
    """Return what a call counts as: answered time is billed, unless the server was at fault."""
    if reason is None:
        return "BILLING_STATUS_PENDING"
    if end_reason(reason, answered=answered) == "system_error":
        return "BILLING_STATUS_FREE_SYSTEM_ERROR"
    return "BILLING_STATUS_BILLED" if answered else "BILLING_STATUS_FREE_ZERO_EFFECTIVE_DURATION"
