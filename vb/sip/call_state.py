"""Where a call is, and what takes it on.  Spec: RFC 3261 §12, §13, §15."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class CallState(StrEnum):
    """Where a call is; a call only moves down this list."""

    EARLY = "early"
    ANSWERED = "answered"
    CONFIRMED = "confirmed"
    ENDING = "ending"
    CLOSED = "closed"


class CallStep(StrEnum):
    """What takes a call from state to state."""

    ACCEPT = "our 2xx goes out"
    ACKNOWLEDGE = "the ACK of our 2xx came"
    ESTABLISH = "a 2xx of the peer came"
    END = "a refusal, CANCEL or BYE goes out, or will as soon as it may"
    CLOSE = "nothing more will be sent or reported"


# Texts, because to Python 3.11 the hash of any other member of an enumeration is a slow function.
CALL_TRANSITIONS: Final[Mapping[CallState, Mapping[CallStep, CallState]]] = {
    CallState.EARLY: {
        CallStep.ACCEPT: CallState.ANSWERED,
        CallStep.ESTABLISH: CallState.CONFIRMED,
        CallStep.END: CallState.ENDING,
        CallStep.CLOSE: CallState.CLOSED,
    },
    CallState.ANSWERED: {
        CallStep.ACKNOWLEDGE: CallState.CONFIRMED,
        CallStep.END: CallState.ENDING,
        CallStep.CLOSE: CallState.CLOSED,
    },
    CallState.CONFIRMED: {
        CallStep.END: CallState.ENDING,
        CallStep.CLOSE: CallState.CLOSED,
    },
    # A hang-up that waited for an ACK, or a 2xx that crossed our CANCEL, ends once more: by BYE.
    CallState.ENDING: {
        CallStep.END: CallState.ENDING,
        CallStep.CLOSE: CallState.CLOSED,
    },
    CallState.CLOSED: {},
}
"""A step that a state does not list cannot happen in it: to take it is a fault of ours."""
