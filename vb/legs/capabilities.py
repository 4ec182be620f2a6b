"""What only some kinds of leg can do, and the one error with which the others decline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from vb.errors import BadRequest, Conflict, InternalError, NotFound, VbError
from vb.legs.protocols import AskedTransfer

if TYPE_CHECKING:
    from vb.legs.leg import Leg


@dataclass(frozen=True, slots=True)
class TrickledCandidate:
    """An ICE candidate as browsers' scripts exchange it (RTCIceCandidateInit).

    Attributes:
        text: begins with `candidate:`, or is empty for the end of candidates.
        mid: name of its media line.
        line_index: position of its media line.
        username_fragment: generation that it belongs to.
    """

    text: str
    mid: str | None = None
    line_index: int | None = None
    username_fragment: str | None = None


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


class Capable:
    """What a client may ask of any leg; a kind overrides what it can do, and declines the rest.

    Attributes:
        refusals: how the kind declines.
        inbound: whether the far end called us.
    """

    refusals: ClassVar[Refusals] = REFUSALS
    inbound: bool = False

    def decline(self, capability: Capability) -> VbError:
        """Return the error for what this kind of leg cannot do."""
        return self.refusals[capability]()

    def check_can(self, capability: Capability) -> None:
        """Refuse what this kind of leg cannot do; a kind that can overrides what it can.

        Raises:
            VbError: as its table of refusals says.
        """
        raise self.decline(capability)

    @property
    def answerable(self) -> bool:
        """Whether it is an incoming call that waits for somebody to answer it."""
        return False

    @property
    def unanswered(self) -> bool:
        """Whether nobody has answered it yet; an answer may take its time to connect it."""
        return False

    @property
    def refusable(self) -> bool:
        """Whether hanging up would refuse it with a final answer of the client's choice."""
        return False

    @property
    def joins_early(self) -> bool:
        """Whether it may join a room before it is connected."""
        return False

    def ring(self) -> None:
        """Tell the caller that it rings."""
        raise self.decline(Capability.ANSWER)

    def start_early_media(self, codec: str | None) -> None:
        """Start media before the answer."""
        raise self.decline(Capability.ANSWER)

    def answer(self, codec: str | None, *, speech_detection: bool | None = None) -> None:
        """Answer an incoming call."""
        raise self.decline(Capability.ANSWER)

    def set_hold(self, held: bool) -> None:
        """Put the call on hold or resume it."""
        raise self.decline(Capability.HOLD)

    def send_digits(self, digits: str) -> None:
        """Send digits to the far end."""
        raise self.decline(Capability.DTMF)

    def relay_digit(self, digit: str) -> None:
        """Pass a room mate's digit on to the far end, where its kind has digits; never fails."""

    def transfer(self, target: str, replaced: Leg | None) -> None:
        """Ask the far end to call somebody else, in place of the call of another leg if one is given."""
        raise self.decline(Capability.TRANSFER)

    def add_candidate(self, candidate: TrickledCandidate) -> None:
        """Take an ICE candidate of the far end."""
        raise self.decline(Capability.CANDIDATES)

    def take_candidates(self) -> tuple[list[TrickledCandidate], bool]:
        """Return our ICE candidates since the last call, and whether there will be no further ones."""
        raise self.decline(Capability.CANDIDATES)

    @property
    def asked_transfer(self) -> AskedTransfer:
        """Return the transfer that the far end asks for."""
        raise self.decline(Capability.BE_TRANSFERRED)
