"""What only some kinds of leg can do, and the one error with which the others decline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Final

from vb.errors import BadRequest, Conflict, InternalError, NotFound, VbError


class Capability(StrEnum):
    """What a client may ask of a leg whose protocol has it."""

    ANSWER = "answer"
    HOLD = "hold"
    DTMF = "dtmf"
    TRANSFER = "transfer"
    BE_TRANSFERRED = "be_transferred"
    AMD = "amd"
    CANDIDATES = "candidates"


Refusals = Mapping[Capability, Callable[[], VbError]]

REFUSALS: Final[Refusals] = MappingProxyType(
    {
        Capability.ANSWER: partial(BadRequest, "Not a SIP inbound leg"),
        Capability.HOLD: partial(BadRequest, "not a SIP leg"),
        Capability.DTMF: partial(InternalError, "DTMF is not supported by this leg"),
        Capability.TRANSFER: partial(Conflict, "only SIP legs can be transferred"),
        Capability.BE_TRANSFERRED: partial(NotFound, "no pending transfer"),
        Capability.AMD: partial(BadRequest, "AMD is for SIP legs only"),
        Capability.CANDIDATES: partial(BadRequest, "not a WebRTC leg"),
    }
)
"""How a leg declines what its kind cannot do; a kind may have other words for some."""
