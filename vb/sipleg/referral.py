"""A call that we place because a far end asked for it, and what the far end hears of it."""

from __future__ import annotations

from collections.abc import Callable

from vb.legs.leg import Leg
from vb.legs.protocols import LegHost
from vb.sip import call_events as sip
from vb.sip.refer import ReferRequest
from vb.sip.status import reason_phrase
from vb.sip.tasks.endpoint import SipCall
from vb.sipleg.leg import SipLeg, SipLegOptions
from vb.sipleg.media import SipMedia

ORIGINATE_FAILED = "transfer_originate_failed"
CONNECT_FAILED = "transfer_connect_failed"
_STATUS_OF_REASON = {"internal_error": 500, "mixer_panic": 500, "server_shutdown": 503}


class Referral:
    """The link between the leg that asks and the leg that is dialled for it; either may end first.

    Args:
        refer: what was asked.
        report: told each status of the new call; a final one once, as the last.
    """

    def __init__(self, refer: ReferRequest, report: Callable[[int, str], None]) -> None:
        self.refer = refer
        self.leg: Leg | None = None
        self._report = report
        self._told = 0
        self._is_over = False

    def progress(self, status: int, reason: str) -> None:
        """Report a provisional status, unless it is the same as before."""
        if not self._is_over and status != self._told:
            self._told = status
            self._report(status, reason)

    def finish(self, status: int, reason: str | None = None) -> None:
        """Report the final status; only the first one counts."""
        if not self._is_over:
            self._is_over = True
            self._report(status, reason or reason_phrase(status))

    def give_up(self) -> None:
        """It took too long, and the far end knows: end the new call if it is not answered."""
        self._is_over = True
        if self.leg is not None:
            self.leg.hangup(ORIGINATE_FAILED)


class ReferredLeg(SipLeg):
    """The leg of a referral."""

    def __init__(
        self,
        referral: Referral,
        host: LegHost,
        call: SipCall,
        media: SipMedia,
        options: SipLegOptions,
        *,
        leg_id: str,
        app_id: str | None,
        now: float,
    ) -> None:
        super().__init__(host, call, media, options, leg_id=leg_id, app_id=app_id, now=now)
        self._referral = referral
        self._refusal: tuple[int, str] | None = None
        referral.leg = self

    def _handle(self, event: sip.CallEvent) -> None:
        match event:
            case sip.Ringing(status=status, reason=reason):
                self._referral.progress(status, reason)
            case sip.EarlyMedia():
                self._referral.progress(180, reason_phrase(180))
            case sip.Refused(status=status, reason=reason):
                self._refusal = (status, reason)
            case sip.DialFailed(kind=kind):
                status = 408 if kind == "timeout" else 503
                self._refusal = (status, reason_phrase(status))
            case _:
                pass
        super()._handle(event)

    def _connect(self) -> None:
        super()._connect()
        self._referral.finish(200)

    def hangup(self, reason: str) -> bool:
        """End the leg; before the answer the far end that asked for the call learns why."""
        status, phrase = _STATUS_OF_REASON.get(reason, 487), None
        if not self.connected.is_set():
            if self._refusal is not None:
                reason, (status, phrase) = ORIGINATE_FAILED, self._refusal
            elif reason in ("invite_failed", "connect_failed"):
                reason, status = CONNECT_FAILED, 488
        is_first = super().hangup(reason)
        if is_first:
            self._referral.finish(status, phrase)
        return is_first
