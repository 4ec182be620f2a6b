"""Transfers of one SIP leg: those that we ask its far end for, and those that the far end asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import ref

from vb.errors import Conflict, NotFound, VbError
from vb.events.transfer import (
    LegTransferCompleted,
    LegTransferFailed,
    LegTransferInitiated,
    LegTransferProgress,
    LegTransferRequested,
)
from vb.sip.refer import ReferRequest, Replaces, refer_to
from vb.sip.refer_events import (
    ReferAccepted,
    ReferEvent,
    ReferExpired,
    ReferFinished,
    ReferProgress,
    ReferReceived,
    ReferRefused,
)
from vb.sip.status import reason_phrase

if TYPE_CHECKING:
    from vb.sipleg.leg import SipLeg
    from vb.sipleg.referral import Referral

COMPLETED = "transfer_completed"


@dataclass(frozen=True, slots=True)
class TransferPolicy:
    """What becomes of a far end's REFER.

    Attributes:
        consults: whether the application is asked; otherwise it is declined at once.
        dial: places the call without asking; None leaves it to `consults`. Raises VbError if it cannot.
        check: refuses a target that may not be called; the second argument is what a client calls the field.
    """

    consults: bool = True
    dial: Callable[[SipLeg, ReferRequest], Referral] | None = None
    check: Callable[[str, str], None] | None = None


class Transfers:
    """The transfers of one leg, at most one in each direction.

    Args:
        leg: whose.
        policy: what becomes of a far end's REFER.
    """

    def __init__(self, leg: SipLeg, policy: TransferPolicy) -> None:
        self._ref = ref(leg)  # which owns this: no cycle, no work for the collector
        self._policy = policy
        self._replaced: SipLeg | None = None
        self._ends_as_well: SipLeg | None = None
        self._referral: Referral | None = None

    @property
    def _leg(self) -> SipLeg:
        leg = self._ref()
        assert leg is not None, "only a report may come after the end of the leg"
        return leg

    # -- we ask --------------------------------------------------------------------------------------------

    def start(self, target: str, replaced: SipLeg | None) -> None:
        """Ask the far end to call a target, in place of the call of another leg if one is given.

        Raises:
            Forbidden: the target may not be called.
            Conflict: a transfer is under way, or one of the calls is ending.
        """
        leg = self._leg
        if self._policy.check is not None:
            self._policy.check(target, "target")
        if leg.call.is_referring:
            raise Conflict("a transfer of this leg is under way")
        if not leg.call.is_confirmed or (replaced is not None and not replaced.call.is_confirmed):
            raise Conflict("the call is ending")
        self._replaced = replaced
        leg.publish(
            LegTransferInitiated(
                leg_id=leg.id,
                app_id=leg.app_id,
                kind="blind" if replaced is None else "attended",
                target=target,
                replaces_leg_id=None if replaced is None else replaced.id,
            )
        )
        leg.call.refer(refer_to(target, None if replaced is None else _dialog_of(replaced)))

    def handle(self, event: ReferEvent) -> None:
        """Take an event of the leg's dialog; nothing is told of a leg that has ended."""
        if self._leg.ended:
            return
        match event:
            case ReferAccepted(status=status, reason=reason, is_subscribed=is_subscribed):
                if not is_subscribed:
                    # How it ends is never told. The far end of the replaced call ends that one itself:
                    # a BYE of ours could come before the new call and make it fail.
                    self._replaced = None
                    self._completed(status, reason)
            case ReferRefused(status=status, reason=reason):
                self._replaced = None
                self._failed(status, reason, f"REFER refused with {status}")
            case ReferProgress(status=status, reason=reason):
                self._progress(status, reason)
            case ReferFinished(status=status, reason=reason, error=error):
                replaced, self._replaced = self._replaced, None
                if status is not None and 200 <= status < 300:
                    self._ends_as_well = replaced
                    self._completed(status, reason)
                else:
                    self._failed(status, reason, error)
            case ReferReceived(refer=refer):
                self._requested(refer)
            case ReferExpired(status=status, reason=reason):
                self._expired(status, reason)

    def leg_ended(self) -> None:
        """The leg is over and has said so: what its transfer has replaced ends after it."""
        if self._ends_as_well is not None:
            self._ends_as_well.hangup(COMPLETED)

    # -- the far end asks ----------------------------------------------------------------------------------

    def _requested(self, refer: ReferRequest) -> None:
        leg, policy = self._leg, self._policy
        declined = policy.dial is None and not policy.consults
        leg.publish(
            LegTransferRequested(
                leg_id=leg.id,
                app_id=leg.app_id,
                kind="blind" if refer.replaces is None else "attended",
                target=refer.target,
                replaces_call_id=None if refer.replaces is None else refer.replaces.call_id,
                declined=declined,
            )
        )
        if leg.call.refer_phase != "undecided":
            return
        if declined:
            self.decline(603, None)
        elif policy.dial is not None:
            self._dial(policy.dial, refer)

    def _dial(self, dial: Callable[[SipLeg, ReferRequest], Referral], refer: ReferRequest) -> None:
        try:
            self._referral = dial(self._leg, refer)
        except VbError as exc:
            self.decline(exc.status, None)
        else:
            self._leg.call.accept_refer()

    def _expired(self, status: int, reason: str) -> None:
        referral, self._referral = self._referral, None
        if referral is not None:
            referral.give_up()
        self._failed(status, reason)

    def accept(self) -> None:
        """Accept the far end's REFER; the application carries it out.

        Raises:
            NotFound: there is none.
            Conflict: it was accepted already.
        """
        self._require("undecided")
        self._leg.call.accept_refer()

    def decline(self, status: int, reason: str | None) -> None:
        """Decline the far end's REFER.

        Raises:
            NotFound: there is none.
            Conflict: it was accepted already.
        """
        self._require("undecided")
        self._leg.call.decline_refer(status, reason)
        self._failed(status, reason or reason_phrase(status))

    def tell(self, status: int, reason: str | None) -> None:
        """Tell the far end how far the REFER that the application accepted has come.

        A final status ends it; with a 2xx the leg ends as well.

        Raises:
            NotFound: there is no REFER.
            Conflict: it was not accepted, or the server carries it out by itself.
        """
        self._require("accepted")
        if self._referral is not None:
            raise Conflict("the server carries this transfer out by itself")
        self.report(status, reason or reason_phrase(status))

    def report(self, status: int, reason: str) -> None:
        """Pass a status of the new call on to the far end and to clients, if the leg is still there."""
        leg = self._ref()
        if leg is None or leg.ended or leg.call.refer_phase != "accepted":
            return
        leg.call.notify_refer(status, reason)
        if status < 200:
            self._progress(status, reason)
            return
        self._referral = None
        if status < 300:
            self._completed(status, reason)
        else:
            self._failed(status, reason)

    def _require(self, phase: str) -> None:
        found = self._leg.call.refer_phase
        if found == "none":
            raise NotFound("no pending transfer")
        if found != phase:
            raise Conflict("transfer was accepted already" if found == "accepted" else "accept it first")

    # -- telling -------------------------------------------------------------------------------------------

    def _progress(self, status: int, reason: str) -> None:
        leg = self._leg
        leg.publish(
            LegTransferProgress(leg_id=leg.id, app_id=leg.app_id, status_code=status, reason=reason or None)
        )

    def _completed(self, status: int, reason: str | None) -> None:
        leg = self._leg
        leg.publish(
            LegTransferCompleted(leg_id=leg.id, app_id=leg.app_id, status_code=status, reason=reason or None)
        )
        leg.hangup(COMPLETED)

    def _failed(self, status: int | None, reason: str | None, error: str | None = None) -> None:
        leg = self._leg
        leg.publish(
            LegTransferFailed(
                leg_id=leg.id, app_id=leg.app_id, status_code=status, reason=reason or None, error=error
            )
        )


def _dialog_of(leg: SipLeg) -> Replaces:
    """Return a leg's dialog as its far end sees it: that is where the INVITE will come in."""
    return Replaces(leg.call.call_id, to_tag=leg.call.remote_tag, from_tag=leg.call.local_tag)
