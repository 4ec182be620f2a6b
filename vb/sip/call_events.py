"""What happens to a call, as its owner sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vb.sip.message import Headers
from vb.sip.refer_events import ReferEvent

DialFailure = Literal["timeout", "transport", "resolve"]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A new inbound call; unless it is refused at once, the caller gets 100."""


@dataclass(frozen=True, slots=True)
class Ringing:
    """A provisional response above 100 without a session description."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class EarlyMedia:
    """A provisional response with a session description; another `to_tag` is another fork."""

    status: int
    sdp: bytes
    to_tag: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The first 2xx to our INVITE; it is acknowledged already. `sdp` is None if it carried none.

    `to_tag` tells the fork, as that of `EarlyMedia` does.
    """

    sdp: bytes | None
    headers: Headers
    to_tag: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A final 3xx..6xx to our INVITE."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class NextTargetDue:
    """For the driver: the server that was tried cannot take the call, another one may.

    Attributes:
        silent: it did not answer at all.
    """

    silent: bool


@dataclass(frozen=True, slots=True)
class DialFailed:
    """No final response to our INVITE: nobody answered in time, or the peer cannot be reached."""

    kind: DialFailure


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The ACK to our 200 came; `sdp` is the answer when our 200 carried the offer."""

    sdp: bytes | None


@dataclass(frozen=True, slots=True)
class NotAcknowledged:
    """No ACK to a 200 of ours, or no PRACK to a reliable 1xx, in 64·T1; BYE or 504 follows by itself."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller gave up before an answer; the INVITE is answered 487 already."""


@dataclass(frozen=True, slots=True)
class InvitationExpired:
    """The time that the caller had set ran out before an answer; the INVITE is answered 487 already."""


@dataclass(frozen=True, slots=True)
class RemoteHangup:
    """The peer sent BYE; it is answered already."""


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """The peer offers a new session; waits for `answer_offer` or `refuse_offer`.

    `from_tag` tells the fork of a call that is not answered yet.
    """

    sdp: bytes
    method: str
    from_tag: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class OfferRequested:
    """A re-INVITE without a session description; waits for our offer in `answer_offer`."""


@dataclass(frozen=True, slots=True)
class OfferDue:
    """An offer of ours that waited can go: `send_offer`, once everything before this is dealt with."""


@dataclass(frozen=True, slots=True)
class EarlyOfferDue:
    """A provisional response is due, and it has to carry our offer: `ring` or `progress` with one."""


@dataclass(frozen=True, slots=True)
class OfferAnswered:
    """The answer to an offer of ours; None if the message that should carry it did not.

    Before the call is answered: the PRACK to a 1xx that carried our offer.
    """

    sdp: bytes | None


@dataclass(frozen=True, slots=True)
class OfferRefused:
    """Our offer inside the dialog was refused; the session stays as it was."""

    status: int


@dataclass(frozen=True, slots=True)
class DialogLost:
    """The peer does not know the dialog any more (481), or is silent (408); BYE follows by itself."""

    status: int


@dataclass(frozen=True, slots=True)
class RefreshDue:
    """The session is to be refreshed by a re-INVITE: `reoffer` with the session in force, or any other."""


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """Nobody refreshed the session in time, or the refresh failed; BYE follows by itself."""


@dataclass(frozen=True, slots=True)
class InfoReceived:
    """An INFO request inside the dialog; it is answered already."""

    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class DigitsRefused:
    """Digits of ours that the peer did not take in INFO requests; it is sent none any more."""

    digits: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Closed:
    """Always the last event: nothing more will be sent or reported for this call."""


CallEvent = (
    Incoming
    | Ringing
    | EarlyMedia
    | Answered
    | Refused
    | NextTargetDue
    | DialFailed
    | Acknowledged
    | NotAcknowledged
    | Cancelled
    | InvitationExpired
    | RemoteHangup
    | OfferReceived
    | OfferRequested
    | OfferDue
    | EarlyOfferDue
    | OfferAnswered
    | OfferRefused
    | DialogLost
    | RefreshDue
    | SessionExpired
    | InfoReceived
    | DigitsRefused
    | ReferEvent
    | Closed
)
